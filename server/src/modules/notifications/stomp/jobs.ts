/** Durable subscriptions that nobody uses are told a day before they go. */
import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import { query } from "#kernel/db";
import { event } from "#kernel/events";
import type { JobKind } from "#kernel/jobs";
import { StompDurable } from "../stomp-durable/schema.ts";

const dayMs = 86_400_000;
const about = { permission: "notification.manage", resource: StompDurable } as const;
export const durableWarned = event("notifications", "durable.warned", {
  ...about,
  summary: "A durable subscription that nobody uses is about to be removed.",
});
export const durableExpired = event("notifications", "durable.expired", {
  ...about,
  summary: "A durable subscription that nobody used was removed.",
});

export const stompJobs: readonly JobKind[] = [
  {
    name: "expire_durables",
    summary: "Warns of durable subscriptions that nobody uses, and removes them a day later.",
    cron: "41 * * * *",
    async run(kernel) {
      const now = kernel.now();
      const until = new Date(now.getTime() - kernel.settings.eventsDays * dayMs);
      const old = await kernel.system.in("").rows(
        query<{ tenant_id: string; id: string; expires: boolean }>(
          sql`select tenant_id, id, last_used_at <= ${until} and warned_at <= ${new Date(now.getTime() - dayMs)} as expires
            from notifications.durable where session_id is null and last_used_at <= ${new Date(until.getTime() + dayMs)}
              and (warned_at is null or (last_used_at <= ${until} and warned_at <= ${new Date(now.getTime() - dayMs)}))`,
        ),
      );
      for (const { tenant_id: tenantId, id, expires } of old) {
        const tenant = await kernel.gate.tenant(tenantId);
        if (!tenant) continue;
        await inTransaction(kernel, systemCaller(kernel, tenant, "expire_durables"), async (ctx) => {
          const statement = expires
            ? sql<{
                name: string;
              }>`delete from notifications.durable where id = ${id} and session_id is null returning name`
            : sql<{
                name: string;
              }>`update notifications.durable set warned_at = ${now} where id = ${id} and session_id is null returning name`;
          const row = await ctx.db.first(query(statement));
          if (!row) return;
          const kind = expires ? durableExpired : durableWarned;
          ctx.emit(kind, {
            tenantId,
            subject: id,
            path: `/stomp-durable/${id}`,
            resource: null,
            previous: null,
            changed: [],
          });
          if (!expires) return;
          const item = { kind: "stompDurable", id, name: row.name };
          ctx.audit({ tenantId, type: "stompDurable", action: "expired", item, changes: [] });
        });
      }
    },
  },
];
