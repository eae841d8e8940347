import { Type } from "typebox";
import { Reply, route } from "#kernel/contract";
import { listOf, listQuery } from "#kernel/page";
import { permissionMissing } from "#kernel/problem";
import { anyOf } from "#kernel/schema";
import { grantRevoked } from "../oauth/events.ts";
import { Grant } from "../oauth/schema.ts";
import { sessionEnded } from "./events.ts";
import { endSession, listGrants, listSessions, revokeGrant } from "./operations.ts";
import { Session, sessionFilters } from "./schema.ts";

const sorts = ["createdAt", "lastUsedAt"] as const;
const done = () => new Reply(204, undefined);

export const sessionRoutes = [
  route({
    method: "GET",
    path: "/session",
    versions: "v1+",
    id: "listSessions",
    summary: "List live log-ins at the pages",
    description: "One's own; with `session.read` also those of others in reach.",
    permission: "any",
    query: listQuery(sessionFilters, sorts, Session),
    replies: { 200: listOf(Session) },
    run: (ctx, { query }) => listSessions(ctx, query),
  }),
  route({
    method: "DELETE",
    path: "/session/{id}",
    versions: "v1+",
    id: "endSession",
    summary: "End a log-in",
    description:
      "One's own, or with `session.end` somebody else's. Grants without refresh tokens (the console's) end with it; other programs that were let in go on.",
    permission: "any",
    scope: "session.end",
    replies: { 204: null },
    problems: [permissionMissing],
    emits: [sessionEnded, grantRevoked],
    run: (ctx, { params }) => endSession(ctx, params.id).then(done),
  }),
  route({
    method: "GET",
    path: "/grant",
    versions: "v1+",
    id: "listGrants",
    summary: "List what people have let programs do",
    description: "One's own grants; with `session.read` also those of others in reach.",
    permission: "any",
    query: listQuery(
      { ...sessionFilters, clientId: anyOf(Type.String({ minLength: 1, maxLength: 100, examples: ["demarc-cli"] })) },
      sorts,
      Grant,
    ),
    replies: { 200: listOf(Grant) },
    run: (ctx, { query }) => listGrants(ctx, query),
  }),
  route({
    method: "DELETE",
    path: "/grant/{id}",
    versions: "v1+",
    id: "revokeGrant",
    summary: "End a grant",
    description:
      "One's own, or with `session.end` somebody else's. All its tokens are refused from the next call on, and its application asks before it comes back.",
    permission: "any",
    scope: "session.end",
    replies: { 204: null },
    problems: [permissionMissing],
    emits: [grantRevoked],
    run: (ctx, { params }) => revokeGrant(ctx, params.id).then(done),
  }),
];
