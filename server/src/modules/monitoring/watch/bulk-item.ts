/** What one item of a bulk call does, decided in memory (see ledger.ts). */
import { below, withMatch } from "#kernel/bulk";
import type { Context } from "#kernel/contract";
import { requireMatch } from "#kernel/match";
import { lacking } from "#kernel/principal";
import { notFound, problem, refuse } from "#kernel/problem";
import { faultsOf } from "#kernel/validate";
import { findOrMakePlace } from "../place/place.ts";
import type { View } from "../scope.ts";
import type { BulkItem } from "./bulk-schema.ts";
import type { Ledger } from "./ledger.ts";
import {
  buryWatch,
  draftWatch,
  isMove,
  mergeChange,
  siteOf,
  unusableSpot,
  warnOfCommunity,
  watchNameTaken,
} from "./operations.ts";
import { lockLocations } from "./rows.ts";
import { NewWatch, Watch, type WatchChange } from "./schema.ts";
import { auditFields, invalidWatch, sealInto } from "./watch-change.ts";
import { type WatchFull, watchOf } from "./watch-state.ts";

export const matchAmbiguous = problem("match_ambiguous", 409, "Several watches fit the item.");

type Outcome = "created" | "updated" | "unchanged" | "deleted" | "absent";
/** What became of an item, and the watch as it is now; null when it is gone. */
export type Fate = { status: number; outcome: Outcome; id: string; row: WatchFull | null };

/** A bulk call under way. `ctx` is the call's; places are found or made once, `placeNames` are those wanted at each. */
export type Run = {
  ctx: Context;
  ledger: Ledger;
  view: View;
  places: Map<string, string>;
  placeNames: ReadonlyMap<string, string[]>;
};
type Upsert = Extract<BulkItem, { op: "upsert" }>;

/** Does one item; `own` is its context, with warnings of its own. A refused item leaves the ledger as it was. */
export async function performItem(run: Run, own: Context, item: BulkItem): Promise<Fate> {
  if (item.op === "create") return fateOf("created", await below("/watch", () => create(run, own, item.watch)));
  if (item.op === "upsert") return below("/watch", () => upsert(run, own, item));
  const before = targetOf(run, own, item);
  if (item.op === "update") {
    if (!before) throw refuse(notFound);
    return below("/watch", () => update(run, own, before, item.watch));
  }
  if (!before) return { status: 204, outcome: "absent", id: item.id, row: null };
  const row = buryWatch(own, before);
  run.ledger.take({ kind: "deleted", before, row, fields: auditFields(before, null, null) }, true);
  return { status: 204, outcome: "deleted", id: item.id, row: null };
}

function fateOf(outcome: "created" | "updated" | "unchanged", row: WatchFull): Fate {
  return { status: outcome === "created" ? 201 : 200, outcome, id: row.id, row };
}

/** The target of an update or delete, which the caller may change; undefined: removed before. */
function targetOf({ ledger, view }: Run, own: Context, item: { id: string; ifMatch?: string }): WatchFull | undefined {
  const entry = ledger.entry(item.id);
  if (!entry) throw refuse(notFound);
  if (entry.row.deleted_at) return undefined;
  if (!entry.writable) throw lacking("watch.write");
  requireMatch(withMatch(own, item.ifMatch), Watch, watchOf(entry.row, view));
  return entry.row;
}

async function create(run: Run, own: Context, body: NewWatch): Promise<WatchFull> {
  const { row, snmp } = draftWatch(own, body);
  row.location_id = body.locationId ?? (await locationOf(run, body.place!));
  const spot = run.ledger.spot(row.location_id);
  if (!spot?.writable) throw unusableSpot(spot);
  Object.assign(row, siteOf(spot), { tenant_id: spot.tenant_id });
  await checkName(run, row);
  await sealInto(own, row, { snmp: null, snmp_sealed: null }, snmp);
  warnOfCommunity(own, snmp);
  run.ledger.take({ kind: "created", before: null, row, fields: auditFields(null, row, snmp) }, false);
  return row;
}

async function update({ ledger, ...run }: Run, own: Context, before: WatchFull, change: WatchChange): Promise<Fate> {
  const spot = isMove(before, change) ? ledger.spot(change.locationId!) : undefined;
  const { row, snmp, fields, dropsInterfaces } = await mergeChange(own, before, change, ledger.list(before.id), spot);
  if (fields.length === 0) return fateOf("unchanged", before);
  await checkName({ ...run, ledger }, row);
  warnOfCommunity(own, snmp);
  ledger.take({ kind: "updated", before, row, fields }, dropsInterfaces);
  return fateOf("updated", row);
}

/** Merges into the one watch that fits, or makes one where none does. */
async function upsert(run: Run, own: Context, item: Upsert): Promise<Fate> {
  const { place, ...stated } = item.watch;
  const change = place ? { ...stated, locationId: await locationOf(run, place) } : stated;
  const hits = await findHits(run, item, change.locationId);
  if (hits.length > 1) throw refuse(matchAmbiguous, { members: { candidateIds: hits.slice(0, 10) } });
  const hit = hits[0] ? run.ledger.entry(hits[0]) : undefined;
  if (hit && !hit.writable) throw lacking("watch.write");
  if (hit) return update(run, own, hit.row, change);
  const faults = faultsOf(NewWatch, item.watch);
  if (faults.length > 0) throw invalidWatch(faults);
  return fateOf("created", await create(run, own, item.watch as NewWatch));
}

async function findHits(
  { ledger }: Run,
  { matchBy, watch }: Upsert,
  locationId: string | undefined,
): Promise<string[]> {
  if (matchBy === "reference") return watch.reference ? ledger.withReference(watch.reference) : [];
  const spot = locationId === undefined ? undefined : ledger.spot(locationId);
  if (!spot || watch.name === undefined) return [];
  const holder = await ledger.holder({ tenant_id: spot.tenant_id, location_id: spot.id, name: watch.name });
  return holder ? [holder] : [];
}

async function checkName({ ledger }: Run, row: WatchFull): Promise<void> {
  const holder = await ledger.holder(row);
  if (holder !== null && holder !== row.id) throw refuse(watchNameTaken, { members: { existingId: holder } });
}

/** The id of the location of a place, found or made once per call. */
async function locationOf(
  { ctx, ledger, places, placeNames }: Run,
  place: NonNullable<NewWatch["place"]>,
): Promise<string> {
  const key = JSON.stringify(place);
  const known = places.get(key);
  if (known) return known;
  const { locationId } = await findOrMakePlace(ctx, place);
  const [spot] = await lockLocations(ctx, [locationId]);
  await ledger.addSpot(spot!, placeNames.get(key) ?? []);
  places.set(key, locationId);
  return locationId;
}
