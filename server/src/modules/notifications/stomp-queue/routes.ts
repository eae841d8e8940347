import { Reply, route } from "#kernel/contract";
import { cursorUnknown, positionExpired } from "#kernel/event-cursor";
import { listOf, listQuery } from "#kernel/page";
import { ParkedEvent, Unpark, Unparked } from "../stomp/parked-schema.ts";
import { queueCreated, queueDeleted, queueUnparked, queueUpdated } from "./events.ts";
import {
  createQueue,
  deleteQueue,
  getQueue,
  listQueueParked,
  listQueues,
  queueNameTaken,
  unparkQueue,
  updateQueue,
} from "./operations.ts";
import { NewStompQueue, queueFilters, StompQueue, StompQueueChange } from "./schema.ts";

export const stompQueueRoutes = [
  route({
    method: "GET",
    path: "/stomp-queue",
    versions: "v1+",
    id: "listQueues",
    summary: "List queues",
    permission: "notification.subscribe",
    query: listQuery(queueFilters, ["createdAt", "name"], StompQueue),
    replies: { 200: listOf(StompQueue) },
    run: (ctx, { query }) => listQueues(ctx, query),
  }),
  route({
    method: "POST",
    path: "/stomp-queue",
    versions: "v1+",
    id: "createQueue",
    summary: "Make a queue",
    description:
      "Its consumers subscribe to `/queue/{name}` over STOMP and share its events: each goes to one of them.",
    permission: "notification.manage",
    transaction: "own",
    emits: [queueCreated],
    body: NewStompQueue,
    replies: { 201: StompQueue },
    problems: [queueNameTaken, cursorUnknown, positionExpired],
    run: (ctx, { body }) => createQueue(ctx, body),
  }),
  route({
    method: "GET",
    path: "/stomp-queue/{id}",
    versions: "v1+",
    id: "getQueue",
    summary: "Read a queue",
    permission: "notification.subscribe",
    replies: { 200: StompQueue },
    run: async (ctx, { params }) => {
      const { body, etag } = await getQueue(ctx, params.id);
      return new Reply(200, body, { etag });
    },
  }),
  route({
    method: "PATCH",
    path: "/stomp-queue/{id}",
    versions: "v1+",
    id: "updateQueue",
    summary: "Change a queue",
    description: "Other `types` count for what is taken from the log from now on.",
    permission: "notification.manage",
    emits: [queueUpdated],
    body: StompQueueChange,
    replies: { 200: StompQueue },
    problems: [queueNameTaken],
    run: async (ctx, { params, body }) => {
      const { body: queue, etag } = await updateQueue(ctx, params.id, body);
      return new Reply(200, queue, { etag });
    },
  }),
  route({
    method: "DELETE",
    path: "/stomp-queue/{id}",
    versions: "v1+",
    id: "deleteQueue",
    summary: "Remove a queue",
    description: "With all that waits in it. Its consumers are told `destination_not_available`.",
    permission: "notification.manage",
    emits: [queueDeleted],
    replies: { 204: null },
    run: async (ctx, { params }) => {
      await deleteQueue(ctx, params.id);
      return new Reply(204, undefined);
    },
  }),
  route({
    method: "GET",
    path: "/stomp-queue/{id}/parked",
    versions: "v1+",
    id: "listQueueParked",
    summary: "List the events that a queue's consumers gave up",
    permission: "notification.manage",
    query: listQuery({}, ["sequence"], ParkedEvent),
    replies: { 200: listOf(ParkedEvent) },
    run: (ctx, { params, query }) => listQueueParked(ctx, params.id, query),
  }),
  route({
    method: "POST",
    path: "/stomp-queue/{id}/unpark",
    versions: "v1+",
    id: "unparkQueue",
    summary: "Have parked events delivered again",
    permission: "notification.manage",
    emits: [queueUnparked],
    body: Unpark,
    replies: { 200: Unparked },
    run: (ctx, { params, body }) => unparkQueue(ctx, params.id, body),
  }),
];
