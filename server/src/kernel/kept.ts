/**
 * What a process keeps of the database although it could be taken away: used only while the process is sure to hear of
 * that, dropped the moment it does (access, section 2).
 */
import { LRUCache } from "lru-cache";
import { refuse, unavailable } from "./problem.ts";
import type { Processes } from "./processes.ts";

/** Longest time of keeping, whatever happens. */
export const keptMs = 30_000;
/** What was read longer ago may have been taken away since. */
const trustedMs = 1_000;
const mostTries = 20;
const mostSlow = 5;

export type FreshReader = {
  /**
   * Reads with nothing stale: what was read before something was taken away is read again, and so is what arrives long
   * after it was asked for, unless the process can be sure that it heard of all changes since: it may have slept. `keep`
   * runs in the same turn as the check, so that nothing can be taken away between the two.
   */
  read<T>(load: () => Promise<T>, keep: (value: T) => void): Promise<T>;
  /** Something was taken away. */
  forget(): void;
};

export function createFreshReader(isCurrent: () => boolean): FreshReader {
  let epoch = 0;
  return {
    async read(load, keep) {
      let slow = 0;
      for (let tries = 0; tries < mostTries && slow < mostSlow; tries++) {
        const [before, sinceMs] = [epoch, performance.now()];
        const value = await load();
        if (before !== epoch) continue;
        if (performance.now() - sinceMs > trustedMs && !isCurrent()) slow++;
        else {
          keep(value);
          return value;
        }
      }
      throw refuse(unavailable, {
        detail: "The database is slow. Nothing was changed; try again.",
        headers: { "retry-after": "1" },
      });
    },
    forget() {
      epoch++;
    },
  };
}

export type Kept<T> = {
  /** What is known and may be used at this moment. */
  known(name: string): T | undefined;
  /** Reads, and keeps what was found; what was not found is looked for again, because it may be made any moment. */
  read(name: string, load: () => Promise<T | undefined>): Promise<T | undefined>;
};

/** Keeps up to `most` values. Whoever takes one away calls `ctx.forget()` in the same operation. */
export function createKept<T extends object>(
  { isCurrent, onForget }: Pick<Processes, "isCurrent" | "onForget">,
  most: number,
): Kept<T> {
  const values = new LRUCache<string, T>({ max: most, ttl: keptMs });
  const reader = createFreshReader(isCurrent);
  onForget(() => {
    reader.forget();
    values.clear();
  });
  return {
    known: (name) => (isCurrent() ? values.get(name) : undefined),
    read: (name, load) => reader.read(load, (value) => void (value && values.set(name, value))),
  };
}
