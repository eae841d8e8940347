/**
 * Calls with an `Idempotency-Key` have exactly one effect (access, section 7). Look-up, effect and record share one
 * transaction: they stand or fall together, in any number of processes, whatever is killed when.
 */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import canonicalize from "canonicalize";
import { sql } from "kysely";
import { type Caller, inTransaction, readingContext } from "./context.ts";
import type { Context } from "./contract.ts";
import { type Db, hot, query, type Transaction } from "./db.ts";
import type { Visit } from "./door.ts";
import type { Kernel } from "./kernel.ts";
import { invalid, problem, refuse } from "./problem.ts";

export const idempotencyKeyInvalid = problem("idempotency_key_invalid", 400, "The Idempotency-Key is not valid.");
export const idempotencyKeyReused = problem(
  "idempotency_key_reused",
  422,
  "The Idempotency-Key was used for another call.",
);
export const idempotencyInProgress = problem(
  "idempotency_in_progress",
  409,
  "A call with this Idempotency-Key is still running.",
);

/** A finished reply, as it is sent and as it is kept. `stream`: a reply to a read, made while it is sent; never kept. */
export type Outcome = {
  status: number;
  text: string | null;
  stream?: Readable;
  headers: Record<string, string>;
  replayed?: boolean;
};

const secretMinutes = 10;

/** The value of an `Idempotency-Key` header: bare, or quoted as an RFC 9651 string; both forms of a value are equal. */
export function readIdempotencyKey(rawHeaders: readonly string[]): string | null {
  const values: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]!.toLowerCase() === "idempotency-key") values.push(rawHeaders[index + 1]!.trim());
  }
  if (values.length === 0) return null;
  const first = values[0]!;
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(first);
  const value = quoted ? quoted[1]!.replace(/\\(.)/g, "$1") : first;
  if (values.length > 1 || !/^[\x21-\x7e]{1,255}$/.test(value) || (!quoted && value.startsWith('"'))) {
    throw invalid(
      [
        {
          parameter: "Idempotency-Key",
          rule: "pattern",
          message: "One value of 1 to 255 visible ASCII characters is expected.",
        },
      ],
      idempotencyKeyInvalid,
    );
  }
  return value;
}

type Row = {
  actor_id: string;
  fingerprint: Buffer;
  status: number;
  headers: Record<string, string>;
  body: string | null;
  sealed_body: string | null;
  completed_at: Date;
};

const tryLock = hot<{ key: string }, { locked: boolean }>("idempotency_lock", ({ key }) =>
  query(sql`select pg_try_advisory_xact_lock(${key}::bigint) as locked`),
);
const findRecord = hot<{ tenantId: string; key: Buffer; since: Date }, Row>(
  "idempotency_find",
  ({ tenantId, key, since }) =>
    query(sql`select actor_id, fingerprint, status, headers, body, sealed_body, completed_at from kernel.idempotency
    where tenant_id = ${tenantId} and record_key = ${key} and completed_at > ${since}`),
);
const insertRecord = hot<
  Record<"tenantId" | "key" | "actorId" | "fingerprint" | "status" | "headers" | "body" | "sealed" | "now", unknown>,
  never
>("idempotency_insert", (p) =>
  query(sql`insert into kernel.idempotency (tenant_id, record_key, actor_id, fingerprint, status, headers, body, sealed_body, completed_at)
      values (${p.tenantId}, ${p.key}, ${p.actorId}, ${p.fingerprint}, ${p.status}, ${p.headers}::jsonb, ${p.body}, ${p.sealed}, ${p.now})
      on conflict (tenant_id, record_key) do update set actor_id = excluded.actor_id, fingerprint = excluded.fingerprint, status = excluded.status,
        headers = excluded.headers, body = excluded.body, sealed_body = excluded.sealed_body, completed_at = excluded.completed_at
      where kernel.idempotency.completed_at <= excluded.completed_at - interval '72 hours'`),
);

type Request = {
  method: string;
  path: string;
  search: string;
  body: unknown;
  value: string;
  secret: string | readonly string[] | undefined;
  /** Whether the caller may still have the reply, where the door does not know. */
  admits(db: Db): Promise<void>;
};

/** What surrounds the work of an idempotent call in its transaction. */
export async function onceOnly(kernel: Kernel, visit: Visit, request: Request, now: Date) {
  const who = visit.who!;
  const tenantId = who.acting.id;
  const key = createHash("sha256")
    .update(JSON.stringify([who.tenant.id, request.method, `/${visit.version!.label}${request.path}`, request.value]))
    .digest();
  const meaning = canonicalize([[...new URLSearchParams(request.search)].sort(), request.body ?? null])!;
  const fingerprint = await kernel.secrets.fingerprint(tenantId, Buffer.from(meaning));
  const place = { table: "kernel.idempotency", column: "sealed_body", rowId: key.toString("base64url") };

  async function replay(row: Row): Promise<Outcome> {
    if (row.actor_id !== who.actor.id)
      throw refuse(idempotencyKeyReused, { detail: "Somebody else used this Idempotency-Key." });
    if (!row.fingerprint.equals(fingerprint))
      throw refuse(idempotencyKeyReused, { detail: "This Idempotency-Key was used with another body or query." });
    const fresh = now.getTime() - row.completed_at.getTime() < secretMinutes * 60_000;
    const text =
      row.sealed_body && fresh ? (await kernel.secrets.open(tenantId, place, row.sealed_body)).toString() : row.body;
    return { status: row.status, text, headers: row.headers, replayed: true };
  }

  return {
    async before(tx: Transaction): Promise<Outcome | undefined> {
      const since = new Date(now.getTime() - 72 * 3_600_000);
      // The lock is a statement of its own: under READ COMMITTED the look-up after it sees what the twin committed.
      const lock = tx.first(tryLock({ key: key.readBigInt64BE(0).toString() }));
      const record = tx.first(findRecord({ tenantId, key, since }));
      const [locked, row] = await Promise.all([lock, record]);
      if (!locked?.locked) throw refuse(idempotencyInProgress, { headers: { "retry-after": "1" } });
      if (!row) return undefined;
      await request.admits(tx);
      return replay(row);
    },
    async after(tx: Transaction, outcome: Outcome): Promise<void> {
      const shown = request.secret && outcome.text ? without(outcome.text, request.secret) : outcome.text;
      const sealed = request.secret && outcome.text ? await kernel.secrets.seal(tenantId, place, outcome.text) : null;
      tx.fire(
        insertRecord({
          tenantId,
          key,
          actorId: who.actor.id,
          fingerprint,
          status: outcome.status,
          headers: JSON.stringify(outcome.headers),
          body: shown,
          sealed,
          now,
        }),
      );
    },
  };
}

type Once = Awaited<ReturnType<typeof onceOnly>>;

/** A twin was done before. */
class Repeated extends Error {}

/**
 * The same for an operation that opens its transaction itself, after slow work outside of it. What its transaction gives
 * is its reply, and is recorded in there; what was done before is answered without the slow work.
 */
export async function onceInOwn(
  kernel: Kernel,
  caller: Caller,
  once: Once,
  run: (ctx: Context) => unknown,
  answer: (value: unknown) => Outcome,
): Promise<Outcome> {
  const earlier = await kernel.db.transaction(caller.who.acting.id, async (tx) => {
    const done = await once.before(tx);
    if (done) await kernel.processes.catchUp(tx);
    return done;
  });
  if (earlier) return earlier;
  let outcome: Outcome | undefined;
  const ctx: Context = {
    ...readingContext(kernel, caller),
    async transaction(part) {
      let value: Awaited<ReturnType<typeof part>>;
      async function answered(inner: Context): Promise<Outcome> {
        value = await part(inner);
        return answer(value);
      }
      outcome = await inTransaction(kernel, caller, answered, once);
      if (outcome.replayed) throw new Repeated();
      return value!;
    },
  };
  try {
    const result = await run(ctx);
    // One that opened none, as it changes nothing here, has its reply recorded all the same.
    return outcome ?? (await inTransaction(kernel, caller, async () => answer(result), once));
  } catch (error) {
    if (error instanceof Repeated) return outcome!;
    throw error;
  }
}

function without(text: string, members: string | readonly string[]): string {
  const body = JSON.parse(text) as Record<string, unknown>;
  for (const member of [members].flat()) if (member in body) body[member] = null;
  return JSON.stringify(body);
}
