/** Webhooks: events at a fixed rate, and how long after the change was answered each is at its receiver. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { performance } from "node:perf_hooks";
import { Agent, request } from "undici";
import { call, type Demarc } from "./demarc.ts";
import { quantile, rounded } from "./figures.ts";
import type { Seeded } from "./seed.ts";

const quietMs = 10_000;
/** Changes in one call: single calls of the highest rate would be more than the machine can answer beside it all. */
const changesACall = 10;

/** One webhook, signed, with its full log. */
export async function measureWebhooks(demarc: Demarc, seeded: Seeded, rates: readonly number[], seconds: number) {
  // As many as a busy integration has; under `fetch` each waiting call would be a connection of its own.
  const clients = new Agent({ connections: 32, keepAliveTimeout: 60_000 });
  const answered = new Map<string, number>();
  const receivedAt = new Map<string, number>();
  const receiver = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    receivedAt.set(JSON.parse(body).data.resource.reference, performance.now());
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  const watches = seeded.watchIds.slice(0, 50);
  const webhook = await call(demarc, seeded.key, "POST", "/webhook", {
    url,
    types: ["demarc.monitoring.watch.updated"],
  });
  // The first seconds are the compiler's.
  await measureRate(rates.at(-1)!);
  const scores = [];
  for (const rate of rates) scores.push(await measureRate(rate));
  await call(demarc, seeded.key, "DELETE", `/webhook/${webhook.id}`);
  await clients.close();
  receiver.closeAllConnections();
  receiver.close();
  return scores;

  async function measureRate(rate: number) {
    answered.clear();
    receivedAt.clear();
    const total = rate * seconds;
    const rateOfCalls = rate / changesACall;
    const startedAt = performance.now();
    const calls: Promise<void>[] = [];
    for (let sent = 0; sent < total / changesACall; ) {
      const due = Math.min(
        total / changesACall,
        Math.floor(((performance.now() - startedAt) / 1_000) * rateOfCalls) + 1,
      );
      for (; sent < due; sent++) calls.push(change(`${rate}-${sent}`, sent));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await Promise.all(calls);
    const endsAt = performance.now() + quietMs;
    while (receivedAt.size < total && performance.now() < endsAt)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const latencies = [...receivedAt].map(([name, at]) => Math.max(0, at - answered.get(name)!)).sort((a, b) => a - b);
    const tookS = (Math.max(...receivedAt.values()) - startedAt) / 1_000;
    return {
      asked: rate,
      perSecond: rounded(receivedAt.size / tookS, 0),
      lost: total - receivedAt.size,
      p50Ms: rounded(quantile(latencies, 0.5)),
      p95Ms: rounded(quantile(latencies, 0.95)),
      p99Ms: rounded(quantile(latencies, 0.99)),
    };
  }

  /** Changes some watches in one transaction; `sent` counts the calls. */
  async function change(name: string, sent: number): Promise<void> {
    const items = Array.from({ length: changesACall }, (_, index) => ({
      op: "update",
      id: watches[(sent * changesACall + index) % watches.length],
      watch: { reference: `${name}-${index}` },
    }));
    const reply = await request(`http://127.0.0.1:${demarc.port}/v1/watch/bulk`, {
      method: "POST",
      headers: { "x-api-key": seeded.key, "content-type": "application/json" },
      body: JSON.stringify({ mode: "atomic", items }),
      dispatcher: clients,
    });
    const text = await reply.body.text();
    if (reply.statusCode !== 200) throw new Error(`A change answered ${reply.statusCode}: ${text}`);
    for (const { watch } of items) answered.set(watch.reference, performance.now());
  }
}
