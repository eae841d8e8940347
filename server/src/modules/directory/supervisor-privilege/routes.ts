import { Reply, route } from "#kernel/contract";
import { stale } from "#kernel/problem";
import { grantExceedsOwn, reauthenticationRequired } from "#modules/access";
import { privilegeEvents } from "../events.ts";
import { asPrivilege, deleteRole, getRole, listRoles, upsertRole } from "../role/operations.ts";
import { limitOfKindReached, privilegeFixed, privilegeInUse } from "../role/problems.ts";
import {
  NewSupervisorPrivilege,
  SupervisorPrivilege,
  SupervisorPrivilegeList,
  SupervisorPrivilegeQuery,
} from "../role/schema.ts";
import { lastAdministrator } from "../user/problems.ts";

export const privilegeRoutes = [
  route({
    method: "POST",
    path: "/supervisor-privilege",
    versions: "v1+",
    id: "upsertSupervisorPrivilege",
    summary: "Create or update a supervisor privilege",
    description:
      "The name is the key, ignoring case: an unknown one makes a privilege, a known one has the given fields written; `Demarc-Outcome` tells. Nobody allows what they do not hold. A change counts on the next call of all who have it. A tenant has at most 100.",
    permission: "role.write",
    body: NewSupervisorPrivilege,
    replies: { 200: SupervisorPrivilege },
    get problems() {
      return [
        grantExceedsOwn,
        reauthenticationRequired,
        privilegeInUse,
        privilegeFixed,
        limitOfKindReached,
        lastAdministrator,
        stale,
      ];
    },
    emits: [privilegeEvents.created, privilegeEvents.updated],
    run: async (ctx, { body }) => {
      const { role, outcome } = await upsertRole(ctx, asPrivilege, body);
      return new Reply(200, role as SupervisorPrivilege, { headers: { "demarc-outcome": outcome } });
    },
  }),
  route({
    method: "GET",
    path: "/supervisor-privilege",
    versions: "v1+",
    id: "listSupervisorPrivileges",
    summary: "List supervisor privileges",
    description:
      "Of the acting tenant and those below it, and those that tenants above share. `Administrator` is in every tenant.",
    permission: "role.read",
    query: SupervisorPrivilegeQuery,
    replies: { 200: SupervisorPrivilegeList },
    run: async (ctx, { query }) => (await listRoles(ctx, asPrivilege, query)) as never,
  }),
  route({
    method: "GET",
    path: "/supervisor-privilege/{name}",
    versions: "v1+",
    id: "getSupervisorPrivilege",
    summary: "Read a supervisor privilege",
    description: "By its name in the acting tenant, or by its id.",
    permission: "role.read",
    replies: { 200: SupervisorPrivilege },
    run: async (ctx, { params }) => (await getRole(ctx, asPrivilege, params.name)) as SupervisorPrivilege,
  }),
  route({
    method: "DELETE",
    path: "/supervisor-privilege/{name}",
    versions: "v1+",
    id: "deleteSupervisorPrivilege",
    summary: "Delete a supervisor privilege",
    description:
      "Not while somebody has it. Answers 204 also where there is nothing to delete; `Demarc-Outcome` is `deleted` or `absent`.",
    permission: "role.write",
    replies: { 204: null },
    get problems() {
      return [privilegeInUse, privilegeFixed, reauthenticationRequired, stale];
    },
    emits: [privilegeEvents.deleted],
    run: async (ctx, { params }) =>
      new Reply(204, undefined, { headers: { "demarc-outcome": await deleteRole(ctx, asPrivilege, params.name) } }),
  }),
];
