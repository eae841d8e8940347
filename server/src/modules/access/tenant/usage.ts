/** What a tenant has used of its plan: what is left comes from the limiter, what was called from the activity log. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { LaneName } from "#kernel/principal";
import { localDay } from "#kernel/throttle-core";
import { laneNames } from "../plan/schema.ts";
import { appliedPlan, seenBy } from "./lineage.ts";
import { findTenant, shownPlan } from "./rows.ts";
import type { TenantUsage } from "./schema.ts";

const mostKeys = 200;
const dayMs = 86_400_000;

/** Calls that the limiter counts: not those without a valid credential, nor those it turned away. */
const counted = sql<number>`count(*) filter (where status not in (401, 429))::int`;
const refused = sql<number>`count(*) filter (where status = 429)::int`;

export async function getTenantUsage(ctx: Context, id: string): Promise<TenantUsage> {
  const row = await findTenant(ctx, id, "usage.read");
  const today = localDay(row.time_zone, ctx.now.getTime());
  const [drawn, keys, days] = await Promise.all([
    ctx.db.rows(drawnToday(row.id, ctx.now)),
    ctx.db.rows(callsByKey(row.id, new Date(today.startsAtMs))),
    ctx.db.rows(callsByDay(row.id, row.time_zone, new Date(today.startsAtMs - 29 * dayMs))),
  ]);
  const { lanes } = appliedPlan(row.lineage);
  const levels = await ctx.levels(row.id, lanes);
  const laneUsage = (name: LaneName) => {
    const { perDay } = lanes[name];
    const { burstLeft, unspent } = levels[name];
    if (perDay === null) return { burstLeft, usedToday: null, leftToday: null };
    // What this process has drawn and not spent has not been called yet.
    const used = Math.max(0, (drawn.find((one) => one.lane === name)?.count ?? 0) - unspent);
    return { burstLeft, usedToday: used, leftToday: Math.max(0, perDay - used) };
  };
  return {
    tenantId: row.id,
    plan: shownPlan(row.lineage, seenBy(ctx.who, row.lineage)),
    localDate: today.date,
    resetsAt: new Date(today.endsAtMs).toISOString(),
    lanes: Object.fromEntries(laneNames.map((name) => [name, laneUsage(name)])) as TenantUsage["lanes"],
    keys,
    days,
  };
}

/** The running day of each lane; a changed time zone may have stretched yesterday's (section 6). */
const drawnToday = (tenantId: string, at: Date) =>
  query<{ lane: LaneName; count: number }>(sql`select distinct on (lane) lane, count from access.day_count
    where tenant_id = ${tenantId} and resets_at > ${at} order by lane, local_date`);

const callsByKey = (tenantId: string, since: Date) =>
  query<{
    keyId: string;
    calls: number;
    refused: number;
  }>(sql`select via->>'id' as "keyId", ${counted} as calls, ${refused} as refused
    from access.activity where tenant_id = ${tenantId} and at >= ${since} and via->>'kind' = 'key'
    group by 1 order by calls desc, 1 limit ${mostKeys}`);

const callsByDay = (tenantId: string, timeZone: string, since: Date) =>
  query<{
    date: string;
    calls: number;
    refused: number;
  }>(sql`select to_char(at at time zone ${timeZone}, 'YYYY-MM-DD') as date,
      ${counted} as calls, ${refused} as refused
    from access.activity where tenant_id = ${tenantId} and at >= ${since}
    group by 1 order by 1 desc limit 30`);
