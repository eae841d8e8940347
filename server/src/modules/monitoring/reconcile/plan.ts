/** What becomes of each item of an estate: its outcome, and whether it is to be applied. Decided before anything is. */

import { problemBody } from "#kernel/answer";
import type { Context } from "#kernel/contract";
import { type Fault, type Problem, problem, refuse } from "#kernel/problem";
import { givesSecrets } from "./compare.ts";
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

const mostCandidates = 10;

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
  const acting = new Set(apply ? settled.filter((item) => isToApply(item, items[item.index]!.watch, apply)) : []);
  const unlasting = apply ? dropUnlasting(settled, acting, candidates, scope) : new Set();
  const rows = settled.map((item): ReconcileItem => {
    const row = rowOf(item, items[item.index]!.key);
    if (!apply || acting.has(item)) return row;
    if (!unlasting.has(item)) return { ...row, applied: "skipped" };
    return { ...row, applied: "refused", problem: problemOf(ctx, refuse(matchNotLasting)) };
  });
  return { rows, hitIds: new Set(settled.flatMap(({ hits }) => hits.map(({ id }) => id))) };
}

/** Items that hit one watch, each it alone: nobody can say which of them it is. */
function withSharedWatches(examined: readonly Examined[]): Examined[] {
  const hitters = new Map<string, number>();
  for (const { watchId } of examined) if (watchId) hitters.set(watchId, (hitters.get(watchId) ?? 0) + 1);
  return examined.map((item) => {
    if (item.outcome === "invalid" || !item.watchId || hitters.get(item.watchId) === 1) return item;
    return { ...item, outcome: "ambiguous", reason: "same_watch", watchId: null, fields: [], after: null };
  });
}

function isToApply({ outcome, reason }: Examined, watch: unknown, apply: NonNullable<Estate["apply"]>): boolean {
  if (outcome === "missing") return apply.create === true && reason === null;
  if (apply.update !== true) return false;
  return (
    outcome === "different" || (outcome === "same" && apply.secrets === true && givesSecrets(watch as EstateWatch))
  );
}

const mostRounds = 5;

/**
 * Takes out of `acting` what would not last: the same request again must find every applied item the same. Matching is
 * done over with the watches as they would be then; an item that no longer hits its own watch alone, or that has to
 * share it, is left as it is, which may unsettle another. What does not settle in a few rounds is left alone altogether.
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
    const hitters = new Map<string, number>();
    const alone = examined.map(({ stated }) => {
      const { hits } = hitsOf(stated, matchBy, index);
      const id = hits.length === 1 ? hits[0]!.id : null;
      if (id !== null) hitters.set(id, (hitters.get(id) ?? 0) + 1);
      return id;
    });
    const lasts = (item: Examined, id: string | null) => id !== null && id === item.after?.id && hitters.get(id) === 1;
    const unlasting = examined.filter((item, place) => acting.has(item) && !lasts(item, alone[place]!));
    if (unlasting.length === 0) break;
    for (const item of round < mostRounds ? unlasting : [...acting]) {
      acting.delete(item);
      dropped.add(item);
    }
  }
  return dropped;
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
