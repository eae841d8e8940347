import { sql } from "kysely";
import { query } from "#kernel/db";
import type { JobKind } from "#kernel/jobs";

/** Ended and expired grants are kept this long, so that a late second use of a refresh token still raises the alarm. */
const keptMs = 30 * 86_400_000;

export const oauthJobs: readonly JobKind[] = [
  {
    name: "sweep_tokens",
    summary:
      "Deletes deny-list entries that hit no live token any more, codes a day after their end, grants and sessions 30 days after theirs.",
    cron: "41 * * * *",
    async run({ system, now }) {
      const at = now();
      const before = new Date(at.getTime() - keptMs);
      await system.in("").run(query(sql`delete from access.token_denial where until <= ${at}`));
      await system.in("").run(query(sql`delete from access."grant" where least(ended_at, expires_at) <= ${before}`));
      await system
        .in("")
        .run(
          query(
            sql`delete from access.session where coalesce(ended_at, last_used_at + interval '7 days') <= ${before}`,
          ),
        );
      const dayBefore = new Date(at.getTime() - 86_400_000);
      await system.in("").run(query(sql`delete from access.authorization_code where expires_at <= ${dayBefore}`));
      await system.in("").run(query(sql`delete from access.device_code where expires_at <= ${dayBefore}`));
      await system
        .in("")
        .run(query(sql`delete from access.refresh_token where consumed_at is not null and expires_at <= ${before}`));
    },
  },
];
