/**
 * The shape of the tree. Every folder keeps the ids and names of its path and the customer reference that holds there, so
 * that reads need no recursion; what reshapes the tree (renaming, moving, another reference) brings all below up to date
 * in a constant number of statements.
 *
 * Whoever makes something in the tree holds its tenants' locks shared, whoever reshapes holds the one of the reshaped
 * folder's tenant alone: nothing can come to be below a folder while its path changes, and be missed.
 */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { hot, query } from "#kernel/db";
import { problem } from "#kernel/problem";
import { rootFolderOf } from "./scope.ts";
import type { FolderRow } from "./tables.ts";

export const categoryConflict = problem("category_conflict", 409, "The category does not fit the folder above.");
export const folderTooDeep = problem("folder_too_deep", 409, "The tree would be deeper than 20 folders.");
export const tenantBorder = problem("tenant_border", 409, "Nothing moves from one tenant to another.");

/** How many folders lie between a folder and the root folder of its tenant. */
export function depthOf(folder: Pick<FolderRow, "tenant_id" | "path_ids">): number {
  return folder.path_ids.length - 1 - folder.path_ids.indexOf(rootFolderOf(folder.tenant_id));
}

// In the order of the ids, so that two callers never wait for each other. The lock is a statement of its own: what is
// read after it is what its former holder committed.
const lock = hot<{ folderId: string; lineage: readonly string[]; alone: boolean }, never>("monitoring_lock_tree", (p) =>
  query(sql`select case when ${p.alone} and t.own then pg_advisory_xact_lock(t.key) else pg_advisory_xact_lock_shared(t.key) end
    from (
      select hashtextextended('monitoring.tree.' || up.id, 0) as key, up.id = f.tenant_id as own
      from monitoring.folder f, lateral (
        select unnest(${p.lineage}::text[]) as id
        union select a.tenant_id from monitoring.folder a where a.id = any(f.path_ids)
      ) up
      where f.id = ${p.folderId} order by up.id
    ) t`),
);

/** Holds the tree around a folder until the end of the transaction: `alone` to reshape it, else to make something in it. */
export async function lockTree(ctx: Pick<Context, "db" | "who">, folderId: string, alone = false): Promise<void> {
  await ctx.db.run(lock({ folderId, lineage: ctx.who.acting.lineage, alone }));
}

type Reshape = {
  id: string;
  places: number;
  oldIds: string[];
  ids: string[];
  names: string[];
  reference: string | null;
  source: string | null;
  moved: boolean;
  now: Date;
};

const reshapeFolders = hot<Reshape, never>("monitoring_reshape_folders", (p) => {
  const inherits = sql`(effective_reference_folder_id is null or effective_reference_folder_id = any(${p.oldIds}::text[]))`;
  return query(sql`update monitoring.folder set
      path_ids = ${p.ids}::text[] || path_ids[${p.places}::int + 1:],
      path_names = ${p.names}::text[] || path_names[${p.places}::int + 1:],
      effective_reference = case when ${inherits} then ${p.reference}::text else effective_reference end,
      effective_reference_folder_id = case when ${inherits} then ${p.source}::text else effective_reference_folder_id end,
      changed_at = case when ${p.moved} and deleted_at is null then greatest(changed_at, ${p.now}::timestamptz) else changed_at end
    where path_ids @> array[${p.id}::text] and id <> ${p.id}`);
});

// Where the locations stay as they are, they are locked all the same: who makes a watch holds its location.
const touchLocations = hot<Pick<Reshape, "id" | "now">, never>("monitoring_reshape_locations", (p) =>
  query(sql`update monitoring.location l set changed_at = greatest(l.changed_at, ${p.now}::timestamptz)
    from monitoring.folder f where f.id = l.folder_id and f.path_ids @> array[${p.id}::text] and l.deleted_at is null`),
);
const holdLocations = hot<Pick<Reshape, "id">, never>("monitoring_hold_locations", (p) =>
  query(sql`select from monitoring.location l join monitoring.folder f on f.id = l.folder_id
    where f.path_ids @> array[${p.id}::text] and l.deleted_at is null for no key update of l`),
);
const touchWatches = hot<Pick<Reshape, "id" | "source" | "moved" | "now">, never>("monitoring_reshape_watches", (p) =>
  query(sql`update monitoring.watch w set changed_at = greatest(w.changed_at, ${p.now}::timestamptz)
    from monitoring.location l join monitoring.folder f on f.id = l.folder_id
    where l.id = w.location_id and f.path_ids @> array[${p.id}::text] and w.deleted_at is null
      and (${p.moved} or (w.customer_reference is null and f.effective_reference_folder_id is not distinct from ${p.source}::text))`),
);

/**
 * Brings all below a folder up to date after its own row was written. Returns the number of watches whose body changed.
 * The caller holds the tree alone.
 */
export async function reshapeBelow(
  ctx: Pick<Context, "db" | "now">,
  before: FolderRow,
  after: FolderRow,
): Promise<number> {
  const moved = before.path_ids.join() !== after.path_ids.join() || before.name !== after.name;
  const referenced =
    before.effective_reference !== after.effective_reference ||
    before.effective_reference_folder_id !== after.effective_reference_folder_id;
  if (!moved && !referenced) return 0;
  const reshape: Reshape = {
    id: after.id,
    places: before.path_ids.length,
    oldIds: before.path_ids,
    ids: after.path_ids,
    names: after.path_names,
    reference: after.effective_reference,
    source: after.effective_reference_folder_id,
    moved,
    now: ctx.now,
  };
  const [, , watches] = await Promise.all([
    ctx.db.run(reshapeFolders(reshape)),
    ctx.db.run(moved ? touchLocations(reshape) : holdLocations(reshape)),
    ctx.db.run(touchWatches(reshape)),
  ]);
  return watches;
}
