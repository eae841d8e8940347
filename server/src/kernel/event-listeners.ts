/**
 * Modules that answer events of others (`Module.listens`). Each listener follows the numbered log by a stored place, which
 * moves in the transaction of its answer: a crash neither loses nor doubles one, however many processes follow. What one
 * is answered with belongs to the event's tenant and is done as the system, under the listener's name.
 */
import { setTimeout as pause } from "node:timers/promises";
import { sql } from "kysely";
import { inTransaction, systemCaller } from "./context.ts";
import type { Context, Stop } from "./contract.ts";
import { hot, query } from "./db.ts";
import type { LoggedEvent } from "./event-reader.ts";
import type { Kernel } from "./kernel.ts";
import { Problem, unavailable } from "./problem.ts";

export type EventListener = {
  /** Unique over all modules, snake_case; names the system in the audit trail. Another name begins anew, at the log's end. */
  readonly name: string;
  readonly types: readonly string[];
  /**
   * Answers one event, in a transaction of its tenant. A Problem says that nothing can be done about it: it is logged and
   * passed over. So is what has failed five times in another way, lest one event hold up all that follow.
   */
  answer(ctx: Context, event: LoggedEvent): Promise<void>;
};

const batch = 100;
/** Positions that a statement looks through at most. */
const mostScanned = 10_000;
/** A place is stored without an answer once it is so far behind: a start looks through no more. */
const mostBehind = 1_000;
const pollMs = 5_000;
const mostTries = 5;
const pauseMs = 50;

type Place = { position: number; logged_at: Date };

export function startListeners(kernel: Kernel): Stop {
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, kernel.events.closing]);
  const listeners = kernel.modules.flatMap((module) => module.listens ?? []);
  const following = listeners.map((listener) => follow(kernel, listener, signal));
  return async () => {
    ended.abort();
    await Promise.all(following);
  };
}

async function follow(kernel: Kernel, listener: EventListener, signal: AbortSignal): Promise<void> {
  let place: Place | null = null;
  let stored = 0;
  let failures = 0;
  while (!signal.aborted) {
    try {
      if (!place) {
        place = await beginning(kernel, listener);
        stored = place.position;
      }
      const { events, next } = await readOn(kernel, listener, place);
      for (const event of events) {
        if (signal.aborted) return;
        await answer(kernel, listener, event, failures + 1 === mostTries);
        failures = 0;
        place = event;
        stored = event.position;
      }
      place = next;
      if (place.position - stored >= mostBehind) {
        await kernel.system.in("").run(moveTo(listener, place));
        stored = place.position;
      }
      await kernel.events.newsAfter(place.position, pollMs, signal);
    } catch (error) {
      // The database is away: that is no fault of the event's.
      if (!(error instanceof Problem)) failures++;
      kernel.log.warn({ err: error, listener: listener.name }, "a listener waits, and tries again");
      await pause(pauseMs * 2 ** Math.max(failures, 3), undefined, { signal, ref: false }).catch(() => {});
    }
  }
}

/** Where a listener stands; a new one begins with what is told from now on. */
async function beginning(kernel: Kernel, { name }: EventListener): Promise<Place> {
  const db = kernel.system.in("");
  await db.run(
    query(sql`insert into kernel.event_listener (name, position, logged_at)
      select ${name}, head_position, head_at from kernel.log_state on conflict do nothing`),
  );
  return (await db.first(
    query<Place>(sql`select position, logged_at from kernel.event_listener where name = ${name}`),
  ))!;
}

/** The next events of a listener's types, and the place up to which there are no others. */
async function readOn(kernel: Kernel, { types }: EventListener, place: Place) {
  const { position: after, logged_at: since } = place;
  const rows = await kernel.system.in("").rows(nextEvents({ after, to: after + mostScanned, since, types }));
  const { head_position: head, head_at: headAt } = rows[0]!;
  const events = rows.filter(({ id }) => id !== null);
  const next: Place =
    events.length === batch
      ? events.at(-1)!
      : head - place.position <= mostScanned
        ? { position: head, logged_at: headAt }
        : { position: place.position + mostScanned, logged_at: place.logged_at };
  return { events, next };
}

type NextRow = LoggedEvent & { head_position: number; head_at: Date };
const nextEvents = hot<{ after: number; to: number; since: Date; types: readonly string[] }, NextRow>(
  "listener_events",
  ({ after, to, since, types }) =>
    query(sql`select s.head_position, s.head_at, e.*
      from kernel.log_state s left join lateral (
        select position, id, tenant_id, sequence, type, subject, occurred_at, logged_at, data, owner_id from kernel.event
        where position > ${after} and position <= ${to} and logged_at >= ${since} and type = any(${types})
        order by position limit ${batch}) e on true
      order by e.position`),
);

async function answer(kernel: Kernel, listener: EventListener, event: LoggedEvent, isLast: boolean): Promise<void> {
  const about = { listener: listener.name, event: event.id, type: event.type };
  const tenant = await kernel.gate.tenant(event.tenant_id);
  try {
    if (tenant) {
      await inTransaction(kernel, systemCaller(kernel, tenant, listener.name), async (ctx) => {
        // Whoever comes second waits here, and finds it answered.
        if ((await ctx.db.run(moveTo(listener, event))) > 0) await listener.answer(ctx, event);
      });
      return;
    }
  } catch (error) {
    if (error instanceof Problem && error.kind !== unavailable)
      kernel.log.warn({ ...about, code: error.kind.code }, `passed over: ${error.message}`);
    else if (isLast && !(error instanceof Problem))
      kernel.log.error({ ...about, err: error }, "an event that cannot be answered is passed over");
    else throw error;
  }
  await kernel.system.in("").run(moveTo(listener, event));
}

const moveTo = ({ name }: EventListener, { position, logged_at }: Place) =>
  query(sql`update kernel.event_listener set position = ${position}, logged_at = ${logged_at}
    where name = ${name} and position < ${position}`);
