/**
 * Queues: items are taken from the log as they are wanted, and shared among the consumers of all processes. Each process
 * gives its consumers their turns; the database gives every item to one of them.
 */
import { sql } from "kysely";
import { type Db, query, type Transaction } from "#kernel/db";
import { type EventFilter, knownTypes, typesOf } from "#kernel/event-filter";
import { eventsAt } from "#kernel/event-reader";
import type { EventKind } from "#kernel/events";
import type { Kernel } from "#kernel/kernel";
import { holdsIn, type Principal } from "#kernel/principal";
import { Problem } from "#kernel/problem";
import type { Effect } from "../../../stomp/contract.ts";
import type { Connection } from "../../../stomp/socket.ts";
import { tellProcesses } from "./channel.ts";
import { isServed } from "./opening.ts";
import type { Render } from "./render.ts";
import { maySubscribe, Over } from "./standing.ts";
import type { Feed } from "./tail.ts";

/** Items a turn: small, so that consumers share what there is. */
const turnSize = 10;
const mostScanned = 5_000;
const waitMs = 5_000;

export type QueueFound = { id: string; tenantId: string; kinds: readonly EventKind[]; includeBelow: boolean };

/** An event queue of the acting tenant by its name. */
export async function findQueue(kernel: Kernel, who: Principal, name: string): Promise<QueueFound | undefined> {
  const row = await kernel.db
    .in(who.acting.id)
    .first(
      query<{ id: string; types: string[]; include_below: boolean }>(
        sql`select id, types, include_below from notifications.queue where tenant_id = ${who.acting.id} and name = ${name}`,
      ),
    );
  return (
    row && { id: row.id, tenantId: who.acting.id, kinds: kindsOf(kernel, row.types), includeBelow: row.include_below }
  );
}

/** The queue as it is now; undefined: it was removed. */
async function reread(kernel: Kernel, { id, tenantId }: QueueFound): Promise<QueueFound | undefined> {
  const row = await kernel.db
    .in(tenantId)
    .first(
      query<{ types: string[]; include_below: boolean }>(
        sql`select types, include_below from notifications.queue where id = ${id}`,
      ),
    );
  return row && { id, tenantId, kinds: kindsOf(kernel, row.types), includeBelow: row.include_below };
}

/** The types that a queue's patterns name now; a pattern may have lost its last type in a later release. */
function kindsOf(kernel: Pick<Kernel, "versions">, patterns: readonly string[]): readonly EventKind[] {
  const known = knownTypes(kernel.versions, kernel.versions.newest.label);
  const kinds = patterns.flatMap((pattern) => {
    try {
      return [...typesOf([pattern], known)];
    } catch (error) {
      if (error instanceof Problem) return [];
      throw error;
    }
  });
  return [...new Set(kinds)];
}

/** Whether somebody may see all that a queue can hold: only then is a share of it no accident. */
export function mayConsume(who: Principal, { kinds }: QueueFound): boolean {
  return maySubscribe(who) && kinds.every(({ permission }) => holdsIn(who, permission, who.acting));
}

function checkConsumer(kernel: Kernel, who: Principal, found: QueueFound, version: string): void {
  if (!mayConsume(who, found) || !isServed(kernel, version)) throw new Over({ code: "destination_not_available" });
}

type Consumer = {
  sessionId: string;
  key: number;
  connection: Connection;
  reader: () => Promise<Principal>;
  version: string;
  wanted: number;
  failed(error: unknown): Promise<void>;
};
type Pump = { found: QueueFound; consumers: Set<Consumer>; isRunning: boolean; poked: AbortController };

export type Queues = {
  join(found: QueueFound, consumer: Omit<Consumer, "wanted">): Feed;
  /** Something may lie ready. */
  poke(queueId: string | null): void;
};

export function createQueues(kernel: Kernel, render: Render): Queues {
  const pumps = new Map<string, Pump>();
  /** A session that listens to many queues takes from one at a time, or its room would be used by each. */
  const turns = new Map<Connection, Promise<unknown>>();
  const { closing } = kernel.events;

  function start(pump: Pump): void {
    if (pump.isRunning || closing.aborted) return;
    pump.isRunning = true;
    run(pump)
      .catch(async (error) => {
        kernel.log.warn({ err: error }, "a queue waits for the database");
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      })
      .finally(() => {
        pump.isRunning = false;
        if (isWanted(pump)) start(pump);
      });
  }

  function isWanted({ consumers }: Pump): boolean {
    return !closing.aborted && [...consumers].some(({ wanted, connection }) => wanted > 0 && connection.isOpen());
  }

  async function run(pump: Pump): Promise<void> {
    while (isWanted(pump)) {
      pump.poked = new AbortController();
      const found = await reread(kernel, pump.found);
      if (!found) {
        for (const { connection } of pump.consumers)
          connection.give({ kind: "end", refusal: { code: "destination_not_available" } });
        return;
      }
      pump.found = found;
      const { upTo, head } = await fill(kernel, pump.found);
      let given = 0;
      for (const consumer of [...pump.consumers]) {
        const { connection, wanted } = consumer;
        if (wanted === 0 || !connection.isOpen()) continue;
        const held = connection.hasRoom() ? turns.get(connection) : connection.room();
        if (held) {
          void held.then(() => pump.poked.abort());
          continue;
        }
        const taking = turn(pump, consumer);
        turns.set(connection, taking);
        const count = await taking;
        turns.delete(connection);
        given += count;
        // Whoever got something stands at the end of the line.
        if (count > 0 && pump.consumers.delete(consumer)) pump.consumers.add(consumer);
      }
      if (given === 0 && upTo >= head) await kernel.events.newsAfter(head, waitMs, pump.poked.signal);
    }
  }

  async function turn(pump: Pump, consumer: Consumer): Promise<number> {
    const { found } = pump;
    try {
      const who = await consumer.reader();
      checkConsumer(kernel, who, found, consumer.version);
      const taken = await take(kernel, found, consumer);
      if (taken.length > 0) await deliver(found, consumer, taken);
      return taken.length;
    } catch (error) {
      await consumer.failed(error);
      return 0;
    }
  }

  async function deliver(found: QueueFound, consumer: Consumer, taken: Taken[]): Promise<void> {
    const filter: EventFilter = { kinds: found.kinds, includeBelow: true };
    const { tenantId } = found;
    const positions = taken.map(({ position }) => position);
    const batch = await eventsAt(kernel, consumer.reader, positions, filter);
    if (!consumer.connection.isOpen()) return giveBack(kernel, found, consumer.sessionId);
    const events = new Map(batch.events.map((event) => [event.position, event]));
    const passed = positions.filter((position) => !events.has(position));
    if (passed.length > 0)
      await kernel.db.transaction(tenantId, (tx) =>
        settleItems(tx, found.id, consumer.sessionId, { outcome: "done", positions: passed }),
      );
    const seen = taken.flatMap(({ position, deliveries }) => {
      const event = events.get(position);
      if (!event) return [];
      const shared = render(batch, event, consumer.version);
      return [{ position, eventId: event.id, deliveries, shared }];
    });
    consumer.wanted -= seen.length;
    consumer.connection.give({ kind: "events", subscription: consumer.key, batch: seen });
  }

  return {
    join(found, about) {
      let pump = pumps.get(found.id);
      if (!pump) {
        pump = { found, consumers: new Set(), isRunning: false, poked: new AbortController() };
        pumps.set(found.id, pump);
      }
      pump.found = found;
      const joined = pump;
      const consumer: Consumer = { ...about, wanted: 0 };
      joined.consumers.add(consumer);
      return {
        need(count) {
          consumer.wanted = count;
          joined.poked.abort();
          start(joined);
        },
        again() {},
        check: () =>
          void consumer
            .reader()
            .then((who) => checkConsumer(kernel, who, joined.found, consumer.version))
            .catch(consumer.failed),
        stop() {
          joined.consumers.delete(consumer);
          if (joined.consumers.size === 0) pumps.delete(found.id);
          joined.poked.abort();
        },
      };
    },
    poke(queueId) {
      for (const pump of pumps.values()) if (queueId === null || pump.found.id === queueId) pump.poked.abort();
    },
  };
}

/** Looks the log through for items, from where the last look ended; one process at a time. */
async function fill(kernel: Kernel, { id, tenantId, kinds }: QueueFound): Promise<{ upTo: number; head: number }> {
  const types = kinds.map(({ type }) => type);
  const row = await kernel.db.in(tenantId).first(
    query<{ up_to: number | null; head: number }>(sql`with q as (
        select id, tenant_id, include_below, position from notifications.queue where id = ${id} for update skip locked
      ), span as (
        select q.*, least(q.position + ${mostScanned}, s.head_position) as up_to from q, kernel.log_state s
      ), made as (
        insert into notifications.queue_item (tenant_id, queue_id, position)
        select span.tenant_id, span.id, e.position from span
        join kernel.event e on e.position > span.position and e.position <= span.up_to
          and e.type = any(${types}::text[]) and (e.tenant_id = span.tenant_id or span.include_below)
        on conflict do nothing
      ), moved as (
        update notifications.queue u set position = span.up_to from span where u.id = span.id and u.position < span.up_to
      )
      select (select up_to from span) as up_to, head_position as head from kernel.log_state`),
  );
  // Another process is at it: its news come as ours do.
  return { upTo: row?.up_to ?? row!.head, head: row!.head };
}

type Taken = { position: number; deliveries: number };

/** Takes the next items for a consumer. What it refused goes to others first, as long as there are others. */
async function take(kernel: Kernel, { id, tenantId }: QueueFound, consumer: Consumer): Promise<Taken[]> {
  const { sessionId, wanted } = consumer;
  const rows = await kernel.db.in(tenantId).rows(
    query<Taken>(sql`with next as (
        select i.position from notifications.queue_item i
        where i.queue_id = ${id} and i.state = 'ready' and (i.refused_by is distinct from ${sessionId} or not exists (
          select from notifications.queue_consumer c where c.queue_id = ${id} and c.session_id <> ${sessionId}))
        order by i.position limit ${Math.min(wanted, turnSize)} for update skip locked
      )
      update notifications.queue_item i set state = 'taken', session_id = ${sessionId}, deliveries = deliveries + 1
      from next where i.queue_id = ${id} and i.position = next.position
      returning i.position, i.deliveries`),
  );
  return rows.sort((a, b) => a.position - b.position);
}

async function giveBack(kernel: Kernel, { id, tenantId }: QueueFound, sessionId: string): Promise<void> {
  await kernel.db.transaction(tenantId, (tx) => releaseItems(tx, id, sessionId));
}

/** What a session has not settled is ready again, in its old place. */
export async function releaseItems(tx: Transaction, queueId: string, sessionId: string): Promise<void> {
  await tx.run(
    query(sql`delete from notifications.queue_consumer where queue_id = ${queueId} and session_id = ${sessionId}`),
  );
  await tx.run(
    query(sql`update notifications.queue_item set state = 'ready', session_id = null
      where queue_id = ${queueId} and session_id = ${sessionId} and state = 'taken'`),
  );
  await tellProcesses(tx, { kind: "ready", queueId });
}

export async function settleItems(
  tx: Db,
  queueId: string,
  sessionId: string,
  { outcome, positions }: Pick<Extract<Effect, { kind: "settle" }>, "outcome" | "positions">,
): Promise<void> {
  const items = sql`queue_id = ${queueId} and session_id = ${sessionId} and state = 'taken' and position = any(${positions}::bigint[])`;
  if (outcome === "done") await tx.run(query(sql`delete from notifications.queue_item where ${items}`));
  else
    await tx.run(
      query(
        sql`update notifications.queue_item set state = ${outcome}, session_id = null, refused_by = ${sessionId} where ${items}`,
      ),
    );
  if (outcome === "ready") await tellProcesses(tx, { kind: "ready", queueId });
}

export async function addConsumer(kernel: Kernel, found: QueueFound, sessionId: string, key: number): Promise<void> {
  await kernel.db.in(found.tenantId).run(
    query(sql`insert into notifications.queue_consumer (tenant_id, queue_id, session_id, subscription)
        values (${found.tenantId}, ${found.id}, ${sessionId}, ${key})`),
  );
}
