import type { AuditField } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { violates } from "#kernel/db";
import { isId, newId } from "#kernel/ids";
import { requireMatch } from "#kernel/match";
import { lacking } from "#kernel/principal";
import { type Fault, notFound, type Problem, problem, referenceNotFound, refuse } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { findOrMakePlace } from "../place/place.ts";
import type { DeviceInterface } from "../probe/device-interface.ts";
import { viewOf } from "../scope.ts";
import { tenantBorder } from "../tree.ts";
import {
  findWatch,
  holderOfName,
  insertWatch,
  interfaceLists,
  lockLocations,
  lockWatch,
  newNumericId,
  type Spot,
  seesWatch,
  updateWatches,
} from "./rows.ts";
import { knownTypes, type NewWatch, supportedTypes, Watch, type WatchChange, type WatchType } from "./schema.ts";
import { auditFields, blankWatch, invalidWatch, type Merged, mergeWatch, sealInto } from "./watch-change.ts";
import { tellCreated, tellDeleted, tellUpdated } from "./watch-news.ts";
import { type Site, type StoredWatch, type WatchFull, watchOf } from "./watch-state.ts";

export const watchNameTaken = problem("watch_name_taken", 409, "A watch of this name already exists at the location.");
export const watchNotPending = problem("watch_not_pending", 409, "Only a pending watch has a group.");
export const watchIsActive = problem("watch_is_active", 409, "An active watch is disabled before it is removed.");

export async function getWatch(ctx: Context, id: string): Promise<Watch> {
  const row = isId("wch", id) ? await findWatch(ctx, id) : undefined;
  if (!row) throw refuse(notFound);
  return watchOf(row, viewOf(ctx.who));
}

/** Faults of a new watch that its schema cannot say; its place is looked at, not looked up. */
export function placeFaults(body: NewWatch): Fault[] {
  if (body.locationId !== undefined && body.place) {
    return [{ pointer: "/place", rule: "oneOf", message: "Either locationId or place is stated, not both." }];
  }
  if (body.place) return [];
  if (body.locationId === undefined)
    return [{ pointer: "/locationId", rule: "required", message: "locationId or place is missing." }];
  const fault = idFault("loc", body.locationId, { pointer: "/locationId" });
  return fault ? [fault] : [];
}

/** Makes a watch, pending. Warns of a community that everybody knows. */
export async function createWatch(ctx: Context, body: NewWatch): Promise<Watch> {
  const draft = draftWatch(ctx, body);
  const { row } = draft;
  row.location_id = body.locationId ?? (await findOrMakePlace(ctx, body.place!)).locationId;
  // The secrets are sealed for the tenant that owns the location. It is the acting one as a rule; if not, once more.
  for (let tries = 0; tries < 5; tries++) {
    await sealInto(ctx, row, { snmp: null, snmp_sealed: null }, draft.snmp);
    const place = await insertWatch(ctx, row);
    if (!place) throw await unusable(ctx, row.location_id);
    if (place.tenant_id === row.tenant_id) {
      Object.assign(row, siteOf(place));
      if (place.made.length === 1) return announced(ctx, draft);
      if (place.numbers.length === 1) throw await nameTaken(ctx, row);
      row.numeric_id = newNumericId();
    }
    row.tenant_id = place.tenant_id;
  }
  throw new Error("No free numeric id was found in five tries.");
}

/** A new watch as its body says, with no place yet; throws its faults. */
export function draftWatch(ctx: Context, body: NewWatch): Merged {
  const { place: _, locationId: __, ...fields } = body;
  const draft = mergeWatch(ctx, blankWatch(ctx, newId("wch", ctx.now.getTime()), newNumericId()), fields, undefined);
  const faults = [...draft.faults, ...placeFaults(body)];
  if (faults.length > 0) throw invalidWatch(faults);
  return draft;
}

function announced(ctx: Context, { row, snmp }: Merged): Watch {
  warnOfCommunity(ctx, snmp);
  tellCreated(ctx, row, auditFields(null, row, snmp));
  return watchOf(row, viewOf(ctx.who));
}

/** Of the write that gives it, never of a later read: the community is a secret. */
export function warnOfCommunity(ctx: Pick<Context, "warn">, snmp: Merged["snmp"]): void {
  if (snmp?.given.community === "public") ctx.warn("snmp_default_community", "/snmp/community");
}

/** The part of a location that a watch shows. */
export function siteOf({
  location_name,
  time_zone,
  path_ids,
  path_names,
  effective_reference,
  effective_reference_folder_id,
}: Site): Site {
  return { location_name, time_zone, path_ids, path_names, effective_reference, effective_reference_folder_id };
}

/** Why no watch can come to a location: it is seen, but not the caller's to fill, or it does not exist for it. */
async function unusable(ctx: Context, locationId: string): Promise<Problem> {
  const [spot] = await lockLocations(ctx, [locationId]);
  return unusableSpot(spot);
}

export function unusableSpot(spot: Spot | undefined): Problem {
  return spot ? lacking("watch.write") : invalidWatch([referenceNotFound({ pointer: "/locationId" })]);
}

export async function nameTaken(
  ctx: Context,
  row: Pick<StoredWatch, "tenant_id" | "location_id" | "name">,
): Promise<Problem> {
  const existingId = await holderOfName(ctx, row);
  return refuse(watchNameTaken, existingId ? { members: { existingId } } : {});
}

/** Merges a change into a watch; one that changes nothing stores, tells and records nothing. */
export async function updateWatch(ctx: Context, id: string, change: WatchChange): Promise<Watch> {
  const before = await lockForWriting(ctx, id);
  requireMatch(ctx, Watch, watchOf(before, viewOf(ctx.who)));
  const lists = change.interface !== undefined ? await interfaceLists(ctx, [id]) : undefined;
  const spots = isMove(before, change) && !locationFault(change) ? await lockLocations(ctx, [change.locationId!]) : [];
  const merged = await mergeChange(ctx, before, change, lists?.get(id), spots[0]);
  const { row, fields } = merged;
  if (fields.length === 0) return watchOf(before, viewOf(ctx.who));
  await storeUpdate(ctx, before, merged);
  warnOfCommunity(ctx, merged.snmp);
  tellUpdated(ctx, before, row, fields);
  return watchOf(row, viewOf(ctx.who));
}

export function isMove(before: WatchFull, { locationId }: WatchChange): boolean {
  return locationId !== undefined && locationId !== before.location_id;
}

function locationFault({ locationId }: WatchChange): Fault | undefined {
  return locationId === undefined ? undefined : idFault("loc", locationId, { pointer: "/locationId" });
}

export type Changed = Merged & { fields: AuditField[] };

/**
 * A watch as a change makes it: merged, allowed, moved, sealed and stamped; `fields` is empty where nothing changed.
 * `spot` is the location that it moves to, undefined where the caller sees none of this id.
 */
export async function mergeChange(
  ctx: Context,
  before: WatchFull,
  change: WatchChange,
  interfaces: readonly DeviceInterface[] | undefined,
  spot: Spot | undefined,
): Promise<Changed> {
  const { locationId: _, ...patch } = change;
  const merged = mergeWatch(ctx, before, patch, interfaces);
  const { row, snmp } = merged;
  const wrongId = locationFault(change);
  const faults = wrongId ? [...merged.faults, wrongId] : merged.faults;
  if (faults.length > 0) throw invalidWatch(faults);
  if (isMove(before, change)) moveTo(row, spot);
  if (row.group_name !== null && row.group_name !== before.group_name && row.status !== "pending")
    throw refuse(watchNotPending);
  const fields = auditFields(before, row, snmp);
  if (fields.length > 0) {
    stamp(ctx, before, row);
    await sealInto(ctx, row, before, snmp);
  }
  return { ...merged, fields };
}

/** Moves a watch within its tenant. */
function moveTo(row: WatchFull, spot: Spot | undefined): void {
  if (!spot) throw invalidWatch([referenceNotFound({ pointer: "/locationId" })]);
  if (spot.tenant_id !== row.tenant_id) throw refuse(tenantBorder);
  if (!spot.writable) throw lacking("watch.write");
  Object.assign(row, siteOf(spot), { location_id: spot.id });
}

/** A watch that the caller may change, locked. */
async function lockForWriting(ctx: Context, id: string): Promise<WatchFull> {
  const row = isId("wch", id) ? await lockWatch(ctx, id, "watch.write") : undefined;
  if (row) return row;
  throw isId("wch", id) && (await seesWatch(ctx, id, "living")) ? lacking("watch.write") : refuse(notFound);
}

function stamp(ctx: Pick<Context, "now" | "who">, before: WatchFull, row: WatchFull): void {
  row.updated_at = row.changed_at = new Date(
    Math.max(ctx.now.getTime(), before.updated_at.getTime(), before.changed_at.getTime()),
  );
  row.updated_by = ctx.who.actor.id;
}

async function storeUpdate(ctx: Context, before: WatchFull, { row, dropsInterfaces }: Merged): Promise<void> {
  const store = () => updateWatches(ctx, [row], dropsInterfaces ? [row.id] : []);
  if (row.name === before.name && row.location_id === before.location_id) return store();
  try {
    await ctx.attempt(store);
  } catch (error) {
    if (!violates(error, "watch_name")) throw error;
    throw await nameTaken(ctx, row);
  }
}

/** Removes a watch; false: it was removed before, by a call that this caller could have seen. */
export async function deleteWatch(ctx: Context, id: string): Promise<boolean> {
  const before = isId("wch", id) ? await lockWatch(ctx, id, "watch.write") : undefined;
  if (!before) {
    if (!isId("wch", id)) throw refuse(notFound);
    if (await seesWatch(ctx, id, "living")) throw lacking("watch.write");
    if (await seesWatch(ctx, id, "all")) return false;
    throw refuse(notFound);
  }
  requireMatch(ctx, Watch, watchOf(before, viewOf(ctx.who)));
  const row = buryWatch(ctx, before);
  await updateWatches(ctx, [row], [id]);
  tellDeleted(ctx, before, auditFields(before, null, null));
  return true;
}

/** The tombstone of a watch: what it knew of the device and its customer is gone with it. */
export function buryWatch(ctx: Pick<Context, "now" | "who">, before: WatchFull): WatchFull {
  if (before.status === "active") throw refuse(watchIsActive);
  const row: WatchFull = {
    ...before,
    description: null,
    product_type: null,
    reference: null,
    customer_reference: null,
    device_address: null,
    snmp: null,
    snmp_sealed: null,
    interface_match: null,
    interface_value: null,
    interface_resolved: null,
    group_name: null,
  };
  stamp(ctx, before, row);
  return { ...row, deleted_at: row.updated_at, deleted_by: row.updated_by };
}

const suggestions: Record<string, [number, number]> = {
  Bearer: [100_000, 100_000],
  ADSL: [24_000, 1_400],
  SDSL: [2_048, 2_048],
};

/** All types of watch, the supported ones first. */
export function listWatchTypes(): WatchType[] {
  return knownTypes.map((watchType) => {
    const [suggestedInKbps = null, suggestedOutKbps = null] = suggestions[watchType] ?? [];
    return {
      watchType,
      supported: (supportedTypes as readonly string[]).includes(watchType),
      suggestedInKbps,
      suggestedOutKbps,
    };
  });
}
