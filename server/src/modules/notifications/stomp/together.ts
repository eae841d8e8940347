/**
 * What the sessions of a process do once for all of them: they read the log, and wait for its news. Those of one
 * credential that stand at one place with one filter wait in one line, and are given a batch one after another; lines
 * whose callers may see the same share the statement.
 */
import { LRUCache } from "lru-cache";
import type { Place } from "#kernel/event-cursor";
import { type EventBatch, findPlace, type ShareRows } from "#kernel/event-reader";
import type { Kernel } from "#kernel/kernel";
import type { Principal } from "#kernel/principal";
import { gathering } from "./gathering.ts";

const waitMs = 30_000;
/** Sessions that fell behind by a few turns of the event loop need not read again what others just read. */
const freshMs = 250;
/** Sessions that are given a batch in one turn of the event loop; what they are given leaves before the next. */
const atOnce = 20;

/** One that waits for news, in one line at a time. */
export type Follower = {
  /** Takes the whole batch, and waits on at its end; false: it does not wait any longer. */
  take(batch: EventBatch): boolean;
  /** Goes on by itself from where it is. */
  goOn(): void;
};

/** Whom a follower may stand in line with: same credential, same acting tenant, same filter. `read` reads for them all. */
export type Group = { name: string; read(place: Place): Promise<EventBatch> };

export type Together = {
  /** Where the log ends now, for those who act in a tenant. */
  head(who: Principal): Promise<Place>;
  /** For `readEvents`. */
  share: ShareRows;
  /** Reads a batch, or takes one that was just read with the rights that still hold. */
  read(group: Group, place: Place): Promise<EventBatch>;
  /** Waits until there is news after a place. */
  wait(group: Group, place: Place, follower: Follower): void;
};

export function createTogether(kernel: Kernel): Together {
  const { processes, events } = kernel;
  const running = new Map<string, Promise<unknown>>();
  const lines = new Map<string, Set<Follower>>();
  type Fresh = { value: unknown; generation: number };
  const fresh = new LRUCache<string, Fresh>({ max: 500, ttl: freshMs });
  const holds = (generation: number) => processes.isCurrent() && processes.generation() === generation;
  const nameOf = ({ name }: Group, { epoch, position }: Place) => `${name} ${epoch} ${position}`;

  async function once<T>(key: string, isWorthKeeping: (value: T) => boolean, work: () => Promise<T>): Promise<T> {
    const known = fresh.get(key);
    if (known && holds(known.generation)) return known.value as T;
    const under = running.get(key);
    if (under) return under as Promise<T>;
    const generation = processes.generation();
    const mine = work()
      .then((value) => {
        if (isWorthKeeping(value)) fresh.set(key, { value, generation });
        return value;
      })
      .finally(() => running.delete(key));
    running.set(key, mine);
    return mine;
  }

  // What brought nothing would be read again and again by those who know that there is news.
  const read = (group: Group, place: Place) =>
    once(
      `batch ${nameOf(group, place)}`,
      (batch: EventBatch) => batch.events.length > 0,
      () => group.read(place),
    );

  /** Has them wait at a place, as a line of their own where nobody waits there yet. */
  function waitAt(group: Group, place: Place, followers: Set<Follower>): void {
    const name = nameOf(group, place);
    const known = lines.get(name);
    if (known) {
      for (const follower of followers) known.add(follower);
      return;
    }
    lines.set(name, followers);
    void attend(group, place, followers);
  }

  async function attend(group: Group, place: Place, line: Set<Follower>): Promise<void> {
    await events.newsAfter(place.position, waitMs);
    const generation = processes.generation();
    // What is thrown each of them meets by itself.
    const batch = line.size === 0 ? null : await read(group, place).catch(() => null);
    lines.delete(nameOf(group, place));
    let given = 0;
    for (const part of inParts([...line], atOnce)) {
      if (given > 0) await new Promise(setImmediate);
      const mayTake = batch !== null && (given === 0 || holds(generation));
      given += part.length;
      for (const follower of part) {
        if (!mayTake) follower.goOn();
        if (!mayTake || !follower.take(batch)) line.delete(follower);
      }
    }
    if (batch !== null && line.size > 0) waitAt(group, batch.next, line);
  }

  // Asked for anew for whoever comes while it is being asked: what was changed before a SUBSCRIBE is not news to it.
  const head = gathering(async (_tenantId, callers: Principal[]) => {
    const place = await findPlace(kernel, callers[0]!, { from: "now" }, "from");
    return callers.map(() => place);
  });

  return {
    head: (who) => head(who.acting.id, who),
    share: (key, work) => once(`rows ${key}`, (rows) => rows.length > 1, work),
    read,
    wait: (group, place, follower) => waitAt(group, place, new Set([follower])),
  };
}

function* inParts<T>(all: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < all.length; start += size) yield all.slice(start, start + size);
}
