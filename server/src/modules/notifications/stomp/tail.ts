/**
 * A subscription to the log: reads what its session has room for, then waits for news. Sessions of one credential that
 * stand at the same place with the same filter read together; rights and events are one state for all of them.
 */
import { hash } from "node:crypto";
import type { Place } from "#kernel/event-cursor";
import type { EventFilter } from "#kernel/event-filter";
import { type EventBatch, eventsAt, type LoggedEvent, placeAfter, readEvents } from "#kernel/event-reader";
import type { Kernel } from "#kernel/kernel";
import type { Principal } from "#kernel/principal";
import type { Delivery } from "../../../stomp/contract.ts";
import type { Stencils } from "../../../stomp/run.ts";
import type { Connection } from "../../../stomp/socket.ts";
import type { Hearing } from "./opening.ts";
import type { Render } from "./render.ts";
import { Over } from "./standing.ts";
import type { Follower, Group, Together } from "./together.ts";

const batchSize = 100;
/** Messages that are given at a time, with a look at the socket in between. */
const sliceSize = 10;
/** What is given at once to a socket that has room. */
const roomBytes = 65_536;

/** What a subscription of any kind does for its session. */
export type Feed = {
  need(count: number): void;
  again(positions: readonly number[]): void;
  /** Rights have changed: ends the session if it may no longer hear this at all. */
  check(): void;
  stop(): void;
};

/** Filters of one name let through the same. */
function nameOfFilter({ kinds, subject, includeBelow, ownerId }: EventFilter): string {
  const about = [kinds.map(({ type }) => type), subject, includeBelow, ownerId];
  return hash("sha256", JSON.stringify(about), "base64");
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

/** What the sessions of a line are given of a batch: the same. */
type Given = { deliveries: readonly Delivery[]; bytes: number; stencils: Stencils };
const given = new WeakMap<EventBatch, Map<string, Given>>();

export function followLog(parts: TailParts): Feed {
  const { kernel, connection, key, hearing, reader, together } = parts;
  const { events } = kernel;
  const group: Group = {
    name: `${parts.readerKey} ${nameOfFilter(hearing.filter)}`,
    read: (from) =>
      readEvents(kernel, reader, { place: from, filter: hearing.filter, limit: batchSize }, together.share),
  };
  let place = parts.place;
  let wanted = 0;
  let isRunning = false;
  let isWaiting = false;
  let hasBegun = false;
  let isStopped = false;
  /** Found to be allowed to hear this: rights that change come as another object. */
  let admitted: Principal | null = null;

  function isLive(): boolean {
    return !isStopped && connection.isOpen() && !events.closing.aborted;
  }

  function isCrowded(): boolean {
    return isLive() && !connection.hasRoom();
  }

  function check(who: Principal): void {
    if (who === admitted) return;
    if (!hearing.allows(who)) throw new Over({ code: "destination_not_available" });
    admitted = who;
  }

  async function run(): Promise<void> {
    // Most begin where the log ends: whoever does not is told so at once.
    if (!hasBegun) {
      hasBegun = true;
      return wait();
    }
    while (wanted > 0 && isLive()) {
      await connection.room();
      const batch = await together.read(group, place);
      if (!isLive()) return;
      check(batch.who);
      const isWhole = await deliver(batch);
      if (!isWhole || !batch.atEnd || !isLive()) continue;
      return wait();
    }
  }

  function wait(): void {
    isWaiting = true;
    together.wait(group, place, follower);
  }

  /** What most sessions do most of the time, hence without a promise: all that is new is given at once. */
  function take(batch: EventBatch): boolean {
    if (isStopped || !connection.isOpen()) return false;
    const all = takeable(batch);
    if (all === null) {
      goOn();
      return false;
    }
    const { deliveries, stencils } = all;
    wanted -= deliveries.length;
    place = batch.next;
    if (deliveries.length > 0) connection.give({ kind: "events", subscription: key, batch: deliveries, stencils });
    isWaiting = batch.atEnd && wanted > 0 && !isStopped && connection.isOpen();
    if (!isWaiting) start();
    return isWaiting;
  }

  /** The whole batch, where there is room for it; null: it is to be taken piece by piece, or told why not. */
  function takeable(batch: EventBatch): Given | null {
    if (parts.settledAbove !== null || wanted < batch.events.length || !connection.hasRoom()) return null;
    try {
      check(batch.who);
      const all = givenOf(batch);
      return all.bytes > roomBytes ? null : all;
    } catch {
      return null;
    }
  }

  function goOn(): void {
    isWaiting = false;
    start();
  }

  function givenOf(batch: EventBatch): Given {
    const versions = given.get(batch) ?? new Map<string, Given>();
    given.set(batch, versions);
    let known = versions.get(hearing.version);
    if (!known) {
      const deliveries = batch.events.map((event) => deliveryOf(batch, event));
      known = {
        deliveries,
        bytes: deliveries.reduce((sum, { shared }) => sum + shared.body.length, 0),
        stencils: [],
      };
      versions.set(hearing.version, known);
    }
    return known;
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
    if (isRunning || isWaiting || !isLive()) return;
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

  const follower: Follower = { take, goOn };
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
