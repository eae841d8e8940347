/**
 * Many changes in one call (conventions, section 3): modes, reply and refusals are the same for every resource. Each item
 * runs in a savepoint of its own, in order, so later items see earlier ones and a refused one leaves nothing.
 */
import type { TSchema } from "typebox";
import { problemBody } from "./answer.ts";
import type { BulkMode, BulkOutcome } from "./bulk-schema.ts";
import type { Context } from "./contract.ts";
import { type Fault, invalid, Problem, problem, refuse } from "./problem.ts";
import { faultsOf } from "./validate.ts";

export const bulkRefused = problem(
  "bulk_refused",
  409,
  "Items of an atomic bulk call were refused; nothing was stored.",
);

/** An item that its version refuses, in a body that was made from one of an older version: it fails with these faults. */
export class MalformedItem {
  readonly faults: readonly Fault[];
  constructor(faults: readonly Fault[]) {
    this.faults = faults;
  }
}

type BulkInput = { mode?: BulkMode; dryRun?: boolean; items: unknown[] };
type Warning = { code: string; pointer: string | null };
/** What the operation answers for an item that went well: the single call's status, what became of it, and more. */
type Done = { status: number; outcome: Exclude<BulkOutcome, "failed"> };

type Plan<I, R extends Done> = {
  /** The schema of one item. */
  item: TSchema;
  /** Rules that need no stored state and that the schema cannot say; a fault is one of the request, as the schema's are. */
  check?(item: I): Fault[];
  /** Does one item. `ctx` has no `If-Match` of its own: see `withMatch`. Pointers of its faults are relative to the item. */
  perform(ctx: Context, item: I, index: number): Promise<R>;
  /** What stands in the result of a failed item in place of the members that `perform` adds. */
  blank: Omit<R, keyof Done>;
};

/** Runs a bulk call: 400 for malformed items and 409 `bulk_refused` for refused ones in mode `atomic`. */
export async function runBulk<I, R extends Done>(ctx: Context, input: BulkInput, plan: Plan<I, R>) {
  const { mode = "atomic", dryRun = false, items } = input;
  const faults = items.map((item, index) => faultsOfItem(plan, item, index));
  if (mode === "atomic" && faults.some((list) => list.length > 0)) throw invalid(faults.flat());
  const run = async () => {
    const results: Awaited<ReturnType<typeof runItem<I, R>>>[] = [];
    for (const [index, item] of items.entries())
      results.push(await runItem(ctx, plan, item as I, index, faults[index]!));
    if (mode === "atomic" && results.some(({ refusal }) => refusal)) {
      const errors = results.flatMap(({ refusal, result }) =>
        refusal ? faultsBelow(refusal, `/items/${result.index}`) : [],
      );
      throw refuse(bulkRefused, { errors });
    }
    return {
      mode,
      dryRun,
      summary: summaryOf(results.map(({ result }) => result.outcome)),
      results: results.map(({ result }) => result),
    };
  };
  return dryRun ? undone(ctx, run) : run();
}

function faultsOfItem<I>(plan: Pick<Plan<I, Done>, "item" | "check">, item: unknown, index: number): Fault[] {
  const base = `/items/${index}`;
  if (item instanceof MalformedItem)
    return item.faults.map((fault) => ({ ...fault, pointer: base + (fault.pointer ?? "") }));
  const faults = faultsOf(plan.item, item, base);
  return faults.length > 0
    ? faults
    : (plan.check?.(item as I) ?? []).map((fault) => ({ ...fault, pointer: base + (fault.pointer ?? "") }));
}

async function runItem<I, R extends Done>(ctx: Context, plan: Plan<I, R>, item: I, index: number, faults: Fault[]) {
  const warnings: Warning[] = [];
  const own: Context = {
    ...ctx,
    call: { ...ctx.call, ifMatch: null, ifNoneMatch: null },
    warn: (code, pointer) => void warnings.push({ code, pointer: pointer ?? null }),
  };
  try {
    if (faults.length > 0) throw invalid(faults);
    const done = await ctx.attempt(() => plan.perform(own, item, index));
    return { refusal: null, result: { index, ...done, warnings, problem: null } };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const placed = faults.length > 0 ? error : pointedBelow(error, `/items/${index}`);
    const body = problemBody(placed, ctx.call.requestId, `/${ctx.call.label}${ctx.call.path}`);
    return {
      refusal: error,
      result: {
        index,
        status: error.kind.status,
        outcome: "failed" as const,
        ...plan.blank,
        warnings: [],
        problem: body,
      },
    };
  }
}

/** A context whose `If-Match` is that of a bulk item. */
export function withMatch(ctx: Context, ifMatch: string | undefined): Context {
  return { ...ctx, call: { ...ctx.call, ifMatch: ifMatch === undefined ? null : [ifMatch] } };
}

/** The same problem with its pointers moved below `base`, for parts that know nothing of the body around them. */
export function pointedBelow(error: Problem, base: string): Problem {
  const { errors } = error.refusal;
  if (!errors) return error;
  return new Problem(error.kind, {
    ...error.refusal,
    errors: errors.map((fault) => (fault.parameter ? fault : { ...fault, pointer: base + (fault.pointer ?? "") })),
  });
}

/** Runs a part whose pointers are relative to the member `base` of the body around it. */
export async function below<T>(base: string, part: () => Promise<T>): Promise<T> {
  try {
    return await part();
  } catch (error) {
    throw error instanceof Problem ? pointedBelow(error, base) : error;
  }
}

/** A problem as entries of `errors`: its own faults, or one that names its code. */
function faultsBelow(error: Problem, base: string): Fault[] {
  const faults = pointedBelow(error, base).refusal.errors;
  return faults?.length ? faults : [{ pointer: base, rule: error.kind.code, message: error.message }];
}

function summaryOf(outcomes: readonly BulkOutcome[]) {
  const summary = { created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0 };
  for (const outcome of outcomes) summary[outcome === "absent" ? "unchanged" : outcome]++;
  return summary;
}

class Undo {
  readonly value: unknown;
  constructor(value: unknown) {
    this.value = value;
  }
}

/** Runs a part for its result alone: rows, events and audit entries are rolled back. */
async function undone<T>(ctx: Context, part: () => Promise<T>): Promise<T> {
  try {
    return await ctx.attempt(async () => {
      throw new Undo(await part());
    });
  } catch (thrown) {
    if (thrown instanceof Undo) return thrown.value as T;
    throw thrown;
  }
}
