/**
 * A subscription to the log: reads what its session has room for, then waits for news. Sessions of one credential that
 * stand at the same place with the same filter read together; rights and events are one state for all of them.
 */
import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Place } from "#kernel/event-cursor";
import { type EventBatch, eventsAt, type LoggedEvent, placeAfter, readEvents } from "#kernel/event-reader";
import type { Kernel } from "#kernel/kernel";
import type { Principal } from "#kernel/principal";
import type { Delivery } from "../../../stomp/contract.ts";
import type { Connection } from "../../../stomp/socket.ts";
import type { Hearing } from "./opening.ts";
import type { Render } from "./render.ts";
import { Over } from "./standing.ts";

const batchSize = 100;
/** Messages that are given at a time, with a look at the socket in between. */
const sliceSize = 10;
const waitMs = 30_000;

/** What a subscription of any kind does for its session. */
export type Feed = {
  need(count: number): void;
  again(positions: readonly number[]): void;
  /** Rights have changed: ends the session if it may no longer hear this at all. */
  check(): void;
  stop(): void;
};

/** Work that several sessions want at the same moment, done once. */
export type Together = {
  join<T>(key: string, work: () => Promise<T>): Promise<T>;
  /** Reads a batch, or takes one that was just read with the rights that still hold. */
  read(key: string, work: () => Promise<EventBatch>): Promise<EventBatch>;
};

/** Sessions that fell behind by a few turns of the event loop need not read again what others just read. */
const freshMs = 250;

export function createTogether({ processes }: Pick<Kernel, "processes">): Together {
  const running = new Map<string, Promise<unknown>>();
  const recent = new LRUCache<string, { batch: EventBatch; generation: number }>({ max: 500, ttl: freshMs });
  function join<T>(key: string, work: () => Promise<T>): Promise<T> {
    const known = running.get(key);
    if (known) return known as Promise<T>;
    const mine = work().finally(() => running.delete(key));
    running.set(key, mine);
    return mine;
  }
  return {
    join,
    async read(key, work) {
      const known = recent.get(key);
      if (known && processes.isCurrent() && processes.generation() === known.generation) return known.batch;
      return join(key, async () => {
        const generation = processes.generation();
        const batch = await work();
        // An empty one would be read again and again by those who know that there is news.
        if (batch.events.length > 0) recent.set(key, { batch, generation });
        return batch;
      });
    },
  };
}

export type TailParts = {
  kernel: Kernel;
  connection: Connection;
  /** The number of the subscription in its session. */
  key: number;
  hearing: Hearing;
  place: Place;
  reader: () => Promise<Principal>;
  /** Names who reads: credential, address, label and acting tenant. */
  readerKey: string;
  /** A durable's: what was settled above its position, which is not sent again. */
  settledAbove: ReadonlySet<number> | null;
  render: Render;
  together: Together;
  /** Ends the session if that is what the error says; else resolves when it is time to try again. */
  failed(error: unknown): Promise<void>;
};

export function followLog(parts: TailParts): Feed {
  const { kernel, connection, key, hearing, reader, together } = parts;
  const { events } = kernel;
  const { kinds, subject, includeBelow, ownerId } = hearing.filter;
  const about = [kinds.map(({ type }) => type), subject, includeBelow, ownerId];
  const group = `${parts.readerKey} ${hash("sha256", JSON.stringify(about), "base64")}`;
  let place = parts.place;
  let wanted = 0;
  let isRunning = false;
  let isStopped = false;

  function isLive(): boolean {
    return !isStopped && connection.isOpen() && !events.closing.aborted;
  }

  function isCrowded(): boolean {
    return isLive() && !connection.hasRoom();
  }

  function check(who: Principal): void {
    if (!hearing.allows(who)) throw new Over({ code: "destination_not_available" });
  }

  async function run(): Promise<void> {
    while (wanted > 0 && isLive()) {
      await connection.room();
      const from = place;
      const batch = await together.read(`${group} ${from.epoch} ${from.position}`, () =>
        readEvents(kernel, reader, { place: from, filter: hearing.filter, limit: batchSize }),
      );
      if (!isLive()) return;
      check(batch.who);
      const isWhole = await deliver(batch);
      if (!isWhole || !batch.atEnd || !isLive()) continue;
      const { position } = batch.head;
      // Only aborted with the server: others may be waiting for the same.
      await together.join(`${group} news ${position}`, () => events.newsAfter(position, waitMs));
    }
  }

  /** Gives what there is room for; false: not all of it. */
  async function deliver(batch: EventBatch): Promise<boolean> {
    const { settledAbove } = parts;
    const open = settledAbove ? batch.events.filter(({ position }) => !settledAbove.has(position)) : batch.events;
    for (let start = 0; start < open.length; ) {
      // Looked at in the turn that gives: others of the session waited for the same room.
      while (isCrowded()) await connection.room();
      if (!isLive() || wanted === 0) return false;
      const slice = open.slice(start, start + Math.min(sliceSize, wanted));
      start += slice.length;
      wanted -= slice.length;
      place = placeAfter(batch, slice.at(-1)!);
      connection.give({ kind: "events", subscription: key, batch: slice.map((event) => deliveryOf(batch, event)) });
    }
    const readTo = batch.next.position;
    if (settledAbove && readTo > place.position && isLive())
      connection.give({ kind: "events", subscription: key, batch: [], readTo });
    place = batch.next;
    return true;
  }

  function deliveryOf(batch: Pick<EventBatch, "who" | "head">, event: LoggedEvent): Delivery {
    const shared = parts.render(batch, event, hearing.version);
    return { position: event.position, eventId: event.id, deliveries: 1, shared };
  }

  function start(): void {
    if (isRunning || !isLive()) return;
    isRunning = true;
    run()
      .catch(parts.failed)
      .finally(() => {
        isRunning = false;
        if (wanted > 0 && isLive()) start();
      });
  }

  async function repeat(positions: readonly number[]): Promise<void> {
    await connection.room();
    if (!isLive()) return;
    const batch = await eventsAt(kernel, reader, positions, hearing.filter);
    while (isCrowded()) await connection.room();
    if (!isLive()) return;
    check(batch.who);
    const found = new Map(batch.events.map((event) => [event.position, event]));
    const passed = positions.filter((position) => !found.has(position));
    const seen = positions.flatMap((position) => found.get(position) ?? []);
    const deliveries = seen.map((event) => deliveryOf(batch, event));
    connection.give({ kind: "events", subscription: key, batch: deliveries, passed });
  }

  async function repeatAll(positions: readonly number[]): Promise<void> {
    for (let rest = positions; rest.length > 0 && isLive(); ) {
      try {
        await repeat(rest.slice(0, sliceSize));
        rest = rest.slice(sliceSize);
      } catch (error) {
        await parts.failed(error);
      }
    }
  }

  const feed: Feed = {
    need(count) {
      wanted = count;
      start();
    },
    again: (positions) => void repeatAll(positions),
    check: () => void reader().then(check).catch(parts.failed),
    stop() {
      isStopped = true;
    },
  };
  return feed;
}
