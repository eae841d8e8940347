import { sql } from "kysely";
import { query } from "#kernel/db";
import type { JobKind } from "#kernel/jobs";

const monthsKept = 24;

/**
 * Deletes what is left of removed things. What lies in a thing is removed before it, so it is never younger: watches,
 * locations and folders go in this order. Their numbers stay, so that none is used again.
 */
export const purgeTombstones: JobKind = {
  name: "purge_tombstones",
  summary: "Deletes tombstones of folders, locations and watches after 24 months.",
  cron: "41 2 * * *",
  async run({ system, now }) {
    const before = sql`${now()}::timestamptz - make_interval(months => ${monthsKept})`;
    const old = sql`select id from monitoring.watch where deleted_at < ${before}`;
    await system.transaction("", async (tx) => {
      await tx.run(query(sql`delete from monitoring.watch_test where watch_id in (${old})`));
      await tx.run(query(sql`delete from monitoring.watch where deleted_at < ${before}`));
      await tx.run(query(sql`delete from monitoring.location where deleted_at < ${before}`));
      await tx.run(query(sql`delete from monitoring.folder where deleted_at < ${before}`));
    });
  },
};
