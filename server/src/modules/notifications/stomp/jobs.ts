/** Durable subscriptions that nobody uses are told a day before they go. */
import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import { query } from "#kernel/db";
import type { JobKind } from "#kernel/jobs";
import { expireDurable, warnOfExpiry } from "../stomp-durable/operations.ts";

const dayMs = 86_400_000;

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
        const turn = expires ? expireDurable : warnOfExpiry;
        await inTransaction(kernel, systemCaller(kernel, tenant, "expire_durables"), (ctx) => turn(ctx, id));
      }
    },
  },
];
