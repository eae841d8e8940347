import { Reply, route } from "#kernel/contract";
import { listOf, listQuery } from "#kernel/page";
import { deleteStompSession, listStompSessions } from "./operations.ts";
import { StompSession, sessionFilters } from "./schema.ts";

export const stompSessionRoutes = [
  route({
    method: "GET",
    path: "/stomp-session",
    versions: "v1+",
    id: "listStompSessions",
    summary: "List STOMP sessions",
    description: "One's own; with `notification.manage` all of the acting tenant and those below it.",
    permission: "any",
    query: listQuery(sessionFilters, ["connectedAt"], StompSession),
    replies: { 200: listOf(StompSession) },
    run: (ctx, { query }) => listStompSessions(ctx, query),
  }),
  route({
    method: "DELETE",
    path: "/stomp-session/{id}",
    versions: "v1+",
    id: "deleteStompSession",
    summary: "End a STOMP session",
    description: "The client is told `session_ended`. One's own, or with `notification.manage` any.",
    permission: "any",
    emits: { none: "A connection is nothing that others keep a copy of." },
    replies: { 204: null },
    run: async (ctx, { params }) => {
      await deleteStompSession(ctx, params.id);
      return new Reply(204, undefined);
    },
  }),
];
