/** Who follows the news of a tenant through everything that breaks: by the feed, and by STOMP with a durable or a cursor. */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { Client, type IMessage } from "@stomp/stompjs";
import { WebSocket } from "ws";
import { sawEvent } from "../wire.ts";
import type { Installation, Reply } from "./installation.ts";

export type Seen = { id: string; sequence: number; type: string; subject: string; data: any };
export type Reader = { name: string; seen: Seen[]; repeats(): number; stop(): Promise<void> };

const seenOf = ({ id, sequence, type, subject, data }: any): Seen => ({
  id,
  sequence: Number(sequence),
  type,
  subject,
  data,
});

/** A GET at whichever server answers. */
export async function read(installation: Installation, path: string, headers: Record<string, string>): Promise<Reply> {
  for (;;) {
    const server = installation.servers[randomInt(installation.servers.length)]!;
    const answer = await installation.call(server, "GET", path, { headers }).catch(() => null);
    if (answer && answer.status !== 503) return answer;
    await new Promise((resolve) => setTimeout(resolve, randomInt(5, 50)));
  }
}

/**
 * Follows the feed as any client would; every next event must have the next number. `onEvent` is waited for before the
 * next page.
 */
export function followFeed(
  installation: Installation,
  tenantId: string,
  onEvent: (event: Seen) => Promise<void>,
): Reader {
  const seen: Seen[] = [];
  let cursor: string | null = null;
  let stopped = false;
  const done = (async () => {
    for (let atEnd = false; !(stopped && atEnd); ) {
      const path: string = `/v1/event-log?limit=200${cursor ? `&cursor=${cursor}` : ""}`;
      const { status, text, body } = await read(installation, path, { "demarc-tenant": tenantId, prefer: "wait=1" });
      assert.equal(status, 200, text);
      for (const item of body.items) sawEvent(JSON.stringify(item), {});
      const page: Seen[] = body.items.map(seenOf);
      for (const event of page) {
        assert.equal(event.sequence, seen.length + 1, `${tenantId}: ${event.sequence} is not the next`);
        seen.push(event);
      }
      await Promise.all(page.map(onEvent));
      cursor = body.nextCursor;
      atEnd = body.atEnd && page.length === 0;
    }
  })();
  // Its fault is told when it is waited for.
  done.catch(() => {});
  return {
    name: "feed",
    seen,
    repeats: () => 0,
    async stop() {
      stopped = true;
      await done;
    },
  };
}

/**
 * A session of an independent client, which connects again, elsewhere, whenever it ends. `durable`: the server keeps the
 * place, and what it sends twice has the same id; `cursor`: the client keeps it, and nothing comes twice.
 */
export function followStomp({ servers }: Installation, key: string, place: "durable" | "cursor"): Reader {
  const seen: Seen[] = [];
  const ids = new Set<string>();
  const faults: string[] = [];
  let [cursor, repeats, next] = ["", 0, randomInt(servers.length)];

  function take(message: IMessage): void {
    sawEvent(message.body, { message: message.headers });
    const event = seenOf(JSON.parse(message.body));
    if (ids.has(event.id)) {
      repeats++;
      if (place === "cursor") faults.push(`${event.sequence} came twice`);
    } else {
      if (event.sequence !== seen.length + 1) faults.push(`${event.sequence} came after ${seen.length}`);
      ids.add(event.id);
      seen.push(event);
    }
    cursor = message.headers.cursor!;
    if (place === "durable") message.ack();
  }
  const client: Client = new Client({
    webSocketFactory: () => {
      const { url } = servers[next++ % servers.length]!;
      return new WebSocket(`${url.replace(/^http/, "ws")}/v1/stomp`, ["v12.stomp"]) as never;
    },
    connectHeaders: { passcode: key },
    reconnectDelay: 200,
    onConnect() {
      const start: Record<string, string> = cursor === "" ? { from: "start" } : { "last-event-id": cursor };
      const durable = { durable: "news", ack: "client-individual", from: "start" };
      client.subscribe("/topic/event", take, place === "durable" ? durable : start);
    },
    onStompError: ({ headers }) => {
      // What a session that needs the database is told when it is away.
      if (headers.code !== "internal_error") faults.push(`ERROR ${headers.code}: ${headers.message}`);
    },
  });
  client.activate();
  return {
    name: `STOMP by ${place}`,
    seen,
    repeats: () => repeats,
    async stop() {
      await client.deactivate({ force: true });
      assert.deepEqual(faults, [], `STOMP by ${place}`);
    },
  };
}
