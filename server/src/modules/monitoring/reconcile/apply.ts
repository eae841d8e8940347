/** Applies items of an estate, on what is stored at that moment. */
import { below } from "#kernel/bulk";
import type { Context } from "#kernel/contract";
import { Problem, problem, refuse } from "#kernel/problem";
import { faultsOf } from "#kernel/validate";
import { findOrMakePlace } from "../place/place.ts";
import { createWatch, updateWatch } from "../watch/operations.ts";
import { lockWatches } from "../watch/rows.ts";
import { NewWatch } from "../watch/schema.ts";
import { invalidWatch } from "../watch/watch-change.ts";
import { changeFor } from "./compare.ts";
import { type Examined, examine } from "./examine.ts";
import { mostCandidates, problemOf } from "./plan.ts";
import type { Estate, EstateWatch, ReconcileItem } from "./schema.ts";
import type { Scope } from "./scope.ts";

const matchChanged = problem("match_changed", 409, "What the item hits has changed since the estate was compared.");

type Apply = NonNullable<Estate["apply"]>;
type Applied = { applied: "created" | "updated" | "skipped"; watchId: string };

/** An item of a report at its place. */
export type Row = { position: number; item: ReconcileItem };
/** What is applied. `taken`: the watches that items of the request hit or made, which are no other item's. */
export type Job = { estate: Estate; scope: Scope; taken: Set<string> };

export function takenBy(rows: readonly Row[]): Set<string> {
  return new Set(rows.flatMap(({ item }) => item.watchId ?? []));
}

/**
 * Applies items that the plan left open, up to a thousand, and returns their rows with what became of them. What they hit
 * is locked and compared anew first; then each is applied by itself, and a refusal leaves nothing behind.
 */
export async function applyItems(ctx: Context, job: Job, rows: readonly Row[]): Promise<Row[]> {
  const { estate, scope, taken } = job;
  const watchIds = [...takenBy(rows)];
  if (watchIds.length > 0) await lockWatches(ctx, { ids: watchIds });
  const { examined } = await examine(
    ctx,
    scope,
    rows.map(({ position, item }) => ({
      index: position,
      watch: estate.items[position]!.watch,
      isOthers: (id: string) => id !== item.watchId && taken.has(id),
    })),
  );
  const done: Row[] = [];
  for (const [place, { position, item }] of rows.entries()) {
    const applied = await applyItem(ctx, estate, item, examined[place]!);
    if (applied.watchId) taken.add(applied.watchId);
    done.push({ position, item: applied });
  }
  return done;
}

async function applyItem(ctx: Context, estate: Estate, item: ReconcileItem, now: Examined): Promise<ReconcileItem> {
  const base = `/items/${now.index}/watch`;
  const own: Context = {
    ...ctx,
    call: { ...ctx.call, ifMatch: null },
    warn: (code, pointer) => ctx.warn(code, pointer && base + pointer),
  };
  try {
    const applied = await ctx.attempt(() => below(base, () => perform(own, estate, item, now)));
    return { ...item, ...applied };
  } catch (error) {
    if (!(error instanceof Problem) || error.kind.status >= 500) throw error;
    return { ...item, applied: "refused", problem: problemOf(ctx, error) };
  }
}

async function perform(own: Context, estate: Estate, { watchId }: ReconcileItem, now: Examined): Promise<Applied> {
  if (now.outcome === "invalid") throw invalidWatch(now.faults);
  if (now.watchId !== watchId || (watchId === null && now.outcome !== "missing"))
    throw refuse(matchChanged, { members: { candidateIds: now.hits.slice(0, mostCandidates).map(({ id }) => id) } });
  const watch = estate.items[now.index]!.watch as EstateWatch;
  return watchId === null ? create(own, watch, estate.apply!) : update(own, watchId, watch, now, estate.apply!);
}

async function create(own: Context, watch: EstateWatch, apply: Apply): Promise<Applied> {
  const body = watch.place ? { ...watch, place: placeOf(watch, apply) } : watch;
  const faults = faultsOf(NewWatch, body);
  if (faults.length > 0) throw invalidWatch(faults);
  const { id } = await createWatch(own, body as NewWatch);
  return { applied: "created", watchId: id };
}

async function update(
  own: Context,
  watchId: string,
  watch: EstateWatch,
  { fields }: Examined,
  apply: Apply,
): Promise<Applied> {
  const change = changeFor(watch, fields, apply.secrets === true);
  if (fields.some(({ field }) => field === "locationId"))
    change.locationId = watch.place ? (await findOrMakePlace(own, placeOf(watch, apply))).locationId : watch.locationId;
  if (Object.keys(change).length === 0) return { applied: "skipped", watchId };
  await updateWatch(own, watchId, change);
  return { applied: "updated", watchId };
}

/** Whether what is missing of a place is made is the request's to say, not the item's. */
function placeOf({ place }: EstateWatch, { createPlaces }: Apply) {
  return { ...place!, createMissing: createPlaces === true };
}
