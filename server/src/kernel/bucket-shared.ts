/**
 * A common store of token buckets, and what holds while it is away: each process then grants its share from memory, says
 * so in the log, and goes back once the store answers. No call fails for the limiter's sake.
 */
import type { Logger } from "pino";
import { type BucketStore, type NamedBucket, shareOf } from "./bucket-store.ts";
import { CALL } from "./throttle-core.ts";

const probeEveryMs = 200;

type Parts = {
  /** Its name in the log. */
  name: string;
  store: BucketStore;
  /** Silent for so long, it counts as away. */
  patienceMs: number;
  share: BucketStore;
  /** How many processes there are, this one included. */
  live(): number;
  monotonicMs(): number;
  log: Logger;
};

export type SharedBuckets = BucketStore & { stop(): void };

export function createSharedBuckets({ name, store, patienceMs, share, live, monotonicMs, log }: Parts): SharedBuckets {
  let away = false;
  let timer: NodeJS.Timeout | undefined;

  async function ask(buckets: readonly NamedBucket[], charge: boolean, askedAtMs: number): Promise<readonly number[]> {
    try {
      const levels = await within(patienceMs, store.take(buckets, charge));
      remember(buckets, levels, charge, askedAtMs);
      return levels;
    } catch (error) {
      leave(error);
      return share.take(buckets, charge);
    }
  }

  function remember(buckets: readonly NamedBucket[], levels: readonly number[], charge: boolean, atMs: number): void {
    const taken = charge && levels.every((level) => level >= CALL) ? CALL : 0;
    for (const [index, bucket] of buckets.entries()) {
      const level = levels[index]! - taken;
      const { rate, here } = bucket;
      const untilMs = atMs + (CALL - level) / rate.ratePerSecond;
      bucket.dry = level < CALL ? { rate, level, atMs, untilMs } : null;
      // From here the process goes on with its share, should the store go away.
      here.rate = shareOf(rate, live());
      here.level = level / live();
      here.atMs = Math.floor(monotonicMs());
    }
  }

  function leave(error: unknown): void {
    if (away) return;
    away = true;
    log.error({ err: error }, `limits: ${name} does not answer; until it does, each process grants its share`);
    timer = setTimeout(probe, probeEveryMs);
  }

  async function probe(): Promise<void> {
    try {
      await within(patienceMs, store.take([probed], false));
      away = false;
      log.warn(`limits: ${name} answers again`);
    } catch {
      if (timer) timer = setTimeout(probe, probeEveryMs);
    }
  }

  return {
    take(buckets, charge) {
      if (away) return share.take(buckets, charge);
      const nowMs = monotonicMs();
      const level = buckets.length === 1 ? dryLevel(buckets[0]!, nowMs) : null;
      return level === null ? ask(buckets, charge, nowMs) : [level];
    },
    stop() {
      clearTimeout(timer);
      timer = undefined;
    },
  };
}

const once = { ratePerSecond: 1, burst: 1 };
const probed: NamedBucket = { name: "{probe}", rate: once, here: { rate: once, level: 0, atMs: 0 }, dry: null };

/**
 * The level of a bucket that cannot hold a call yet, whoever else takes from it; null: the store must be asked. So a flood
 * over the limit costs the store a question per call granted, not per call made.
 */
function dryLevel({ dry, rate }: NamedBucket, nowMs: number): number | null {
  if (dry === null || dry.rate !== rate || nowMs >= dry.untilMs) return null;
  return Math.min(CALL - 1, Math.floor(dry.level + (nowMs - dry.atMs) * rate.ratePerSecond));
}

const mostLooks = 4;

/** What `work` gives within so many milliseconds. A process that was busy itself meanwhile looks again before it gives up. */
export function within<T>(ms: number, work: T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout;
    function wait(looks: number): void {
      const dueMs = performance.now() + ms;
      timer = setTimeout(() => {
        if (looks > 1 && performance.now() > dueMs + 5) wait(looks - 1);
        else reject(new Error(`no answer within ${ms} ms`));
      }, ms);
    }
    wait(mostLooks);
    Promise.resolve(work)
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}
