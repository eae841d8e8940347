/** Applies one item of an estate, on what is stored at that moment. */
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
import { problemOf } from "./plan.ts";
import type { Estate, EstateWatch, ReconcileItem } from "./schema.ts";
import type { Scope } from "./scope.ts";

const matchChanged = problem("match_changed", 409, "What the item hits has changed since the estate was compared.");

type Apply = NonNullable<Estate["apply"]>;
type Applied = { applied: "created" | "updated" | "skipped"; watchId: string };

/** What is applied. `taken`: the watches that items of the request hit or made, which are no other item's. */
export type Job = { estate: Estate; scope: Scope; taken: Set<string> };

export function takenBy(rows: readonly Pick<ReconcileItem, "watchId">[]): Set<string> {
  return new Set(rows.flatMap(({ watchId }) => watchId ?? []));
}

/** Applies an item that the plan left open, and returns its row with what became of it. A refusal leaves nothing behind. */
export async function applyItem(ctx: Context, job: Job, index: number, row: ReconcileItem): Promise<ReconcileItem> {
  const base = `/items/${index}/watch`;
  const own: Context = {
    ...ctx,
    call: { ...ctx.call, ifMatch: null },
    warn: (code, pointer) => ctx.warn(code, pointer && base + pointer),
  };
  try {
    const applied = await ctx.attempt(() => below(base, () => perform(own, job, index, row)));
    job.taken.add(applied.watchId);
    return { ...row, ...applied };
  } catch (error) {
    if (!(error instanceof Problem) || error.kind.status >= 500) throw error;
    return { ...row, applied: "refused", problem: problemOf(ctx, error) };
  }
}

async function perform(own: Context, job: Job, index: number, row: ReconcileItem): Promise<Applied> {
  const { estate, scope, taken } = job;
  const { watch } = estate.items[index]!;
  if (row.watchId) await lockWatches(own, { ids: [row.watchId] });
  const { examined } = await examine(own, scope, [{ index, watch }], (id) => id !== row.watchId && taken.has(id));
  const now = examined[0]!;
  if (now.outcome === "invalid") throw invalidWatch(now.faults);
  if (now.watchId !== row.watchId || (row.watchId === null && now.outcome !== "missing"))
    throw refuse(matchChanged, { members: { candidateIds: now.hits.slice(0, 10).map(({ id }) => id) } });
  return row.watchId === null
    ? create(own, watch as EstateWatch, estate.apply!)
    : update(own, row.watchId, watch as EstateWatch, now, estate.apply!);
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
