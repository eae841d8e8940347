/** Folders as rows: what a row shows, how new ones are made and present ones changed, by whatever operation. */
import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { newId } from "#kernel/ids";
import { type Fault, invalid, problem, referenceNotFound, refuse } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { isTimeZone } from "#kernel/time-zone";
import { isAssignedWithin, timeZoneOf } from "#modules/access";
import { userNameIn } from "#modules/directory";
import { folderCreated, folderUpdated } from "../events.ts";
import { drawNumericIds } from "../numeric-id.ts";
import { allowsOnFolder, isHome, pathSeen, seesFolder, type View, viewOfTenant, visibleFolders } from "../scope.ts";
import { type FolderRow, monitoring } from "../tables.ts";
import { categoryConflict, depthOf, folderTooDeep, reshapeBelow, tenantBorder } from "../tree.ts";
import type { Folder, FolderChange, ImportedFolder } from "./schema.ts";
import { mostFolders } from "./schema.ts";

export const folderIsRoot = problem("folder_is_root", 409, "A root folder is not moved or removed.");
export const folderCycle = problem("folder_cycle", 409, "A folder cannot lie below itself.");

/** The fields that a change is told and recorded by, as the body names them. */
const told = [
  "name",
  "parentFolderId",
  "category",
  "timeZone",
  "customerReference",
  "reference",
  "description",
  "contactUserId",
] as const;

/** A folder as a reader sees it. */
export function folderBody(row: FolderRow, view: View): Folder {
  return {
    id: row.id,
    numericId: row.numeric_id,
    tenantId: row.tenant_id,
    name: row.name,
    parentFolderId: row.parent_id && seesFolder(view, row.path_ids, row.parent_id) ? row.parent_id : null,
    category: row.category,
    timeZone: row.time_zone,
    customerReference: row.customer_reference,
    reference: row.reference,
    description: row.description,
    contactUserId: row.contact_user_id,
    isTenantRoot: row.is_tenant_root,
    path: pathSeen(view, row),
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
    updatedAt: row.updated_at.toISOString(),
    updatedBy: row.updated_by,
    changedAt: row.changed_at.toISOString(),
  };
}

/** Locks a folder that the caller sees, until the end of the transaction: `share` to put something in it, `update` to change it. */
export async function holdFolder(
  ctx: Context,
  id: string,
  hold: "share" | "update",
): Promise<(FolderRow & { writable: boolean }) | undefined> {
  const rows = visibleFolders(ctx)
    .selectAll("f")
    .select(allowsOnFolder(ctx, "folder.write").as("writable"))
    .where("f.id", "=", id);
  return ctx.db.first(hold === "share" ? rows.forShare("f") : rows.forUpdate("f"));
}

/** Faults of the fields of a folder or location that the schema cannot say. */
export function fieldFaults(body: { timeZone?: string | null; contactUserId?: string | null }): Fault[] {
  const faults: Fault[] = [];
  if (body.timeZone && !isTimeZone(body.timeZone)) faults.push(zoneFault(body.timeZone));
  const contact = body.contactUserId && idFault("usr", body.contactUserId, { pointer: "/contactUserId" });
  return contact ? [...faults, contact] : faults;
}

function zoneFault(name: string): Fault {
  return { pointer: "/timeZone", rule: "format", message: `${name} is not the name of an IANA time zone.` };
}

type Fields = ImportedFolder & { name: string };

/**
 * Makes a chain of folders, each in the one before it, the first in `parent`, whose tree the caller holds. Two
 * statements, however long the chain.
 */
export async function insertFolders(ctx: Context, parent: FolderRow, chain: readonly Fields[]): Promise<FolderRow[]> {
  const ids = chain.map(() => newId("fld", ctx.now.getTime()));
  const numbers = await drawNumericIds(
    ctx,
    ids.map((id) => ({ tenantId: parent.tenant_id, id })),
  );
  const rows: FolderRow[] = [];
  for (const [index, fields] of chain.entries()) {
    const above = rows.at(-1) ?? parent;
    const row = newRow(ctx, above, ids[index]!, numbers.get(ids[index]!)!, fields);
    checkFields(row, above);
    rows.push(row);
  }
  for (const row of rows) await checkContact(ctx, row);
  await ctx.db.run(monitoring.insertInto("monitoring.folder").values(rows));
  for (const row of rows) {
    const body = folderBody(row, viewOfTenant(row.tenant_id));
    ctx.emit(folderCreated, {
      tenantId: row.tenant_id,
      subject: row.id,
      path: `/folder/${row.id}`,
      resource: body,
      previous: null,
      changed: [],
    });
    ctx.audit({
      tenantId: row.tenant_id,
      type: "folder",
      action: "created",
      item: itemOf(row),
      changes: changesOf(null, body, told),
    });
    await recordContact(ctx, null, row);
  }
  return rows;
}

function newRow(ctx: Context, parent: FolderRow, id: string, numericId: number, fields: Fields): FolderRow {
  return {
    tenant_id: parent.tenant_id,
    id,
    numeric_id: numericId,
    name: fields.name,
    parent_id: parent.id,
    category: fields.category ?? parent.category,
    time_zone: fields.timeZone ?? parent.time_zone,
    customer_reference: fields.customerReference ?? null,
    reference: fields.reference ?? null,
    description: fields.description ?? null,
    contact_user_id: fields.contactUserId ?? null,
    is_tenant_root: false,
    ...placed(id, fields.name, fields.customerReference ?? null, parent),
    ...stampsOf(ctx),
  };
}

/** What a new row says of its making. */
export function stampsOf(ctx: Context) {
  const { now } = ctx;
  const by = ctx.who.actor.id;
  return {
    created_at: now,
    created_by: by,
    updated_at: now,
    updated_by: by,
    changed_at: now,
    deleted_at: null,
    deleted_by: null,
  };
}

/** What a folder has of its place: path, and the customer reference that holds there. */
export function placed(id: string, name: string, ownReference: string | null, parent: FolderRow | null) {
  return {
    path_ids: [...(parent?.path_ids ?? []), id],
    path_names: [...(parent?.path_names ?? []), name],
    effective_reference: ownReference ?? parent?.effective_reference ?? null,
    effective_reference_folder_id: ownReference ? id : (parent?.effective_reference_folder_id ?? null),
  };
}

/** What a folder and the one above it must agree on. */
export function checkFields(row: FolderRow, parent: FolderRow | null): void {
  if (row.customer_reference !== null && row.category !== "customer") {
    throw invalid([
      {
        pointer: "/customerReference",
        rule: "not_for_category",
        message: "Only a folder of the category customer has a customer reference.",
      },
    ]);
  }
  if (parent?.category === "customer" && row.category !== "customer") {
    throw refuse(categoryConflict, { detail: "Below a folder of the category customer there are only such folders." });
  }
  if (depthOf(row) > mostFolders) throw refuse(folderTooDeep);
}

/** The contact is a user of the folder's tenant who is homed on the folder or above it. */
async function checkContact(ctx: Context, row: FolderRow): Promise<void> {
  const userId = row.contact_user_id;
  if (userId === null) return;
  // A folder's id and its tenant's differ in the prefix alone where it is a root: the tenants above are among these ids.
  const nodes = [...row.path_ids, ...row.path_ids.map((id) => id.replace(/^fld_/, "tnt_")), ...ctx.who.acting.lineage];
  const [name, homed] = await Promise.all([
    userNameIn(ctx.db, row.tenant_id, userId),
    isAssignedWithin(ctx.db, userId, nodes),
  ]);
  if (name === undefined || !homed) throw invalid([referenceNotFound({ pointer: "/contactUserId" })]);
}

/** A change of contact stands in the record of each user it concerns, too. */
export async function recordContact(ctx: Context, before: FolderRow | null, after: FolderRow): Promise<void> {
  const [old, next] = [before?.contact_user_id ?? null, after.contact_user_id];
  if (old === next) return;
  for (const userId of [old, next]) {
    if (userId === null) continue;
    const name = (await userNameIn(ctx.db, after.tenant_id, userId)) ?? userId;
    const [from, to] = userId === next ? [null, after.id] : [after.id, null];
    ctx.audit({
      tenantId: after.tenant_id,
      type: "folder",
      action: "updated",
      item: { kind: "user", id: userId, name },
      changes: [{ field: "contactOf", old: from, new: to }],
    });
  }
}

function itemOf(row: FolderRow) {
  return { kind: "folder", id: row.id, name: row.name };
}

/**
 * Merges a change into a folder that the caller has locked; what reshapes the tree needs the tree alone. `parent` is the
 * locked folder that it moves to. Returns the row as it is now, the same one where nothing changed.
 */
export async function changeFolder(
  ctx: Context,
  before: FolderRow,
  change: FolderChange,
  parent?: FolderRow,
): Promise<FolderRow> {
  const faults = fieldFaults(change);
  if (faults.length > 0) throw invalid(faults);
  const moves = parent !== undefined && parent.id !== before.parent_id;
  if (moves) checkMove(ctx, before, parent);
  const above = moves ? parent : await parentOf(ctx, before);
  const after: FolderRow = {
    ...before,
    name: change.name ?? before.name,
    parent_id: moves ? parent.id : before.parent_id,
    time_zone:
      change.timeZone === null ? await inheritedZone(ctx, before, above) : (change.timeZone ?? before.time_zone),
    customer_reference: change.customerReference === undefined ? before.customer_reference : change.customerReference,
    reference: change.reference === undefined ? before.reference : change.reference,
    description: change.description === undefined ? before.description : change.description,
    contact_user_id: change.contactUserId === undefined ? before.contact_user_id : change.contactUserId,
  };
  if (above) Object.assign(after, placed(after.id, after.name, after.customer_reference, above));
  else Object.assign(after, renamed(before, after));
  const view = viewOfTenant(before.tenant_id);
  const changes = changesOf(folderBody(before, view), folderBody(after, view), told);
  if (changes.length === 0) return before;
  checkFields(after, moves ? parent : null);
  if (moves && depthOf(after) > depthOf(before)) await checkDepthBelow(ctx, before, depthOf(after));
  if (after.contact_user_id !== before.contact_user_id) await checkContact(ctx, after);
  after.updated_at = after.changed_at = new Date(
    Math.max(ctx.now.getTime(), before.changed_at.getTime(), before.updated_at.getTime()),
  );
  after.updated_by = ctx.who.actor.id;
  await ctx.db.run(monitoring.updateTable("monitoring.folder").set(changeable(after)).where("id", "=", after.id));
  const affectedWatches = await reshapeBelow(ctx, before, after);
  const fields = changesOf(folderBody(before, view), folderBody(after, view), [...told, "path"]);
  ctx.emit(folderUpdated, {
    tenantId: after.tenant_id,
    subject: after.id,
    path: `/folder/${after.id}`,
    resource: folderBody(after, view),
    previous: Object.fromEntries(fields.map(({ field, old }) => [field, old])),
    changed: fields.map(({ field }) => field),
    adds: { affectedWatches },
  });
  ctx.audit({ tenantId: after.tenant_id, type: "folder", action: "updated", item: itemOf(after), changes });
  await recordContact(ctx, before, after);
  return after;
}

/** The columns that a change may write. */
export function changeable(row: FolderRow) {
  const { name, parent_id, time_zone, customer_reference, reference, description, contact_user_id } = row;
  const {
    path_ids,
    path_names,
    effective_reference,
    effective_reference_folder_id,
    updated_at,
    updated_by,
    changed_at,
  } = row;
  const own = {
    name,
    parent_id,
    time_zone,
    customer_reference,
    reference,
    description,
    contact_user_id,
    updated_at,
    updated_by,
    changed_at,
  };
  return { ...own, path_ids, path_names, effective_reference, effective_reference_folder_id };
}

function checkMove(ctx: Context, before: FolderRow, parent: FolderRow): void {
  if (before.is_tenant_root || isHome(ctx.who, before)) throw refuse(folderIsRoot);
  if (parent.tenant_id !== before.tenant_id) throw refuse(tenantBorder);
  if (parent.path_ids.includes(before.id)) throw refuse(folderCycle);
}

async function parentOf(ctx: Context, row: FolderRow): Promise<FolderRow | null> {
  if (row.parent_id === null) return null;
  const found = await ctx.db.first(
    monitoring.selectFrom("monitoring.folder").selectAll().where("id", "=", row.parent_id),
  );
  return found ?? null;
}

/** The place of a folder whose parent lies above the acting tenant, out of sight, and does not change. */
function renamed(before: FolderRow, after: FolderRow) {
  const own = after.customer_reference;
  const inherits = before.effective_reference_folder_id !== before.id;
  return {
    path_names: [...before.path_names.slice(0, -1), after.name],
    effective_reference: own ?? (inherits ? before.effective_reference : null),
    effective_reference_folder_id: own ? after.id : inherits ? before.effective_reference_folder_id : null,
  };
}

async function inheritedZone(ctx: Context, row: FolderRow, parent: FolderRow | null): Promise<string> {
  if (row.is_tenant_root || !parent) return (await timeZoneOf(ctx.db, row.tenant_id)) ?? row.time_zone;
  return parent.time_zone;
}

/** A move takes everything below with it: the deepest folder of the same tenant must fit, too. */
async function checkDepthBelow(ctx: Context, before: FolderRow, newDepth: number): Promise<void> {
  const deepest = await ctx.db.first<{ below: number }>(
    monitoring
      .selectFrom("monitoring.folder")
      .select(sql<number>`max(cardinality(path_ids))::int - ${before.path_ids.length}::int`.as("below"))
      .where(sql<boolean>`path_ids @> array[${before.id}::text]`)
      .where("tenant_id", "=", before.tenant_id)
      .where("deleted_at", "is", null),
  );
  if (newDepth + (deepest?.below ?? 0) > mostFolders) throw refuse(folderTooDeep);
}
