/** The caller's estate against the watches that are here (monitoring, 4.3). */
import { type RawBuilder, sql } from "kysely";
import type { Context, Reply } from "#kernel/contract";
import { newId } from "#kernel/ids";
import { accepted } from "#kernel/operation-store";
import { readPage } from "#kernel/page";
import { type Fault, invalid } from "#kernel/problem";
import { monitoring } from "../tables.ts";
import { applyItems, takenBy } from "./apply.ts";
import { planEstate } from "./plan.ts";
import { reconciliation } from "./reconciliation.ts";
import {
  type Estate,
  mostAtOnce,
  type OnlyHereItem,
  type ReconcileItem,
  type ReconcileItemQuery,
  type ReconcileReport,
  type ReportedItem,
} from "./schema.ts";
import { openScope } from "./scope.ts";
import {
  countItems,
  findReport,
  finishReport,
  insertItems,
  insertOnlyHere,
  insertReport,
  sealRequest,
} from "./store.ts";

/** Compares an estate and applies it where that is asked for: at once, or as an operation where it is long. */
export async function reconcileWatches(ctx: Context, estate: Estate): Promise<ReconcileReport | Reply> {
  const scope = await openScope(ctx, estate);
  const faults = keyFaults(estate);
  if (faults.length > 0) throw invalid(faults);
  const id = newId("rcn", ctx.now.getTime());
  if (estate.items.length > mostAtOnce || ctx.call.prefer.respondAsync) {
    await insertReport(ctx, id, await sealRequest(ctx, id, estate));
    const start = { tenantId: ctx.who.acting.id, subject: id, input: { reportId: id } };
    return accepted(ctx, (await ctx.startOperation(reconciliation, start)).id);
  }
  const plan = await planEstate(ctx, scope, estate);
  let rows = plan.rows.map((item, position) => ({ position, item }));
  await insertReport(ctx, id, null);
  await insertOnlyHere(ctx, scope, id, rows.length, plan.hitIds);
  if (estate.apply) {
    const open = rows.filter(({ item }) => item.applied === null);
    const applied = await applyItems(ctx, { estate, scope, taken: takenBy(rows) }, open);
    const byPosition = new Map(applied.map((row) => [row.position, row]));
    rows = rows.map((row) => byPosition.get(row.position) ?? row);
  }
  await insertItems(ctx, id, rows);
  await finishReport(ctx, id, await countItems(ctx.db, id));
  return getReconcile(ctx, id);
}

function keyFaults({ items }: Estate): Fault[] {
  const seen = new Set<string>();
  const faults: Fault[] = [];
  for (const [index, { key }] of items.entries()) {
    if (seen.has(key))
      faults.push({ pointer: `/items/${index}/key`, rule: "not_unique", message: "An item before it has this key." });
    seen.add(key);
  }
  return faults;
}

export async function getReconcile(ctx: Context, id: string): Promise<ReconcileReport> {
  const summary = await findReport(ctx, id);
  const items = await ctx.db.rows<{ item: ReconcileItem }>(
    itemsOf(id).where("r.outcome", "<>", "onlyHere").select("r.item").orderBy("r.position").limit(mostAtOnce),
  );
  const rest = await readItems(ctx, id, { outcome: ["onlyHere"], limit: 200 });
  const link = `/${ctx.call.label}/reconcile/${id}/item?outcome=onlyHere&limit=200&cursor=`;
  return {
    id,
    summary,
    items: items.map(({ item }) => item),
    onlyHere: (rest.items as OnlyHereItem[]).map(({ outcome: _, ...watch }) => watch),
    onlyHereNextLink: rest.nextCursor && link + rest.nextCursor,
  };
}

export async function listReconcileItems(ctx: Context, id: string, query: ReconcileItemQuery) {
  await findReport(ctx, id);
  return readItems(ctx, id, query);
}

function itemsOf(id: string) {
  return monitoring.selectFrom("monitoring.reconcile_item as r").where("r.reconcile_id", "=", id);
}

function readItems(ctx: Context, id: string, query: ReconcileItemQuery) {
  const position: RawBuilder<number> = sql`r.position`;
  let rows = itemsOf(id).select("r.item");
  if (query.outcome) rows = rows.where("r.outcome", "in", query.outcome);
  if (query.applied) rows = rows.where("r.applied", "in", query.applied);
  return readPage(ctx, query, {
    from: rows,
    sorts: { position },
    by: "position",
    id: position,
    item: ({ item }: { item: unknown }) => item as ReportedItem,
  });
}
