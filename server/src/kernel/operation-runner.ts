/**
 * Runs operations: takes what is due, renews a lease while it works, ends each in one transaction with its result and
 * its event. A process that dies leaves a lease that runs out; whoever sees that takes the work up again.
 */
import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { problemBody } from "./answer.ts";
import { type Caller, inTransaction, systemCaller } from "./context.ts";
import type { Context, Stop } from "./contract.ts";
import { query } from "./db.ts";
import type { Kernel } from "./kernel.ts";
import { findOperation, type OperationRow, tellOperation } from "./operation-store.ts";
import {
  interrupted,
  type OperationKind,
  type OperationPlace,
  type OperationResult,
  type OperationStatus,
  type OperationWork,
} from "./operations.ts";
import { internalError, Problem, unavailable } from "./problem.ts";
import { endOfOthers, purgeRows } from "./purge.ts";

const leaseMs = 60_000;
/** The lease would bear longer; a cancel and a deadline are noticed at the same time. */
const renewMs = 1_000;
const pollMs = 1_000;
const mostRunning = 50;
const mostLookedAt = 500;
const mostTries = 3;
const queuedHours = 24;
const progressEveryMs = 5_000;
const activityMs = 1_000;

type Running = { place: OperationPlace; abort: AbortController; done: Promise<void> };
export type Operations = {
  /** Looks for work now; a lost wake-up costs one poll. */
  wake(): void;
  /** Resolves when an operation has ended, or after `waitMs`; returns its row. */
  settled(tenantId: string, operationId: string, waitMs: number): Promise<OperationRow | undefined>;
  stop: Stop;
};

const placeOf = (row: OperationRow): OperationPlace => ({
  id: row.id,
  kind: row.kind,
  tenantId: row.tenant_id,
  subject: row.subject,
  input: row.input,
});

export function startOperations(kernel: Kernel): Operations {
  const kinds = new Map<string, OperationKind>();
  for (const module of kernel.modules) for (const kind of module.operations ?? []) kinds.set(kind.kind, kind);
  const holder = randomUUID();
  const running = new Map<string, Running>();
  const watchers = new Map<string, Set<() => void>>();
  let stopped = false;
  let looking: Promise<void> | null = null;
  let again = false;

  function wake(): void {
    if (stopped) return;
    if (looking) {
      again = true;
      return;
    }
    looking = look()
      .catch((error) => kernel.log.warn({ err: error }, "operations wait for the database"))
      .finally(() => {
        looking = null;
        if (again) {
          again = false;
          wake();
        }
      });
  }

  async function look(): Promise<void> {
    const now = kernel.now();
    const due = await kernel.system.in("").rows(
      // In turns: whoever has thousands waiting that may not begin yet does not hide what others have.
      query<OperationRow>(sql`select * from (
          select *, row_number() over (partition by tenant_id, kind order by created_at, id) as turn from kernel.operation
          where (status = 'queued' and (not_before is null or not_before <= ${now})) or (status = 'running' and lease_until <= ${now})
        ) due order by turn, created_at, id limit ${mostLookedAt}`),
    );
    for (const row of due) {
      if (stopped || running.size >= mostRunning) return;
      const kind = kinds.get(row.kind);
      if (!kind || running.has(row.id)) continue;
      // What cannot be begun holds up nothing behind it.
      await begin(row, kind, now).catch((error) =>
        kernel.log.warn({ err: error, operation: row.id }, "an operation could not be begun; it is tried again"),
      );
    }
  }

  async function begin(row: OperationRow, kind: OperationKind, now: Date): Promise<void> {
    // Of a tenant that is being purged nothing goes on.
    if (!(await kernel.gate.tenant(row.tenant_id))) return;
    const waitedMs = now.getTime() - (row.not_before ?? row.created_at).getTime();
    if (row.status === "queued" && kind.restart !== "always" && waitedMs > queuedHours * 3_600_000)
      return end(row, kind, "expired", {});
    const place = placeOf(row);
    const beside = [...running.values()].map((other) => other.place);
    if (!kind.admits || kind.admits(place, beside, now)) await take(row, kind);
  }

  async function take(row: OperationRow, kind: OperationKind): Promise<void> {
    const now = kernel.now();
    const isSpent = kind.restart === "fail" || (kind.restart === "again" && row.tries >= mostTries);
    if (row.status === "running" && isSpent) {
      await end(row, kind, "failed", { error: new Problem(interrupted) });
      return;
    }
    const caller = await callerOf(row, kind);
    const claimed = await inTransaction(kernel, caller, async (ctx) => {
      const mine = await ctx.db.first(
        query<OperationRow>(sql`update kernel.operation set status = 'running', tries = least(tries + 1, 100), lease_holder = ${holder},
            lease_until = ${new Date(now.getTime() + leaseMs)}, started_at = coalesce(started_at, ${now}), updated_at = ${now}
          where tenant_id = ${row.tenant_id} and id = ${row.id} and (status = 'queued' or (status = 'running' and lease_until <= ${now})) returning *`),
      );
      if (mine && row.status === "queued") tellOperation(ctx, mine);
      return mine;
    });
    if (!claimed) return;
    const abort = new AbortController();
    const entry: Running = { place: placeOf(claimed), abort, done: Promise.resolve() };
    running.set(row.id, entry);
    entry.done = perform(claimed, kind, caller, abort)
      .catch((error) =>
        kernel.log.warn({ err: error, operation: row.id }, "an operation could not be ended; its lease will run out"),
      )
      .finally(() => {
        running.delete(row.id);
        for (const tell of watchers.get(row.id) ?? []) tell();
        wake();
      });
  }

  /** The starter, with its rights as they are now; the scopes of the credential it used still bound it. */
  async function callerOf(row: OperationRow, kind: OperationKind, actingId = row.tenant_id): Promise<Caller> {
    const card = (await kernel.gate.tenant(actingId))!;
    const base = systemCaller(kernel, card, row.kind);
    const call = {
      ...base.call,
      correlationId: row.correlation_id,
      requestId: row.request_id ?? base.call.requestId,
    };
    const { id, name } = row.owner;
    if (kind.as === "system") return { ...base, call, who: { ...base.who, onBehalfOf: { id, name } } };
    const owner = row.owner.kind === "system" ? base.who : await kernel.gate.principalOf(row.owner, row.owner.tenantId);
    const who = owner && { ...owner, acting: card, scopes: row.owner.scopes };
    return {
      ...base,
      who: who ?? { ...base.who, grants: [] },
      call,
    };
  }

  async function perform(
    row: OperationRow,
    kind: OperationKind,
    caller: Caller,
    abort: AbortController,
  ): Promise<void> {
    let outcome: { status: OperationStatus; result?: OperationResult; error?: Problem };
    const until = kernel.now().getTime() + kind.maxMinutes * 60_000;
    const timer = setInterval(() => void renew(row, abort, until).catch(() => {}), renewMs);
    try {
      if (caller.who.grants.length === 0)
        throw new Problem(interrupted, { detail: "Who started this may no longer act." });
      const result = await kind.run(workOf(row, kind, caller, abort.signal), row.input);
      outcome = { status: "succeeded", result };
    } catch (error) {
      outcome = outcomeOf(error, abort.signal, row);
      if (outcome.status === "queued") return;
    } finally {
      clearInterval(timer);
    }
    try {
      await end(row, kind, outcome.status, outcome, caller);
    } catch (error) {
      // What `store` refuses fails the work.
      if (outcome.status !== "succeeded" || !(error instanceof Problem) || error.kind === unavailable) throw error;
      await end(row, kind, "failed", { error }, caller);
    }
  }

  /** Stopping the server leaves the work to its lease (`queued`); a cancel and a deadline end it. */
  function outcomeOf(
    error: unknown,
    signal: AbortSignal,
    row: OperationRow,
  ): { status: OperationStatus; error?: Problem } {
    if (signal.aborted && signal.reason === "stop") return { status: "queued" };
    if (signal.aborted && signal.reason === "cancel") return { status: "cancelled" };
    if (signal.aborted && signal.reason === "deadline") return { status: "expired" };
    // The database was away: nothing can be ended now. The lease runs out, and the work begins again.
    if (error instanceof Problem && error.kind === unavailable) return { status: "queued" };
    if (error instanceof Problem) return { status: "failed", error };
    kernel.log.error({ err: error, operation: row.id }, "unexpected error in an operation");
    return { status: "failed", error: new Problem(internalError, { detail: "Something went wrong on our side." }) };
  }

  async function renew(row: OperationRow, abort: AbortController, untilMs: number): Promise<void> {
    const now = kernel.now();
    if (now.getTime() > untilMs) return abort.abort("deadline");
    const state = await kernel.system.in("").first(
      query<{
        cancel_asked: boolean;
        mine: boolean;
      }>(sql`update kernel.operation set lease_until = greatest(lease_until, ${new Date(now.getTime() + leaseMs)})
        where id = ${row.id} and status = 'running' and lease_holder = ${holder} returning cancel_asked, true as mine`),
    );
    if (!state) abort.abort("lost");
    else if (state.cancel_asked) abort.abort("cancel");
  }

  function workOf(row: OperationRow, kind: OperationKind, caller: Caller, signal: AbortSignal): OperationWork {
    let toldAtMs = Number.NEGATIVE_INFINITY;
    const work: OperationWork = {
      id: row.id,
      tenantId: row.tenant_id,
      who: caller.who,
      signal,
      now: kernel.now,
      guard: kernel.guard,
      db: kernel.db.in(row.tenant_id),
      async transaction(part, actingId) {
        if (actingId !== undefined && kind.as !== "system") throw new Error("Only the system acts in other tenants.");
        const actor = actingId === undefined ? caller : await callerOf(row, kind, actingId);
        return inTransaction(kernel, { ...actor, now: kernel.now() }, part);
      },
      async purgeTenant(tenantId) {
        await kernel.secrets.destroyKeys(tenantId);
        for (const module of kernel.modules) await module.purge?.(kernel, tenantId);
        await kernel.activity.flush();
        // Other processes write the lines of their last calls.
        if (kernel.processes.live() > 1) await new Promise((resolve) => setTimeout(resolve, activityMs));
        await endOfOthers(kernel.system, signal);
        let done = 0;
        await purgeRows(kernel, tenantId, signal, async (rows) => {
          done += rows;
          await work.progress(done, null);
        });
      },
      async progress(done, total, note) {
        const atMs = kernel.now().getTime();
        // A clock that was set back must not silence it.
        const tells = Math.abs(atMs - toldAtMs) >= progressEveryMs;
        if (tells) toldAtMs = atMs;
        await inTransaction(kernel, { ...caller, now: kernel.now() }, async (ctx) => {
          const changed = await ctx.db.first(
            query<OperationRow>(sql`update kernel.operation set progress = ${JSON.stringify({ done, total, note: note ?? null })}, updated_at = ${ctx.now}
              where id = ${row.id} and status = 'running' and lease_holder = ${holder} returning *`),
          );
          if (changed && tells) tellOperation(ctx, changed, "progressed");
        });
      },
    };
    return work;
  }

  async function end(
    row: OperationRow,
    kind: OperationKind,
    status: OperationStatus,
    outcome: { result?: OperationResult; error?: Problem },
    caller?: Caller,
  ): Promise<void> {
    const error = outcome.error && problemBody(outcome.error, row.request_id ?? "", `/operation/${row.id}`);
    const base = caller ?? (await callerOf(row, kind));
    await inTransaction(kernel, { ...base, now: kernel.now() }, async (ctx) => {
      const final = await ctx.db.first(
        query<OperationRow>(sql`update kernel.operation set status = ${status}, finished_at = ${ctx.now}, updated_at = ${ctx.now}, lease_holder = null,
            lease_until = null, result = ${outcome.result ? JSON.stringify({ url: outcome.result.url, data: outcome.result.data }) : null}::jsonb,
            error = ${error ? JSON.stringify(error) : null}::jsonb
          where id = ${row.id} and status in ('queued', 'running') and (lease_holder is not distinct from ${caller ? holder : row.lease_holder}) returning *`),
      );
      if (!final) return;
      if (status === "succeeded") await outcome.result?.store?.(ctx);
      else await kind.ended?.(ctx, placeOf(row), status as "failed" | "cancelled" | "expired", outcome.error);
      tellOperation(ctx, final);
    });
  }

  const timer = setInterval(wake, pollMs);
  timer.unref();
  wake();

  return {
    wake,
    async settled(tenantId, operationId, waitMs) {
      const until = performance.now() + waitMs;
      for (;;) {
        const row = await findOperation(kernel.db.in(tenantId), operationId);
        const left = until - performance.now();
        if (!row || row.finished_at || left <= 0) return row;
        await new Promise<void>((resolve) => {
          const timeout = setTimeout(finish, Math.min(left, pollMs));
          const set = watchers.get(operationId) ?? new Set();
          watchers.set(operationId, set.add(finish));
          function finish(): void {
            clearTimeout(timeout);
            set.delete(finish);
            if (set.size === 0) watchers.delete(operationId);
            resolve();
          }
        });
      }
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await looking;
      const all = [...running.values()];
      for (const { abort } of all) abort.abort("stop");
      await Promise.all(all.map(({ done }) => done));
      await kernel.system
        .in("")
        .run(
          query(
            sql`update kernel.operation set lease_until = ${kernel.now()}, tries = greatest(0, tries - 1) where status = 'running' and lease_holder = ${holder}`,
          ),
        );
    },
  };
}

/** Ends an operation that has not begun, or asks a running one to end. Returns its row; undefined: it is final. */
export async function cancelOperation(
  ctx: Context,
  kind: OperationKind,
  row: OperationRow,
): Promise<OperationRow | undefined> {
  const cancelled = await ctx.db.first(
    query<OperationRow>(sql`update kernel.operation set status = 'cancelled', finished_at = ${ctx.now}, updated_at = ${ctx.now}
      where id = ${row.id} and status = 'queued' returning *`),
  );
  if (cancelled) {
    await kind.ended?.(ctx, placeOf(cancelled), "cancelled");
    tellOperation(ctx, cancelled);
    return cancelled;
  }
  if (kind.cancellable === "queued") return undefined;
  return ctx.db.first(
    query<OperationRow>(
      sql`update kernel.operation set cancel_asked = true, updated_at = ${ctx.now} where id = ${row.id} and status = 'running' returning *`,
    ),
  );
}
