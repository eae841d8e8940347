import { sql } from "kysely";
import { query } from "#kernel/db";
import type { JobKind } from "#kernel/jobs";

export const sweepReports: JobKind = {
  name: "sweep_reconcile_reports",
  summary: "Deletes reports of reconciliations after 30 days.",
  cron: "53 2 * * *",
  async run({ system, now }) {
    await system.in("").run(query(sql`delete from monitoring.reconcile where expires_at <= ${now()}`));
  },
};
