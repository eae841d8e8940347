/**
 * The one engine of all outbound messages (exchange, section 6). Rows are the truth: a worker claims what is due for a
 * minute, sends it, and writes down how it ended, many at a time; what a dead worker had claimed is claimed again. Targets
 * are served in turn, and those that fail share half of a worker's places, so that none of them delays the others.
 */
import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import { inTransaction, systemCaller } from "../context.ts";
import type { Context, Stop } from "../contract.ts";
import { databaseAway, query } from "../db.ts";
import type { Kernel } from "../kernel.ts";
import { createOutbound } from "../outbound.ts";
import { type Attempt, afterAttempt, attempt } from "./attempt.ts";
import type { Address, DeliveryKind, DeliveryRow, Rendered } from "./contract.ts";
import { createSettler, type Settled, type TargetStanding } from "./settler.ts";
import { switchTarget } from "./store.ts";

/** What a worker has claimed at most; far fewer are under way, since each target is sent but a few at once. */
const places = 2_000;
const failingPlaces = 1_000;
/** What has waited for its target's place for so long is given back: its lease must outlast its call. */
const mostWaitMs = 40_000;
const pollMs = 500;
/** How long a stopping server waits for calls under way; the leases of the rest are given back. */
const graceMs = 3_000;
const hourMs = 3_600_000;
const warningHours = [24, 96];
const leastFailures = 20;

/** Sends one message now, outside of all schedules: it is neither stored nor counted. */
export type SendOnce = (address: Address, message: Rendered, messageId: string) => Promise<Attempt>;
export type Deliveries = {
  sendOnce: SendOnce;
  /** Ends a delivery whose time is over, with all that comes with its death. */
  bury(delivery: DeliveryRow): Promise<void>;
  stop: Stop;
};

type Claimed = DeliveryRow & { retrySeconds: readonly number[]; mostAtOnce: number };

export async function startDeliveries(kernel: Kernel): Promise<Deliveries> {
  const kinds = new Map<string, DeliveryKind>();
  for (const module of kernel.modules) for (const kind of module.deliveries ?? []) kinds.set(kind.kind, kind);
  const outbound = createOutbound({ guard: kernel.guard, userAgent: `Demarc/${kernel.settings.release}` });
  const worker = randomUUID();
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
      .catch((error) => kernel.log.warn({ err: error }, "deliveries wait for the database"))
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
      const [rows, due] = await claim(room);
      wakeAt(due);
      if (rows.length === 0) continue;
      again = true;
      for (const row of rows) flying.set(row.id, Promise.resolve());
      const works = [...Map.groupBy(rows, ({ kind }) => kind)].map(([kind, ofKind]) => serve(kinds.get(kind)!, ofKind));
      // Not waited for: what is claimed next need not stand behind a slow rendering.
      for (const work of works) void work;
    }
  }

  function wakeAt(due: Date | null): void {
    clearTimeout(timer);
    const waitMs = due ? due.getTime() - kernel.now().getTime() : pollMs;
    timer = setTimeout(wake, Math.min(Math.max(waitMs, 5), pollMs));
    timer.unref();
  }

  async function claim(room: number): Promise<[Claimed[], Date | null]> {
    const now = kernel.now();
    const failingRoom = Math.max(0, failingPlaces - failing.size);
    const rows = await system.rows(
      query<
        Claimed & { fails: boolean }
      >(sql`select d.*, t.retry_seconds as "retrySeconds", t.max_in_flight as "mostAtOnce", t.failures > 0 as fails
        from kernel.claim_deliveries(${worker}, ${now}, ${room}, ${failingRoom}) d join kernel.delivery_target t on t.id = d.target_id`),
    );
    for (const row of rows) if (row.fails) failing.add(row.id);
    const next = await system.first(
      query<{ due: Date | null }>(sql`select nullif(min(due_at), 'infinity') as due from kernel.delivery_target
        where is_on and not suspended and due_at > ${now}`),
    );
    return [rows, next?.due ?? null];
  }

  /** Sends what was claimed of one kind. */
  async function serve(kind: DeliveryKind, rows: readonly Claimed[]): Promise<void> {
    const targetIds = [...new Set(rows.map((row) => row.target_id))];
    try {
      const [addresses, messages] = await Promise.all([kind.addresses(kernel, targetIds), kind.render(kernel, rows)]);
      for (const row of rows) {
        const [address, message] = [addresses.get(row.target_id), messages.get(row.id)];
        const work =
          address && message
            ? send(kind, row, address, message)
            : settler.settle({ ...placeOf(row), status: "discarded" });
        const done = work
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

  async function send(kind: DeliveryKind, row: Claimed, address: Address, message: Rendered): Promise<void> {
    const isStored = row.body !== null && !message.replaces;
    const sent = isStored ? { ...message, body: row.body! } : message;
    const sinceMs = performance.now();
    const made = await lanes.run(row.target_id, row.mostAtOnce, async () => {
      if (performance.now() - sinceMs > mostWaitMs) return undefined;
      const one = await attempt(outbound, {
        messageId: row.message_id,
        address,
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

  const resuming = setInterval(() => {
    system
      .run(query(sql`select kernel.resume_targets(${kernel.now()})`))
      .catch((error) => kernel.log.debug({ err: error }, "suspended targets wait for the database"));
  }, pollMs);
  resuming.unref();
  await kernel.listener.listen("demarc_delivery", wake);
  wake();

  return {
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
      await looking;
      const end = setTimeout(() => cut.abort(), graceMs);
      while (flying.size > 0) await Promise.all([...flying.values(), new Promise((resolve) => setImmediate(resolve))]);
      clearTimeout(end);
      await settler.stop();
      await system.run(query(sql`select kernel.leave_deliveries(${worker}, ${kernel.now()})`));
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
