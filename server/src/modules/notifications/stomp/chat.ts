/**
 * The chat profile, for trying client libraries and for demonstrations: what clients SEND, to each other. In memory, in
 * one process; every tenant has a space of its own, and so have the logins of the settings, together.
 */
import { timingSafeEqual } from "node:crypto";
import { credentialDigest } from "#kernel/credential";
import { newId } from "#kernel/ids";
import type { StompSettings } from "#kernel/kernel";
import type { AckMode, Delivery, Effect } from "../../../stomp/contract.ts";
import type { Destination } from "../../../stomp/destination.ts";
import { share } from "../../../stomp/frame.ts";
import type { Connection } from "../../../stomp/socket.ts";
import type { Feed } from "./tail.ts";

const mostMessages = 10_000;
const mostBytes = 16 * 1_048_576;

type Joining = { key: number; connection: Connection; ack: AckMode };
/** `turn`: what is on its way to it, one message after another. */
type Listener = Joining & { turn: Promise<void> };
type Waiting = { delivery: Delivery; bytes: number; refusedBy: Listener | null };
type Consumer = Listener & { wanted: number; taken: Map<number, Waiting> };
type Queue = { ready: Waiting[]; bytes: number; consumers: Consumer[] };
type Settle = Extract<Effect, { kind: "settle" }>;
type Publish = Extract<Effect, { kind: "publish" }>;

export type ChatSpace = {
  join(destination: Destination, joining: Joining): Feed;
  publish(message: Publish): void;
  settle(effect: Settle, connection: Connection): void;
};
export type Chat = {
  spaceOf(tenantId: string): ChatSpace;
  /** The space of the logins, for one that is right. */
  guest(login: string | null, passcode: string): ChatSpace | null;
};

export function createChat({ logins }: Pick<NonNullable<StompSettings["chat"]>, "logins">): Chat {
  const spaces = new Map<string, ChatSpace>();
  const guests = createSpace();
  return {
    spaceOf(tenantId) {
      const space = spaces.get(tenantId) ?? createSpace();
      spaces.set(tenantId, space);
      return space;
    },
    guest(login, passcode) {
      const password = login === null ? undefined : logins.get(login);
      const isRight = timingSafeEqual(credentialDigest(password ?? ""), credentialDigest(passcode));
      return password !== undefined && isRight ? guests : null;
    },
  };
}

function createSpace(): ChatSpace {
  const topics = new Map<string, Set<Listener>>();
  const queues = new Map<string, Queue>();
  let count = 0;

  function queueOf(name: string): Queue {
    const queue = queues.get(name) ?? { ready: [], bytes: 0, consumers: [] };
    queues.set(name, queue);
    return queue;
  }

  /** Never from within the turn of the session that sends: its own frame is to take effect first. */
  function give(listener: Listener, delivery: Delivery): void {
    listener.turn = listener.turn.then(() => handOver(listener, delivery));
  }

  /** As the listener reads. */
  async function handOver({ connection, key }: Listener, delivery: Delivery): Promise<void> {
    while (!connection.hasRoom()) await connection.room();
    connection.give({ kind: "events", subscription: key, batch: [delivery] });
  }

  /** Hands out what is ready, each to the next consumer with room; what one refused goes to others first. */
  function handOut(queue: Queue): void {
    for (let index = 0; index < queue.ready.length; ) {
      const waiting = queue.ready[index]!;
      const open = queue.consumers.filter(({ wanted, connection }) => wanted > 0 && connection.isOpen());
      const others = open.filter((one) => one !== waiting.refusedBy);
      const isAlone = queue.consumers.every((one) => one === waiting.refusedBy);
      const next = others[0] ?? (isAlone ? open[0] : undefined);
      if (!next) {
        index++;
        continue;
      }
      queue.ready.splice(index, 1);
      queue.bytes -= waiting.bytes;
      queue.consumers.splice(queue.consumers.indexOf(next), 1);
      queue.consumers.push(next);
      next.wanted--;
      const { delivery } = waiting;
      waiting.delivery = { ...delivery, deliveries: delivery.deliveries + 1 };
      next.taken.set(delivery.position, waiting);
      give(next, waiting.delivery);
    }
  }

  function putBack(queue: Queue, back: Waiting[]): void {
    queue.ready = [...back, ...queue.ready].sort((a, b) => a.delivery.position - b.delivery.position);
    for (const { bytes } of back) queue.bytes += bytes;
    handOut(queue);
  }

  return {
    join(destination, joining) {
      const listener: Listener = { ...joining, turn: Promise.resolve() };
      if (destination.kind === "queue") {
        const queue = queueOf(destination.name);
        const consumer: Consumer = { ...listener, wanted: 0, taken: new Map() };
        queue.consumers.push(consumer);
        return {
          need(wanted) {
            consumer.wanted = wanted;
            handOut(queue);
          },
          again() {},
          check() {},
          stop() {
            const place = queue.consumers.indexOf(consumer);
            if (place < 0) return;
            queue.consumers.splice(place, 1);
            putBack(queue, [...consumer.taken.values()]);
            consumer.taken.clear();
          },
        };
      }
      const name = (destination as { name: string }).name;
      const listeners = topics.get(name) ?? new Set();
      topics.set(name, listeners.add(listener));
      return {
        need() {},
        again() {},
        check() {},
        stop() {
          listeners.delete(listener);
          if (listeners.size === 0) topics.delete(name);
        },
      };
    },
    publish({ destination, headers, body }) {
      const shared = share(headers, body);
      const delivery: Delivery = { position: ++count, eventId: newId("msg"), deliveries: 1, shared };
      if (destination.kind === "chatTopic") {
        for (const listener of topics.get(destination.name) ?? []) give(listener, delivery);
      } else if (destination.kind === "queue") {
        const queue = queueOf(destination.name);
        const bytes = body.length + 256;
        // The oldest give way.
        while (queue.ready.length >= mostMessages || (queue.ready.length > 0 && queue.bytes + bytes > mostBytes))
          queue.bytes -= queue.ready.shift()!.bytes;
        queue.ready.push({ delivery: { ...delivery, deliveries: 0 }, bytes, refusedBy: null });
        queue.bytes += bytes;
        handOut(queue);
      }
    },
    settle({ subscription, outcome, positions }, connection) {
      for (const queue of queues.values()) {
        const consumer = queue.consumers.find((one) => one.key === subscription && one.connection === connection);
        if (!consumer) continue;
        const back: Waiting[] = [];
        for (const position of positions) {
          const waiting = consumer.taken.get(position);
          if (!waiting) continue;
          consumer.taken.delete(position);
          waiting.refusedBy = consumer;
          // Nobody looks at what is parked here: it is gone.
          if (outcome === "ready") back.push(waiting);
        }
        if (back.length > 0) putBack(queue, back);
        return;
      }
    },
  };
}
