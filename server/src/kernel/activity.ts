/**
 * The activity log (access, section 8): one line per call, written off the call's path in batches. A kill may lose the
 * last batch; nothing else does. Query strings, bodies and header values never get here.
 */
import { sql } from "kysely";
import type { Logger } from "pino";
import { type Database, hot, query } from "./db.ts";
import { newId } from "./ids.ts";

export type ActivityEntry = {
  at: Date;
  requestId: string;
  tenantId: string;
  actingTenantId: string;
  actor: { kind: string; id: string; name: string } | null;
  via: { kind: string; id: string; hint: string | null; clientId: string | null } | null;
  service: string | null;
  version: string | null;
  operationId: string | null;
  method: string;
  route: string | null;
  target: Record<string, string>;
  status: number;
  code: string | null;
  reason: string | null;
  durationMs: number;
  address: string;
  userAgent: string | null;
  bytesIn: number;
  bytesOut: number;
};

export type Activity = {
  record(entry: ActivityEntry): void;
  /** Writes what is waiting. */
  flush(): Promise<void>;
  stop(): Promise<void>;
};

const everyMs = 200;
/** When the database is away, this many lines wait; the oldest give way. */
const mostWaiting = 50_000;
const batchSize = 2_000;

// Callers are few and lines many: what is known of a caller is sent and read once a batch.
const insert = hot<{ rows: string; callers: string; rootId: string }, never>(
  "insert_activity",
  ({ rows, callers, rootId }) =>
    query(sql`insert into access.activity (tenant_id, acting_tenant_id, id, at, request_id, actor, via, service, version, operation_id, method, route,
      target, status, code, reason, duration_ms, address, user_agent, bytes_in, bytes_out)
    select coalesce(nullif("tenantId", ''), ${rootId}), coalesce(nullif("actingTenantId", ''), ${rootId}), id, at, "requestId",
      ${callers}::jsonb -> caller -> 'actor', ${callers}::jsonb -> caller -> 'via', service, version,
      "operationId", method, route, target, status, code, reason, "durationMs", address, "userAgent", "bytesIn", "bytesOut"
    from json_to_recordset(${rows}::json) as r("tenantId" text, "actingTenantId" text, id text, at timestamptz, "requestId" text, caller integer,
      service text, version text, "operationId" text, method text, route text, target jsonb, status smallint, code text, reason text,
      "durationMs" real, address text, "userAgent" text, "bytesIn" bigint, "bytesOut" bigint)`),
);

/** Lines of callers that nobody knows belong to the root tenant. */
export function createActivity(system: Database, log: Logger, rootId: () => string): Activity {
  let waiting: ActivityEntry[] = [];
  let writing: Promise<void> = Promise.resolve();

  async function write(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, batchSize);
      try {
        await system.in("").run(insert({ ...textOf(batch), rootId: rootId() }));
      } catch (error) {
        log.warn({ err: error, lines: waiting.length }, "the activity log waits for the database");
        return;
      }
      waiting = waiting.slice(batch.length);
    }
  }
  function flush(): Promise<void> {
    writing = writing.then(write);
    return writing;
  }
  const timer = setInterval(() => void (waiting.length > 0 && flush()), everyMs);
  timer.unref();

  return {
    record(entry) {
      if (waiting.length >= mostWaiting) waiting.shift();
      waiting.push(entry);
    },
    flush,
    async stop() {
      clearInterval(timer);
      await flush();
    },
  };
}

/** A batch as the statement takes it. Principals are cached, so equal callers are one object as a rule. */
function textOf(batch: readonly ActivityEntry[]): { rows: string; callers: string } {
  const places = new Map<ActivityEntry["via"], number>();
  const callers: Pick<ActivityEntry, "actor" | "via">[] = [];
  const rows = batch.map((entry) => {
    const { actor, via, at } = entry;
    let caller = places.get(via);
    if (caller === undefined) {
      caller = callers.push({ actor, via }) - 1;
      places.set(via, caller);
    }
    return { ...entry, actor: undefined, via: undefined, caller, id: newId("act", at.getTime()) };
  });
  return { rows: JSON.stringify(rows), callers: JSON.stringify(callers) };
}
