/** The event stream: Server-Sent Events (HTML Living Standard, section 9.2) over the same reading as the feed. */
import { Readable } from "node:stream";
import type { Context } from "#kernel/contract";
import type { Place } from "#kernel/event-cursor";
import { type EventBatch, placeAfter, readEvents } from "#kernel/event-reader";
import { renderEvent } from "#kernel/event-view";
import { invalid, Problem, problem, refuse } from "#kernel/problem";
import { type Filters, filterOf, placeOf } from "./operations.ts";

export const streamsFull = problem("streams_full", 429, "This caller has as many event streams as it may have.");

const mostStreams = 5;
const batchSize = 100;
const silenceMs = 15_000;
/** How often a silent stream asks whether its caller may still listen. */
const checkMs = 1_000;

/** Streams that are open in this process, by the id of who listens. */
const open = new Map<string, number>();

/** Opens the stream: all that can be refused is refused before the first octet. */
export async function openEventStream(ctx: Context, input: Filters): Promise<Readable> {
  const place = await beginning(ctx, input);
  const filter = filterOf(ctx, input);
  const first = await readEvents(ctx.eventLog, ctx.again, { place, filter, limit: batchSize });
  const listener = ctx.who.actor.id;
  const count = open.get(listener) ?? 0;
  if (count >= mostStreams) {
    throw refuse(streamsFull, {
      detail: `At most ${mostStreams} event streams of one caller at a time; close one first.`,
      headers: { "retry-after": "5" },
    });
  }
  open.set(listener, count + 1);
  const closed = new AbortController();
  const source = lines(ctx, filter, first, closed.signal);
  return new Readable({
    highWaterMark: 65_536,
    // Asked for no more than the caller takes: a slow one costs a batch of memory.
    read() {
      source.next().then(
        ({ value, done }) => this.push(done ? null : value),
        (error) => this.destroy(error),
      );
    },
    // Not `Readable.from`: that would wait for the source, which may be waiting for news.
    destroy(error, done) {
      closed.abort();
      const left = open.get(listener)! - 1;
      if (left > 0) open.set(listener, left);
      else open.delete(listener);
      done(error);
    },
  });
}

function beginning(ctx: Context, { cursor, from }: Filters): Promise<Place> {
  const { lastEventId } = ctx.call;
  // What a browser sends when it opens a broken stream again: its address still says where it first began.
  if (lastEventId !== null) return placeOf(ctx, lastEventId, "Last-Event-ID");
  if (cursor !== undefined && from !== undefined) {
    const message = "Give a cursor or a place to begin, not both.";
    throw invalid([{ parameter: "from", rule: "not_supported", message }]);
  }
  return cursor === undefined ? placeOf(ctx, from ?? "start", "from") : placeOf(ctx, cursor, "cursor");
}

async function* lines(ctx: Context, filter: Filter, first: EventBatch, closed: AbortSignal): AsyncGenerator<string> {
  const { eventLog } = ctx;
  yield "retry: 3000\n\n";
  let batch = first;
  let quietSinceMs = performance.now();
  try {
    for (;;) {
      if (batch.events.length > 0) {
        yield batch.events.map((event) => lineOf(ctx, batch, event)).join("");
        quietSinceMs = performance.now();
      }
      const { closing } = eventLog.events;
      if (closed.aborted || closing.aborted || (batch.atEnd && isOver(ctx, filter))) return;
      if (batch.atEnd) {
        await eventLog.events.newsAfter(batch.head.position, checkMs, closed);
        if (closed.aborted) return;
        await ctx.again();
        if (performance.now() - quietSinceMs >= silenceMs) {
          yield ": \n\n";
          quietSinceMs = performance.now();
        }
      }
      batch = await readEvents(eventLog, ctx.again, { place: batch.next, filter, limit: batchSize });
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    yield `event: end\ndata: ${JSON.stringify({ code: error.kind.code })}\n\n`;
  }
}

type Filter = ReturnType<typeof filterOf>;

/** Whether nothing more can come: the instant at which the caller wants to stop has passed. */
function isOver(ctx: Context, { until }: Filter): boolean {
  return until !== undefined && ctx.eventLog.now() >= until;
}

function lineOf(ctx: Context, batch: EventBatch, event: EventBatch["events"][number]): string {
  const { eventLog, call } = ctx;
  const cursor = eventLog.events.cursors.write(placeAfter(batch, event), batch.who.acting.id);
  return `id: ${cursor}\nevent: ${event.type}\ndata: ${renderEvent(eventLog, event, call.version, batch.who)}\n\n`;
}
