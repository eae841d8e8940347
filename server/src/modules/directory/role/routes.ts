import { Reply, route } from "#kernel/contract";
import { stale } from "#kernel/problem";
import { grantExceedsOwn, reauthenticationRequired } from "#modules/access";
import { roleEvents } from "../events.ts";
import { lastAdministrator } from "../user/problems.ts";
import { asRole, deleteRole, getRole, listRoles, upsertRole } from "./operations.ts";
import { limitOfKindReached, roleInUse } from "./problems.ts";
import { NewRole, Role, RoleList, RoleQuery } from "./schema.ts";

export const roleRoutes = [
  route({
    method: "POST",
    path: "/role",
    versions: "v1+",
    id: "upsertRole",
    summary: "Create or update a custom role",
    description:
      "`externalId` is the key: an unknown one makes a role, a known one has the given fields written; `Demarc-Outcome` tells. Nobody allows what they do not hold. A change counts on the next call of all who have it. A tenant has at most 100.",
    permission: "role.write",
    body: NewRole,
    replies: { 200: Role },
    get problems() {
      return [grantExceedsOwn, reauthenticationRequired, roleInUse, limitOfKindReached, lastAdministrator, stale];
    },
    emits: [roleEvents.created, roleEvents.updated],
    run: async (ctx, { body }) => {
      const { role, outcome } = await upsertRole(ctx, asRole, body);
      return new Reply(200, role as Role, { headers: { "demarc-outcome": outcome } });
    },
  }),
  route({
    method: "GET",
    path: "/role",
    versions: "v1+",
    id: "listRoles",
    summary: "List custom roles",
    description:
      "Of the acting tenant and those below it, and those that tenants above share. Built-in roles are not among them.",
    permission: "role.read",
    query: RoleQuery,
    replies: { 200: RoleList },
    run: async (ctx, { query }) => (await listRoles(ctx, asRole, query)) as never,
  }),
  route({
    method: "GET",
    path: "/role/{externalId}",
    versions: "v1+",
    id: "getRole",
    summary: "Read a custom role",
    description: "By its `externalId` in the acting tenant, or by its id.",
    permission: "role.read",
    replies: { 200: Role },
    run: async (ctx, { params }) => (await getRole(ctx, asRole, params.externalId)) as Role,
  }),
  route({
    method: "DELETE",
    path: "/role/{externalId}",
    versions: "v1+",
    id: "deleteRole",
    summary: "Delete a custom role",
    description:
      "Not while somebody has it. Answers 204 also where there is nothing to delete; `Demarc-Outcome` is `deleted` or `absent`.",
    permission: "role.write",
    replies: { 204: null },
    get problems() {
      return [roleInUse, reauthenticationRequired, stale];
    },
    emits: [roleEvents.deleted],
    run: async (ctx, { params }) =>
      new Reply(204, undefined, { headers: { "demarc-outcome": await deleteRole(ctx, asRole, params.externalId) } }),
  }),
];
