/**
 * The day's count of a lane, exact over all processes and restarts (access, section 6): drawn from PostgreSQL in blocks, so
 * that an ordinary call waits for nothing and no call is ever admitted beyond the day.
 */
import { sql } from "kysely";
import type { Logger } from "pino";
import { type Database, hot, query } from "./db.ts";
import type { LaneName, TenantCard } from "./principal.ts";
import { carryDay, type LocalDay, localDay } from "./throttle-core.ts";

/**
 * What a process holds of a day. `lowAt`: at so many held calls the rest of a block is drawn ahead. `left`: calls that
 * nobody had drawn when it last looked.
 */
type Day = {
  day: LocalDay;
  timeZone: string;
  held: number;
  lowAt: number;
  left: number;
  usedAtMs: number;
  askedAtMs: number;
};
/** A tenant's lane, as far as its day is concerned. */
export type DayHolder = { day: Day | null; drawing: Promise<void> | null };

/** A tenant's count crossed 80 % or the whole of its day: told once a day each. */
export type QuotaNews = {
  tenant: TenantCard;
  lane: LaneName;
  level: "warned" | "exhausted";
  localDate: string;
  perDay: number;
};

/** Another process may give back what it held, so a day that was spent is asked for again. */
const askAgainMs = 1_000;

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
  monotonicMs(): number;
  onQuota?: (news: QuotaNews) => void;
};

export function createDayCount({ system, now, log, monotonicMs, onQuota }: Parts) {
  /** Brings the day of a lane up to date; a promise where the database must be asked first. */
  function turn(tenant: TenantCard, name: LaneName, holder: DayHolder, perDay: number | null): Promise<void> | null {
    if (perDay === null) {
      if (holder.day) void returnBlock(tenant.id, name, holder.day);
      holder.day = null;
      return null;
    }
    const nowMs = now().getTime();
    const { day } = holder;
    if (day && (nowMs >= day.day.endsAtMs || nowMs < day.day.startsAtMs)) {
      void returnBlock(tenant.id, name, day);
      holder.day = null;
    } else if (day && day.timeZone !== tenant.timeZone) {
      day.day = carryDay(day.day, tenant.timeZone);
      day.timeZone = tenant.timeZone;
    }
    if (holder.day && !isDue(holder.day)) return null;
    holder.drawing ??= drawBlock(tenant, name, holder, perDay).finally(() => {
      holder.drawing = null;
    });
    if (!holder.day?.held) return holder.drawing;
    // Nobody waits for what is drawn ahead; if it fails, who finds nothing left will ask again.
    holder.drawing.catch(() => {});
    return null;
  }

  function isDue({ held, lowAt, left, askedAtMs }: Day): boolean {
    if (left > 0) return held <= lowAt;
    return held === 0 && monotonicMs() >= askedAtMs + askAgainMs;
  }

  async function drawBlock(tenant: TenantCard, name: LaneName, holder: DayHolder, perDay: number): Promise<void> {
    const at = now();
    let day = holder.day?.day;
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
        held: holder.day?.held ?? 0,
      }),
    );
    const drawn = row?.last_drawn ?? 0;
    const count = row?.count ?? perDay;
    const held = drawn + (holder.day?.held ?? 0);
    const lowAt = Math.floor(held / 4);
    const askedAtMs = monotonicMs();
    holder.day = {
      day,
      timeZone: tenant.timeZone,
      held,
      lowAt,
      left: perDay - count,
      usedAtMs: askedAtMs,
      askedAtMs,
    };
    const before = count - drawn;
    const news = { tenant, lane: name, localDate: day.date, perDay };
    if (before < perDay * 0.8 && count >= perDay * 0.8) onQuota?.({ ...news, level: "warned" });
    if (drawn > 0 && count >= perDay) onQuota?.({ ...news, level: "exhausted" });
  }

  /** Puts back a call that was taken out of a block and then not admitted; the block may be another one by now. */
  function refund(tenantId: string, name: LaneName, holder: DayHolder, taken: Day): void {
    if (holder.day?.day.date === taken.day.date) holder.day.held++;
    else {
      taken.held++;
      void returnBlock(tenantId, name, taken);
    }
  }

  /** Gives back what is held and unspent. Never rejects. */
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
  return { turn, refund, returnBlock };
}
