import { Reply, route } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import { stale, userNeeded } from "#kernel/problem";
import { endedUserEvents, grantExceedsOwn } from "#modules/access";
import { userCreated, userDeactivated, userDeleted, userReactivated, userUpdated } from "../events.ts";
import {
  deactivateUser,
  deleteUser,
  getOwnUser,
  getUser,
  listUsers,
  reactivateUser,
  updateUser,
  upsertUser,
} from "./operations.ts";
import { lastAdministrator, userProblems } from "./problems.ts";
import { NewUser, Note, OwnUser, User, UserChange, UserList, UserQuery } from "./schema.ts";
import type { Written } from "./write.ts";

const changes = [userUpdated, userDeactivated, userReactivated];
/** Read late (`get emits`): `access` and this module import each other, and whose constants come first is not fixed. */
const ending = (...own: EventKind[]): readonly EventKind[] => [...own, ...endedUserEvents];
const outcome = ({ user, outcome }: Written) => new Reply(200, user, { headers: { "demarc-outcome": outcome } });

export const userRoutes = [
  route({
    method: "POST",
    path: "/user",
    versions: "v1+",
    id: "upsertUser",
    summary: "Create or update a user",
    description:
      "The user name is the key: an unknown one makes a user, a known one has the given fields written. Always 200; `Demarc-Outcome` tells `created`, `updated` and `unchanged` apart. `If-None-Match: *` only makes, `If-Match: *` only changes (else 412).",
    permission: "user.write",
    body: NewUser,
    replies: { 200: User },
    get problems() {
      return [...userProblems, grantExceedsOwn, stale];
    },
    get emits() {
      return ending(userCreated, ...changes);
    },
    run: async (ctx, { body }) => outcome(await upsertUser(ctx, body)),
  }),
  route({
    method: "GET",
    path: "/user",
    versions: "v1+",
    id: "listUsers",
    summary: "List users",
    description:
      "Of the acting tenant and those below it; `username` and `orgUnitExternalId` are looked up in it alone.",
    permission: "user.read",
    query: UserQuery,
    replies: { 200: UserList },
    run: (ctx, { query }) => listUsers(ctx, query),
  }),
  route({
    method: "GET",
    path: "/user/me",
    versions: "v1+",
    id: "getOwnUser",
    summary: "Read one's own user and permissions",
    permission: "any",
    replies: { 200: OwnUser },
    problems: [userNeeded],
    run: (ctx) => getOwnUser(ctx),
  }),
  route({
    method: "GET",
    path: "/user/{username}",
    versions: "v1+",
    id: "getUser",
    summary: "Read a user",
    description: "By its user name in the acting tenant, or by its id.",
    permission: "user.read",
    replies: { 200: User },
    run: (ctx, { params }) => getUser(ctx, params.username),
  }),
  route({
    method: "PATCH",
    path: "/user/{username}",
    versions: "v1+",
    id: "updateUser",
    summary: "Change a user",
    description: "The user name too can be changed here.",
    permission: "user.write",
    body: UserChange,
    replies: { 200: User },
    get problems() {
      return [...userProblems, grantExceedsOwn];
    },
    get emits() {
      return ending(...changes);
    },
    run: async (ctx, { params, body }) => outcome(await updateUser(ctx, params.username, body)),
  }),
  route({
    method: "DELETE",
    path: "/user/{username}",
    versions: "v1+",
    id: "deleteUser",
    summary: "Delete a user for good",
    description: "Answers 204 also where there is nothing to delete; `Demarc-Outcome` is `deleted` or `absent`.",
    permission: "user.write",
    replies: { 204: null },
    problems: [lastAdministrator],
    get emits() {
      return ending(userDeleted);
    },
    run: async (ctx, { params }) =>
      new Reply(204, undefined, { headers: { "demarc-outcome": await deleteUser(ctx, params.username) } }),
  }),
  route({
    method: "POST",
    path: "/user/{username}/deactivate",
    versions: "v1+",
    id: "deactivateUser",
    summary: "Switch a user off",
    description: "Keeps its roles and history; its log-in, tokens and personal keys end with this call.",
    permission: "user.write",
    body: Note,
    bodyOptional: true,
    replies: { 200: User },
    problems: [lastAdministrator],
    get emits() {
      return ending(userDeactivated);
    },
    run: async (ctx, { params, body }) => outcome(await deactivateUser(ctx, params.username, body?.note)),
  }),
  route({
    method: "POST",
    path: "/user/{username}/reactivate",
    versions: "v1+",
    id: "reactivateUser",
    summary: "Switch a user on again",
    permission: "user.write",
    body: Note,
    bodyOptional: true,
    replies: { 200: User },
    problems: userProblems,
    emits: [userReactivated],
    run: async (ctx, { params, body }) => outcome(await reactivateUser(ctx, params.username, body?.note)),
  }),
];
