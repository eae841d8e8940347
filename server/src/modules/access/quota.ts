import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import type { QuotaNews } from "#kernel/throttle-day";
import { quotaEvents } from "./events.ts";

/** Tells, once a day each, that a tenant's calls of a lane come to an end or have (access, section 6). Never rejects. */
export async function tellQuota(kernel: Kernel, { tenant, lane, level, localDate, perDay }: QuotaNews): Promise<void> {
  try {
    await inTransaction(kernel, systemCaller(kernel, tenant, "quota"), async (ctx) => {
      const isNews = await ctx.db.run(
        query(sql`insert into access.quota_told (tenant_id, lane, level, local_date)
          values (${tenant.id}, ${lane}, ${level}, ${localDate}::date) on conflict do nothing`),
      );
      if (isNews === 0) return;
      await ctx.db.run(
        query(
          sql`delete from access.quota_told where tenant_id = ${tenant.id} and local_date < ${localDate}::date - 2`,
        ),
      );
      ctx.emit(quotaEvents[level], {
        tenantId: tenant.id,
        subject: tenant.id,
        path: `/tenant/${tenant.id}/usage`,
        resource: { tenantId: tenant.id, lane, localDate, perDay },
        previous: null,
        changed: [],
      });
    });
  } catch (error) {
    kernel.log.warn({ err: error, tenantId: tenant.id, lane, level }, "the news of a spent quota could not be told");
  }
}
