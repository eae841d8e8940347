/** The feed and single events. What the stream has in common with it: where to begin, what to see. */
import type { Context } from "#kernel/contract";
import type { Place } from "#kernel/event-cursor";
import { type EventFilter, knownTypes, typesOf } from "#kernel/event-filter";
import { type EventAsk, type EventBatch, findEvent, findPlace, readEvents } from "#kernel/event-reader";
import { renderEvent } from "#kernel/event-view";
import { isId } from "#kernel/ids";
import { nextLink } from "#kernel/page";
import { type Fault, invalid, notFound, refuse } from "#kernel/problem";
import { instant } from "#kernel/schema";
import { faultsOf } from "#kernel/validate";

export type Filters = {
  cursor?: string;
  from?: string;
  types?: string[];
  subject?: string;
  includeBelow?: boolean;
  until?: string;
};
type PageInput = Filters & { limit?: number; sort?: "sequence" | "-sequence" };

export function filterOf(ctx: Context, input: Filters): EventFilter {
  const kinds = typesOf(input.types, knownTypes(ctx.eventLog.versions, ctx.call.version));
  const { subject, includeBelow, until } = input;
  return { kinds, subject, includeBelow, ...(until ? { until: new Date(until) } : {}) };
}

/** The place that a cursor, an id or a word names; `parameter` is what the caller wrote it in. */
export async function placeOf(
  ctx: Context,
  text: string,
  parameter: "cursor" | "from" | "Last-Event-ID",
): Promise<Place> {
  const { eventLog, who } = ctx;
  if (parameter !== "from" && !isId("evt", text)) return eventLog.events.cursors.read(text, who.acting.id, parameter);
  if (text === "start" || text === "now") return findPlace(eventLog, who, { from: text }, parameter);
  if (isId("evt", text)) return findPlace(eventLog, who, { eventId: text }, parameter);
  const faults = faultsOf(instant, text);
  if (faults.length === 0) return findPlace(eventLog, who, { at: new Date(text) }, parameter);
  const message = "Must be start, now, an instant, or the id of an event.";
  throw invalid([{ parameter, rule: "format", message }]);
}

function checkPage({ cursor, from, sort }: PageInput): void {
  const faults: Fault[] = [];
  const message = "Give a cursor or a place to begin, not both.";
  if (cursor !== undefined && from !== undefined) faults.push({ parameter: "from", rule: "not_supported", message });
  if (from !== undefined && sort === "-sequence")
    faults.push({ parameter: "from", rule: "not_supported", message: "The newest first begins at the end." });
  if (faults.length > 0) throw invalid(faults);
}

/** A page of the log, after the wait that the caller asked for; `applied` says which preference was heeded. */
export async function listEventLog(ctx: Context, input: PageInput) {
  checkPage(input);
  const descending = input.sort === "-sequence";
  const begin = input.from ?? (descending ? "now" : "start");
  const place = await (input.cursor === undefined ? placeOf(ctx, begin, "from") : placeOf(ctx, input.cursor, "cursor"));
  const ask = { place, filter: filterOf(ctx, input), limit: input.limit ?? 50, descending };
  const wait = descending ? null : ctx.call.prefer.wait;
  const batch = wait === null ? await readEvents(ctx.eventLog, ctx.again, ask) : await waited(ctx, ask, wait * 1_000);
  const name = (at: Place) => ctx.eventLog.events.cursors.write(at, batch.who.acting.id);
  const nextCursor = name(batch.next);
  const applied: Record<string, string> = wait === null ? {} : { "preference-applied": `wait=${wait}` };
  const page = {
    items: batch.events.map((event) => JSON.parse(renderEvent(ctx.eventLog, event, ctx.call.version, batch.who))),
    nextCursor,
    nextLink: linkWith(ctx, nextCursor),
    atEnd: batch.atEnd,
    headCursor: name(batch.head),
  };
  return { page, applied };
}

/** Reads on until an event shows or the time is over. Holds no connection while it waits. */
async function waited(ctx: Context, ask: EventAsk, waitMs: number): Promise<EventBatch> {
  const { eventLog } = ctx;
  const until = performance.now() + waitMs;
  let place = ask.place;
  for (;;) {
    const batch = await readEvents(eventLog, ctx.again, { ...ask, place });
    const leftMs = until - performance.now();
    if (batch.events.length > 0 || leftMs <= 0 || eventLog.events.closing.aborted) return batch;
    place = batch.next;
    if (batch.atEnd) await eventLog.events.newsAfter(batch.head.position, leftMs);
  }
}

/** The caller's own query, going on at a cursor: with one, there is nothing to begin from. */
function linkWith(ctx: Context, cursor: string): string {
  const link = new URL(nextLink(ctx, cursor), "http://localhost");
  link.searchParams.delete("from");
  return link.pathname + link.search;
}

/** An event as text, if the caller may see it. */
export async function getEventLogEntry(ctx: Context, id: string): Promise<string> {
  const { eventLog, call } = ctx;
  const { who, event } = await findEvent(eventLog, ctx.again, id, knownTypes(eventLog.versions, call.version));
  if (!event) throw refuse(notFound);
  return renderEvent(eventLog, event, call.version, who);
}
