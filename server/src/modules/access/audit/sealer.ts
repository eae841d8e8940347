/**
 * Gives the entries of the audit trail their places in the chains of their tenants. Not in the transaction of the change:
 * there all writers of a tenant would wait for each other. Of several processes one seals at a time, under an advisory
 * lock; each sees to what it wrote itself, so that no message between processes is needed and an idle server stays idle.
 */
import { sql } from "kysely";
import type { Logger } from "pino";
import { type Database, hot, query, type Transaction } from "#kernel/db";
import type { Sealer } from "#kernel/kernel";
import { type AuditRow, entryColumns, genesisOf, hashOf } from "./entry.ts";

const everyMs = 250;
const retryMs = 2_000;
/** Hashed without a pause for the calls under way: some 5 ms. */
const batchSize = 200;

type Outcome = "done" | "more" | "waits";
type Edge = { locked: boolean; settled: string; low: string; high: string; waiting: boolean };

/**
 * `low`: every older transaction of this database has ended, so no entry of one can appear any more. One of another
 * database of the cluster, which may run for hours, is left out only if its lock proves it to be one: a transaction has
 * its number before its lock. An entry of a transaction from `high` on is from another life of the database (a dump
 * brought its number along): it is as settled as can be.
 */
const findEdge = hot<object, Edge>("audit_edge", () =>
  query(sql`with now as materialized (select pg_current_snapshot() as shot),
    edge as materialized (select settled, pg_snapshot_xmax(shot) as high, coalesce(
        (select x from pg_snapshot_xip(shot) x where not exists (
          select from pg_locks l join pg_stat_activity b on b.pid = l.pid
          where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted and l.transactionid = x::xid
            and b.datid <> (select oid from pg_database where datname = current_database()))
        order by x limit 1), pg_snapshot_xmax(shot)) as low
      from now, access.audit_sealer)
    select pg_try_advisory_xact_lock(7301946030) as locked, settled::text, low::text, high::text,
      exists (select from access.audit a where a.txid >= low and a.txid < high
        and not exists (select from access.audit_seal s where s.tenant_id = a.tenant_id and s.position = a.position)) as waiting
    from edge`),
);

type Unsealed = Omit<AuditRow, "seq" | "prev_hash" | "hash"> & { txid: string };
const unsealed = sql`not exists (select from access.audit_seal s where s.tenant_id = a.tenant_id and s.position = a.position)`;

/** In the order of their transactions: the one order that no batch's limits can change. */
const findSettled = hot<{ settled: string; low: string }, Unsealed>("audit_settled", ({ settled, low }) =>
  query(sql`select ${entryColumns}, a.txid::text from access.audit a
    where a.txid >= ${settled}::text::xid8 and a.txid < ${low}::text::xid8 and ${unsealed}
    order by a.txid, a.position limit ${sql.lit(batchSize)}`),
);
const findRestored = (low: string, high: string) =>
  query<Unsealed>(sql`select ${entryColumns}, a.txid::text from access.audit a
    where (a.txid < ${low}::text::xid8 or a.txid >= ${high}::text::xid8) and ${unsealed}
    order by a.position limit ${sql.lit(batchSize)}`);

type End = { tenantId: string; seq: number; hash: Buffer };
/** The last sealed entry of each tenant; where all were past their keeping, the head that the chain begins behind. */
const findEnds = hot<{ tenants: string[] }, End>("audit_ends", ({ tenants }) =>
  query(sql`select t.id as "tenantId", e.seq, e.hash from unnest(${tenants}::text[]) t (id), lateral (
      (select seq, hash from access.audit_seal where tenant_id = t.id order by seq desc limit 1)
      union all (select seq, hash from access.audit_head where tenant_id = t.id and starts order by seq desc limit 1)
      order by seq desc limit 1) e`),
);
const insertSeals = hot<{ rows: string }, never>("audit_seal", ({ rows }) =>
  query(sql`insert into access.audit_seal (tenant_id, seq, position, prev_hash, hash)
    select tenant_id, seq, position, decode(prev_hash, 'hex'), decode(hash, 'hex')
    from json_to_recordset(${rows}::json) as r(tenant_id text, seq bigint, position bigint, prev_hash text, hash text)`),
);
const settle = hot<{ settled: string }, never>("audit_settle", ({ settled }) =>
  query(sql`update access.audit_sealer set settled = ${settled}::text::xid8`),
);

/** Seals one batch. The look-up is a statement after the lock's, so it sees what an earlier holder has committed. */
function sealBatch(system: Database): Promise<Outcome> {
  return system.transaction("", async (tx) => {
    const edge = (await tx.first(findEdge({})))!;
    if (!edge.locked) return "waits";
    const restored = BigInt(edge.settled) > BigInt(edge.high);
    const rows = await tx.rows(restored ? findRestored(edge.low, edge.high) : findSettled(edge));
    if (rows.length > 0) await seal(tx, rows);
    if (rows.length === batchSize) {
      if (!restored) tx.fire(settle({ settled: rows.at(-1)!.txid }));
      return "more";
    }
    if (rows.length > 0 || restored) tx.fire(settle({ settled: edge.low }));
    return edge.waiting ? "waits" : "done";
  });
}

async function seal(tx: Transaction, rows: readonly Unsealed[]): Promise<void> {
  const tenants = [...new Set(rows.map((row) => row.tenant_id))];
  const ends = new Map((await tx.rows(findEnds({ tenants }))).map((end) => [end.tenantId, end]));
  const seals = rows.map((row) => {
    const { tenant_id, position } = row;
    const last = ends.get(tenant_id) ?? { seq: 0, hash: genesisOf(tenant_id) };
    const seq = last.seq + 1;
    const hash = hashOf({ ...row, seq, prev_hash: last.hash, hash: null });
    ends.set(tenant_id, { tenantId: tenant_id, seq, hash });
    return { tenant_id, seq, position, prev_hash: last.hash.toString("hex"), hash: hash.toString("hex") };
  });
  tx.fire(insertSeals({ rows: JSON.stringify(seals) }));
}

/** Starts the sealer of a process; what an earlier one left unsealed is its first work. */
export function createSealer(system: Database, log: Logger): Sealer {
  let timer: NodeJS.Timeout | null = null;
  let news = false;
  let work: Promise<void> | null = null;
  let stopped = false;

  async function sealAll(): Promise<Outcome> {
    for (;;) {
      const outcome = await sealBatch(system);
      if (outcome !== "more") return outcome;
    }
  }
  async function run(): Promise<void> {
    timer = null;
    news = false;
    let pauseMs = everyMs;
    try {
      if ((await sealAll()) === "waits") news = true;
    } catch (error) {
      news = true;
      pauseMs = retryMs;
      log.warn({ err: error }, "the audit trail waits to be sealed");
    }
    work = null;
    if (news) arm(pauseMs);
  }
  function arm(pauseMs: number): void {
    news = true;
    if (stopped || timer || work) return;
    timer = setTimeout(() => {
      work = run();
    }, pauseMs);
    timer.unref();
  }
  arm(everyMs);

  return {
    wake: () => arm(everyMs),
    async sealNow() {
      await work;
      await sealAll();
    },
    async stop() {
      stopped = true;
      const left = news;
      if (timer) clearTimeout(timer);
      await work;
      // What is left unsealed when the database is away is the next start's first work.
      if (left) await sealAll().catch(() => {});
    },
  };
}
