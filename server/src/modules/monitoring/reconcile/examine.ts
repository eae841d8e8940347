/** What the items of an estate are here: read, matched and compared with a constant number of statements per thousand. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { Fault } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { faultsOf } from "#kernel/validate";
import { readDeviceAddress } from "../watch/device-address.ts";
import { selectWatch } from "../watch/rows.ts";
import { blankWatch, mergeWatch } from "../watch/watch-change.ts";
import type { WatchFull, WatchSeen } from "../watch/watch-state.ts";
import { asciiLower, compareWatch, statedFields } from "./compare.ts";
import { type Candidate, hitsOf, indexOf, type MatchIndex, type StatedKeys } from "./match.ts";
import { EstateWatch, type ReconcileItem } from "./schema.ts";
import { type Scope, watchesInScope } from "./scope.ts";
import { type FoundSite, findSites } from "./sites.ts";

/** `isOthers`: which watches belong to other items of the request and are none of this one's. */
export type Asked = { index: number; watch: unknown; isOthers?: (watchId: string) => boolean };
export type Examined = Pick<ReconcileItem, "outcome" | "reason" | "watchId" | "fields"> & {
  index: number;
  stated: StatedKeys;
  hits: readonly Candidate[];
  /** Pointers are below the watch. */
  faults: Fault[];
  /** The watch as matching would see it once the item is applied; null: it would not be in scope. */
  after: Candidate | null;
  /** The place that the item states is not there. */
  lacksPlace: boolean;
};

/** Examines up to a thousand items, and returns all watches that any of them could hit. */
export async function examine(
  ctx: Context,
  scope: Scope,
  asked: readonly Asked[],
): Promise<{ examined: Examined[]; candidates: Candidate[] }> {
  const read = asked.map((one) => ({ ...one, ...readWatch(ctx, one.watch) }));
  const sites = await findSites(
    ctx,
    scope,
    read.map(({ watch }) => watch),
  );
  const items = read.map(({ index, watch, faults, isOthers }, place): Item => {
    const site = sites[place];
    if (!watch) return { index, faults };
    return site?.faults
      ? { index, faults: site.faults }
      : { index, watch, site, stated: keysOf(watch, site), isOthers };
  });
  const rows = await findRows(
    ctx,
    scope,
    items.flatMap((item) => (item.faults ? [] : [item.stated])),
  );
  const candidates = [...rows.values()].map(candidateOf);
  const index = indexOf(candidates);
  return { examined: items.map((item) => judge(ctx, scope, item, index, rows)), candidates };
}

type Item =
  | (Asked & { watch: EstateWatch; site: FoundSite | undefined; stated: StatedKeys; faults?: undefined })
  | { index: number; faults: Fault[] };

function judge(
  ctx: Context,
  scope: Scope,
  item: Item,
  index: MatchIndex,
  rows: ReadonlyMap<string, WatchFull>,
): Examined {
  const blank = {
    index: item.index,
    reason: null,
    watchId: null,
    fields: [],
    hits: [],
    faults: [],
    after: null,
    lacksPlace: false,
  };
  if (item.faults) return { ...blank, stated: {}, outcome: "invalid", faults: item.faults };
  const { watch, site, stated } = item;
  const isInScope = site?.isInScope ?? true;
  const lacksPlace = site?.locationId === null;
  const { hits, isDead } = hitsOf(stated, scope.matchBy, index, item.isOthers);
  const [hit] = hits;
  if (!hit) {
    const isLasting = isInScope && scope.statuses.includes("pending");
    const after = isLasting && !isDead ? newCandidate(item.index, stated) : null;
    return { ...blank, stated, outcome: "missing", reason: isDead ? "id_not_found" : null, after, lacksPlace };
  }
  if (hits.length > 1) return { ...blank, stated, outcome: "ambiguous", hits };
  const compared = compareWatch(ctx, rows.get(hit.id)!, watch, site?.locationId);
  const found = { ...blank, stated, hits, watchId: hit.id, lacksPlace };
  if (compared.faults.length > 0) return { ...found, outcome: "invalid", faults: compared.faults };
  const after = { ...candidateOf(compared.after), locationId: site?.key ?? hit.locationId };
  const outcome = compared.fields.length > 0 ? "different" : "same";
  return { ...found, outcome, fields: compared.fields, after: isInScope ? after : null };
}

/** Faults that a field has whatever watch the item turns out to be. */
function readWatch(ctx: Pick<Context, "now" | "who">, value: unknown): { watch: EstateWatch | null; faults: Fault[] } {
  const faults = faultsOf(EstateWatch, value);
  if (faults.length > 0) return { watch: null, faults };
  const watch = value as EstateWatch;
  const merged = mergeWatch(ctx, blankWatch(ctx, "", 0), statedFields(watch), undefined);
  // What is incomplete by itself may be completed by the watch.
  faults.push(...merged.faults.filter(({ rule }) => rule !== "required" && rule !== "pair"));
  const wrongId = watch.id === undefined ? undefined : idFault("wch", watch.id, { pointer: "/id" });
  if (wrongId) faults.push(wrongId);
  if (watch.locationId !== undefined && watch.place)
    faults.push({ pointer: "/place", rule: "oneOf", message: "Either locationId or place is stated, not both." });
  return faults.length > 0 ? { watch: null, faults } : { watch, faults };
}

function keysOf(watch: EstateWatch, site: FoundSite | undefined): StatedKeys {
  const stated: StatedKeys = {};
  if (watch.id !== undefined) stated.id = watch.id;
  if (watch.numericId !== undefined) stated.numericId = watch.numericId;
  if (watch.reference) stated.reference = watch.reference;
  const address = watch.deviceAddress ? readDeviceAddress(watch.deviceAddress) : null;
  if (address?.ok) stated.deviceAddress = address.address;
  if (watch.interface) stated.interface = `${watch.interface.match} ${watch.interface.value}`;
  if (watch.name !== undefined) stated.name = asciiLower(watch.name);
  if (site) stated.locationId = site.key;
  return stated;
}

/** All watches of the scope that some item could hit by some key, or that have a stated name. */
async function findRows(ctx: Context, scope: Scope, stated: readonly StatedKeys[]): Promise<Map<string, WatchFull>> {
  const valuesOf = (key: keyof StatedKeys) => [...new Set(stated.flatMap((one) => one[key] ?? []))];
  // By name always: a name that is taken is not given again, which the plan must foresee.
  const arms = [...new Set([...scope.matchBy, "name" as const])].flatMap((key) => {
    const values = valuesOf(key);
    return values.length > 0 ? [sql`${sql.ref(columns[key])} = any(${values})`] : [];
  });
  if (arms.length === 0) return new Map();
  const rows = (await ctx.db.rows(
    watchesInScope(ctx, scope)
      .select(selectWatch)
      .where(sql<boolean>`(${sql.join(arms, sql` or `)})`),
  )) as WatchSeen[];
  return new Map(rows.map((row) => [row.id, { ...row, snmp_sealed: null }]));
}

const columns = {
  id: "w.id",
  numericId: "w.numeric_id",
  reference: "w.reference",
  deviceAddress: "w.device_address",
  name: "w.name_key",
} as const;

const matches = ["ifName", "ifDescr", "ifAlias", "ifIndex"] as const;

function candidateOf(row: WatchFull): Candidate {
  const interfaces = new Set<string>();
  if (row.interface_match) interfaces.add(`${row.interface_match} ${row.interface_value}`);
  const resolved = row.interface_resolved ?? {};
  for (const match of matches) if (resolved[match] != null) interfaces.add(`${match} ${resolved[match]}`);
  return {
    id: row.id,
    numericId: row.numeric_id,
    reference: row.reference,
    deviceAddress: row.device_address,
    interfaces: [...interfaces],
    name: asciiLower(row.name),
    locationId: row.location_id,
  };
}

function newCandidate(position: number, stated: StatedKeys): Candidate {
  return {
    id: `new ${position}`,
    numericId: 0,
    reference: stated.reference ?? null,
    deviceAddress: stated.deviceAddress ?? null,
    interfaces: stated.interface === undefined ? [] : [stated.interface],
    name: stated.name ?? "",
    locationId: stated.locationId ?? "",
  };
}
