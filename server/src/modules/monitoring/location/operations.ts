/** Locations: list, make, read, change, remove. */
import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import { lacking } from "#kernel/principal";
import { invalid, notFound, problem, referenceNotFound, refuse } from "#kernel/problem";
import { filterFaults, idFault } from "#kernel/reference";
import { locationDeleted } from "../events.ts";
import { listFaults, treeMatches } from "../filter.ts";
import { fieldFaults, holdFolder } from "../folder/store.ts";
import {
  allowsOnLocation,
  homePlace,
  seesFolder,
  viewOf,
  viewOfTenant,
  visibleFolders,
  visibleLocations,
} from "../scope.ts";
import { type FolderRow, monitoring } from "../tables.ts";
import { tombstone } from "../tombstone.ts";
import { lockTree } from "../tree.ts";
import { Location, type LocationChange, type LocationQuery, type NewLocation } from "./schema.ts";
import {
  changeLocation,
  holdLocation,
  insertLocation,
  isHomeLocation,
  locationBody,
  locationIsRoot,
  nameTaken,
  type PlacedLocation,
} from "./store.ts";

export const locationNotEmpty = problem("location_not_empty", 409, "There are watches at the location.");

function readable(ctx: Context, which: "living" | "all" = "living") {
  return visibleLocations(ctx, "folder.read", which).selectAll("l").select(["f.path_ids", "f.path_names"]);
}

/** Lists the locations that the caller sees. */
export async function listLocations(ctx: Context, query: LocationQuery) {
  const { folderId } = query;
  const seen = (ids: string[]) => ctx.db.rows(visibleFolders(ctx).select("f.id").where("f.id", "in", ids));
  const faults = await listFaults(ctx, query, [filterFaults("folderId", "fld", folderId, seen)]);
  if (faults.length > 0) throw invalid(faults);
  let rows = readable(ctx, query.includeDeleted ? "all" : "living").where((where) =>
    where.and(treeMatches("l", query)),
  );
  if (query.path) rows = rows.where(sql<boolean>`f.path_names[${homePlace(ctx.who)} + 1:] = ${query.path}::text[]`);
  if (folderId) rows = rows.where("l.folder_id", "in", folderId);
  const view = viewOf(ctx.who);
  return readPage(ctx, query, {
    from: rows,
    sorts: {
      name: sql.ref("l.name"),
      createdAt: sql.ref("l.created_at"),
      updatedAt: sql.ref("l.updated_at"),
      changedAt: sql.ref("l.changed_at"),
    },
    by: "createdAt",
    id: sql.ref("l.id"),
    item: (row) => {
      const body = locationBody(row, view);
      return row.deleted_at ? tombstone(row, { folderId: body.folderId }) : body;
    },
  });
}

/** Reads one location. */
export async function getLocation(ctx: Context, id: string): Promise<Location> {
  const row = await ctx.db.first(readable(ctx).where("l.id", "=", id));
  if (!row) throw refuse(notFound);
  return locationBody(row, viewOf(ctx.who));
}

/** Makes a location in a folder. */
export async function createLocation(ctx: Context, body: NewLocation): Promise<Location> {
  const { folderId, ...fields } = body;
  const folder = await folderToPutIn(ctx, folderId, fields);
  const row = await insertLocation(ctx, folder, fields);
  if (!row) throw await nameTaken(ctx, folder, fields.name);
  return locationBody(row, viewOf(ctx.who));
}

/** The folder that a body names, held with its tree. */
async function folderToPutIn(
  ctx: Context,
  folderId: string,
  fields: Omit<LocationChange, "folderId">,
): Promise<FolderRow> {
  const at = { pointer: "/folderId" };
  const wrong = idFault("fld", folderId, at);
  const [, folder] = wrong ? [] : await Promise.all([lockTree(ctx, folderId), holdFolder(ctx, folderId, "share")]);
  if (!folder) throw invalid([wrong ?? referenceNotFound(at), ...fieldFaults(fields)]);
  if (!folder.writable) throw lacking("folder.write");
  return folder;
}

/** The location of an address, as its row is, where the caller may change it; 404 and 403 otherwise. */
async function writableLocation(ctx: Context, id: string): Promise<PlacedLocation> {
  const row = await ctx.db.first(
    readable(ctx, "all").select(allowsOnLocation(ctx, "folder.write").as("writable")).where("l.id", "=", id),
  );
  if (!row) throw refuse(notFound);
  if (!row.writable) throw lacking("folder.write");
  return row;
}

/** Merges a change into a location; `folderId` moves it. */
export async function updateLocation(ctx: Context, id: string, change: LocationChange): Promise<Location> {
  const { folder_id, deleted_at } = await writableLocation(ctx, id);
  if (deleted_at) throw refuse(notFound);
  const { folderId, ...fields } = change;
  // The tree before the row, as everywhere: a move below a folder that is being renamed waits here.
  if (folderId !== undefined && folderId !== folder_id) await lockTree(ctx, folder_id);
  const before = await holdLocation(ctx, id, "update");
  if (!before) throw refuse(notFound);
  const view = viewOf(ctx.who);
  requireMatch(ctx, Location, locationBody(before, view));
  const shown = seesFolder(view, before.path_ids, before.folder_id);
  const stays = folderId === undefined || (shown && folderId === before.folder_id);
  const folder = stays ? await ownFolder(ctx, before) : await folderToPutIn(ctx, folderId, fields);
  if (!stays && isHomeLocation(ctx, before)) throw refuse(locationIsRoot);
  return locationBody(await changeLocation(ctx, before, fields, folder), view);
}

/** The folder of a location, whether or not the caller sees it. */
async function ownFolder(ctx: Context, row: PlacedLocation): Promise<FolderRow> {
  return (await ctx.db.first(monitoring.selectFrom("monitoring.folder").selectAll().where("id", "=", row.folder_id)))!;
}

/** Removes a location without watches. False: it was removed before. */
export async function deleteLocation(ctx: Context, id: string): Promise<boolean> {
  const { deleted_at } = await writableLocation(ctx, id);
  const row = deleted_at ? undefined : await holdLocation(ctx, id, "update");
  if (!row) return false;
  requireMatch(ctx, Location, locationBody(row, viewOf(ctx.who)));
  if (isHomeLocation(ctx, row)) throw refuse(locationIsRoot);
  const inside = await ctx.db.first(
    monitoring
      .selectFrom("monitoring.watch")
      .select("id")
      .where("location_id", "=", id)
      .where("deleted_at", "is", null)
      .limit(1),
  );
  if (inside) throw refuse(locationNotEmpty);
  const at = new Date(Math.max(ctx.now.getTime(), row.changed_at.getTime()));
  await ctx.db.run(
    monitoring
      .updateTable("monitoring.location")
      .set({ deleted_at: at, deleted_by: ctx.who.actor.id, changed_at: at })
      .where("id", "=", id),
  );
  const last = locationBody(row, viewOfTenant(row.tenant_id));
  ctx.emit(locationDeleted, {
    tenantId: row.tenant_id,
    subject: id,
    path: `/location/${id}`,
    resource: null,
    previous: last,
    changed: [],
  });
  ctx.audit({
    tenantId: row.tenant_id,
    type: "location",
    action: "deleted",
    item: { kind: "location", id, name: row.name },
    changes: changesOf(last, null, ["name", "folderId"]),
  });
  return true;
}
