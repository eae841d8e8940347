/**
 * Work without a caller, at fixed times: graphile-worker keeps the clock, so that of several processes one runs a job and
 * a run missed while the server was down is made up for. (Operations have a runner of their own: their lease is a minute,
 * not graphile-worker's four hours, so that a killed server's work goes on at once.)
 */

import { sql } from "kysely";
import type { Stop } from "./contract.ts";
import { query } from "./db.ts";
import { deliveryJobs } from "./delivery/jobs.ts";
import type { Kernel } from "./kernel.ts";
import { sweepMail } from "./post.ts";

export type JobKind = {
  /** Unique over all modules, snake_case. */
  readonly name: string;
  readonly summary: string;
  /** In UTC, five fields. */
  readonly cron: string;
  /** Also before the server listens. */
  readonly atStart?: true;
  /** May be repeated, and must bear it. */
  run(kernel: Kernel): Promise<void>;
};

const day = (at: Date) => at.toISOString().slice(0, 10);

/** The kernel's own jobs. */
export const kernelJobs: readonly JobKind[] = [
  ...deliveryJobs,
  {
    name: "sweep_idempotency",
    summary: "Deletes records of idempotent calls after 72 hours, and what was sealed in them after 10 minutes.",
    cron: "*/10 * * * *",
    async run({ system, now }) {
      const at = now().getTime();
      await system
        .in("")
        .run(query(sql`delete from kernel.idempotency where completed_at <= ${new Date(at - 72 * 3_600_000)}`));
      await system
        .in("")
        .run(
          query(
            sql`update kernel.idempotency set sealed_body = null where sealed_body is not null and completed_at <= ${new Date(at - 600_000)}`,
          ),
        );
    },
  },
  {
    name: "sweep_data_keys",
    summary: "Deletes data keys of tenants that were never made after all, or were purged while a call was under way.",
    cron: "53 3 * * *",
    async run({ system, now }) {
      // A key is made before the tenant's own transaction has committed.
      const since = new Date(now().getTime() - 86_400_000);
      await system.in("").run(
        query(sql`delete from kernel.data_key d where created_at <= ${since}
          and not exists (select from access.tenant t where t.id = d.tenant_id)`),
      );
    },
  },
  {
    name: "sweep_buckets",
    summary: "Forgets the token buckets in the database that are full again.",
    cron: "*/10 * * * *",
    async run({ system }) {
      await system.in("").run(query(sql`select kernel.sweep_buckets()`));
    },
  },
  {
    name: "send_mail",
    summary: "Sends mails that are due to be tried again, or were left by a server that died.",
    cron: "* * * * *",
    run: (kernel) => kernel.mail.sendDue(),
  },
  {
    name: "sweep_mail",
    summary: "Forgets mails 30 days after they were sent or given up.",
    cron: "37 3 * * *",
    run: sweepMail,
  },
  {
    name: "turn_activity",
    summary: "Makes the activity log's next days and drops those past their keeping.",
    cron: "7 0,12 * * *",
    atStart: true,
    async run({ system, now, settings }) {
      await system.transaction("", async (tx) => {
        // A server that starts does this too: two at once would make the same table.
        await tx.run(query(sql`select pg_advisory_xact_lock(7301946005)`));
        await tx.run(query(sql`select access.turn_activity(${day(now())}::date, ${settings.activityDays})`));
      });
    },
  },
  {
    name: "turn_events",
    summary: "Makes the event log's next days and drops those past their keeping.",
    cron: "11 0,12 * * *",
    atStart: true,
    async run({ system, now, settings }) {
      await system.in("").run(query(sql`select kernel.turn_events(${day(now())}::date, ${settings.eventsDays})`));
    },
  },
  {
    name: "sweep_operations",
    summary: "Deletes operations 30 days after their end.",
    cron: "23 3 * * *",
    async run({ system, now }) {
      await system
        .in("")
        .run(
          query(sql`delete from kernel.operation where finished_at < ${new Date(now().getTime() - 30 * 86_400_000)}`),
        );
    },
  },
];

/** All jobs of an installation. */
export function jobsOf(kernel: Kernel): JobKind[] {
  return [...kernelJobs, ...kernel.modules.flatMap((module) => module.jobs ?? [])];
}

/** Starts the jobs' clock on a database. Its tables live in the schema `graphile_worker`, made here. */
export async function startJobs(kernel: Kernel, databaseUrl: string): Promise<Stop> {
  const jobs = jobsOf(kernel);
  // Loaded by whoever starts the clock: not by the many servers of the tests, the documents, the benchmarks.
  const { Logger, parseCronItems, run, runMigrations } = await import("graphile-worker");
  const logger = new Logger((scope) => (level, message) => {
    if (level !== "debug" && level !== "info")
      kernel.log[level === "error" ? "error" : "warn"]({ job: scope.taskIdentifier }, message);
  });
  await runMigrations({ connectionString: databaseUrl, logger });
  const runner = await run({
    connectionString: databaseUrl,
    logger,
    noHandleSignals: true,
    concurrency: 1,
    maxPoolSize: 3,
    taskList: Object.fromEntries(jobs.map((job) => [job.name, () => job.run(kernel)])),
    parsedCronItems: parseCronItems(
      jobs.map((job) => ({ task: job.name, match: job.cron, options: { maxAttempts: 3, backfillPeriod: 0 } })),
    ),
  });
  return () => runner.stop();
}
