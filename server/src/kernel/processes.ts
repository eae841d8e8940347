/**
 * The processes of an installation, and how a change that takes something away reaches all of them (access, section 2).
 *
 * Each process writes a heartbeat into `kernel.process`. A change that takes something away raises `kernel.generation` in
 * its transaction and notifies; a process that hears of a new generation drops what it keeps of rights and acknowledges.
 * The reply waits for the acknowledgements of all live processes, but a second at most.
 *
 * That no process admits anything stale later than a second after such a change does not hang on notifications: every
 * heartbeat brings the generation back, and what a process keeps counts only for a second after the *sending* of its last
 * answered heartbeat. A change committed before that sending is in the answer; a later one is less than a second old.
 */
import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import type { Logger } from "pino";
import { type Database, hot, query, type Transaction } from "./db.ts";
import type { Listener } from "./listener.ts";

const beatMs = 300;
const trustedMs = 1_000;
const mostWaitMs = 1_000;
/** A heartbeat that stays without an answer for so long: the connection is given up. */
const silentMs = 3_000;
const raised = "demarc_generation";
const acknowledged = "demarc_acknowledged";
const changed = "demarc_process";

export type Raised = { generation: number; others: number };

export type Processes = {
  /** This process's own id, new at every start. */
  id: string;
  /** How many processes have a heartbeat younger than 3 s, this one included; as of the last heartbeat. */
  live(): number;
  /** Hears, from now on, that `live` has another value. `heard` must not throw. */
  onChange(heard: (live: number) => void): void;
  /** Whether what this process keeps of rights may be used at this moment; if not, the database is to be asked. */
  isCurrent(): boolean;
  /** `drop` is called whenever what is kept of rights must go. It must not throw. */
  onForget(drop: () => void): void;
  /** Raises the generation at the end of a transaction, without a round trip; `spread` takes the outcome after commit. */
  raise(tx: Transaction): Promise<Raised>;
  /** Drops here, and waits until no live process keeps anything older; a second at most. */
  spread(change: Raised): Promise<void>;
  /** The generation up to which what is kept of rights here has been dropped. */
  generation(): number;
  /** Brings this process up to a generation that a statement has seen. */
  reach(generation: number): void;
  /** Brings this process up to the generation that a transaction has seen; for a reply that repeats an earlier one. */
  catchUp(tx: Transaction): Promise<void>;
  stop(): Promise<void>;
};

const raise = hot<{ id: string }, { generation: number; others: number }>("raise_generation", ({ id }) =>
  query(sql`with next as (update kernel.generation set value = value + 1 returning value)
    select value as generation, pg_notify(${raised}, value::text),
      (select count(*)::int from kernel.process p where p.id <> ${id}
        and p.heartbeat_at > clock_timestamp() - interval '3 seconds') as others
    from next`),
);
const readGeneration = hot<Record<never, never>, { generation: number }>("read_generation", () =>
  query(sql`select value as generation from kernel.generation`),
);
/** The least generation that the other live processes have acknowledged; null: there are none. */
const leastAcknowledged = hot<{ id: string }, { generation: number | null }>("least_acknowledged", ({ id }) =>
  query(sql`select min(generation) as generation from kernel.process
    where id <> ${id} and heartbeat_at > clock_timestamp() - interval '3 seconds'`),
);

const beatText = `with beat as (
    insert into kernel.process (id, release, started_at, heartbeat_at, generation, master_kids)
    values ($1, $2, clock_timestamp(), clock_timestamp(), $3, $4)
    on conflict (id) do update set heartbeat_at = excluded.heartbeat_at, generation = excluded.generation,
      master_kids = excluded.master_kids),
  gone as (delete from kernel.process where id <> $1 and heartbeat_at < clock_timestamp() - interval '1 minute')
  select value as generation, 1 + (select count(*)::int from kernel.process
      where id <> $1 and heartbeat_at > clock_timestamp() - interval '3 seconds') as live
  from kernel.generation`;
const acknowledgeText = `with done as (update kernel.process set generation = $2 where id = $1 and generation < $2 returning id)
  select pg_notify('${acknowledged}', '') from done`;

type Parts = {
  listener: Listener;
  system: Database;
  log: Logger;
  release: string;
  /** The ids of the master keys that this process holds now. */
  masterKids(): readonly string[];
};

/** Enters this process into the registry and keeps it there until `stop`. */
export async function joinProcesses({ listener, system, log, release, masterKids }: Parts): Promise<Processes> {
  const id = randomUUID();
  const drops: (() => void)[] = [];
  const watchers: ((live: number) => void)[] = [];
  const waiters = createWaiters(id, system);
  /** The generation up to which everything kept here has been dropped; 0: not known, so nothing kept may be used. */
  let known = 0;
  let told = 0;
  let live = 1;
  /** When the last heartbeat that was answered was sent, by two clocks: either may stand still while a machine sleeps. */
  let trusted = { monotonicMs: Number.NEGATIVE_INFINITY, wallMs: 0 };
  let beating: { sinceMs: number; done: Promise<void> } | null = null;
  let acknowledging = false;

  function drop(): void {
    for (const one of drops) one();
  }

  function hear(generation: number): void {
    // Generations are committed in their order: who knows of a later one has dropped for this one too.
    if (generation <= known) return;
    known = generation;
    drop();
    void acknowledge();
  }

  async function acknowledge(): Promise<void> {
    if (acknowledging) return;
    acknowledging = true;
    try {
      while (told < known && listener.isUp()) {
        const now = known;
        await listener.ask(acknowledgeText, [id, now]);
        told = Math.max(told, now);
      }
    } catch {
      // The connection went: the first heartbeat of the next one tells it.
    } finally {
      acknowledging = false;
    }
  }

  async function beatOnce(): Promise<void> {
    const sent = { monotonicMs: performance.now(), wallMs: Date.now() };
    const tells = known;
    const [row] = await listener.ask<{ generation: number; live: number }>(beatText, [
      id,
      release,
      tells,
      masterKids(),
    ]);
    if (!row) return;
    told = tells;
    hear(row.generation);
    trusted = sent;
    if (row.live === live) return;
    live = row.live;
    for (const watcher of watchers) watcher(live);
  }

  function beat(): Promise<void> {
    if (beating) {
      if (performance.now() - beating.sinceMs > silentMs) listener.renew();
      return beating.done;
    }
    if (!listener.isUp()) return Promise.resolve();
    const done = beatOnce()
      .catch((error) => log.debug({ err: error }, "a heartbeat failed"))
      .finally(() => {
        beating = null;
      });
    beating = { sinceMs: performance.now(), done };
    return done;
  }

  /** After a connection was lost anything may have happened, even a restore of the database to an earlier state. */
  function beginAnew(): void {
    known = 0;
    told = 0;
    drop();
    void beat();
  }

  await listener.listen(raised, (payload) => (payload === null ? beginAnew() : hear(Number(payload))));
  await listener.listen(acknowledged, () => waiters.look());
  await listener.listen(changed, (payload) => {
    if (payload !== id) void beat();
  });
  await beatOnce();
  await listener.ask("select pg_notify($1, $2)", [changed, id]);
  const timer = setInterval(() => void beat(), beatMs);
  timer.unref();

  return {
    id,
    live: () => live,
    onChange: (heard) => void watchers.push(heard),
    isCurrent: () =>
      known > 0 &&
      listener.isUp() &&
      performance.now() - trusted.monotonicMs < trustedMs &&
      Math.abs(Date.now() - trusted.wallMs) < trustedMs,
    onForget: (one) => void drops.push(one),
    async raise(tx) {
      return (await tx.fire(raise({ id })))[0]!;
    },
    async spread({ generation, others }) {
      hear(generation);
      if (others === 0) return;
      const inTime = await waiters.wait(generation);
      if (!inTime) log.warn({ generation }, "not every process acknowledged in a second that something was taken away");
    },
    generation: () => known,
    reach: hear,
    async catchUp(tx) {
      hear((await tx.first(readGeneration({})))!.generation);
    },
    async stop() {
      clearInterval(timer);
      await beating?.done;
      await listener
        .ask(
          "with gone as (delete from kernel.process where id = $2 returning id) select pg_notify($1, id) from gone",
          [changed, id],
        )
        .catch(() => {});
    },
  };
}

/** Those who wait for the acknowledgement of a generation. */
function createWaiters(id: string, system: Database) {
  const waiting = new Map<() => void, number>();
  let looking = false;
  let again = false;

  async function look(): Promise<void> {
    again = true;
    if (looking || waiting.size === 0) return;
    looking = true;
    try {
      while (again && waiting.size > 0) {
        again = false;
        const row = await system.in("").first(leastAcknowledged({ id }));
        const least = row?.generation ?? Number.POSITIVE_INFINITY;
        for (const [finish, generation] of waiting) if (generation <= least) finish();
      }
    } catch {
      // The database is away: those who wait are let go when their time is over.
    } finally {
      looking = false;
    }
  }

  /** Whether the generation was acknowledged in time. */
  function wait(generation: number): Promise<boolean> {
    return new Promise((resolve) => {
      // A notification may be lost, and a process that died no longer counts after a while.
      const poll = setInterval(() => void look(), 100);
      const limit = setTimeout(() => end(false), mostWaitMs);
      const finish = () => end(true);
      function end(inTime: boolean): void {
        clearInterval(poll);
        clearTimeout(limit);
        waiting.delete(finish);
        resolve(inTime);
      }
      waiting.set(finish, generation);
      void look();
    });
  }

  return { wait, look: () => void look() };
}
