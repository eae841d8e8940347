/**
 * Work over many watches in one operation: which watches are meant, what became of each so far, and the result. Each watch
 * has a transaction of its own, in which its outcome is noted with the effect: work that is taken up again after a crash
 * goes on behind the last one.
 */
import { sql } from "kysely";
import { type Static, type TInteger, type TOptional, Type } from "typebox";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { OperationWork } from "#kernel/operations";
import type { Permission } from "#kernel/permissions";
import { type Fault, invalid, Problem, referenceNotFound } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { id, nullable, object, oneOf, text } from "#kernel/schema";
import { visibleFolders, visibleWatches } from "../scope.ts";
import { monitoring, type WatchStatus } from "../tables.ts";

const mostWatches = 1_000;

/** Members of a body that name the watches: by id, or those of a group and below a folder. */
export const selectionFields = {
  ids: Type.Optional(Type.Array(id("wch"), { minItems: 1, maxItems: mostWatches })),
  group: Type.Optional(text(50, { description: "The watches of this group." })),
  folderId: Type.Optional(
    id("fld", { description: "The watches below this folder; with `group`, those of the group." }),
  ),
};
export type Selection = { ids?: string[]; group?: string; folderId?: string };

const outcomes = ["activated", "unchanged", "successful", "failed", "interfaceIssue", "tested", "refused"] as const;
export type Outcome = (typeof outcomes)[number];

const counts = Object.fromEntries(
  outcomes.map((outcome) => [outcome, Type.Optional(Type.Integer({ minimum: 1 }))]),
) as Record<Outcome, TOptional<TInteger>>;

export const WatchBatch = object(
  {
    summary: object(counts, { description: "Number of watches by outcome." }),
    results: Type.Array(
      object({
        id: Type.String(),
        outcome: oneOf(outcomes),
        code: nullable(Type.String({ description: "Why: a reason of the test, or the code of the refusal." })),
      }),
    ),
  },
  { title: "WatchBatch" },
);
export type WatchBatch = Static<typeof WatchBatch>;

/**
 * The ids that a selection means, each once, at most 1,000: those stated as they are, seen or not; by group or folder the
 * watches on which the caller may use `permission`, of these statuses.
 */
export async function selectWatches(
  ctx: Context,
  selection: Selection,
  permission: Permission,
  statuses: readonly WatchStatus[],
): Promise<string[]> {
  const { ids, group, folderId } = selection;
  const faults = selectionFaults(selection);
  if (faults.length > 0) throw invalid(faults);
  if (ids) return [...new Set(ids)];
  if (folderId !== undefined) await requireFolder(ctx, folderId);
  let rows = visibleWatches(ctx, permission)
    .select("w.id")
    .where("w.status", "in", [...statuses]);
  if (group !== undefined) rows = rows.where("w.group_name", "=", group);
  if (folderId !== undefined) rows = rows.where(sql<boolean>`f.path_ids @> array[${folderId}::text]`);
  const found = await ctx.db.rows(
    rows
      .orderBy("w.created_at")
      .orderBy("w.id")
      .limit(mostWatches + 1),
  );
  if (found.length > mostWatches) {
    const pointer = group === undefined ? "/folderId" : "/group";
    throw invalid([{ pointer, rule: "maxItems", message: `These are more than ${mostWatches} watches.` }]);
  }
  return found.map((row) => row.id);
}

function selectionFaults({ ids, group, folderId }: Selection): Fault[] {
  const isFiltered = group !== undefined || folderId !== undefined;
  if (ids && isFiltered) {
    const pointer = group === undefined ? "/folderId" : "/group";
    return [{ pointer, rule: "oneOf", message: "Either ids are stated, or group and folderId." }];
  }
  if (!ids && !isFiltered)
    return [{ pointer: "/ids", rule: "required", message: "ids, group or folderId is missing." }];
  const wrong = (ids ?? []).map((value, index) => idFault("wch", value, { pointer: `/ids/${index}` }));
  const folder = folderId === undefined ? undefined : idFault("fld", folderId, { pointer: "/folderId" });
  return [...wrong, folder].filter((fault) => fault !== undefined);
}

async function requireFolder(ctx: Context, folderId: string): Promise<void> {
  const found = await ctx.db.first(visibleFolders(ctx).select("f.id").where("f.id", "=", folderId));
  if (!found) throw invalid([referenceNotFound({ pointer: "/folderId" })]);
}

type Item = {
  watchId: string;
  tenantId: string;
  testOperationId?: string;
  started?: boolean;
  outcome?: Outcome;
  code?: string | null;
};

/** Notes an item of the operation; false: it was noted before. */
export async function noteItem(ctx: Pick<Context, "db">, operationId: string, item: Item): Promise<boolean> {
  const made = await ctx.db.run(
    monitoring
      .insertInto("monitoring.watch_batch_item")
      .values({
        tenant_id: item.tenantId,
        operation_id: operationId,
        watch_id: item.watchId,
        test_operation_id: item.testOperationId ?? null,
        started: item.started ?? false,
        outcome: item.outcome ?? null,
        code: item.code ?? null,
      })
      .onConflict((on) => on.doNothing()),
  );
  return made > 0;
}

/** Runs the part of one watch in a transaction of its own; a refusal is an outcome, and noted. */
export async function performItem(
  work: OperationWork,
  watchId: string,
  part: (ctx: Context) => Promise<void>,
): Promise<void> {
  try {
    await work.transaction(part);
  } catch (error) {
    if (!(error instanceof Problem) || error.kind.status >= 500) throw error;
    const { code } = error.kind;
    await work.transaction(async (ctx) => {
      await noteItem(ctx, work.id, { watchId, tenantId: work.tenantId, outcome: "refused", code });
    });
  }
}

/** The ids that have an item, and how many of these are still under way. */
export async function notedItems(
  work: Pick<OperationWork, "db" | "id">,
): Promise<{ noted: Set<string>; open: number }> {
  const rows = await readItems(work);
  return { noted: new Set(rows.map((row) => row.watch_id)), open: rows.filter((row) => row.outcome === null).length };
}

/** The result of the operation, in the order of `ids`. */
export async function resultOf(work: Pick<OperationWork, "db" | "id">, ids: readonly string[]): Promise<WatchBatch> {
  const items = new Map((await readItems(work)).map((row) => [row.watch_id, row]));
  const results = ids.map((watchId) => {
    const { outcome, code } = items.get(watchId)!;
    return { id: watchId, outcome: outcome as Outcome, code };
  });
  const summary: Partial<Record<Outcome, number>> = {};
  for (const { outcome } of results) summary[outcome] = (summary[outcome] ?? 0) + 1;
  return { summary, results };
}

async function readItems(work: Pick<OperationWork, "db" | "id">) {
  return work.db.rows(
    monitoring
      .selectFrom("monitoring.watch_batch_item")
      .select(["watch_id", "outcome", "code"])
      .where("operation_id", "=", work.id),
  );
}

/** Forgets the items of an operation that ends: its result has them. */
export async function dropItems(ctx: Pick<Context, "db">, operationId: string): Promise<void> {
  await ctx.db.run(query(sql`delete from monitoring.watch_batch_item where operation_id = ${operationId}`));
}
