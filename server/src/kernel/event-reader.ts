/**
 * Reading the event log for somebody: the one way for every channel (feed, event stream, STOMP, webhooks). A batch costs
 * one statement, in which the events, what the caller may see of them, and the generation of rights are one state: had
 * anything been taken away that the caller's rights were read before, they are read again and so are the events.
 */
import { hash } from "node:crypto";
import { type RawBuilder, sql } from "kysely";
import { query } from "./db.ts";
import { dayOf, type Place, positionExpired, unknownPlace } from "./event-cursor.ts";
import type { EventFilter } from "./event-filter.ts";
import type { EventKind } from "./events.ts";
import { timeOfId } from "./ids.ts";
import type { Kernel } from "./kernel.ts";
import { type Principal, reachOf } from "./principal.ts";
import { refuse, unavailable } from "./problem.ts";
import { inActing, inReach } from "./wall.ts";

/** A row of the log. `data` is at the newest version's shape; event-view.ts renders it. */
export type LoggedEvent = {
  position: number;
  id: string;
  tenant_id: string;
  sequence: number;
  type: string;
  subject: string;
  occurred_at: Date;
  logged_at: Date;
  data: EventData;
  owner_id: string | null;
};
export type EventData =
  | { redacted: true }
  | {
      redacted?: undefined;
      /** Path below the label. */
      url: string;
      resource?: Record<string, unknown> | null;
      previous?: Record<string, unknown> | null;
      changed: string[];
      actor: { kind: string; id: string };
      requestId: string | null;
      correlationId: string | null;
      trimmed?: true;
    };

/** Gives the caller with the rights it has at this moment, or refuses for good: `ctx.again`, or a channel's own. */
export type Reader = () => Principal | Promise<Principal>;

export type EventAsk = {
  /** Ascending: what comes after it. Descending: what comes before it. */
  place: Place;
  filter: EventFilter;
  /** Events a batch. */
  limit: number;
  descending?: boolean;
};

export type EventBatch = {
  /** Who read, with the rights that counted. */
  who: Principal;
  events: LoggedEvent[];
  /** Where to go on; later than the last event where what follows it is not visible. */
  next: Place;
  /** Nothing that the caller may see lies beyond, as of the reading. */
  atEnd: boolean;
  head: Place;
};

/** Positions that a statement looks through at most. */
const mostScanned = 10_000;
const mostTries = 10;

type State = {
  epoch: number;
  head_position: number;
  head_at: Date;
  oldest_position: number;
  kept_from: Date;
  generation: number;
};

/** What reading and rendering needs of the kernel. */
export type LogAccess = Pick<Kernel, "db" | "events" | "gate" | "processes" | "now" | "settings" | "versions">;

/**
 * Gives the rows of a statement: by `work`, or those that the statement of the same key gave others just now. The key
 * holds the generation of rights, so that no rows outlive them.
 */
export type ShareRows = <Row>(key: string, work: () => Promise<Row[]>) => Promise<Row[]>;

/**
 * Reads one batch. Throws `position_expired`, with the oldest cursor there is, for a place that the log no longer keeps,
 * and whatever `reader` refuses with. `share`: where several callers that may see the same read the same at a time.
 */
export async function readEvents(
  kernel: LogAccess,
  reader: Reader,
  ask: EventAsk,
  share?: ShareRows,
): Promise<EventBatch> {
  const { place, limit, descending } = ask;
  const keyOf = (now: Principal) =>
    `${place.epoch} ${place.position} ${place.day} ${limit} ${descending} ${sightOf(now, ask.filter)}`;
  const { who, rows } = await asOneState(kernel, reader, (now) => batchQuery(now, ask), share && { share, keyOf });
  const state = rows[0]!;
  const head = placeOfHead(state);
  refuseIfGone(kernel, place, state, who);
  const events = rows.filter((row) => row.id !== null);
  const more = events.length > limit;
  if (more) events.length = limit;
  const last = events.at(-1);
  if (descending) {
    const low = Math.max(state.oldest_position - 1, place.position - mostScanned);
    const position = more ? last!.position - 1 : low;
    const next = { epoch: state.epoch, position, day: last ? dayOf(last.logged_at) : 0 };
    return { who, events, next, atEnd: !more && low === state.oldest_position - 1, head };
  }
  if (more) return { who, events, next: placeOf(state.epoch, last!), atEnd: false, head };
  const scannedTo = Math.min(place.position + mostScanned, state.head_position);
  const atEnd = scannedTo === state.head_position;
  const day = last ? dayOf(last.logged_at) : place.day;
  return { who, events, next: atEnd ? head : { epoch: state.epoch, position: scannedTo, day }, atEnd, head };
}

/**
 * Events by their ids, those that the caller may see: of the acting tenant and of those below it. `near`: about when they
 * were logged; only what is not found within a day of it is looked for in all of the log.
 */
export async function findEvents(
  kernel: LogAccess,
  reader: Reader,
  ids: readonly string[],
  kinds: readonly EventKind[],
  near?: Date,
): Promise<{ who: Principal; events: LoggedEvent[] }> {
  const find = async (wanted: readonly string[], within: RawBuilder<unknown>) => {
    const { who, rows } = await asOneState(kernel, reader, (now) => {
      const filter = { kinds, includeBelow: true };
      return sql`${stateWith} left join lateral (select ${columns} from kernel.event e
        where e.id = any(${[...wanted]}) and ${within} and ${visibleEvents(now, filter)}) e on true`;
    });
    return { who, events: rows.filter((row) => row.id !== null) };
  };
  if (!near) return find(ids, sql`true`);
  const dayAway = (days: number) => new Date(near.getTime() + days * 86_400_000);
  const first = await find(ids, sql`e.logged_at >= ${dayAway(-1)} and e.logged_at < ${dayAway(1)}`);
  const known = new Set(first.events.map(({ id }) => id));
  const others = ids.filter((id) => !known.has(id));
  if (others.length === 0) return first;
  const rest = await find(others, sql`true`);
  return { who: rest.who, events: [...first.events, ...rest.events] };
}

/** One event by its id, if the caller may see it: the acting tenant's own, or of one below it. */
export async function findEvent(
  kernel: LogAccess,
  reader: Reader,
  id: string,
  kinds: readonly EventKind[],
): Promise<{ who: Principal; event: LoggedEvent | undefined }> {
  const { who, events } = await findEvents(kernel, reader, [id], kinds);
  return { who, event: events[0] };
}

/** Events by their positions, those of them that the caller may see. */
export async function eventsAt(
  kernel: LogAccess,
  reader: Reader,
  positions: readonly number[],
  filter: EventFilter,
): Promise<Pick<EventBatch, "who" | "events" | "head">> {
  const { who, rows } = await asOneState(kernel, reader, (now) => {
    return sql`${stateWith} left join lateral (select ${columns} from kernel.event e
      where e.position = any(${positions}::bigint[]) and ${visibleEvents(now, filter)}) e on true order by e.position`;
  });
  return { who, events: rows.filter((row) => row.id !== null), head: placeOfHead(rows[0]!) };
}

/** Where a reader may begin: the oldest place kept, the newest, just before the events of an instant, after an event. */
export type Start = { from: "start" | "now" } | { at: Date } | { eventId: string };

/** Finds a place to begin at, for those who act in a tenant. Throws `cursor_unknown`, `position_expired`. */
export async function findPlace(kernel: LogAccess, who: Principal, start: Start, parameter: string): Promise<Place> {
  const tenantId = who.acting.id;
  const found =
    "at" in start
      ? sql`select min(position) - 1 as position, min(logged_at) as at from kernel.event where logged_at >= ${start.at}`
      : sql`select position, logged_at as at from kernel.event where id = ${"eventId" in start ? start.eventId : ""} limit 1`;
  const row = (await kernel.db
    .in(tenantId)
    .first(
      query<State & { position: number | null; at: Date | null }>(
        sql`select s.epoch, s.head_position, s.head_at, s.oldest_position, s.kept_from, f.position, f.at from kernel.log_state s left join lateral (${found}) f on true`,
      ),
    ))!;
  const oldest = placeOfOldest(row);
  if ("from" in start) return start.from === "now" ? placeOfHead(row) : oldest;
  if ("eventId" in start) {
    if (row.position === null) {
      // Its id says when it was made: from before what is kept it is too old, whosever it was.
      const isOld = row.oldest_position > 1 && timeOfId(start.eventId) < row.kept_from.getTime();
      throw isOld ? expired(kernel, row, who) : unknownPlace(parameter);
    }
    return { epoch: row.epoch, position: row.position, day: dayOf(row.at!) };
  }
  if (row.oldest_position > 1 && start.at < row.kept_from) throw expired(kernel, row, who);
  if (row.position === null) return placeOfHead(row);
  return { epoch: row.epoch, position: row.position, day: Math.min(dayOf(start.at), dayOf(row.at!)) };
}

/** Runs a statement with the rights that hold in the very state it reads. */
async function asOneState(
  kernel: LogAccess,
  reader: Reader,
  build: (who: Principal) => RawBuilder<unknown>,
  sharing?: { share: ShareRows; keyOf(who: Principal): string },
) {
  for (let tries = 0; tries < mostTries; tries++) {
    const known = kernel.processes.generation();
    const who = await reader();
    const run = () => kernel.db.in(who.acting.id).rows(query(build(who) as RawBuilder<State & LoggedEvent>));
    const rows = await (sharing ? sharing.share(`${known} ${sharing.keyOf(who)}`, run) : run());
    const { generation } = rows[0]!;
    if (generation <= known) return { who, rows };
    kernel.processes.reach(generation);
  }
  throw refuse(unavailable, {
    detail: "Rights change faster than they can be read. Try again.",
    headers: { "retry-after": "1" },
  });
}

const columns = sql`e.position, e.id, e.tenant_id, e.sequence, e.type, e.subject, e.occurred_at, e.logged_at, e.data, e.owner_id`;
const stateWith = sql`select s.epoch, s.head_position, s.head_at, s.oldest_position, s.kept_from, g.value as generation, e.*
  from kernel.log_state s cross join kernel.generation g`;

function batchQuery(who: Principal, { place, filter, limit, descending }: EventAsk): RawBuilder<unknown> {
  const { position, day } = place;
  // The day stands as a value of its own, so that the planner leaves out the partitions before it.
  const window = descending
    ? sql`e.position <= ${position} and e.position > ${position - mostScanned}`
    : sql`e.position > ${position} and e.position <= ${position + mostScanned} and e.logged_at >= ${new Date(day * 86_400_000)}`;
  const direction = descending ? sql`desc` : sql`asc`;
  return sql`${stateWith} left join lateral (select ${columns} from kernel.event e
    where ${window} and ${visibleEvents(who, filter)} order by e.position ${direction} limit ${limit + 1}) e on true
    order by e.position ${direction}`;
}

function visibleEvents(who: Principal, filter: EventFilter): RawBuilder<boolean> {
  const parts = [
    filter.includeBelow ? inActing(who, sql.ref("e.tenant_id")) : sql`e.tenant_id = ${who.acting.id}`,
    allowed(who, filter.kinds),
  ];
  if (filter.subject !== undefined) parts.push(sql`e.subject = ${filter.subject}`);
  if (filter.ownerId !== undefined) parts.push(sql`e.owner_id = ${filter.ownerId}`);
  if (filter.until) parts.push(sql`e.logged_at < ${filter.until}`);
  return sql.join(parts, sql` and `) as RawBuilder<boolean>;
}

const sights = new WeakMap<Principal, WeakMap<EventFilter, string>>();

/** Names what a caller may see through a filter: the same for all in whose place the statement would be the same. */
function sightOf(who: Principal, filter: EventFilter): string {
  const own = sights.get(who) ?? new WeakMap<EventFilter, string>();
  sights.set(who, own);
  let sight = own.get(filter);
  if (sight === undefined) {
    const { sql: text, parameters } = query(visibleEvents(who, filter));
    sight = `${who.acting.id} ${hash("sha256", JSON.stringify([text, parameters]), "base64")}`;
    own.set(filter, sight);
  }
  return sight;
}

/** Which events of these types the caller may see: types with one rule are asked for together. */
function allowed(who: Principal, kinds: readonly EventKind[]): RawBuilder<boolean> {
  const groups = new Map<unknown, EventKind[]>();
  for (const kind of kinds) {
    // What a GET would refuse because the service is off is not told either.
    if (kind.service !== "access" && !(who.tenant.features.has(kind.service) && who.acting.features.has(kind.service)))
      continue;
    const rule = kind.visible ?? kind.permission;
    groups.set(rule, [...(groups.get(rule) ?? []), kind]);
  }
  const ways = [...groups.values()].map((group) => {
    const { visible, permission } = group[0]!;
    const types = group.map(({ type }) => type);
    return sql`(e.type = any(${types}::text[]) and ${visible ? visible(who) : permittedEvents(who, permission)})`;
  });
  return ways.length === 0 ? sql`false` : (sql`(${sql.join(ways, sql` or `)})` as RawBuilder<boolean>);
}

/** Events of tenants in which the caller holds a permission. */
export function permittedEvents(who: Principal, permission: EventKind["permission"]): RawBuilder<boolean> {
  return reachOf(who, permission).all ? sql`true` : inReach(who, permission, sql.ref("e.tenant_id"));
}

function placeOf(epoch: number, event: LoggedEvent): Place {
  return { epoch, position: event.position, day: dayOf(event.logged_at) };
}

/** The place just after an event that was read. */
export function placeAfter(batch: Pick<EventBatch, "head">, event: LoggedEvent): Place {
  return placeOf(batch.head.epoch, event);
}

function placeOfHead(state: Omit<State, "generation">): Place {
  return { epoch: state.epoch, position: state.head_position, day: dayOf(state.head_at) };
}

function placeOfOldest(state: Omit<State, "generation">): Place {
  return { epoch: state.epoch, position: state.oldest_position - 1, day: 0 };
}

function refuseIfGone(kernel: LogAccess, place: Place, state: State, who: Principal): void {
  const { epoch, head_position: head, oldest_position: oldest } = state;
  if (place.epoch !== epoch || place.position < oldest - 1 || place.position > head) throw expired(kernel, state, who);
}

function expired(kernel: LogAccess, state: Omit<State, "generation">, who: Principal) {
  return refuse(positionExpired, {
    detail: "The event log no longer keeps this place. Go on from oldestCursor: what lay in between is lost to you.",
    members: { oldestCursor: kernel.events.cursors.write(placeOfOldest(state), who.acting.id) },
  });
}
