/** Folders: list, make, read, change, remove. */
import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import { lacking } from "#kernel/principal";
import { type Fault, invalid, notFound, problem, referenceNotFound, refuse } from "#kernel/problem";
import { filterFaults, idFault } from "#kernel/reference";
import { userCards } from "#modules/directory";
import { folderDeleted } from "../events.ts";
import { listFaults, treeMatches } from "../filter.ts";
import { homeFolder } from "../place/place.ts";
import {
  allowsOnFolder,
  homeFolders,
  homePlace,
  isHome,
  seesFolder,
  viewOf,
  viewOfTenant,
  visibleFolders,
} from "../scope.ts";
import { type FolderRow, monitoring } from "../tables.ts";
import { tombstone } from "../tombstone.ts";
import { lockTree } from "../tree.ts";
import { Folder, type FolderChange, type FolderQuery, type NewFolder } from "./schema.ts";
import { changeFolder, fieldFaults, folderBody, folderIsRoot, holdFolder, insertFolders } from "./store.ts";

export const folderNotEmpty = problem("folder_not_empty", 409, "There are folders or locations in the folder.");

/** Lists the folders that the caller sees. */
export async function listFolders(ctx: Context, query: FolderQuery) {
  const { parentFolderId, folderId, contactUserId } = query;
  const faults = await listFaults(ctx, query, [
    filterFaults("parentFolderId", "fld", parentFolderId?.filter(Boolean), (ids) => seen(ctx, ids)),
    filterFaults("folderId", "fld", folderId, (ids) => seen(ctx, ids)),
    filterFaults("contactUserId", "usr", contactUserId?.filter(Boolean), async (ids) => [
      ...(await userCards(ctx.db, ids)).values(),
    ]),
  ]);
  if (faults.length > 0) throw invalid(faults);
  let rows = visibleFolders(ctx, "folder.read", query.includeDeleted ? "all" : "living").selectAll("f");
  rows = rows.where((where) => where.and(treeMatches("f", query)));
  if (query.path) rows = rows.where(sql<boolean>`f.path_names[${homePlace(ctx.who)} + 1:] = ${query.path}::text[]`);
  if (parentFolderId) {
    const homes = parentFolderId.includes("") ? (await homeFolders(ctx)).map((row) => row.id) : [];
    const below = sql<boolean>`(f.parent_id = any(${parentFolderId}::text[]) and not f.id = any(${homes}::text[]))`;
    rows = rows.where(sql<boolean>`(${below} or f.id = any(${homes}::text[]))`);
  }
  if (folderId) rows = rows.where(sql<boolean>`f.path_ids && ${folderId}::text[]`).where("f.id", "not in", folderId);
  if (query.category) rows = rows.where("f.category", "in", query.category);
  if (query.customerReference !== undefined)
    rows = rows.where(sql<boolean>`f.customer_reference is not distinct from nullif(${query.customerReference}, '')`);
  if (contactUserId) rows = rows.where(sql<boolean>`coalesce(f.contact_user_id, '') = any(${contactUserId}::text[])`);
  const view = viewOf(ctx.who);
  return readPage(ctx, query, {
    from: rows,
    sorts: {
      name: sql.ref("f.name"),
      createdAt: sql.ref("f.created_at"),
      updatedAt: sql.ref("f.updated_at"),
      changedAt: sql.ref("f.changed_at"),
    },
    by: "createdAt",
    id: sql.ref("f.id"),
    item: (row) => {
      const body = folderBody(row, view);
      return row.deleted_at ? tombstone(row, { parentFolderId: body.parentFolderId }) : body;
    },
  });
}

const seen = (ctx: Context, ids: string[]) => ctx.db.rows(visibleFolders(ctx).select("f.id").where("f.id", "in", ids));

/** Reads one folder. */
export async function getFolder(ctx: Context, id: string): Promise<Folder> {
  const row = await ctx.db.first(visibleFolders(ctx).selectAll("f").where("f.id", "=", id));
  if (!row) throw refuse(notFound);
  return folderBody(row, viewOf(ctx.who));
}

/** Makes a folder, in the caller's scope root unless another is named. */
export async function createFolder(ctx: Context, body: NewFolder): Promise<Folder> {
  const { parentFolderId, ...fields } = body;
  const at = { pointer: "/parentFolderId" };
  const wrong = parentFolderId ? idFault("fld", parentFolderId, at) : undefined;
  const faults = [...(wrong ? [wrong] : []), ...fieldFaults(fields)];
  if (faults.length > 0) throw invalid(faults);
  const parentId = parentFolderId ?? (await homeFolder(ctx, at.pointer)).id;
  const [, parent] = await Promise.all([lockTree(ctx, parentId), holdFolder(ctx, parentId, "share")]);
  if (!parent) throw invalid([referenceNotFound(at)]);
  if (!parent.writable) throw lacking("folder.write");
  const [row] = await insertFolders(ctx, parent, [fields]);
  return folderBody(row!, viewOf(ctx.who));
}

type Found = FolderRow & { writable: boolean };

/** The folder of an address, with whether the caller may change it; 404 and 403 otherwise. */
async function writableFolder(ctx: Context, id: string, which: "living" | "all"): Promise<Found> {
  const row = await ctx.db.first(
    visibleFolders(ctx, "folder.read", which)
      .selectAll("f")
      .select(allowsOnFolder(ctx, "folder.write").as("writable"))
      .where("f.id", "=", id),
  );
  if (!row) throw refuse(notFound);
  if (!row.writable) throw lacking("folder.write");
  return row;
}

/** Merges a change into a folder; `parentFolderId` moves it. */
export async function updateFolder(ctx: Context, id: string, change: FolderChange): Promise<Folder> {
  await writableFolder(ctx, id, "living");
  if ("name" in change || "parentFolderId" in change || "customerReference" in change) await lockTree(ctx, id, true);
  const before = await holdFolder(ctx, id, "update");
  if (!before) throw refuse(notFound);
  const view = viewOf(ctx.who);
  requireMatch(ctx, Folder, folderBody(before, view));
  const { parentFolderId, ...fields } = change;
  const parent = parentFolderId === undefined ? undefined : await newParent(ctx, before, parentFolderId, fields);
  return folderBody(await changeFolder(ctx, before, fields, parent), view);
}

/** The folder that a change names as the parent, held; undefined where it stays as the caller sees it. */
async function newParent(
  ctx: Context,
  before: FolderRow,
  named: string | null,
  fields: FolderChange,
): Promise<FolderRow | undefined> {
  const at = { pointer: "/parentFolderId" };
  const visible =
    before.parent_id && seesFolder(viewOf(ctx.who), before.path_ids, before.parent_id) ? before.parent_id : null;
  if (named === visible) return undefined;
  const wrong: Fault | undefined = named === null ? undefined : idFault("fld", named, at);
  const targetId = wrong ? null : (named ?? (await homeFolder(ctx, at.pointer)).id);
  const target = targetId ? await holdFolder(ctx, targetId, "share") : undefined;
  if (!target) throw invalid([wrong ?? referenceNotFound(at), ...fieldFaults(fields)]);
  if (!target.writable) throw lacking("folder.write");
  return target;
}

/** Removes an empty folder. False: it was removed before. */
export async function deleteFolder(ctx: Context, id: string): Promise<boolean> {
  const { deleted_at } = await writableFolder(ctx, id, "all");
  const row = deleted_at ? undefined : await holdFolder(ctx, id, "update");
  if (!row) return false;
  requireMatch(ctx, Folder, folderBody(row, viewOf(ctx.who)));
  if (row.is_tenant_root || isHome(ctx.who, row)) throw refuse(folderIsRoot);
  const inside = await ctx.db.first<{ id: string }>(
    monitoring
      .selectFrom("monitoring.folder")
      .select("id")
      .where("parent_id", "=", id)
      .where("deleted_at", "is", null)
      .unionAll(
        monitoring
          .selectFrom("monitoring.location")
          .select("id")
          .where("folder_id", "=", id)
          .where("deleted_at", "is", null),
      )
      .limit(1),
  );
  if (inside) throw refuse(folderNotEmpty);
  const at = new Date(Math.max(ctx.now.getTime(), row.changed_at.getTime()));
  await ctx.db.run(
    monitoring
      .updateTable("monitoring.folder")
      .set({ deleted_at: at, deleted_by: ctx.who.actor.id, changed_at: at })
      .where("id", "=", id),
  );
  const last = folderBody(row, viewOfTenant(row.tenant_id));
  ctx.emit(folderDeleted, {
    tenantId: row.tenant_id,
    subject: id,
    path: `/folder/${id}`,
    resource: null,
    previous: last,
    changed: [],
  });
  ctx.audit({
    tenantId: row.tenant_id,
    type: "folder",
    action: "deleted",
    item: { kind: "folder", id, name: row.name },
    changes: changesOf(last, null, ["name", "parentFolderId"]),
  });
  return true;
}
