/** Which watches an item hits (monitoring, 4.3). Nothing here knows the database or what happens next. */
import type { matchKeys } from "./schema.ts";

export type MatchKey = (typeof matchKeys)[number];

/** What an item says of itself, in canonical spelling; what it does not state, or states as null, is absent. */
export type StatedKeys = {
  id?: string;
  numericId?: number;
  reference?: string;
  deviceAddress?: string;
  /** Such as `ifName Gi0/0/1`. */
  interface?: string;
  /** In ASCII lower case. */
  name?: string;
  /** The location, or what stands for a place that is not there. */
  locationId?: string;
};

/** A watch as matching sees it. */
export type Candidate = {
  id: string;
  numericId: number;
  reference: string | null;
  deviceAddress: string | null;
  /** The wanted interface and what it was found to be, such as `ifName Gi0/0/1`. */
  interfaces: readonly string[];
  name: string;
  locationId: string;
};

/** Watches by what they can be hit by, each list by id. Items that state the same share a list, however long it is. */
export type MatchIndex = ReadonlyMap<string, readonly Candidate[]>;

// No text of a watch holds a line break.
const entry = (key: MatchKey, value: string | number, limit?: string) =>
  limit === undefined ? `${key} ${value}` : `${key} ${value}\n${limit}`;

export function indexOf(candidates: Iterable<Candidate>): MatchIndex {
  const index = new Map<string, Candidate[]>();
  const file = (candidate: Candidate, name: string) => {
    const list = index.get(name);
    if (list) list.push(candidate);
    else index.set(name, [candidate]);
  };
  for (const candidate of [...candidates].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const { id, numericId, reference, deviceAddress, interfaces, name, locationId } = candidate;
    file(candidate, entry("id", id));
    file(candidate, entry("numericId", numericId));
    if (reference !== null) file(candidate, entry("reference", reference));
    if (deviceAddress !== null) {
      file(candidate, entry("deviceAddress", deviceAddress));
      for (const one of interfaces) file(candidate, entry("deviceAddress", deviceAddress, one));
    }
    file(candidate, entry("name", name));
    file(candidate, entry("name", name, locationId));
  }
  return index;
}

const none: readonly Candidate[] = [];

/**
 * The watches that an item hits by the first of its keys that hits any, by id. `isDead`: the item states an id that is
 * none of a watch here; no other key is tried then, since the caller must decide what became of it. Watches for which
 * `isOthers` holds are passed over.
 */
export function hitsOf(
  stated: StatedKeys,
  matchBy: readonly MatchKey[],
  index: MatchIndex,
  isOthers?: (watchId: string) => boolean,
): { hits: readonly Candidate[]; isDead: boolean } {
  for (const key of matchBy) {
    const value = stated[key];
    if (value === undefined) continue;
    const all = index.get(entry(key, value, limitOf(stated, key))) ?? none;
    const hits = isOthers ? all.filter(({ id }) => !isOthers(id)) : all;
    if (hits.length > 0) return { hits, isDead: false };
    if (key === "id" || key === "numericId") return { hits, isDead: true };
  }
  return { hits: none, isDead: false };
}

/** What else the item states that narrows a key. */
function limitOf(stated: StatedKeys, key: MatchKey): string | undefined {
  if (key === "deviceAddress") return stated.interface;
  return key === "name" ? stated.locationId : undefined;
}
