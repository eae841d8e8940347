import { Type } from "typebox";
import { tagOf } from "#kernel/answer";
import { Reply, route } from "#kernel/contract";
import { cursorUnknown, positionExpired } from "#kernel/event-cursor";
import { Event } from "#kernel/event-view";
import { getEventLogEntry, listEventLog } from "./operations.ts";
import { EventLogQuery, EventStreamQuery, pageOf } from "./schema.ts";
import { openEventStream, streamsFull } from "./stream.ts";

// Without its title: under another media type it is another schema to the documents.
const OneEvent = Type.Unsafe<string>({ ...Event, title: undefined, "x-media-type": "application/cloudevents+json" });
const Stream = Type.Unsafe<unknown>({
  type: "string",
  description: "`id` is a cursor, `event` the type, `data` the event; a comment line every 15 s of silence.",
  "x-media-type": "text/event-stream",
});

export const eventLogRoutes = [
  route({
    method: "GET",
    path: "/event-log",
    versions: "v1+",
    id: "listEventLog",
    summary: "Read the event log",
    description:
      "In the order in which things happened, from the oldest event kept or from where a cursor left off. The feed never ends: store `nextCursor` once your work is done, and ask again. `Prefer: wait=N` (1 to 30 s) answers as soon as an event is there.",
    permission: "notification.subscribe",
    query: EventLogQuery,
    replies: { 200: pageOf(Event) },
    problems: [cursorUnknown, positionExpired],
    heeds: ["Prefer"],
    run: async (ctx, { query }) => {
      const { page, applied } = await listEventLog(ctx, query);
      return new Reply(200, page, { headers: { vary: "Prefer", ...applied } });
    },
  }),
  route({
    method: "GET",
    path: "/event-log/{id}",
    versions: "v1+",
    id: "getEventLogEntry",
    summary: "Read an event",
    permission: "notification.subscribe",
    replies: { 200: OneEvent },
    run: async (ctx, { params }) => {
      const event = await getEventLogEntry(ctx, params.id);
      return new Reply(200, event, { etag: tagOf(event) });
    },
  }),
  route({
    method: "GET",
    path: "/event-stream",
    versions: "v1+",
    id: "openEventStream",
    summary: "Follow the event log",
    description:
      "Server-Sent Events. `Last-Event-ID` goes on after the last event that was received. The stream ends with the event `end` when its credential does, and without one when the server stops or `until` has passed.",
    permission: "notification.subscribe",
    query: EventStreamQuery,
    replies: { 200: Stream },
    problems: [cursorUnknown, positionExpired, streamsFull],
    heeds: ["Last-Event-ID"],
    run: async (ctx, { query }) => {
      const stream = await openEventStream(ctx, query);
      return new Reply(200, stream, { headers: { "cache-control": "no-store", "x-accel-buffering": "no" } });
    },
  }),
];
