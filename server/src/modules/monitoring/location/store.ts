/** Locations as rows: what a row shows, how a new one is made and a present one changed, by whatever operation. */
import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { hot, query, violates } from "#kernel/db";
import { newId } from "#kernel/ids";
import { reachOf } from "#kernel/principal";
import { invalid, type Problem, problem, refuse } from "#kernel/problem";
import { locationCreated, locationUpdated } from "../events.ts";
import { fieldFaults, stampsOf } from "../folder/store.ts";
import { allowsOnLocation, pathSeen, seesFolder, type View, viewOf, viewOfTenant, visibleLocations } from "../scope.ts";
import { type FolderRow, type LocationRow, monitoring } from "../tables.ts";
import { tenantBorder } from "../tree.ts";
import type { ImportedLocation, Location, LocationChange } from "./schema.ts";

export const locationNameTaken = problem(
  "location_name_taken",
  409,
  "A location of this name already exists in the folder.",
);
export const locationIsRoot = problem(
  "location_is_root",
  409,
  "The location you are homed on is not moved or removed by you.",
);

const told = ["name", "folderId", "timeZone", "reference", "description", "postalAddress"] as const;

type Path = Pick<FolderRow, "path_ids" | "path_names">;
/** A location with the path of its folder. */
export type PlacedLocation = LocationRow & Path;

/** A location as a reader sees it. */
export function locationBody(row: PlacedLocation, view: View): Location {
  return {
    id: row.id,
    numericId: row.numeric_id,
    tenantId: row.tenant_id,
    name: row.name,
    folderId: seesFolder(view, row.path_ids, row.folder_id) ? row.folder_id : null,
    timeZone: row.time_zone,
    reference: row.reference,
    description: row.description,
    postalAddress: row.postal_address,
    path: pathSeen(view, row),
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
    updatedAt: row.updated_at.toISOString(),
    updatedBy: row.updated_by,
    changedAt: row.changed_at.toISOString(),
  };
}

/** Whether the caller is homed on this location: it sees no folder of its path. */
export function isHomeLocation(ctx: Pick<Context, "who">, row: Pick<PlacedLocation, "id" | "path_ids">): boolean {
  const { nodes } = reachOf(ctx.who, "folder.read");
  return viewOf(ctx.who)(row.path_ids) < 0 && nodes.some((node) => node.kind === "location" && node.id === row.id);
}

/**
 * Locks a location that the caller sees, until the end of the transaction: `share` to put a watch in it (then nothing
 * above it is renamed or moved unseen), `update` to change it.
 */
export async function holdLocation(
  ctx: Context,
  id: string,
  hold: "share" | "update",
): Promise<(PlacedLocation & { writable: boolean }) | undefined> {
  const rows = visibleLocations(ctx)
    .selectAll("l")
    .select(["f.path_ids", "f.path_names", allowsOnLocation(ctx, "folder.write").as("writable")])
    .where("l.id", "=", id);
  return ctx.db.first(hold === "share" ? rows.forShare("l") : rows.forUpdate("l"));
}

/** The living location of this name in a folder, locked as `hold` says. */
export async function locationNamed(
  ctx: Pick<Context, "db">,
  folder: FolderRow,
  name: string,
  hold: keyof typeof findByName,
): Promise<PlacedLocation | undefined> {
  const row = await ctx.db.first(findByName[hold]({ tenantId: folder.tenant_id, folderId: folder.id, name }));
  return row && { ...row, path_ids: folder.path_ids, path_names: folder.path_names };
}

function byName(hold: string, clause: string) {
  return hot<{ tenantId: string; folderId: string; name: string }, LocationRow>(
    `monitoring_location_by_name_${hold}`,
    (p) =>
      query(sql`select * from monitoring.location
      where tenant_id = ${p.tenantId} and folder_id = ${p.folderId} and name = ${p.name} and deleted_at is null ${sql.raw(clause)}`),
  );
}
const findByName = {
  none: byName("none", ""),
  share: byName("share", "for share"),
  update: byName("update", "for update"),
};

/** The refusal of a name that another location of the folder has. */
export async function nameTaken(ctx: Pick<Context, "db">, folder: FolderRow, name: string): Promise<Problem> {
  const existing = await locationNamed(ctx, folder, name, "none");
  return refuse(locationNameTaken, { members: existing ? { existingId: existing.id } : {} });
}

type Insert = Record<
  "tenant" | "id" | "name" | "folder" | "zone" | "reference" | "description" | "address" | "now" | "by",
  unknown
>;
// Number and row in one statement. No row: the name is taken, or, hardly ever, the number that was drawn.
const insert = hot<Insert, { numeric_id: number }>("monitoring_insert_location", (p) =>
  query(sql`with number as (
      insert into monitoring.numeric_id (numeric_id, tenant_id, id) values (1 + floor(random() * 2147483647)::int, ${p.tenant}, ${p.id})
      on conflict (numeric_id) do nothing returning numeric_id
    )
    insert into monitoring.location (tenant_id, id, numeric_id, name, folder_id, time_zone, reference, description, postal_address,
      created_at, created_by, updated_at, updated_by, changed_at)
    select ${p.tenant}, ${p.id}, numeric_id, ${p.name}, ${p.folder}, ${p.zone}, ${p.reference}, ${p.description}, ${p.address},
      ${p.now}::timestamptz, ${p.by}, ${p.now}::timestamptz, ${p.by}, ${p.now}::timestamptz from number
    on conflict (tenant_id, folder_id, name) where deleted_at is null do nothing returning numeric_id`),
);

/** Makes a location in a folder that the caller holds; undefined when the name is taken. */
export async function insertLocation(
  ctx: Context,
  folder: FolderRow,
  fields: ImportedLocation,
): Promise<PlacedLocation | undefined> {
  const faults = fieldFaults(fields);
  if (faults.length > 0) throw invalid(faults);
  const row: PlacedLocation = {
    tenant_id: folder.tenant_id,
    id: newId("loc", ctx.now.getTime()),
    numeric_id: 0,
    name: fields.name,
    folder_id: folder.id,
    time_zone: fields.timeZone ?? folder.time_zone,
    reference: fields.reference ?? null,
    description: fields.description ?? null,
    postal_address: fields.postalAddress ?? null,
    ...stampsOf(ctx),
    path_ids: folder.path_ids,
    path_names: folder.path_names,
  };
  const values: Insert = {
    tenant: row.tenant_id,
    id: row.id,
    name: row.name,
    folder: folder.id,
    zone: row.time_zone,
    reference: row.reference,
    description: row.description,
    address: row.postal_address,
    now: ctx.now,
    by: row.created_by,
  };
  let made = await ctx.db.first(insert(values));
  while (!made) {
    if (await locationNamed(ctx, folder, row.name, "none")) return undefined;
    made = await ctx.db.first(insert(values));
  }
  row.numeric_id = made.numeric_id;
  const body = locationBody(row, viewOfTenant(row.tenant_id));
  const { id, tenant_id: tenantId } = row;
  ctx.emit(locationCreated, {
    tenantId,
    subject: id,
    path: `/location/${id}`,
    resource: body,
    previous: null,
    changed: [],
  });
  const item = { kind: "location", id, name: row.name };
  ctx.audit({ tenantId, type: "location", action: "created", item, changes: changesOf(null, body, told) });
  return row;
}

/**
 * Merges a change into a location that the caller has locked. `folder` is the held folder that it lies in afterwards.
 * Returns the row as it is now, the same one where nothing changed.
 */
export async function changeLocation(
  ctx: Context,
  before: PlacedLocation,
  change: Omit<LocationChange, "folderId">,
  folder: FolderRow,
): Promise<PlacedLocation> {
  const faults = fieldFaults(change);
  if (faults.length > 0) throw invalid(faults);
  if (folder.tenant_id !== before.tenant_id) throw refuse(tenantBorder);
  const after: PlacedLocation = {
    ...before,
    folder_id: folder.id,
    path_ids: folder.path_ids,
    path_names: folder.path_names,
    name: change.name ?? before.name,
    time_zone: change.timeZone === null ? folder.time_zone : (change.timeZone ?? before.time_zone),
    reference: change.reference === undefined ? before.reference : change.reference,
    description: change.description === undefined ? before.description : change.description,
    postal_address: change.postalAddress === undefined ? before.postal_address : change.postalAddress,
  };
  const view = viewOfTenant(before.tenant_id);
  const changes = changesOf(locationBody(before, view), locationBody(after, view), told);
  if (changes.length === 0) return before;
  after.updated_at = after.changed_at = new Date(
    Math.max(ctx.now.getTime(), before.changed_at.getTime(), before.updated_at.getTime()),
  );
  after.updated_by = ctx.who.actor.id;
  await storeLocation(ctx, after, folder);
  if (changes.some(({ field }) => field === "name" || field === "folderId" || field === "timeZone")) {
    await ctx.db.run(touchWatches({ id: after.id, now: after.changed_at }));
  }
  const fields = changesOf(locationBody(before, view), locationBody(after, view), [...told, "path"]);
  ctx.emit(locationUpdated, {
    tenantId: after.tenant_id,
    subject: after.id,
    path: `/location/${after.id}`,
    resource: locationBody(after, view),
    previous: Object.fromEntries(fields.map(({ field, old }) => [field, old])),
    changed: fields.map(({ field }) => field),
  });
  ctx.audit({
    tenantId: after.tenant_id,
    type: "location",
    action: "updated",
    item: { kind: "location", id: after.id, name: after.name },
    changes,
  });
  return after;
}

// A watch shows its location's name, zone and path, and inherits its folder's customer reference.
const touchWatches = hot<{ id: string; now: Date }, never>("monitoring_location_watches", (p) =>
  query(
    sql`update monitoring.watch set changed_at = greatest(changed_at, ${p.now}::timestamptz) where location_id = ${p.id} and deleted_at is null`,
  ),
);

async function storeLocation(ctx: Context, after: PlacedLocation, folder: FolderRow): Promise<void> {
  const { name, folder_id, time_zone, reference, description, postal_address, updated_at, updated_by, changed_at } =
    after;
  const columns = {
    name,
    folder_id,
    time_zone,
    reference,
    description,
    postal_address,
    updated_at,
    updated_by,
    changed_at,
  };
  try {
    await ctx.attempt(() =>
      ctx.db.run(monitoring.updateTable("monitoring.location").set(columns).where("id", "=", after.id)),
    );
  } catch (error) {
    if (!violates(error, "location_name")) throw error;
    throw await nameTaken(ctx, folder, after.name);
  }
}
