/**
 * Watches in memory, for many changes in one transaction: what the items name is locked and read with a few statements
 * beforehand, each item is decided here and sees what the items before it did, and the outcome is stored with a few
 * statements at the end. The number of statements does not grow with the number of items (one look-up more for each
 * distinct `place`, and for a name that an item before has brought about).
 */
import type { AuditField } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { violates } from "#kernel/db";
import { drawNumericIds } from "../numeric-id.ts";
import type { DeviceInterface } from "../probe/device-interface.ts";
import {
  holderOfName,
  insertDrawnWatches,
  interfaceLists,
  lockLocations,
  lockWatches,
  parkWatches,
  type Spot,
  updateWatches,
  type Writable,
} from "./rows.ts";
import { tellCreated, tellDeleted, tellUpdated } from "./watch-news.ts";
import { asciiLower, type WatchFull } from "./watch-state.ts";

/** What is known beforehand of the watches that are touched: by which id or reference, and what they are named and where. */
export type Named = {
  targets: readonly { id?: string; reference?: string; locationId?: string; name?: string }[];
  /** Whether interfaces change, so that the kept lists are needed. */
  interfaces: boolean;
};

type Entry = { stored: WatchFull | null; row: WatchFull; writable: boolean; dropsInterfaces: boolean };
type Step = { kind: "created" | "updated" | "deleted"; before: WatchFull | null; row: WatchFull; fields: AuditField[] };

export type Ledger = Awaited<ReturnType<typeof openLedger>>;

const keyOf = (locationId: string, name: string) =>
  `${locationId} ${name.replace(/[A-Z]/g, (letter) => letter.toLowerCase())}`;
const isLiving = (entry: Entry | undefined): entry is Entry => entry !== undefined && entry.row.deleted_at === null;

export async function openLedger(ctx: Context, named: Named) {
  const entries = new Map<string, Entry>();
  const holders = new Map<string, string | null>();
  const references = new Map<string, Set<string>>();
  const spots = new Map<string, Spot>();
  const steps: Step[] = [];

  function add(rows: readonly Writable[]): void {
    for (const { writable, ...row } of rows) {
      if (entries.has(row.id)) continue;
      entries.set(row.id, { stored: row, row, writable, dropsInterfaces: false });
      file(row);
    }
  }

  function file(row: WatchFull): void {
    if (row.deleted_at) return;
    holders.set(keyOf(row.location_id, row.name), row.id);
    if (row.reference === null) return;
    const same = references.get(row.reference) ?? new Set();
    references.set(row.reference, same.add(row.id));
  }

  function unfile(row: WatchFull): void {
    holders.set(keyOf(row.location_id, row.name), null);
    if (row.reference !== null) references.get(row.reference)?.delete(row.id);
  }

  /** Finds out who has these names at these locations, all at once. */
  async function expectNames(asked: readonly [string, string][]): Promise<void> {
    const open = asked.filter(([location, name]) => !holders.has(keyOf(location, name)));
    if (open.length === 0) return;
    add(await lockWatches(ctx, { names: open.map(([location, name]) => [location, asciiLower(name)]) }));
    for (const [location, name] of open)
      if (!holders.has(keyOf(location, name))) holders.set(keyOf(location, name), null);
  }

  /** The location and name that each target has or gets, as far as both are known. */
  function namesAsked(): [string, string][] {
    return named.targets.flatMap(({ id, reference, locationId, name }) => {
      const ids = id ? [id] : [...((reference && references.get(reference)) || [])];
      const found = ids.flatMap((one) => entries.get(one)?.row ?? []);
      const pairs = [[locationId, name], ...found.map((row) => [locationId ?? row.location_id, name ?? row.name])];
      return pairs.filter((pair): pair is [string, string] => pair[0] !== undefined && pair[1] !== undefined);
    });
  }

  const given = (values: (string | undefined)[]) => [...new Set(values.filter((value) => value !== undefined))];
  const ids = given(named.targets.map(({ id }) => id));
  if (ids.length > 0) add(await lockWatches(ctx, { ids }));
  const keys = given(named.targets.map(({ reference }) => reference));
  if (keys.length > 0) add(await lockWatches(ctx, { references: keys }));
  for (const spot of await lockLocations(ctx, given(named.targets.map(({ locationId }) => locationId))))
    spots.set(spot.id, spot);
  await expectNames(namesAsked());
  const lists: ReadonlyMap<string, DeviceInterface[]> = named.interfaces
    ? await interfaceLists(ctx, [...entries.keys()])
    : new Map();

  /** Names that change hands: an update would meet the old holder's row before that one has given its name up. */
  function handedOver(changed: readonly Entry[]): string[] {
    const held = new Map(
      changed
        .filter(({ stored }) => stored!.deleted_at === null)
        .map(({ stored }) => [keyOf(stored!.location_id, stored!.name), stored!.id]),
    );
    const taken = changed
      .filter(isLiving)
      .map(({ row }) => ({ id: row.id, holder: held.get(keyOf(row.location_id, row.name)) }));
    return taken.flatMap(({ id, holder }) => (holder && holder !== id ? [holder] : []));
  }

  async function updateUnlessTaken(rows: WatchFull[], stale: string[]): Promise<void> {
    try {
      await updateWatches(ctx, rows, stale);
    } catch (error) {
      throw violates(error, "watch_name") ? new NameTakenMeanwhile() : error;
    }
  }

  return {
    entry: (id: string) => entries.get(id),
    spot: (locationId: string) => spots.get(locationId),
    list: (id: string) => lists.get(id),
    withReference: (reference: string) => [...(references.get(reference) ?? [])],
    /** A location that an item has found by its place, and the names that are wanted there. */
    async addSpot(spot: Spot, names: readonly string[]): Promise<void> {
      spots.set(spot.id, spot);
      await expectNames(names.map((name) => [spot.id, name]));
    },
    /** The id of the living watch of this name at a location; null: the name is free. */
    async holder(row: Pick<WatchFull, "tenant_id" | "location_id" | "name">): Promise<string | null> {
      const known = holders.get(keyOf(row.location_id, row.name));
      if (known !== undefined) return known;
      const found = (await holderOfName(ctx, row)) ?? null;
      // Who is in the ledger has another name by now, else it would be filed under this one.
      if (found === null || entries.has(found)) return null;
      add(await lockWatches(ctx, { ids: [found] }));
      return found;
    },
    /** Takes over what an item did. */
    take(step: Step, dropsInterfaces: boolean): void {
      const { row } = step;
      const entry = entries.get(row.id);
      if (entry) unfile(entry.row);
      entries.set(row.id, {
        stored: entry?.stored ?? null,
        row,
        writable: true,
        dropsInterfaces: dropsInterfaces || entry?.dropsInterfaces === true,
      });
      file(row);
      steps.push(step);
    },
    /** Stores the outcome, tells and records every step. New watches get their numbers here. */
    async store(): Promise<void> {
      const touched = [...new Set(steps.map(({ row }) => row.id))].map((id) => entries.get(id)!);
      const made = touched.filter(({ stored }) => stored === null);
      const changed = touched.filter(({ stored }) => stored !== null);
      if (changed.length > 0) {
        const parked = handedOver(changed);
        if (parked.length > 0) await parkWatches(ctx, parked);
        const stale = changed.filter(({ dropsInterfaces }) => dropsInterfaces).map(({ row }) => row.id);
        await updateUnlessTaken(
          changed.map(({ row }) => row),
          stale,
        );
      }
      if (made.length > 0) {
        const numbers = await drawNumericIds(
          ctx,
          made.map(({ row }) => ({ tenantId: row.tenant_id, id: row.id })),
        );
        for (const { row } of made) row.numeric_id = numbers.get(row.id)!;
        for (const { before, row } of steps) {
          for (const state of [before, row])
            if (state && numbers.has(state.id)) state.numeric_id = numbers.get(state.id)!;
        }
        if (
          (await insertDrawnWatches(
            ctx,
            made.map(({ row }) => row),
          )) < made.length
        )
          throw new NameTakenMeanwhile();
      }
      for (const { kind, before, row, fields } of steps) {
        if (kind === "created") tellCreated(ctx, row, fields);
        else if (kind === "updated") tellUpdated(ctx, before!, row, fields);
        else tellDeleted(ctx, before!, fields);
      }
    },
  };
}

/** Somebody took a name between our look and our insert: the code makes the whole transaction run again and see it. */
class NameTakenMeanwhile extends Error {
  readonly code = "40001";
}
