import { sql } from "kysely";
import { query } from "#kernel/db";
import type { JobKind } from "#kernel/jobs";

export const webhookJobs: readonly JobKind[] = [
  {
    name: "sweep_webhook_secrets",
    summary: "Deletes secrets of webhooks whose overlap is over.",
    cron: "17 * * * *",
    async run({ system, now }) {
      await system.in("").run(query(sql`delete from notifications.webhook_secret where ends_at <= ${now()}`));
    },
  },
];
