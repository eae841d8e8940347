import { Reply, route } from "#kernel/contract";
import { listOf, listQuery } from "#kernel/page";
import { ParkedEvent, Unpark, Unparked } from "../stomp/parked-schema.ts";
import { durableDeleted, durableUnparked } from "./events.ts";
import {
  deleteDurable,
  durableInUse,
  getDurable,
  listDurableParked,
  listDurables,
  unparkDurable,
} from "./operations.ts";
import { durableFilters, StompDurable } from "./schema.ts";

export const stompDurableRoutes = [
  route({
    method: "GET",
    path: "/stomp-durable",
    versions: "v1+",
    id: "listDurables",
    summary: "List durable subscriptions",
    description: "One's own; with `notification.manage` all of the acting tenant and those below it.",
    permission: "any",
    query: listQuery(durableFilters, ["createdAt", "name"], StompDurable),
    replies: { 200: listOf(StompDurable) },
    run: (ctx, { query }) => listDurables(ctx, query),
  }),
  route({
    method: "GET",
    path: "/stomp-durable/{id}",
    versions: "v1+",
    id: "getDurable",
    summary: "Read a durable subscription",
    permission: "any",
    replies: { 200: StompDurable },
    run: (ctx, { params }) => getDurable(ctx, params.id),
  }),
  route({
    method: "DELETE",
    path: "/stomp-durable/{id}",
    versions: "v1+",
    id: "deleteDurable",
    summary: "Remove a durable subscription",
    description: "Not while a session has it.",
    permission: "any",
    emits: [durableDeleted],
    replies: { 204: null },
    problems: [durableInUse],
    run: async (ctx, { params }) => {
      await deleteDurable(ctx, params.id);
      return new Reply(204, undefined);
    },
  }),
  route({
    method: "GET",
    path: "/stomp-durable/{id}/parked",
    versions: "v1+",
    id: "listDurableParked",
    summary: "List the events that a durable subscription gave up",
    permission: "any",
    query: listQuery({}, ["sequence"], ParkedEvent),
    replies: { 200: listOf(ParkedEvent) },
    run: (ctx, { params, query }) => listDurableParked(ctx, params.id, query),
  }),
  route({
    method: "POST",
    path: "/stomp-durable/{id}/unpark",
    versions: "v1+",
    id: "unparkDurable",
    summary: "Have parked events delivered again",
    description: "Not while a session has it. They come first when it is used again.",
    permission: "any",
    emits: [durableUnparked],
    body: Unpark,
    replies: { 200: Unparked },
    problems: [durableInUse],
    run: (ctx, { params, body }) => unparkDurable(ctx, params.id, body),
  }),
];
