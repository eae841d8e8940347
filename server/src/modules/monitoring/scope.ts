/**
 * What a caller sees of the tree: its scope is the folder or location it is homed on (`within` of its assignments), by
 * default the root folder of the tenant it acts in. Every query of this module starts from one of the functions here.
 */
import { type RawBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { Permission } from "#kernel/permissions";
import { holds, type Principal, reachOf } from "#kernel/principal";
import { inReach } from "#kernel/wall";
import { type FolderRow, monitoring } from "./tables.ts";

type Caller = Pick<Context, "who">;
type Path = Pick<FolderRow, "path_ids" | "path_names">;

/** The root folder of a tenant has the tenant's own suffix: nobody has to look it up. */
export function rootFolderOf(tenantId: string): string {
  return tenantId.replace(/^tnt_/, "fld_");
}

/** Folders that may be the topmost one a caller sees: those it is homed on, and the root folder of the acting tenant. */
function homesOf(who: Principal): { all: boolean; folderIds: string[] } {
  const { all, nodes } = reachOf(who, "folder.read");
  const ids = nodes.flatMap(({ kind, id }) => (kind === "tenant" ? [rootFolderOf(id)] : kind === "folder" ? [id] : []));
  return { all, folderIds: all ? [] : ids };
}

/**
 * Where a reader stands: for the ids of the path of a folder, the place in them of the topmost folder that the reader
 * sees; -1: it sees none of them.
 */
export type View = (pathIds: readonly string[]) => number;

/** What the caller sees: its own homes, and nothing above the root folder of the acting tenant. */
export function viewOf(who: Principal): View {
  const { all, folderIds } = homesOf(who);
  const root = rootFolderOf(who.acting.id);
  return (pathIds) => {
    const places = folderIds.map((id) => pathIds.indexOf(id)).filter((place) => place >= 0);
    if (!all && places.length === 0) return -1;
    return Math.max(pathIds.indexOf(root), all ? 0 : Math.min(...places));
  };
}

/** What somebody sees who is homed on a tenant: the view of the tenant's events. */
export function viewOfTenant(tenantId: string): View {
  const root = rootFolderOf(tenantId);
  return (pathIds) => pathIds.indexOf(root);
}

/** Names of the folders below the reader's topmost one that lead to a folder; `[]` in that one itself. */
export function pathSeen(view: View, folder: Path): string[] {
  const start = view(folder.path_ids);
  return start < 0 ? [] : folder.path_names.slice(start + 1);
}

/** Whether the reader sees a folder of this path. */
export function seesFolder(view: View, pathIds: readonly string[], folderId: string): boolean {
  const start = view(pathIds);
  return start >= 0 && pathIds.indexOf(folderId) >= start;
}

/** Whether a folder is the topmost one that the caller sees: it can be edited by it, but not moved or removed. */
export function isHome(who: Principal, folder: Pick<FolderRow, "path_ids">): boolean {
  return viewOf(who)(folder.path_ids) === folder.path_ids.length - 1;
}

/** The topmost folders that the caller sees: one, as a rule; none for who is homed on a location; several for who is homed on several. */
export async function homeFolders(ctx: Pick<Context, "db" | "who">): Promise<FolderRow[]> {
  const { who } = ctx;
  const candidates = [...homesOf(who).folderIds, rootFolderOf(who.acting.id)];
  const found = await ctx.db.rows(visibleFolders(ctx).selectAll("f").where("f.id", "in", candidates).orderBy("f.id"));
  return found.filter((row) => isHome(who, row));
}

/** The place of the caller's topmost folder in `f.path_ids`, from 1; null where it sees none: for the filter `path`. */
export function homePlace(who: Principal): RawBuilder<number | null> {
  const { all, folderIds } = homesOf(who);
  const placeOf = (id: string) => sql`array_position(f.path_ids, ${id})`;
  const root = placeOf(rootFolderOf(who.acting.id));
  if (all) return sql`${root}`;
  if (folderIds.length === 0) return sql`null::integer`;
  const top = sql`least(${sql.join(folderIds.map(placeOf))})`;
  return sql`case when ${top} is not null then greatest(${root}, ${top}) end`;
}

function within(
  who: Principal,
  permission: Permission,
  tenant: string,
  locationId: string | null,
): RawBuilder<boolean> {
  return inReach(who, permission, sql.ref(tenant), {
    folder: (ids) => sql`f.path_ids && ${ids}::text[]`,
    location: (ids) => (locationId ? sql`${sql.ref(locationId)} = any(${ids})` : sql`false`),
  });
}

/** Whether the caller holds a permission on folder `f`, as a column of a query. */
export function allowsOnFolder({ who }: Caller, permission: Permission): RawBuilder<boolean> {
  return within(who, permission, "f.tenant_id", null);
}

/** Whether the caller holds a permission on location `l` in folder `f`, and so on the watches there, as a column. */
export function allowsOnLocation({ who }: Caller, permission: Permission): RawBuilder<boolean> {
  return within(who, permission, "l.tenant_id", "l.id");
}

/** `all`: tombstones too. */
type Which = "living" | "all";

/** Whether what an event shows of a thing's place (names and references of folders above it) is all the caller's to see. */
export function seesWholeTree(who: Principal): boolean {
  return reachOf(who, "folder.read").all;
}

const subject = sql<string>`e.subject`;

/** Events of folders: the folder, a removed one too, is one that the caller sees. */
export function visibleFolderEvents(who: Principal): RawBuilder<boolean> {
  if (reachOf(who, "folder.read").all) return sql`true`;
  const rows = visibleFolders({ who }, "folder.read", "all").select("f.id").where("f.id", "=", subject);
  return sql`exists (${rows})`;
}

/** Events of locations, likewise. */
export function visibleLocationEvents(who: Principal): RawBuilder<boolean> {
  if (reachOf(who, "folder.read").all) return sql`true`;
  const rows = visibleLocations({ who }, "folder.read", "all").select("l.id").where("l.id", "=", subject);
  return sql`exists (${rows})`;
}

/** Events of watches: the watch is one that the caller sees, and where it was pending after the change, may see pending. */
export function visibleWatchEvents(who: Principal): RawBuilder<boolean> {
  const pending = watchEventsWithin(who, "pending.read");
  if (!holds(who, "watch.read")) return pending;
  const shown = sql`coalesce(e.data->'resource'->>'status', e.data->'previous'->>'status', 'pending')`;
  return sql`(${pending} or (${shown} <> 'pending' and ${watchEventsWithin(who, "watch.read")}))`;
}

function watchEventsWithin(who: Principal, permission: Permission): RawBuilder<boolean> {
  if (reachOf(who, permission).all) return sql`true`;
  const rows = monitoring
    .selectFrom("monitoring.watch as w")
    .innerJoin("monitoring.location as l", "l.id", "w.location_id")
    .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
    .where(within(who, permission, "w.tenant_id", "l.id"))
    .where("w.id", "=", subject)
    .select("w.id");
  return sql`exists (${rows})`;
}

/** Folders that the caller may use `permission` on. */
export function visibleFolders(ctx: Caller, permission: Permission = "folder.read", which: Which = "living") {
  const rows = monitoring.selectFrom("monitoring.folder as f").where(allowsOnFolder(ctx, permission));
  return which === "all" ? rows : rows.where("f.deleted_at", "is", null);
}

/** Locations with their folders. */
export function visibleLocations(ctx: Caller, permission: Permission = "folder.read", which: Which = "living") {
  const rows = monitoring
    .selectFrom("monitoring.location as l")
    .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
    .where(allowsOnLocation(ctx, permission));
  return which === "all" ? rows : rows.where("l.deleted_at", "is", null);
}

/** Watches with their locations and folders. A pending one does not exist for who lacks `pending.read`. */
export function visibleWatches(ctx: Caller, permission: Permission = "watch.read", which: Which = "living") {
  const all = monitoring
    .selectFrom("monitoring.watch as w")
    .innerJoin("monitoring.location as l", "l.id", "w.location_id")
    .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
    .where(within(ctx.who, permission, "w.tenant_id", "l.id"));
  const rows = which === "all" ? all : all.where("w.deleted_at", "is", null);
  if (permission !== "watch.read") return rows;
  if (!holds(ctx.who, "pending.read")) return rows.where("w.status", "<>", "pending");
  const pending = reachOf(ctx.who, "pending.read");
  if (pending.all) return rows;
  return rows.where((where) =>
    where.or([where("w.status", "<>", "pending"), within(ctx.who, "pending.read", "w.tenant_id", "l.id")]),
  );
}
