/** Many changes of watches in one call (monitoring, 3.2). */
import type { Static } from "typebox";
import { etagOf } from "#kernel/answer";
import { runBulk } from "#kernel/bulk";
import type { Context } from "#kernel/contract";
import { isId } from "#kernel/ids";
import type { Fault } from "#kernel/problem";
import { viewOf } from "../scope.ts";
import { type Fate, performItem, type Run } from "./bulk-item.ts";
import { BulkItem, type BulkWatches } from "./bulk-schema.ts";
import { type Named, openLedger } from "./ledger.ts";
import { placeFaults } from "./operations.ts";
import { type NewWatch, Watch } from "./schema.ts";
import { faultsOfWatch } from "./watch-change.ts";
import { watchOf } from "./watch-state.ts";

type Done = Omit<Fate, "id" | "row"> & { id: string | null; etag: string | null };

/**
 * Runs a bulk call. Both modes decide item by item in memory and store once, in one transaction: a failed item of mode
 * `each` leaves nothing, the others are stored together.
 */
export async function bulkWatches(ctx: Context, input: Static<typeof BulkWatches>) {
  const isDry = input.dryRun === true;
  const view = viewOf(ctx.who);
  const fates: Fate[] = [];
  let opening: Promise<Run> | undefined;
  const open = async (): Promise<Run> => {
    const { items } = input;
    return {
      ctx,
      view,
      places: new Map(),
      placeNames: namesByPlace(items),
      ledger: await openLedger(ctx, namedBy(items)),
    };
  };

  async function perform(own: Context, item: BulkItem, index: number): Promise<Done> {
    // Not before the first item: an atomic call with a malformed one reads nothing.
    opening ??= open();
    const fate = await performAlone(await opening, own, item);
    fates[index] = fate;
    return {
      status: fate.status,
      outcome: fate.outcome,
      id: isDry && fate.status === 201 ? null : fate.id,
      etag: null,
    };
  }

  const plan = { item: BulkItem, check: faultsOfItem, perform, blank: { id: null, etag: null } };
  const reply = await runBulk<BulkItem, Done>(inMemory(ctx, isDry), input, plan);
  if (!isDry) await (await opening)?.ledger.store();
  // The tags come last: new watches have got their numbers only now.
  for (const result of reply.results) {
    const row = fates[result.index]?.row;
    if (row && result.id) result.etag = etagOf(Watch, watchOf(row, view));
  }
  return reply;
}

/** Does an item; what it makes of a place is undone where it is refused. */
async function performAlone(run: Run, own: Context, item: BulkItem): Promise<Fate> {
  const makesPlace = "watch" in item && "place" in item.watch && item.watch.place?.createMissing === true;
  if (!makesPlace) return performItem(run, own, item);
  const known = new Map(run.places);
  try {
    return await run.ctx.attempt(() => performItem(run, own, item));
  } catch (error) {
    run.places.clear();
    for (const [key, value] of known) run.places.set(key, value);
    throw error;
  }
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

/** Faults of an item that its schema cannot say and that need no look at what is stored. */
function faultsOfItem(item: BulkItem): Fault[] {
  if (item.op === "delete") return [];
  const faults = faultsOfWatch(item.watch);
  if (item.op === "create") faults.push(...placeFaults(item.watch));
  if (item.op === "upsert") faults.push(...faultsOfMatch(item));
  return faults.map((fault) => ({ ...fault, pointer: `/watch${fault.pointer}` }));
}

function faultsOfMatch({ matchBy = "name", watch }: Extract<BulkItem, { op: "upsert" }>): Fault[] {
  const missing = (field: string): Fault => ({
    pointer: `/${field}`,
    rule: "required",
    message: `${field} is missing: it is matched by.`,
  });
  if (matchBy === "reference") return typeof watch.reference === "string" ? [] : [missing("reference")];
  return [...(watch.name === undefined ? [missing("name")] : []), ...placeFaults(watch as NewWatch)];
}

type Loose = {
  id?: unknown;
  matchBy?: unknown;
  watch?: { name?: unknown; locationId?: unknown; place?: unknown; reference?: unknown; interface?: unknown };
};

const textOf = (value: unknown) => (typeof value === "string" && !value.includes("\0") ? value : undefined);
const idOf = (prefix: string, value: unknown) => (typeof value === "string" && isId(prefix, value) ? value : undefined);

/** What the items name, malformed ones among them. */
function namedBy(items: readonly unknown[]): Named {
  const loose = items.filter((item): item is Loose => typeof item === "object" && item !== null);
  const targets = loose.map(({ id, matchBy, watch }) => ({
    id: idOf("wch", id),
    reference: matchBy === "reference" ? textOf(watch?.reference) : undefined,
    locationId: idOf("loc", watch?.locationId),
    name: textOf(watch?.name),
  }));
  return { targets, interfaces: loose.some(({ watch }) => watch?.interface !== undefined) };
}

/** The names that items want at places, which have no id yet. */
function namesByPlace(items: readonly unknown[]): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const item of items as readonly (Loose | null)[]) {
    const { place, name } = item?.watch ?? {};
    const wanted = textOf(name);
    if (place === undefined || wanted === undefined) continue;
    const key = JSON.stringify(place);
    const list = names.get(key) ?? [];
    list.push(wanted);
    names.set(key, list);
  }
  return names;
}
