/**
 * The one engine of all outbound messages (exchange, section 6). Rows are the truth: a worker claims what is due for a
 * minute, sends it, and writes down how it ended, many at a time; what a dead worker had claimed is claimed again, sooner
 * where its process is known to be no more. What is new may be given to the worker of the process that makes it, in the
 * statement that makes it. Targets are served in turn, and those that fail share half of a worker's places, so that none
 * of them delays the others.
 */
import { type RawBuilder, sql } from "kysely";
import { inTransaction, systemCaller } from "../context.ts";
import type { Context, Stop } from "../contract.ts";
import { databaseAway, hot, query } from "../db.ts";
import type { Kernel } from "../kernel.ts";
import { createOutbound } from "../outbound.ts";
import { type Attempt, afterAttempt, attempt } from "./attempt.ts";
import type { Address, DeliveryKind, DeliveryRow, Outgoing, Rendered } from "./contract.ts";
import { createSettler, type Settled, type TargetStanding } from "./settler.ts";
import { setOwnerOff, switchTarget } from "./store.ts";

/** What a worker has claimed at most; far fewer are under way, since each target is sent but a few at once. */
const places = 2_000;
const failingPlaces = 1_000;
/** With so many under way, what is new is left to whichever worker is free. */
const fewPlaces = 128;
/** What has waited for its target's place for so long is given back: its lease must outlast its call. */
const mostWaitMs = 40_000;
const pollMs = 500;
/** How often it is looked for what dead processes had claimed. */
const burialMs = 2_000;
/** Before it is looked for again what another statement had in hand. */
const againMs = 15;
/** How long a stopping server waits for calls under way; the leases of the rest are given back. */
const graceMs = 3_000;
const hourMs = 3_600_000;
const warningHours = [24, 96];
const leastFailures = 20;

/** Sends one message now, outside of all schedules: it is neither stored nor counted. */
export type SendOnce = (address: Address, message: Rendered, messageId: string) => Promise<Attempt>;
export type Deliveries = {
  sendOnce: SendOnce;
  worker: Worker;
  /** Ends a delivery whose time is over, with all that comes with its death. */
  bury(delivery: DeliveryRow): Promise<void>;
  stop: Stop;
};

/** This process's worker. What `kernel.enqueue_deliveries` gave to it, `room()` at most, it must be handed by `take`. */
export type Worker = { id: string; room(): number; take(claimed: readonly Claimed[]): Promise<void> };
export type Claimed = DeliveryRow & { retrySeconds: readonly number[]; mostAtOnce: number; fails: boolean };

/**
 * Deliveries that a statement gives to a worker, with what it needs of their targets. Each has one; an inner join would
 * not even run the statement where there are no targets.
 */
export const claimedFrom = (given: RawBuilder<unknown>) =>
  query<Claimed>(sql`select d.*, t.retry_seconds as "retrySeconds", t.max_in_flight as "mostAtOnce", t.failures > 0 as fails
    from ${given} d left join kernel.delivery_target t on t.id = d.target_id`);
const claimDue = hot<{ worker: string; now: Date; room: number; failingRoom: number }, Claimed>(
  "claim_deliveries",
  ({ worker, now, room, failingRoom }) =>
    claimedFrom(sql`kernel.claim_deliveries(${worker}, ${now}, ${room}, ${failingRoom})`),
);
const nextDue = hot<{ failing: boolean }, { due: Date | null }>("next_delivery_due", ({ failing }) =>
  query(sql`select nullif(min(due_at), 'infinity') as due from kernel.delivery_target
    where is_on and not suspended and not owner_off and (failures = 0 or ${failing})`),
);
const leaveForDead = hot<{ now: Date }, never>("leave_for_dead", ({ now }) =>
  query(sql`select kernel.leave_for_dead(${now})`),
);
const resumeTargets = hot<{ now: Date }, never>("resume_targets", ({ now }) =>
  query(sql`select kernel.resume_targets(${now})`),
);
const targetsOff = hot<Record<never, never>, { id: string; kind: string }>("targets_off", () =>
  query(sql`select id, kind from kernel.delivery_target where owner_off limit 1000`),
);

/** @param attemptMs how long one call may take; default 15,000, and not more: a lease must outlast what waits and its call. */
export async function startDeliveries(kernel: Kernel, attemptMs?: number): Promise<Deliveries> {
  const kinds = new Map<string, DeliveryKind>();
  for (const module of kernel.modules) for (const kind of module.deliveries ?? []) kinds.set(kind.kind, kind);
  const userAgent = `Demarc/${kernel.settings.release}`;
  const outbound = createOutbound({ guard: kernel.guard, userAgent, timeoutMs: attemptMs });
  const worker = kernel.processes.id;
  const system = kernel.system.in("");
  const settler = createSettler(kernel, worker, (standings) => {
    wake();
    void judge(standings);
  });
  const lanes = createLanes();
  const flying = new Map<string, Promise<void>>();
  /** Of those under way, the ones whose target was failing when they were claimed. */
  const failing = new Set<string>();
  const cut = new AbortController();
  let stopped = false;
  let looking: Promise<void> | null = null;
  let again = false;
  let timer: NodeJS.Timeout | undefined;

  function wake(): void {
    if (stopped) return;
    again = true;
    looking ??= look()
      .catch((error) => {
        kernel.log.warn({ err: error }, "deliveries wait for the database");
        wakeAt(null);
      })
      .finally(() => {
        looking = null;
        if (again) wake();
      });
  }

  async function look(): Promise<void> {
    while (again && !stopped) {
      again = false;
      const room = places - flying.size;
      if (room <= 0) return;
      const failingRoom = Math.max(0, failingPlaces - failing.size);
      const rows = await system.rows(claimDue({ worker, now: kernel.now(), room, failingRoom }));
      if (rows.length === 0) wakeAt((await system.first(nextDue({ failing: failingRoom > 0 })))?.due ?? null);
      else {
        again = true;
        serveAll(rows);
      }
    }
  }

  function wakeAt(due: Date | null): void {
    clearTimeout(timer);
    const waitMs = due ? due.getTime() - kernel.now().getTime() : pollMs;
    timer = setTimeout(wake, Math.min(Math.max(waitMs, againMs), pollMs));
    timer.unref();
  }

  /** Not waited for: what is claimed next need not stand behind a slow rendering. */
  function serveAll(rows: readonly Claimed[]): void {
    for (const row of rows) {
      flying.set(row.id, Promise.resolve());
      if (row.fails) failing.add(row.id);
    }
    for (const [kind, ofKind] of Map.groupBy(rows, (row) => row.kind)) void serve(kinds.get(kind)!, ofKind);
  }

  /** Sends what was claimed of one kind. */
  async function serve(kind: DeliveryKind, rows: readonly Claimed[]): Promise<void> {
    try {
      const outgoing = await kind.outgoing(kernel, rows);
      const off = new Set(rows.filter(({ id }) => outgoing.get(id) === "owner_off").map((row) => row.target_id));
      for (const targetId of off) await setOwnerOff(system, targetId, true, kernel.now());
      for (const row of rows) {
        const done = ending(kind, row, outgoing.get(row.id))
          .catch((error) =>
            kernel.log.warn({ err: error, delivery: row.id }, "a delivery waits for the end of its lease"),
          )
          .finally(() => leave(row));
        flying.set(row.id, done);
      }
    } catch (error) {
      for (const row of rows) leave(row);
      if (rows.length > 1 && !databaseAway(error)) {
        // One that cannot be rendered must not hold up the others.
        for (const row of rows) flying.set(row.id, serve(kind, [row]));
        return;
      }
      kernel.log.error({ err: error, delivery: rows[0]?.id }, "a message could not be made; its lease will run out");
    }
  }

  function ending(kind: DeliveryKind, row: Claimed, outgoing: Outgoing | "owner_off" | undefined): Promise<void> {
    if (outgoing === "owner_off") return giveBack(row);
    return outgoing ? send(kind, row, outgoing) : settler.settle({ ...placeOf(row), status: "discarded" });
  }

  function leave(row: Claimed): void {
    const wasFull = flying.size >= places || failing.size >= failingPlaces;
    flying.delete(row.id);
    failing.delete(row.id);
    if (wasFull) wake();
  }

  /** Not sent: it waits for its turn as before. */
  function giveBack(row: Claimed): Promise<void> {
    return settler.settle({ ...placeOf(row), status: row.status, nextAttemptAt: row.next_attempt_at });
  }

  async function send(kind: DeliveryKind, row: Claimed, message: Outgoing): Promise<void> {
    const isStored = row.body !== null && !message.replaces;
    const sent = isStored ? { ...message, body: row.body! } : message;
    const sinceMs = performance.now();
    const made = await lanes.run(row.target_id, row.mostAtOnce, async () => {
      if (performance.now() - sinceMs > mostWaitMs) return undefined;
      const one = await attempt(outbound, {
        messageId: row.message_id,
        address: message.address,
        message: sent,
        number: row.attempts + 1,
        replayId: row.replay_id,
        at: kernel.now(),
        signal: cut.signal,
      });
      if (one.outcome !== "delivered") lanes.empty(row.target_id);
      return one;
    });
    if (!made) return giveBack(row);
    // The server stops: its lease is given back with the others'.
    if (made.outcome === "aborted") return;
    const next = afterAttempt(made, row.tries + 1, row.retrySeconds);
    const { retryAfterMs: _, outcome, status: httpStatus, ...shown } = made;
    const settled: Settled = { ...placeOf(row), ...shown, outcome, httpStatus, ...next, body: sent.body };
    if (next.status !== "dead") await settler.settle(settled);
    else await end(kind, row, settled, httpStatus === 410);
  }

  const placeOf = (row: DeliveryRow) => ({ id: row.id, targetId: row.target_id, number: row.attempts + 1 });

  /** The death of a delivery, and of its target where that is gone, in one transaction with what is told of it. */
  async function end(kind: DeliveryKind, row: DeliveryRow, settled: Settled, isGone: boolean): Promise<void> {
    const standings = await asTenant(row.tenant_id, kind.kind, async (ctx) => {
      const found = await settler.settleIn(ctx.db, settled);
      if (found.length === 0) return [];
      await kind.dead(ctx, { ...row, status: "dead", attempts: row.attempts + 1, next_attempt_at: null });
      if (isGone) await turnOff(ctx, kind, row.target_id, "gone");
      return isGone ? [] : found;
    });
    wake();
    await judge(standings);
  }

  async function turnOff(
    ctx: Context,
    kind: DeliveryKind,
    targetId: string,
    reason: "gone" | "failing",
  ): Promise<void> {
    const isOn = await ctx.db.first(
      query<{ id: string }>(sql`select id from kernel.delivery_target where id = ${targetId} and is_on for update`),
    );
    if (!isOn) return;
    await switchTarget(ctx.db, targetId, false, ctx.now);
    await kind.disabled(ctx, targetId, reason);
  }

  /** Warns of targets that have had nothing but failures for long, and switches them off in the end. */
  async function judge(standings: readonly TargetStanding[]): Promise<void> {
    for (const standing of standings) {
      if (!standing.failing_since) continue;
      const hours = (kernel.now().getTime() - standing.failing_since.getTime()) / hourMs;
      const level = warningHours.filter((after) => hours >= after).length;
      const isOver =
        standing.disable_after_hours > 0 && hours >= standing.disable_after_hours && standing.failures >= leastFailures;
      if (!isOver && level <= standing.warnings) continue;
      const kind = kinds.get(standing.kind)!;
      await asTenant(standing.tenant_id, kind.kind, async (ctx) => {
        if (isOver) return turnOff(ctx, kind, standing.target_id, "failing");
        const warned = await ctx.db.run(
          query(sql`update kernel.delivery_target set warnings = ${level}
            where id = ${standing.target_id} and is_on and warnings < ${level} and failing_since is not null`),
        );
        if (warned > 0) await kind.warned(ctx, standing.target_id);
      }).catch((error) => kernel.log.warn({ err: error }, "a failing target will be judged at its next failure"));
    }
  }

  async function asTenant<T>(tenantId: string, name: string, part: (ctx: Context) => Promise<T>): Promise<T> {
    const card = (await kernel.gate.tenant(tenantId))!;
    return inTransaction(kernel, systemCaller(kernel, card, name), part);
  }

  /** Lets targets go on whose tenant is no longer suspended, or whose owner is no longer off. */
  async function resume(): Promise<void> {
    await system.run(resumeTargets({ now: kernel.now() }));
    const off = await system.rows(targetsOff({}));
    for (const [kind, targets] of Map.groupBy(off, (target) => target.kind)) {
      const ids = targets.map(({ id }) => id);
      for (const id of await kinds.get(kind)!.mayGoOn(kernel, ids)) await setOwnerOff(system, id, false, kernel.now());
    }
  }

  const resuming = setInterval(() => {
    resume().catch((error) => kernel.log.debug({ err: error }, "held targets wait for the database"));
  }, pollMs);
  resuming.unref();
  const burying = setInterval(() => {
    system
      .run(leaveForDead({ now: kernel.now() }))
      .catch((error) => kernel.log.debug({ err: error }, "what the dead had claimed waits for the database"));
  }, burialMs);
  burying.unref();
  await kernel.listener.listen("demarc_delivery", wake);
  wake();

  const giveUp = () => system.run(query(sql`select kernel.leave_deliveries(${worker}, ${kernel.now()})`));
  return {
    worker: {
      id: worker,
      room: () => (stopped ? 0 : Math.max(0, fewPlaces - flying.size)),
      async take(claimed) {
        if (!stopped) serveAll(claimed);
        else if (claimed.length > 0) await giveUp();
      },
    },
    sendOnce: (address, message, messageId) => attempt(outbound, { address, message, messageId, at: kernel.now() }),
    bury: (delivery) =>
      asTenant(delivery.tenant_id, delivery.kind, async (ctx) => {
        const ended = await ctx.db.run(
          query(sql`update kernel.delivery set status = 'dead', next_attempt_at = null, updated_at = ${ctx.now}
            where id = ${delivery.id} and status in ('pending', 'retrying', 'held')`),
        );
        if (ended > 0)
          await kinds.get(delivery.kind)!.dead(ctx, { ...delivery, status: "dead", next_attempt_at: null });
      }),
    async stop() {
      stopped = true;
      clearTimeout(timer);
      clearInterval(resuming);
      clearInterval(burying);
      await looking;
      const end = setTimeout(() => cut.abort(), graceMs);
      while (flying.size > 0) await Promise.all([...flying.values(), new Promise((resolve) => setImmediate(resolve))]);
      clearTimeout(end);
      await settler.stop();
      await giveUp();
      await outbound.close();
    },
  };
}

/** How many of a target are sent at once by this worker; the rest of what it claimed waits here. */
function createLanes() {
  const lanes = new Map<string, { running: number; waiting: ((goesOn: boolean) => void)[] }>();

  return {
    /** Runs `part` when the target has a place; undefined: it is not to be sent any more. */
    async run<T>(targetId: string, most: number, part: () => Promise<T>): Promise<T | undefined> {
      const lane = lanes.get(targetId) ?? { running: 0, waiting: [] };
      lanes.set(targetId, lane);
      if (lane.running < most) lane.running++;
      // Its place is handed on by the one before.
      else if (!(await new Promise<boolean>((resolve) => lane.waiting.push(resolve)))) return undefined;
      try {
        return await part();
      } finally {
        const next = lane.waiting.shift();
        if (next) next(true);
        else if (--lane.running === 0) lanes.delete(targetId);
      }
    },
    /** Those that wait are not sent: the target fails, pauses or is off. */
    empty(targetId: string): void {
      for (const tell of lanes.get(targetId)?.waiting.splice(0) ?? []) tell(false);
    },
  };
}
