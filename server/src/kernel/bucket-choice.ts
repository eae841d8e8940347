/**
 * Which store counts (access, section 6). A Redis or Valkey where one is given; else this process's memory for as long as
 * it is the only one on its database, and PostgreSQL from the moment another one comes until it is gone again.
 */
import type { Logger } from "pino";
import { watchCompany } from "./bucket-company.ts";
import { createPostgresBuckets } from "./bucket-postgres.ts";
import { createSharedBuckets, within } from "./bucket-shared.ts";
import {
  type BucketStore,
  type Buckets,
  createBucketTable,
  createLocalBuckets,
  createMemoryBuckets,
} from "./bucket-store.ts";
import { openDatabase } from "./db.ts";
import type { Processes } from "./processes.ts";
import { CALL } from "./throttle-core.ts";

export type Limiter = "auto" | "memory" | "postgres";
export type LimiterSettings = { limiter: Limiter; redisUrl: string };

type Parts = LimiterSettings & {
  databaseUrl: string;
  log: Logger;
  processes: Pick<Processes, "live" | "onChange">;
};

const monotonicMs = () => performance.now();
/** Redis does nothing else and answers in less than one; PostgreSQL has other work, and tells at once when it is away. */
const redisPatienceMs = 50;
const postgresPatienceMs = 3_000;

export async function openBuckets({ limiter, redisUrl, databaseUrl, log, processes }: Parts): Promise<Buckets> {
  if (limiter === "memory") return createMemoryBuckets(monotonicMs);
  const { open, all } = createBucketTable(monotonicMs);
  const { live } = processes;
  const common = { share: createLocalBuckets(monotonicMs, live), live, monotonicMs, log };
  if (redisUrl !== "") {
    // Its client is a fifth of all modules that a server loads, and most installations have no Redis.
    const { openRedisBuckets } = await import("./bucket-redis.ts");
    const store = openRedisBuckets(redisUrl);
    const redis = createSharedBuckets({ ...common, name: "Redis", store, patienceMs: redisPatienceMs });
    return {
      open,
      take: redis.take,
      async stop() {
        redis.stop();
        store.stop();
      },
    };
  }

  // Connections of its own: calls that need no bucket never wait behind those of a crowded one.
  const onLost = (error: Error) => log.warn({ err: error }, "a database connection was lost");
  const system = openDatabase({ url: databaseUrl, role: "demarc_system", shared: 2, pool: 1, onLost });
  const store = createPostgresBuckets(system);
  const memory = createLocalBuckets(monotonicMs);
  const postgres = createSharedBuckets({ ...common, name: "PostgreSQL", store, patienceMs: postgresPatienceMs });
  let take: BucketStore["take"] = postgres.take;
  /** Calls that come while the levels move house wait for it. */
  async function moveTo(next: BucketStore["take"], moved: Promise<unknown>): Promise<void> {
    const settled = moved.catch((error) => log.warn({ err: error }, "limits: the levels of buckets were left behind"));
    const waiting: typeof take = async (buckets, charge) => {
      await settled;
      return next(buckets, charge);
    };
    take = waiting;
    await settled;
    if (take === waiting) take = next;
  }
  const stopWatching =
    limiter === "postgres"
      ? null
      : await watchCompany({
          databaseUrl,
          log,
          ...processes,
          async alone() {
            await moveTo(memory.take, within(postgresPatienceMs, fetchLevels()));
            log.info("limits: no other process is there, memory counts");
          },
          async accompanied() {
            if (take === postgres.take) return;
            const notFull = all().filter(({ here, rate }) => here.level < rate.burst * CALL);
            await moveTo(postgres.take, within(postgresPatienceMs, store.replace(notFull)));
            log.info("limits: another process is there, PostgreSQL counts");
          },
        });

  async function fetchLevels(): Promise<void> {
    for (const [name, { level, rate }] of await store.read()) {
      if (level >= rate.burst * CALL) continue;
      const { here } = open(name, rate);
      Object.assign(here, { level, rate, atMs: Math.floor(monotonicMs()) });
    }
  }
  return {
    open,
    take: (buckets, charge) => take(buckets, charge),
    async stop() {
      await stopWatching?.();
      postgres.stop();
      await system.close();
    },
  };
}
