/** Many changes of watches in one call (monitoring, 3.2). */
import { type Static, type TSchema, Type } from "typebox";
import { etagOf } from "#kernel/answer";
import { below, bulkBody, bulkReply, runBulk, withMatch } from "#kernel/bulk";
import type { Context } from "#kernel/contract";
import { isId } from "#kernel/ids";
import { requireMatch } from "#kernel/match";
import { lacking } from "#kernel/principal";
import { type Fault, notFound, problem, refuse } from "#kernel/problem";
import { nullable, object, oneOf } from "#kernel/schema";
import { faultsOf } from "#kernel/validate";
import { findOrMakePlace } from "../place/place.ts";
import { viewOf } from "../scope.ts";
import { type Ledger, type Named, openLedger } from "./ledger.ts";
import {
  buryWatch,
  draftWatch,
  isMove,
  mergeChange,
  placeFaults,
  siteOf,
  unusableSpot,
  warnOfCommunity,
  watchNameTaken,
} from "./operations.ts";
import { lockLocations } from "./rows.ts";
import { NewWatch, Watch, WatchChange, WatchUpsert } from "./schema.ts";
import { auditFields, faultsOfWatch, invalidWatch, sealInto } from "./watch-change.ts";
import { type WatchFull, watchOf } from "./watch-state.ts";

export const matchAmbiguous = problem("match_ambiguous", 409, "Several watches fit the item.");

const target = {
  id: Type.String({ "x-id": "wch" }),
  ifMatch: Type.Optional(
    Type.String({ description: "The watch's `ETag`; 412 in the item's result when it is stale." }),
  ),
};
const forms = {
  create: object({ op: oneOf(["create"]), watch: NewWatch }),
  update: object({ op: oneOf(["update"]), ...target, watch: WatchChange }),
  upsert: object({
    op: oneOf(["upsert"]),
    matchBy: Type.Optional(
      oneOf(["name", "reference"], {
        default: "name",
        description: "`name` within its location, `reference` within the caller's scope.",
      }),
    ),
    watch: WatchUpsert,
  }),
  delete: object({ op: oneOf(["delete"]), ...target }),
};
type Item = { [K in keyof typeof forms]: Static<(typeof forms)[K]> }[keyof typeof forms];

/** The form goes by `op`, so that a faulty item is told what is wrong with that form, and not with all four. */
const BulkItem = Type.Unsafe<Item>({
  title: "WatchBulkItem",
  type: "object",
  required: ["op"],
  properties: { op: oneOf(Object.keys(forms)) },
  allOf: Object.entries(forms).map(([op, form]) => ({
    if: { type: "object", properties: { op: { const: op } }, required: ["op"] },
    then: form,
  })),
} as TSchema);

export const BulkWatches = bulkBody(BulkItem, {});
export const BulkWatchesReply = bulkReply({
  id: nullable(Type.String({ description: "Null where the item failed, and of a would-be watch in a dry run." })),
  etag: nullable(Type.String()),
});

type Done = {
  status: number;
  outcome: "created" | "updated" | "unchanged" | "deleted" | "absent";
  id: string | null;
  etag: string | null;
};

/**
 * Runs a bulk call. Both modes decide item by item in memory and store once, in one transaction: a failed item of mode
 * `each` leaves nothing, the others are stored together.
 */
export async function bulkWatches(ctx: Context, input: Static<typeof BulkWatches>) {
  const isDry = input.dryRun === true;
  let ledger: Promise<Ledger> | undefined;
  const rows: (WatchFull | null)[] = [];
  const places = new Map<string, string>();
  const view = viewOf(ctx.who);

  /** The id of the location of a place, found or made once per call. */
  async function locationOf(opened: Ledger, place: NonNullable<NewWatch["place"]>): Promise<string> {
    const key = JSON.stringify(place);
    const known = places.get(key);
    if (known) return known;
    const { locationId } = await findOrMakePlace(ctx, place);
    opened.addSpots(await lockLocations(ctx, [locationId]));
    places.set(key, locationId);
    return locationId;
  }

  async function create(own: Context, opened: Ledger, body: NewWatch): Promise<WatchFull> {
    const { row, snmp } = draftWatch(own, body);
    row.location_id = body.locationId ?? (await locationOf(opened, body.place!));
    const spot = opened.spot(row.location_id);
    if (!spot?.writable) throw unusableSpot(spot);
    Object.assign(row, siteOf(spot), { tenant_id: spot.tenant_id });
    await checkName(opened, row);
    await sealInto(own, row, { snmp: null, snmp_sealed: null }, snmp);
    warnOfCommunity(own, snmp);
    opened.take({ kind: "created", before: null, row, fields: auditFields(null, row, snmp) }, false);
    return row;
  }

  async function update(
    own: Context,
    opened: Ledger,
    before: WatchFull,
    change: WatchChange,
  ): Promise<{ row: WatchFull; isChanged: boolean }> {
    const spot = isMove(before, change) ? opened.spot(change.locationId!) : undefined;
    const { row, snmp, fields, dropsInterfaces } = await mergeChange(own, before, change, opened.list(before.id), spot);
    if (fields.length === 0) return { row: before, isChanged: false };
    await checkName(opened, row);
    warnOfCommunity(own, snmp);
    opened.take({ kind: "updated", before, row, fields }, dropsInterfaces);
    return { row, isChanged: true };
  }

  async function upsert(
    own: Context,
    opened: Ledger,
    item: Extract<Item, { op: "upsert" }>,
  ): Promise<[Done, WatchFull]> {
    const { place, ...change } = item.watch;
    const hits = await findHits(
      opened,
      item,
      async () => change.locationId ?? (place && (await locationOf(opened, place))),
    );
    if (hits.length > 1) throw refuse(matchAmbiguous, { members: { candidateIds: hits.slice(0, 10) } });
    const hit = hits[0] ? opened.entry(hits[0]) : undefined;
    if (!hit) {
      const faults = faultsOf(NewWatch, item.watch);
      if (faults.length > 0) throw invalidWatch(faults);
      return [doneOf(201, "created"), await create(own, opened, item.watch as NewWatch)];
    }
    if (!hit.writable) throw lacking("watch.write");
    const locationId = place ? await locationOf(opened, place) : change.locationId;
    const { row, isChanged } = await update(
      own,
      opened,
      hit.row,
      locationId === undefined ? change : { ...change, locationId },
    );
    return [doneOf(200, isChanged ? "updated" : "unchanged"), row];
  }

  /** The target of an update or delete, which the caller may change; undefined: removed before. */
  function targetOf(own: Context, opened: Ledger, item: { id: string; ifMatch?: string }): WatchFull | undefined {
    const entry = opened.entry(item.id);
    if (!entry) throw refuse(notFound);
    if (entry.row.deleted_at) return undefined;
    if (!entry.writable) throw lacking("watch.write");
    requireMatch(withMatch(own, item.ifMatch), Watch, watchOf(entry.row, view));
    return entry.row;
  }

  async function performOn(own: Context, opened: Ledger, item: Item): Promise<[Done, WatchFull | null]> {
    if (item.op === "create")
      return [doneOf(201, "created"), await below("/watch", () => create(own, opened, item.watch))];
    if (item.op === "upsert") return below("/watch", () => upsert(own, opened, item));
    const before = targetOf(own, opened, item);
    if (item.op === "update") {
      if (!before) throw refuse(notFound);
      const { row, isChanged } = await below("/watch", () => update(own, opened, before, item.watch));
      return [doneOf(200, isChanged ? "updated" : "unchanged"), row];
    }
    if (!before) return [{ ...doneOf(204, "absent"), id: item.id }, null];
    const row = buryWatch(own, before);
    opened.take({ kind: "deleted", before, row, fields: auditFields(before, null, null) }, true);
    return [{ ...doneOf(204, "deleted"), id: item.id }, null];
  }

  async function perform(own: Context, item: Item, index: number): Promise<Done> {
    ledger ??= openLedger(ctx, namedBy(input.items));
    const opened = await ledger;
    const makesPlace = "watch" in item && "place" in item.watch && item.watch.place?.createMissing === true;
    const known = new Map(places);
    try {
      const run = () => performOn(own, opened, item);
      const [done, row] = makesPlace ? await ctx.attempt(run) : await run();
      rows[index] = row;
      return { ...done, id: row && (done.status !== 201 || !isDry) ? row.id : done.id };
    } catch (error) {
      // What the item had made of a place is undone with it.
      places.clear();
      for (const [key, value] of known) places.set(key, value);
      throw error;
    }
  }

  const plan = { item: BulkItem, check: faultsOfItem, perform, blank: { id: null, etag: null } };
  const reply = await runBulk<Item, Done>(inMemory(ctx, isDry), input, plan);
  if (!isDry) await (await ledger)?.store();
  for (const result of reply.results) {
    const row = rows[result.index];
    if (row && result.id) result.etag = etagOf(Watch, watchOf(row, view));
  }
  return reply;
}

/** Items need no savepoint: a refused one has touched nothing. A dry run has one around them all, for places it makes. */
function inMemory(ctx: Context, isDry: boolean): Context {
  let isOuter = isDry;
  return {
    ...ctx,
    attempt(part) {
      if (!isOuter) return part();
      isOuter = false;
      return ctx.attempt(part);
    },
  };
}

function doneOf(status: number, outcome: Done["outcome"]): Done {
  return { status, outcome, id: null, etag: null };
}

async function checkName(opened: Ledger, row: WatchFull): Promise<void> {
  const holder = await opened.holder(row);
  if (holder !== null && holder !== row.id) throw refuse(watchNameTaken, { members: { existingId: holder } });
}

async function findHits(
  opened: Ledger,
  item: Extract<Item, { op: "upsert" }>,
  findLocation: () => Promise<string | undefined>,
): Promise<string[]> {
  const { name, reference } = item.watch;
  if (item.matchBy === "reference") return reference ? opened.withReference(reference) : [];
  const location_id = await findLocation();
  const spot = location_id === undefined ? undefined : opened.spot(location_id);
  if (!spot || name === undefined) return [];
  const holder = await opened.holder({ tenant_id: spot.tenant_id, location_id: spot.id, name });
  return holder ? [holder] : [];
}

/** Faults of an item that its schema cannot say and that need no look at what is stored. */
function faultsOfItem(item: Item): Fault[] {
  if (item.op === "delete") return [];
  const faults = faultsOfWatch(item.watch);
  if (item.op === "create") faults.push(...placeFaults(item.watch));
  if (item.op === "upsert") faults.push(...faultsOfMatch(item));
  return faults.map((fault) => ({ ...fault, pointer: `/watch${fault.pointer}` }));
}

function faultsOfMatch({ matchBy = "name", watch }: Extract<Item, { op: "upsert" }>): Fault[] {
  const missing = (field: string): Fault => ({
    pointer: `/${field}`,
    rule: "required",
    message: `${field} is missing: it is matched by.`,
  });
  if (matchBy === "reference") return typeof watch.reference === "string" ? [] : [missing("reference")];
  return [...(watch.name === undefined ? [missing("name")] : []), ...placeFaults(watch as NewWatch)];
}

type Loose = {
  op?: unknown;
  id?: unknown;
  matchBy?: unknown;
  watch?: { name?: unknown; locationId?: unknown; reference?: unknown; interface?: unknown };
};

/** What the items name, malformed ones among them. */
function namedBy(items: readonly unknown[]): Named {
  const loose = items.filter((item): item is Loose => typeof item === "object" && item !== null);
  const watches = loose.map(({ watch }) => (typeof watch === "object" && watch !== null ? watch : {}));
  const ids = loose.flatMap(({ id }) => (typeof id === "string" && isId("wch", id) ? [id] : []));
  const locationIds = watches.flatMap(({ locationId }) =>
    typeof locationId === "string" && isId("loc", locationId) ? [locationId] : [],
  );
  const names = watches.flatMap(({ name, locationId }) =>
    typeof name === "string" && typeof locationId === "string" && /^[ -~]+$/.test(name)
      ? [[locationId, name] as const]
      : [],
  );
  const references = loose.flatMap(({ matchBy, watch }) => {
    const reference = matchBy === "reference" ? watch?.reference : undefined;
    return typeof reference === "string" && !reference.includes("\0") ? [reference] : [];
  });
  const interfaces = watches.some((watch) => "interface" in watch);
  return {
    ids: [...new Set(ids)],
    names,
    references: [...new Set(references)],
    locationIds: [...new Set(locationIds)],
    interfaces,
  };
}
