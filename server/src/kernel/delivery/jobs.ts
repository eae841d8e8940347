import { sql } from "kysely";
import { query } from "../db.ts";
import type { JobKind } from "../jobs.ts";
import type { DeliveryRow } from "./contract.ts";

const attemptDays = 30;
const dayMs = 86_400_000;
const batchSize = 1_000;

export const deliveryJobs: readonly JobKind[] = [
  {
    name: "sweep_deliveries",
    summary: "Ends deliveries that waited longer than they are kept, deletes old ones, and attempts after 30 days.",
    cron: "37 3 * * *",
    async run(kernel) {
      const system = kernel.system.in("");
      const daysAgo = (days: number) => new Date(kernel.now().getTime() - days * dayMs);
      for (const kind of kernel.modules.flatMap((module) => module.deliveries ?? [])) {
        const kept = kind.keptDays(kernel.settings);
        for (;;) {
          const over = await system.rows(
            query<DeliveryRow>(sql`select * from kernel.delivery where kind = ${kind.kind} and created_at < ${daysAgo(kept)}
              and status in ('pending', 'retrying', 'held') limit ${batchSize}`),
          );
          for (const delivery of over) await kernel.deliveries.bury(delivery);
          if (over.length < batchSize) break;
        }
        // A day later, so that whoever is told of a death can still read what died.
        const old = sql`kind = ${kind.kind} and created_at < ${daysAgo(kept + 1)} and status in ('delivered', 'dead', 'discarded')`;
        await system.run(query(sql`delete from kernel.delivery where ${old}`));
      }
      await system.run(query(sql`delete from kernel.delivery_attempt where at < ${daysAgo(attemptDays)}`));
    },
  },
];
