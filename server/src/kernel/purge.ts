/**
 * The end of a tenant's rows (access, section 1). Tables are found in the database's own catalogue, so that none which a
 * module or a later release adds can be forgotten; every one with a column `tenant_id` is emptied of the tenant, those
 * that refer to others first, in batches of a transaction each. A kill in the middle loses nothing: what is gone is gone,
 * and the next run goes on with the rest.
 */
import { sql } from "kysely";
import { type Database, type Db, query } from "./db.ts";
import type { Kernel } from "./kernel.ts";

const batch = 2_000;
/** The tenant's own row and its place in the tree go last, by the module that owns them. */
const kept = ["access.tenant", "access.tenant_ancestor"];

type Reference = { from: string; to: string; columns: string[]; named: string[] };
/** `deletable`: by this role; the record is not, but for tenants that are being deleted. */
type Table = { name: string; partitioned: boolean; deletable: boolean };

const tables = query<Table>(sql`
  select n.nspname || '.' || c.relname as name, c.relkind = 'p' as partitioned,
    has_table_privilege(c.oid, 'delete') as deletable
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')
    and exists (select from pg_attribute where attrelid = c.oid and attname = 'tenant_id' and not attisdropped)
    and n.nspname || '.' || c.relname <> all(${kept}) order by 1`);

const columnsOf = (relation: string, numbers: string) =>
  sql.raw(`(select array_agg(a.attname::text order by k.place) from unnest(${numbers}) with ordinality k(number, place)
    join pg_attribute a on a.attrelid = ${relation} and a.attnum = k.number)`);
const references = query<Reference>(sql`
  select fn.nspname || '.' || f.relname as "from", tn.nspname || '.' || t.relname as "to",
    ${columnsOf("r.conrelid", "r.conkey")} as columns, ${columnsOf("r.confrelid", "r.confkey")} as named
  from pg_constraint r join pg_class f on f.oid = r.conrelid join pg_namespace fn on fn.oid = f.relnamespace
    join pg_class t on t.oid = r.confrelid join pg_namespace tn on tn.oid = t.relnamespace
  where r.contype = 'f'`);

/** Longer than any transaction of ours may take. */
const mostWaitMs = 65_000;

/**
 * Waits until every transaction on this database that runs now has ended: those that began before a tenant went out of
 * sight may still write of it. What ours cannot be, a backup's for example, is not waited for beyond a minute.
 */
export async function endOfOthers(system: Database, signal: AbortSignal): Promise<void> {
  const db = system.in("");
  const running = sql<{
    virtualxid: string;
  }>`select l.virtualxid from pg_locks l join pg_stat_activity b on b.pid = l.pid
    where l.locktype = 'virtualxid' and l.mode = 'ExclusiveLock' and b.pid <> pg_backend_pid()
      and b.datid = (select oid from pg_database where datname = current_database())`;
  const until = performance.now() + mostWaitMs;
  let ids = (await db.rows(query(running))).map(({ virtualxid }) => virtualxid);
  while (ids.length > 0 && performance.now() < until) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const left = sql<{ virtualxid: string }>`select virtualxid from (${running}) now where virtualxid = any(${ids})`;
    ids = (await db.rows(query(left))).map(({ virtualxid }) => virtualxid);
  }
}

/** Empties every table of a tenant. `gone` hears how many rows each batch took. */
export async function purgeRows(
  { system }: Pick<Kernel, "system">,
  tenantId: string,
  signal: AbortSignal,
  gone: (rows: number) => Promise<void>,
): Promise<void> {
  const db = system.in("");
  const [all, links] = await Promise.all([db.rows(tables), db.rows(references)]);
  for (;;) {
    let rows = 0;
    for (const table of referringFirst(all, links)) {
      const own = links.filter((link) => link.from === table.name && link.to === table.name);
      for (;;) {
        signal.throwIfAborted();
        const taken = await system.transaction("", (tx) => deleteSome(tx, table, own, tenantId));
        if (taken === 0) break;
        rows += taken;
        await gone(taken);
      }
    }
    // What was written meanwhile goes in another round.
    if (rows === 0) return;
  }
}

/** The rows of a batch; of a table that refers to itself those that no other row refers to. */
async function deleteSome(db: Db, table: Table, own: readonly Reference[], tenantId: string): Promise<number> {
  if (!table.deletable) {
    const purge = sql<{
      rows: number;
    }>`select kernel.purge_record(${table.name}::regclass, ${tenantId}, ${batch}) as rows`;
    return (await db.first(query(purge)))!.rows;
  }
  const name = sql.table(table.name);
  const free = own.map(({ columns, named }) => {
    const same = columns.map((column, place) => sql`${sql.ref(`c.${column}`)} = ${sql.ref(`t.${named[place]}`)}`);
    return sql`and not exists (select from ${name} c where ${sql.join(same, sql` and `)})`;
  });
  const some = sql`from ${name} t where t.tenant_id = ${tenantId} ${sql.join(free, sql` `)} limit ${batch}`;
  // Rows of different partitions may share a ctid.
  return table.partitioned
    ? db.run(
        query(sql`delete from ${name} d where d.tenant_id = ${tenantId}
          and (d.tableoid, d.ctid) in (select t.tableoid, t.ctid ${some})`),
      )
    : db.run(query(sql`delete from ${name} where ctid = any(array(select t.ctid ${some}))`));
}

function referringFirst(all: readonly Table[], links: readonly Reference[]): Table[] {
  const ordered: Table[] = [];
  const seen = new Set<string>();
  function visit(table: Table): void {
    if (seen.has(table.name)) return;
    seen.add(table.name);
    for (const { from } of links.filter((link) => link.to === table.name)) {
      const referring = all.find((other) => other.name === from);
      if (referring) visit(referring);
    }
    ordered.push(table);
  }
  for (const table of all) visit(table);
  return ordered;
}
