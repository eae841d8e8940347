/**
 * Limits of a running installation (access, section 6), one process: buckets in memory, and the exact day count drawn
 * from PostgreSQL in blocks, so that an ordinary call waits for nothing and no call is ever admitted beyond the day.
 */
import { performance } from "node:perf_hooks";
import { sql } from "kysely";
import { LRUCache } from "lru-cache";
import type { Logger } from "pino";
import { countingKey } from "./address.ts";
import { type Database, hot, query } from "./db.ts";
import type { Lane, LaneName, Principal, TenantCard } from "./principal.ts";
import {
  type Bucket,
  carryDay,
  changeRate,
  chargeBucket,
  findExcess,
  type LocalDay,
  localDay,
  newBucket,
  type Rate,
  type Reading,
  rateLimit,
  rateLimitPolicy,
  refillBucket,
  secondsUntilCall,
  secondsUntilReset,
} from "./throttle-core.ts";

/** What a call was told about its limits. `policy` and `limit` are the header values; empty: no headers. */
export type Charge = {
  admitted: boolean;
  policy: string;
  limit: string;
  retryAfterSeconds: number;
  violated: readonly string[];
};
export type OwnBucket = Rate & { name: string };

export type Throttle = {
  charge(who: Principal, lane: LaneName, own: OwnBucket | undefined): Charge | Promise<Charge>;
  /** The bucket of open routes, per address: seconds to wait, or null when admitted. */
  chargeAddress(address: string): number | null;
  /** A bucket that stands apart from all lanes, such as that of token requests per client. */
  chargeApart(name: string, rate: Rate): number | null;
  levels(tenantId: string): Levels;
  stop(): Promise<void>;
};

/** By lane, as far as this process has met the tenant: calls that its bucket holds, and drawn from the day but unspent. */
export type Levels = Partial<Record<LaneName, { burstLeft: number; unspent: number }>>;

/** A tenant's count crossed 80 % or the whole of its day: told once a day each. */
export type QuotaNews = {
  tenant: TenantCard;
  lane: LaneName;
  level: "warned" | "exhausted";
  localDate: string;
  perDay: number;
};

/** `lowAt`: at so many held calls the rest of a block is drawn ahead. */
type Day = { day: LocalDay; timeZone: string; held: number; lowAt: number; left: number; usedAtMs: number };
type LaneState = {
  lane: Lane;
  bucket: Bucket;
  own: Map<string, Bucket>;
  day: Day | null;
  drawing: Promise<void> | null;
  policy: string;
};

const openRate: Rate = { ratePerSecond: 50, burst: 100 };
const consoleRate: Rate = { ratePerSecond: 20, burst: 60 };
const idleBlockMs = 5_000;

const draw = hot<
  { tenantId: string; lane: string; date: string; resetsAt: Date; perDay: number; held: number },
  { count: number; last_drawn: number }
>("draw_day_block", ({ tenantId, lane, date, resetsAt, perDay, held }) => {
  const whole = sql`least(50, greatest(1, ${perDay}::bigint / 200))`;
  // Together with what the process still holds, one block and no more: so much a kill may lose.
  const block = sql`greatest(1, ${whole} - ${held}::bigint)`;
  return query(sql`insert into access.day_count as d (tenant_id, lane, local_date, count, last_drawn, resets_at)
      values (${tenantId}, ${lane}, ${date}::date, least(${block}, ${perDay}::bigint), least(${block}, ${perDay}::bigint), ${resetsAt})
      on conflict (tenant_id, lane, local_date) do update set
        last_drawn = case when ${perDay}::bigint - d.count < 8 * ${whole} then greatest(0, least(1, ${perDay}::bigint - d.count)) else ${block} end,
        count = d.count + case when ${perDay}::bigint - d.count < 8 * ${whole} then greatest(0, least(1, ${perDay}::bigint - d.count)) else ${block} end,
        resets_at = excluded.resets_at
      returning count, last_drawn`);
});
const giveBack = hot<{ tenantId: string; lane: string; date: string; calls: number }, never>(
  "give_day_block_back",
  ({ tenantId, lane, date, calls }) =>
    query(
      sql`update access.day_count set count = count - ${calls}::bigint where tenant_id = ${tenantId} and lane = ${lane} and local_date = ${date}::date`,
    ),
);
const running = hot<{ tenantId: string; lane: string; now: Date }, { date: string; resets_at: Date }>(
  "running_day",
  ({ tenantId, lane, now }) =>
    query(sql`select to_char(local_date, 'YYYY-MM-DD') as date, resets_at from access.day_count
    where tenant_id = ${tenantId} and lane = ${lane} and resets_at > ${now} order by local_date limit 1`),
);

type Parts = {
  system: Database;
  now(): Date;
  log: Logger;
  monotonicMs?: () => number;
  onQuota?: (news: QuotaNews) => void;
};

export function createThrottle({ system, now, log, monotonicMs = () => performance.now(), onQuota }: Parts): Throttle {
  const states = new Map<string, LaneState>();
  const apart = new LRUCache<string, Bucket>({ max: 50_000 });

  function stateOf(tenant: TenantCard, name: LaneName): LaneState {
    const key = `${tenant.id} ${name}`;
    const lane = tenant.plan.lanes[name];
    let state = states.get(key);
    if (!state) {
      state = {
        lane,
        bucket: newBucket(lane, monotonicMs()),
        own: new Map(),
        day: null,
        drawing: null,
        policy: rateLimitPolicy(lane),
      };
      states.set(key, state);
    } else if (state.lane !== lane) {
      if (state.lane.ratePerSecond !== lane.ratePerSecond || state.lane.burst !== lane.burst)
        changeRate(state.bucket, lane, monotonicMs());
      if (state.day && state.lane.perDay !== null && lane.perDay !== null)
        state.day.left += lane.perDay - state.lane.perDay;
      state.lane = lane;
      state.policy = rateLimitPolicy(lane);
    }
    return state;
  }

  function charge(who: Principal, name: LaneName, own: OwnBucket | undefined): Charge | Promise<Charge> {
    if (who.via.clientId === "demarc-console") return chargeConsole(who);
    const state = stateOf(who.tenant, name);
    const ready = turnDay(who.tenant, name, state);
    return ready ? ready.then(() => charge(who, name, own)) : settle(state, own);
  }

  /** Brings the day of a lane up to date; a promise where the database must be asked first. */
  function turnDay(tenant: TenantCard, name: LaneName, state: LaneState): Promise<void> | null {
    const { perDay } = state.lane;
    if (perDay === null) return null;
    const nowMs = now().getTime();
    const { day } = state;
    if (day && (nowMs >= day.day.endsAtMs || nowMs < day.day.startsAtMs)) {
      returnBlock(tenant.id, name, day);
      state.day = null;
    } else if (day && day.timeZone !== tenant.timeZone) {
      day.day = carryDay(day.day, tenant.timeZone);
      day.timeZone = tenant.timeZone;
    }
    if (state.day && (state.day.held > state.day.lowAt || state.day.left <= 0)) return null;
    state.drawing ??= drawBlock(tenant, name, state, perDay).finally(() => {
      state.drawing = null;
    });
    if (!state.day?.held) return state.drawing;
    // Nobody waits for what is drawn ahead; if it fails, who finds nothing left will ask again.
    state.drawing.catch(() => {});
    return null;
  }

  async function drawBlock(tenant: TenantCard, name: LaneName, state: LaneState, perDay: number): Promise<void> {
    const at = now();
    let day = state.day?.day;
    if (!day) {
      day = localDay(tenant.timeZone, at.getTime());
      // After a restart, a day that a changed time zone has stretched goes on.
      const before = await system.in("").first(running({ tenantId: tenant.id, lane: name, now: at }));
      if (before && before.date < day.date) day = { ...day, date: before.date, endsAtMs: before.resets_at.getTime() };
    }
    const row = await system.in("").first(
      draw({
        tenantId: tenant.id,
        lane: name,
        date: day.date,
        resetsAt: new Date(day.endsAtMs),
        perDay,
        held: state.day?.held ?? 0,
      }),
    );
    const drawn = row?.last_drawn ?? 0;
    const count = row?.count ?? perDay;
    const held = drawn + (state.day?.held ?? 0);
    const lowAt = Math.floor(held / 4);
    state.day = { day, timeZone: tenant.timeZone, held, lowAt, left: perDay - count, usedAtMs: monotonicMs() };
    const before = count - drawn;
    const news = { tenant, lane: name, localDate: day.date, perDay };
    if (before < perDay * 0.8 && count >= perDay * 0.8) onQuota?.({ ...news, level: "warned" });
    if (drawn > 0 && count >= perDay) onQuota?.({ ...news, level: "exhausted" });
  }

  function settle(state: LaneState, own: OwnBucket | undefined): Charge {
    const nowMs = monotonicMs();
    refillBucket(state.bucket, nowMs);
    let mine: Reading["own"] = null;
    let ownBucket: Bucket | undefined;
    if (own) {
      ownBucket = state.own.get(own.name) ?? newBucket(own, nowMs);
      state.own.set(own.name, ownBucket);
      refillBucket(ownBucket, nowMs);
      mine = { name: own.name, rate: own, level: ownBucket.level };
    }
    const { day } = state;
    const reading: Reading = {
      burst: { rate: state.lane, level: state.bucket.level },
      day: day && { left: Math.max(0, day.left) + day.held, resetSeconds: secondsUntilReset(day.day, now().getTime()) },
      own: mine,
    };
    const policy = own ? rateLimitPolicy(state.lane, own) : state.policy;
    const excess = findExcess(reading);
    if (excess) {
      const limit = rateLimit(reading, excess.violated);
      return { admitted: false, policy, limit, retryAfterSeconds: excess.retryAfterSeconds, violated: excess.violated };
    }
    chargeBucket(state.bucket);
    reading.burst.level = state.bucket.level;
    if (ownBucket && reading.own) {
      chargeBucket(ownBucket);
      reading.own.level = ownBucket.level;
    }
    if (day && reading.day) {
      day.held--;
      day.usedAtMs = nowMs;
      reading.day.left--;
    }
    return { admitted: true, policy, limit: rateLimit(reading), retryAfterSeconds: 0, violated: [] };
  }

  function chargeConsole(who: Principal): Charge {
    const wait = chargeApart(`console ${who.actor.id}`, consoleRate);
    return {
      admitted: wait === null,
      policy: "",
      limit: "",
      retryAfterSeconds: wait ?? 0,
      violated: wait === null ? [] : ["burst"],
    };
  }

  function chargeApart(name: string, rate: Rate): number | null {
    const nowMs = monotonicMs();
    const bucket = apart.get(name) ?? newBucket(rate, nowMs);
    apart.set(name, bucket);
    refillBucket(bucket, nowMs);
    if (bucket.level < 1_000) return secondsUntilCall(bucket);
    chargeBucket(bucket);
    return null;
  }

  function returnBlock(tenantId: string, lane: string, day: Day): Promise<unknown> {
    const calls = day.held;
    if (calls <= 0) return Promise.resolve();
    day.held = 0;
    day.left += calls;
    return system
      .in("")
      .run(giveBack({ tenantId, lane, date: day.day.date, calls }))
      .catch((error) => {
        log.warn({ err: error, tenantId, calls }, "calls drawn from the day could not be given back");
      });
  }

  function levels(tenantId: string): Levels {
    const found: Levels = {};
    for (const name of ["api", "scim", "publish"] as const) {
      const state = states.get(`${tenantId} ${name}`);
      if (!state) continue;
      refillBucket(state.bucket, monotonicMs());
      found[name] = { burstLeft: Math.floor(state.bucket.level / 1_000), unspent: state.day?.held ?? 0 };
    }
    return found;
  }

  function returnIdle(olderThanMs: number): Promise<unknown> {
    const since = monotonicMs() - olderThanMs;
    const returns: Promise<unknown>[] = [];
    for (const [key, state] of states) {
      const [tenantId = "", lane = ""] = key.split(" ");
      if (state.day && state.day.held > 0 && state.day.usedAtMs <= since)
        returns.push(returnBlock(tenantId, lane, state.day));
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
    },
  };
}
