/** Reports as they are kept: one row each, one row per item and per watch that is only here. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { type Db, hot, query } from "#kernel/db";
import { notFound, refuse } from "#kernel/problem";
import { inActing } from "#kernel/wall";
import { monitoring } from "../tables.ts";
import type { Row } from "./apply.ts";
import { type Estate, mostAtOnce, type ReconcileSummary } from "./schema.ts";
import { type Scope, watchesInScope } from "./scope.ts";

const keptMs = 30 * 86_400_000;

/** Begins a report, which nobody sees before it is finished. `sealed` is the request, where an operation goes on with it. */
export async function insertReport(ctx: Context, id: string, sealed: string | null): Promise<void> {
  const { who, now } = ctx;
  await ctx.db.run(
    query(sql`insert into monitoring.reconcile (tenant_id, id, created_by, created_at, expires_at, request_sealed)
      values (${who.acting.id}, ${id}, ${who.actor.id}, ${now}, ${new Date(now.getTime() + keptMs)}, ${sealed})`),
  );
}

const placeOf = (id: string) => ({ table: "monitoring.reconcile", column: "request_sealed", rowId: id });

/** A request as it rests until its operation has ended. */
export function sealRequest(ctx: Context, id: string, estate: Estate): Promise<string> {
  return ctx.secrets.seal(ctx.who.acting.id, placeOf(id), JSON.stringify(estate));
}

export async function openRequest(ctx: Context, id: string): Promise<Estate> {
  const row = await ctx.db.first(
    query<{ request_sealed: string }>(sql`select request_sealed from monitoring.reconcile where id = ${id}`),
  );
  return JSON.parse((await ctx.secrets.open(ctx.who.acting.id, placeOf(id), row!.request_sealed)).toString()) as Estate;
}

const insertSome = hot<{ tenantId: string; id: string; rows: string }, never>(
  "monitoring_insert_reconcile_items",
  (p) =>
    query(sql`insert into monitoring.reconcile_item (tenant_id, reconcile_id, position, outcome, applied, item)
    select ${p.tenantId}, ${p.id}, r.position, r.item ->> 'outcome', r.item ->> 'applied', r.item
    from jsonb_to_recordset(${p.rows}::jsonb) as r(position integer, item jsonb)`),
);

export async function insertItems(ctx: Context, id: string, rows: readonly Row[]): Promise<void> {
  for (let start = 0; start < rows.length; start += mostAtOnce) {
    const some = JSON.stringify(rows.slice(start, start + mostAtOnce));
    await ctx.db.run(insertSome({ tenantId: ctx.who.acting.id, id, rows: some }));
  }
}

/** Adds the watches of the scope that no item hit, behind the items. */
export async function insertOnlyHere(
  ctx: Context,
  scope: Scope,
  id: string,
  itemCount: number,
  hitIds: ReadonlySet<string>,
): Promise<void> {
  const rest = watchesInScope(ctx, scope)
    .where(sql<boolean>`w.id <> all (${[...hitIds]}::text[])`)
    .select([
      sql<string>`${ctx.who.acting.id}`.as("tenant_id"),
      sql<string>`${id}`.as("reconcile_id"),
      sql<number>`${itemCount}::integer + row_number() over (order by w.created_at, w.id) - 1`.as("position"),
      sql<string>`'onlyHere'`.as("outcome"),
      sql<unknown>`jsonb_build_object('outcome', 'onlyHere', 'id', w.id, 'name', w.name, 'deviceAddress', w.device_address,
        'locationId', w.location_id)`.as("item"),
    ]);
  await ctx.db.run(
    monitoring
      .insertInto("monitoring.reconcile_item")
      .columns(["tenant_id", "reconcile_id", "position", "outcome", "item"])
      .expression(rest),
  );
}

/** Whether the items of a report were compared already. */
export async function isPlanned(ctx: Pick<Context, "db">, id: string): Promise<boolean> {
  const first = query(sql`select from monitoring.reconcile_item where reconcile_id = ${id} limit 1`);
  return (await ctx.db.first(first)) !== undefined;
}

/** The items as they are noted so far. */
export function findItems(db: Db, id: string): Promise<Row[]> {
  return db.rows(
    query(sql`select position, item from monitoring.reconcile_item
      where reconcile_id = ${id} and outcome <> 'onlyHere' order by position`),
  );
}

const noteSome = hot<{ id: string; rows: string }, never>("monitoring_note_reconcile_items", (p) =>
  query(sql`update monitoring.reconcile_item i set applied = r.item ->> 'applied', item = r.item
    from jsonb_to_recordset(${p.rows}::jsonb) as r(position integer, item jsonb)
    where i.reconcile_id = ${p.id} and i.position = r.position`),
);

/** Notes what became of items, in the transaction of their effects. */
export async function noteItems(ctx: Context, id: string, rows: readonly Row[]): Promise<void> {
  await ctx.db.run(noteSome({ id, rows: JSON.stringify(rows) }));
}

type Counted = { outcome: keyof ReconcileSummary; applied: keyof ReconcileSummary | null; n: number };

export async function countItems(db: Db, id: string): Promise<ReconcileSummary> {
  const counted = await db.rows(
    query<Counted>(sql`select outcome, applied, count(*)::integer as n from monitoring.reconcile_item
      where reconcile_id = ${id} group by outcome, applied`),
  );
  const summary: ReconcileSummary = {
    missing: 0,
    same: 0,
    different: 0,
    ambiguous: 0,
    invalid: 0,
    onlyHere: 0,
    created: 0,
    updated: 0,
    skipped: 0,
    refused: 0,
  };
  for (const { outcome, applied, n } of counted) {
    summary[outcome] += n;
    if (applied) summary[applied] += n;
  }
  return summary;
}

/** Opens a report to the principal that made it, for 30 days from now. */
export async function finishReport(ctx: Context, id: string, summary: ReconcileSummary): Promise<void> {
  const until = new Date(ctx.now.getTime() + keptMs);
  await ctx.db.run(
    query(sql`update monitoring.reconcile set summary = ${JSON.stringify(summary)}::jsonb, request_sealed = null, expires_at = ${until}
      where id = ${id}`),
  );
}

export async function deleteReport(ctx: Pick<Context, "db">, id: string): Promise<void> {
  await ctx.db.run(query(sql`delete from monitoring.reconcile where id = ${id}`));
}

/** The summary of a finished report of the caller's own; 404 for every other. */
export async function findReport(ctx: Context, id: string): Promise<ReconcileSummary> {
  const { who, now } = ctx;
  const row = await ctx.db.first(
    query<{ summary: ReconcileSummary }>(sql`select r.summary from monitoring.reconcile r
      where r.id = ${id} and r.created_by = ${who.actor.id} and r.expires_at > ${now} and r.summary is not null
        and ${inActing(who, sql.ref("r.tenant_id"))}`),
  );
  if (!row) throw refuse(notFound);
  return row.summary;
}
