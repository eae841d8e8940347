/**
 * What a caller sees of the tree: its scope is the folder or location it is homed on (`within` of its assignments), by
 * default the root folder of the tenant it acts in. Every query of this module starts from one of the functions here.
 */
import { type RawBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { Permission } from "#kernel/permissions";
import { holds, type Principal, reachOf } from "#kernel/principal";
import { inReach } from "#kernel/wall";
import { monitoring } from "./tables.ts";

/** The root folder of a tenant has the tenant's own suffix: nobody has to look it up. */
export function rootFolderOf(tenantId: string): string {
  return tenantId.replace(/^tnt_/, "fld_");
}

/** Where the caller is at home: paths begin below it, and what has no parent is made in it. */
export function homeOf(who: Principal): { kind: "folder" | "location"; id: string } {
  const { all, nodes } = reachOf(who, "folder.read");
  const only = nodes[0];
  if (!all && nodes.length === 1 && only && (only.kind === "folder" || only.kind === "location")) return { kind: only.kind, id: only.id };
  return { kind: "folder", id: rootFolderOf(!all && nodes.length === 1 && only?.kind === "tenant" ? only.id : who.acting.id) };
}

/** Names of the folders below the caller's home that lead to a node; `[]` in the home itself. */
export function pathFromHome(who: Principal, folder: { path_ids: string[]; path_names: string[] }): string[] {
  const home = homeOf(who);
  if (home.kind === "location") return [];
  return folder.path_names.slice(folder.path_ids.indexOf(home.id) + 1);
}

function within(who: Principal, permission: Permission, tenant: string, pathIds: string, locationId: string | null): RawBuilder<boolean> {
  return inReach(who, permission, sql.ref(tenant), {
    folder: (ids) => sql`${sql.ref(pathIds)} && ${ids}::text[]`,
    location: (ids) => (locationId ? sql`${sql.ref(locationId)} = any(${ids})` : sql`false`),
  });
}

/** Folders that the caller may use `permission` on, living ones. */
export function visibleFolders(ctx: Pick<Context, "who">, permission: Permission = "folder.read") {
  return monitoring
    .selectFrom("monitoring.folder as f")
    .where(within(ctx.who, permission, "f.tenant_id", "f.path_ids", null))
    .where("f.deleted_at", "is", null);
}

/** Locations with their folders. */
export function visibleLocations(ctx: Pick<Context, "who">, permission: Permission = "folder.read") {
  return monitoring
    .selectFrom("monitoring.location as l")
    .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
    .where(within(ctx.who, permission, "l.tenant_id", "f.path_ids", "l.id"))
    .where("l.deleted_at", "is", null);
}

/** Watches with their locations and folders. A pending one does not exist for who lacks `pending.read`. */
export function visibleWatches(ctx: Pick<Context, "who">, permission: Permission = "watch.read") {
  const rows = monitoring
    .selectFrom("monitoring.watch as w")
    .innerJoin("monitoring.location as l", "l.id", "w.location_id")
    .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
    .where(within(ctx.who, permission, "w.tenant_id", "f.path_ids", "l.id"))
    .where("w.deleted_at", "is", null);
  if (permission !== "watch.read") return rows;
  if (!holds(ctx.who, "pending.read")) return rows.where("w.status", "<>", "pending");
  const pending = reachOf(ctx.who, "pending.read");
  if (pending.all) return rows;
  return rows.where((where) => where.or([where("w.status", "<>", "pending"), within(ctx.who, "pending.read", "w.tenant_id", "f.path_ids", "l.id")]));
}
