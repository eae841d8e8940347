/**
 * Limits of a running installation (access, section 6): token buckets of lanes, routes, clients and addresses, and the
 * exact count of the day. Where one process counts alone an ordinary call waits for nothing.
 */
import { performance } from "node:perf_hooks";
import type { Logger } from "pino";
import { countingKey } from "./address.ts";
import type { Buckets, NamedBucket } from "./bucket-store.ts";
import type { Database } from "./db.ts";
import type { Lane, LaneName, Principal, TenantCard } from "./principal.ts";
import {
  CALL,
  findExcess,
  type Rate,
  type Reading,
  rateLimit,
  rateLimitPolicy,
  secondsUntilCall,
  secondsUntilReset,
} from "./throttle-core.ts";
import { createDayCount, type DayHolder, type QuotaNews } from "./throttle-day.ts";

/** What a call was told about its limits. `policy` and `limit` are the header values; empty: no headers. */
export type Charge = {
  admitted: boolean;
  policy: string;
  limit: string;
  retryAfterSeconds: number;
  violated: readonly string[];
};
export type OwnBucket = Rate & { name: string };
/** Seconds to wait, or null when admitted. */
export type Wait = number | null;

export type Throttle = {
  charge(who: Principal, lane: LaneName, own: OwnBucket | undefined): Charge | Promise<Charge>;
  /** The bucket of open routes, per address. */
  chargeAddress(address: string): Wait | Promise<Wait>;
  /** A bucket that stands apart from all lanes, such as that of token requests per client. */
  chargeApart(name: string, rate: Rate): Wait | Promise<Wait>;
  levels(tenantId: string, lanes: Record<LaneName, Lane>): Promise<Levels>;
  stop(): Promise<void>;
};

/** By lane: calls that its bucket holds, and drawn from the day by this process but unspent. */
export type Levels = Record<LaneName, { burstLeft: number; unspent: number }>;

type LaneState = DayHolder & {
  tenantId: string;
  name: LaneName;
  lane: Lane;
  bucket: NamedBucket;
  /** The bucket alone, and with that of a route beside it. */
  alone: readonly NamedBucket[];
  paired: Map<string, readonly NamedBucket[]>;
  policy: string;
};

const openRate: Rate = { ratePerSecond: 50, burst: 100 };
const consoleRate: Rate = { ratePerSecond: 20, burst: 60 };
const idleBlockMs = 5_000;

type Parts = {
  system: Database;
  now(): Date;
  log: Logger;
  /** Stopped with the throttle. */
  buckets: Buckets;
  monotonicMs?: () => number;
  onQuota?: (news: QuotaNews) => void;
};

const waitOf = (rate: Rate, level: number): Wait => (level < CALL ? secondsUntilCall({ rate, level }) : null);
const bucketName = (tenantId: string, what: string) => `{${tenantId}}:${what}`;

export function createThrottle(parts: Parts): Throttle {
  const { system, now, log, buckets, monotonicMs = () => performance.now(), onQuota } = parts;
  const states = new Map<string, LaneState>();
  const days = createDayCount({ system, now, log, monotonicMs, onQuota });

  function stateOf(tenant: TenantCard, name: LaneName): LaneState {
    const key = `${tenant.id} ${name}`;
    const lane = tenant.plan.lanes[name];
    let state = states.get(key);
    if (!state) {
      const bucket = buckets.open(bucketName(tenant.id, name), lane);
      bucket.rate = lane;
      const policy = rateLimitPolicy(lane);
      state = {
        tenantId: tenant.id,
        name,
        lane,
        bucket,
        alone: [bucket],
        paired: new Map(),
        day: null,
        drawing: null,
        policy,
      };
      states.set(key, state);
    } else if (state.lane !== lane) {
      state.bucket.rate = lane;
      if (state.day && state.lane.perDay !== null && lane.perDay !== null)
        state.day.left += lane.perDay - state.lane.perDay;
      state.lane = lane;
      state.policy = rateLimitPolicy(lane);
    }
    return state;
  }

  function pairOf(state: LaneState, own: OwnBucket): readonly NamedBucket[] {
    let pair = state.paired.get(own.name);
    if (!pair) {
      pair = [state.bucket, buckets.open(bucketName(state.tenantId, `own:${own.name}`), own)];
      state.paired.set(own.name, pair);
    }
    return pair;
  }

  function charge(who: Principal, name: LaneName, own: OwnBucket | undefined): Charge | Promise<Charge> {
    if (who.via.clientId === "demarc-console") return chargeConsole(who);
    const { tenant } = who;
    const state = stateOf(tenant, name);
    const ready = days.turn(tenant, name, state, state.lane.perDay);
    return ready ? ready.then(() => charge(who, name, own)) : settle(state, own);
  }

  function settle(state: LaneState, own: OwnBucket | undefined): Charge | Promise<Charge> {
    const { day } = state;
    const taken = day !== null && day.held > 0;
    // Taken before the buckets are asked and put back if they refuse: meanwhile others look at the same block.
    if (taken) day.held--;
    const levels = buckets.take(own ? pairOf(state, own) : state.alone, taken || day === null);
    if (levels instanceof Promise) return levels.then((found) => judge(state, own, day, taken, found));
    return judge(state, own, day, taken, levels);
  }

  /** `from`: the day as the call met it, `taken` out of it or not. */
  function judge(
    state: LaneState,
    own: OwnBucket | undefined,
    from: DayHolder["day"],
    taken: boolean,
    levels: readonly number[],
  ): Charge {
    const day = from && (state.day ?? from);
    const reading: Reading = {
      burst: { rate: state.lane, level: levels[0]! },
      day: day && {
        left: taken ? Math.max(0, day.left) + day.held + 1 : 0,
        resetSeconds: secondsUntilReset(day.day, now().getTime()),
      },
      own: own ? { name: own.name, rate: own, level: levels[1]! } : null,
    };
    const policy = own ? rateLimitPolicy(state.lane, own) : state.policy;
    const excess = findExcess(reading);
    if (excess) {
      if (taken) days.refund(state.tenantId, state.name, state, from!);
      const { violated, retryAfterSeconds } = excess;
      return { admitted: false, policy, limit: rateLimit(reading, violated), retryAfterSeconds, violated };
    }
    reading.burst.level -= CALL;
    if (reading.own) reading.own.level -= CALL;
    if (reading.day) reading.day.left--;
    if (day) day.usedAtMs = state.bucket.here.atMs;
    return { admitted: true, policy, limit: rateLimit(reading), retryAfterSeconds: 0, violated: [] };
  }

  function chargeConsole(who: Principal): Charge | Promise<Charge> {
    const judge = (wait: Wait): Charge => {
      const admitted = wait === null;
      return { admitted, policy: "", limit: "", retryAfterSeconds: wait ?? 0, violated: admitted ? [] : ["burst"] };
    };
    const wait = chargeApart(`console ${who.actor.id}`, consoleRate);
    return wait instanceof Promise ? wait.then(judge) : judge(wait);
  }

  function chargeApart(name: string, rate: Rate): Wait | Promise<Wait> {
    const levels = buckets.take([buckets.open(`{${name}}`, rate)], true);
    return levels instanceof Promise ? levels.then(([level]) => waitOf(rate, level!)) : waitOf(rate, levels[0]!);
  }

  async function levels(tenantId: string, lanes: Record<LaneName, Lane>): Promise<Levels> {
    const entry = async (name: LaneName) => {
      const state = states.get(`${tenantId} ${name}`);
      const bucket = state?.bucket ?? buckets.open(bucketName(tenantId, name), lanes[name]);
      const [level] = await buckets.take([bucket], false);
      return { burstLeft: Math.floor(level! / CALL), unspent: state?.day?.held ?? 0 };
    };
    const [api, scim, publish] = await Promise.all([entry("api"), entry("scim"), entry("publish")]);
    return { api, scim, publish };
  }

  function returnIdle(olderThanMs: number): Promise<unknown> {
    const since = monotonicMs() - olderThanMs;
    const returns: Promise<unknown>[] = [];
    for (const [key, { day }] of states) {
      const [tenantId = "", lane = ""] = key.split(" ");
      if (day && day.held > 0 && day.usedAtMs <= since) returns.push(days.returnBlock(tenantId, lane, day));
    }
    return Promise.all(returns);
  }
  const timer = setInterval(() => void returnIdle(idleBlockMs), idleBlockMs);
  timer.unref();

  return {
    charge,
    chargeAddress: (address) => chargeApart(`open ${countingKey(address)}`, openRate),
    chargeApart,
    levels,
    async stop() {
      clearInterval(timer);
      await Promise.allSettled([...states.values()].map((state) => state.drawing));
      await returnIdle(0);
      await buckets.stop();
    },
  };
}
