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

/** Watches by what they can be hit by. */
export type MatchIndex = ReadonlyMap<string, readonly Candidate[]>;

const entry = (key: MatchKey, value: string | number) => `${key} ${value}`;

export function indexOf(candidates: Iterable<Candidate>): MatchIndex {
  const index = new Map<string, Candidate[]>();
  const file = (key: MatchKey, value: string | number | null, candidate: Candidate) => {
    if (value === null) return;
    const list = index.get(entry(key, value));
    if (list) list.push(candidate);
    else index.set(entry(key, value), [candidate]);
  };
  for (const candidate of candidates) {
    file("id", candidate.id, candidate);
    file("numericId", candidate.numericId, candidate);
    file("reference", candidate.reference, candidate);
    file("deviceAddress", candidate.deviceAddress, candidate);
    file("name", candidate.name, candidate);
  }
  return index;
}

/**
 * The watches that an item hits by the first of its keys that hits any, by id. `isDead`: the item states an id that is
 * none of a watch here; no other key is tried then, since the caller must decide what became of it.
 */
export function hitsOf(
  stated: StatedKeys,
  matchBy: readonly MatchKey[],
  index: MatchIndex,
): { hits: readonly Candidate[]; isDead: boolean } {
  for (const key of matchBy) {
    const value = stated[key];
    if (value === undefined) continue;
    const hits = (index.get(entry(key, value)) ?? []).filter((candidate) => fits(stated, key, candidate));
    if (hits.length > 0) return { hits: hits.sort((a, b) => (a.id < b.id ? -1 : 1)), isDead: false };
    if (key === "id" || key === "numericId") return { hits, isDead: true };
  }
  return { hits: [], isDead: false };
}

function fits(stated: StatedKeys, key: MatchKey, candidate: Candidate): boolean {
  if (key === "deviceAddress") return stated.interface === undefined || candidate.interfaces.includes(stated.interface);
  if (key === "name") return stated.locationId === undefined || candidate.locationId === stated.locationId;
  return true;
}
