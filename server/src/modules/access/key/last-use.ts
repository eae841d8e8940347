/**
 * When a key or client was last used, and a key from where: noted on the call's path, written behind it. At most one
 * write a minute and credential, whatever the number of calls and processes; a kill may lose the last seconds.
 */
import { sql } from "kysely";
import { LRUCache } from "lru-cache";
import type { Logger } from "pino";
import { type Database, hot, query } from "#kernel/db";

export type LastUse = {
  used(id: string, address: string): void;
  /** Writes what is waiting. */
  flush(): Promise<void>;
  stop(): Promise<void>;
};

const minuteMs = 60_000;
const everyMs = 1_000;

const writes = {
  key: hot<{ rows: string }, never>("key_last_use", ({ rows }) =>
    query(sql`update access.key k set last_used_at = r.at, last_used_address = r.address, uses = k.uses + 1
      from jsonb_to_recordset(${rows}::jsonb) as r(id text, at timestamptz, address text)
      where k.id = r.id and (k.last_used_at is null or k.last_used_at <= r.at - interval '1 minute')`),
  ),
  client: hot<{ rows: string }, never>("client_last_use", ({ rows }) =>
    query(sql`update access.client c set last_used_at = r.at
      from jsonb_to_recordset(${rows}::jsonb) as r(id text, at timestamptz)
      where c.id = r.id and (c.last_used_at is null or c.last_used_at <= r.at - interval '1 minute')`),
  ),
};

export function createLastUse(system: Database, now: () => Date, log: Logger, kind: keyof typeof writes): LastUse {
  const noted = new LRUCache<string, number>({ max: 20_000 });
  let waiting = new Map<string, { at: Date; address: string }>();
  let writing: Promise<void> = Promise.resolve();

  async function writeWaiting(): Promise<void> {
    const batch = waiting;
    if (batch.size === 0) return;
    waiting = new Map();
    // In one order, so that two processes do not wait for each other.
    const rows = [...batch].map(([id, use]) => ({ id, ...use })).sort((a, b) => (a.id < b.id ? -1 : 1));
    try {
      await system.in("").run(writes[kind]({ rows: JSON.stringify(rows) }));
    } catch (error) {
      for (const [id, use] of batch) if (!waiting.has(id)) waiting.set(id, use);
      log.warn({ err: error, kind, waiting: waiting.size }, "the last use of credentials waits for the database");
    }
  }
  function flush(): Promise<void> {
    writing = writing.then(writeWaiting);
    return writing;
  }
  const timer = setInterval(() => void (waiting.size > 0 && flush()), everyMs);
  timer.unref();

  return {
    used(id, address) {
      const at = now();
      const before = noted.get(id);
      if (before !== undefined && at.getTime() - before < minuteMs) return;
      noted.set(id, at.getTime());
      waiting.set(id, { at, address });
    },
    flush,
    async stop() {
      clearInterval(timer);
      await flush();
    },
  };
}
