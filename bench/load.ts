/**
 * Keep-alive clients in a closed loop, each with one request under way. Our own, because the generator shares the two
 * cores with what it measures: autocannon 9 takes 53 us of CPU a request here, this 19 us, which a bare Fastify feels.
 */
import { connect } from "node:net";
import { performance } from "node:perf_hooks";

export type Load = {
  port: number;
  clients: number;
  /** Until then requests are sent. */
  seconds: number;
  /** The bytes of the next request. */
  next(): string;
  /** The status that every reply must have. */
  expected: number;
};
export type Loaded = { perSecond: number; latenciesMs: Float64Array };

/** Runs a load. Latencies come back sorted. @throws Error on the first reply of another status, or a lost connection. */
export async function runLoad({ port, clients, seconds, next, expected }: Load): Promise<Loaded> {
  const latencies: number[] = [];
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1_000;
  await Promise.all(Array.from({ length: clients }, () => client(port, next, expected, endsAt, latencies)));
  const perSecond = (latencies.length / (performance.now() - startedAt)) * 1_000;
  return { perSecond, latenciesMs: Float64Array.from(latencies).sort() };
}

function client(port: number, next: () => string, expected: number, endsAt: number, latencies: number[]) {
  return new Promise<void>((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let sentAt = 0;
    let received = "";
    let wanted = Infinity;
    function send(): void {
      sentAt = performance.now();
      received = "";
      wanted = Infinity;
      socket.write(next(), "latin1");
    }
    // One character an octet, so that lengths are those of the header.
    socket.setEncoding("latin1");
    socket.on("connect", send);
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("The server closed a connection under load.")));
    socket.on("data", (chunk: string) => {
      received += chunk;
      if (wanted === Infinity) {
        const headersEnd = received.indexOf("\r\n\r\n");
        if (headersEnd < 0) return;
        const length = /\r\ncontent-length: (\d+)/i.exec(received.slice(0, headersEnd));
        if (!length) return void reject(new Error(`A reply without Content-Length:\n${received}`));
        wanted = headersEnd + 4 + Number(length[1]);
      }
      if (received.length < wanted) return;
      const now = performance.now();
      if (Number(received.slice(9, 12)) !== expected)
        return void reject(new Error(`Expected a ${expected}:\n${received}`));
      latencies.push(now - sentAt);
      if (now < endsAt) return send();
      socket.removeAllListeners("close").destroy();
      resolve();
    });
  });
}

/** The text of a request, for `next`. */
export function requestText(method: string, path: string, headers: Record<string, string>, body = ""): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = body === "" ? "" : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${lines.join("")}${length}\r\n${body}`;
}
