/** What becomes of each item of an estate: its outcome, and whether it is to be applied. Decided before anything is. */

import { problemBody } from "#kernel/answer";
import type { Context } from "#kernel/contract";
import { type Fault, type Problem, problem, refuse } from "#kernel/problem";
import { givesSecrets, isWhole } from "./compare.ts";
import { type Examined, examine } from "./examine.ts";
import { type Candidate, hitsOf, indexOf } from "./match.ts";
import { type Estate, type EstateWatch, mostAtOnce, type ReconcileItem } from "./schema.ts";
import type { Scope } from "./scope.ts";

const matchNotLasting = problem(
  "match_not_lasting",
  409,
  "Once applied, the item would not hit its watch again, or would share it with another item.",
);

/** `rows` with `applied` null are to be applied; without `apply` none is. `hitIds`: all watches that some item hit. */
export type Plan = { rows: ReconcileItem[]; hitIds: Set<string> };

/** Candidates that a report names. */
export const mostCandidates = 10;

export async function planEstate(ctx: Context, scope: Scope, { items, apply }: Estate): Promise<Plan> {
  const examined: Examined[] = [];
  const candidates = new Map<string, Candidate>();
  for (let start = 0; start < items.length; start += mostAtOnce) {
    const asked = items.slice(start, start + mostAtOnce).map(({ watch }, place) => ({ index: start + place, watch }));
    const part = await examine(ctx, scope, asked);
    examined.push(...part.examined);
    for (const candidate of part.candidates) candidates.set(candidate.id, candidate);
  }
  const settled = withSharedWatches(examined);
  const open = new Set<Examined>();
  const acting = new Set<Examined>();
  for (const item of apply ? settled : []) {
    const watch = items[item.index]!.watch as EstateWatch;
    if (isToApply(item, watch, apply!)) open.add(item);
    if (open.has(item) && isDoable(ctx, item, watch, apply!)) acting.add(item);
  }
  const unlasting = dropUnlasting(settled, acting, candidates, scope);
  const rows = settled.map((item): ReconcileItem => {
    const row = rowOf(item, items[item.index]!.key);
    if (unlasting.has(item)) return { ...row, applied: "refused", problem: problemOf(ctx, refuse(matchNotLasting)) };
    return !apply || open.has(item) ? row : { ...row, applied: "skipped" };
  });
  const hitIds = new Set<string>();
  for (const hits of new Set(settled.map((item) => item.hits))) for (const { id } of hits) hitIds.add(id);
  return { rows, hitIds };
}

/** Items that hit one watch, each it alone: nobody can say which of them it is. */
function withSharedWatches(examined: readonly Examined[]): Examined[] {
  const hitters = countBy(examined.map(({ watchId }) => watchId));
  return examined.map((item) => {
    if (item.outcome === "invalid" || !item.watchId || hitters.get(item.watchId) === 1) return item;
    return { ...item, outcome: "ambiguous", reason: "same_watch", watchId: null, fields: [], after: null };
  });
}

type Apply = NonNullable<Estate["apply"]>;

function isToApply({ outcome, reason }: Examined, watch: EstateWatch, apply: Apply): boolean {
  if (outcome === "missing") return apply.create === true && reason === null;
  if (apply.update !== true) return false;
  return outcome === "different" || (outcome === "same" && apply.secrets === true && givesSecrets(watch));
}

/** False where it can be foreseen that the item will be refused, so that nothing is to be expected of it. */
function isDoable(ctx: Context, { outcome, lacksPlace }: Examined, watch: EstateWatch, apply: Apply): boolean {
  if (lacksPlace && apply.createPlaces !== true) return false;
  return outcome !== "missing" || isWhole(ctx, watch);
}

const mostRounds = 5;

/**
 * Takes out of `acting` what would not last: the same request again must find every applied item the same. Matching is
 * done over with the watches as they would be then; an item that no longer hits its own watch alone, has to share it, or
 * wants a name that is taken, is left as it is, which may unsettle another. What does not settle in a few rounds is left
 * alone altogether.
 */
function dropUnlasting(
  examined: readonly Examined[],
  acting: Set<Examined>,
  candidates: ReadonlyMap<string, Candidate>,
  { matchBy }: Scope,
): Set<Examined> {
  const dropped = new Set<Examined>();
  for (let round = 1; acting.size > 0; round++) {
    const then = new Map(candidates);
    for (const { watchId } of acting) if (watchId) then.delete(watchId);
    for (const { after } of acting) if (after) then.set(after.id, after);
    const index = indexOf(then.values());
    const names = countBy([...then.values()].map(nameKey));
    const alone = examined.map(({ stated }) => {
      const { hits } = hitsOf(stated, matchBy, index);
      return hits.length === 1 ? hits[0]!.id : null;
    });
    const hitters = countBy(alone);
    const unlasting = examined.filter((item, place) => {
      if (!acting.has(item)) return false;
      const { after } = item;
      return !after || alone[place] !== after.id || hitters.get(after.id) !== 1 || names.get(nameKey(after)) !== 1;
    });
    if (unlasting.length === 0) break;
    for (const item of round < mostRounds ? unlasting : [...acting]) {
      acting.delete(item);
      dropped.add(item);
    }
  }
  return dropped;
}

const nameKey = ({ locationId, name }: Candidate) => `${locationId} ${name}`;

function countBy<T>(values: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

function rowOf(item: Examined, key: string): ReconcileItem {
  const { outcome, reason, watchId, fields, index } = item;
  const candidateIds = outcome === "ambiguous" ? item.hits.slice(0, mostCandidates).map(({ id }) => id) : [];
  const errors = item.faults.map((fault) => pointed(fault, index));
  return { key, outcome, reason, watchId, candidateIds, fields, errors, applied: null, problem: null };
}

function pointed({ pointer = "", rule, message, hint }: Fault, index: number): ReconcileItem["errors"][number] {
  const fault = { pointer: `/items/${index}/watch${pointer}`, rule, message };
  return hint === undefined ? fault : { ...fault, hint };
}

/** A refusal as the report keeps it. */
export function problemOf(ctx: Pick<Context, "call">, refusal: Problem): ReconcileItem["problem"] {
  return problemBody(refusal, ctx.call.requestId, `/${ctx.call.label}/watch/reconcile`);
}
