/**
 * Writes down how attempts ended, all that ended meanwhile in one statement. Nobody waits for it but what must be sent in
 * order, so that under load a pause between two statements costs no time and saves many.
 */
import { sql } from "kysely";
import { type Db, hot, query } from "../db.ts";
import type { Kernel } from "../kernel.ts";
import type { Attempt } from "./attempt.ts";
import type { DeliveryStatus } from "./contract.ts";

/** Without an `outcome` there was no attempt. `number` is the attempt's among all of the delivery. */
export type Settled = {
  id: string;
  targetId: string;
  number: number;
  status: DeliveryStatus;
  body?: string;
  nextAttemptAt?: Date | null;
  pausedUntil?: Date | null;
  httpStatus?: number | null;
} & Partial<Omit<Attempt, "status" | "retryAfterMs">>;

/** How a target stands after what was settled, where anything changed: it fails or did, pauses, or more of it waits. */
export type TargetStanding = {
  tenant_id: string;
  target_id: string;
  kind: string;
  failures: number;
  failing_since: Date | null;
  warnings: number;
  disable_after_hours: number;
};

const mostTogether = 500;
const mostTries = 3;
const pauseMs = 15;

const settle = hot<{ items: string; worker: string; now: Date }, TargetStanding>(
  "settle_deliveries",
  ({ items, worker, now }) => query(sql`select * from kernel.settle_deliveries(${items}::jsonb, ${worker}, ${now})`),
);

export function createSettler(
  kernel: Pick<Kernel, "system" | "now">,
  worker: string,
  standing: (standings: readonly TargetStanding[]) => void,
) {
  const system = kernel.system.in("");
  const waiting: { settled: Settled; done(): void; failed(error: unknown): void }[] = [];
  let writing: Promise<void> | null = null;

  function write(db: Db, all: readonly Settled[]): Promise<TargetStanding[]> {
    return db.rows(settle({ items: JSON.stringify(all), worker, now: kernel.now() }));
  }

  async function flush(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, mostTogether);
      try {
        const standings = await persistently(() =>
          write(
            system,
            batch.map(({ settled }) => settled),
          ),
        );
        for (const { done } of batch) done();
        if (standings.length > 0) standing(standings);
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** The calls were made: another try is better than making them once more after the lease. */
  async function persistently<T>(part: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await part();
      } catch (error) {
        if (tries === mostTries) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200 * tries));
      }
    }
  }

  return {
    /** Resolves once it is written. */
    settle(settled: Settled): Promise<void> {
      return new Promise((done, failed) => {
        waiting.push({ settled, done, failed });
        writing ??= flush().finally(() => {
          writing = null;
        });
      });
    },
    /** In a transaction, by itself; nothing comes back where the lease was lost meanwhile. */
    settleIn: (db: Db, settled: Settled) => write(db, [settled]),
    async stop() {
      await writing;
    },
  };
}
