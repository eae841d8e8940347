/**
 * Where the levels of token buckets are kept (access, section 6). A store takes a call out of one bucket or out of two at
 * once: in this process's memory (here), in PostgreSQL or in Redis, each by the arithmetic of `throttle-core.ts`.
 */
import { LRUCache } from "lru-cache";
import type { Stop } from "./contract.ts";
import { type Bucket, CALL, changeRate, chargeBucket, newBucket, type Rate, refillBucket } from "./throttle-core.ts";

/** A bucket by the name that every process knows it by, with what this process itself keeps of it. */
export type NamedBucket = { readonly name: string; rate: Rate; readonly here: Bucket; dry: Dry | null };
/** What a common store said last, when the bucket held no further call: until then nobody need ask it. */
export type Dry = { rate: Rate; level: number; atMs: number; untilMs: number };

export type BucketStore = {
  /**
   * Lets flow in what is due and, where `charge` says so and each of the buckets holds a call, takes one out of each: all
   * or nothing. Gives their levels before that, in thousandths of a call. At once where nobody has to be asked.
   */
  take(buckets: readonly NamedBucket[], charge: boolean): readonly number[] | Promise<readonly number[]>;
};

/** All that a throttle needs of buckets: to meet one, and to take calls out of it. */
export type Buckets = BucketStore & { open(name: string, rate: Rate): NamedBucket; stop: Stop };

const mostPassing = 50_000;

/** The buckets that a process has met: of tenants all, as it keeps the tenants; of callers that pass by, the latest. */
export function createBucketTable(monotonicMs: () => number) {
  const ofTenants = new Map<string, NamedBucket>();
  const passing = new LRUCache<string, NamedBucket>({ max: mostPassing });

  /** The name's part in braces keeps buckets that are charged together on one node of a Redis cluster. */
  function open(name: string, rate: Rate): NamedBucket {
    const table = name.startsWith("{tnt_") ? ofTenants : passing;
    let bucket = table.get(name);
    if (!bucket) {
      bucket = { name, rate, here: newBucket(rate, monotonicMs()), dry: null };
      table.set(name, bucket);
    }
    return bucket;
  }
  return { open, all: (): NamedBucket[] => [...ofTenants.values(), ...passing.values()] };
}

/** A `sharers`th of a rate, and room for one call at least. */
export function shareOf(rate: Rate, sharers: number): Rate {
  if (sharers <= 1) return rate;
  return { ratePerSecond: rate.ratePerSecond / sharers, burst: Math.max(1, Math.floor(rate.burst / sharers)) };
}

/** Memory of this process; `sharers` processes without a common store each grant their share. */
export function createLocalBuckets(monotonicMs: () => number, sharers: () => number = () => 1) {
  function flow(bucket: NamedBucket, among: number, nowMs: number): number {
    const { here, rate } = bucket;
    if (among === 1 && here.rate === rate) refillBucket(here, nowMs);
    else changeRate(here, shareOf(rate, among), nowMs);
    return here.level;
  }
  function take(buckets: readonly NamedBucket[], charge: boolean): number[] {
    const nowMs = monotonicMs();
    const among = sharers();
    const [lane, own] = buckets as [NamedBucket, NamedBucket?];
    const laneLevel = flow(lane, among, nowMs);
    if (own === undefined) {
      if (charge && laneLevel >= CALL) chargeBucket(lane.here);
      return [laneLevel];
    }
    const ownLevel = flow(own, among, nowMs);
    if (charge && laneLevel >= CALL && ownLevel >= CALL) {
      chargeBucket(lane.here);
      chargeBucket(own.here);
    }
    return [laneLevel, ownLevel];
  }
  return { take } satisfies BucketStore;
}

/** The buckets of a process that counts for itself. */
export function createMemoryBuckets(monotonicMs: () => number): Buckets {
  return { open: createBucketTable(monotonicMs).open, ...createLocalBuckets(monotonicMs), async stop() {} };
}
