import { Type } from "typebox";
import { Reply, route } from "#kernel/contract";
import { listOf, listQuery } from "#kernel/page";
import { stale } from "#kernel/problem";
import { anyOf, id, oneOf } from "#kernel/schema";
import { assignmentEvents } from "../events.ts";
import { grantExceedsOwn } from "../hand-out.ts";
import { lastAdministrator } from "../last-administrator.ts";
import { reauthenticationRequired } from "../step-up.ts";
import {
  assignmentExists,
  assignmentLimitReached,
  createAssignment,
  deleteAssignment,
  getAssignment,
  listAssignments,
} from "./operations.ts";
import { Assignment, NewAssignment, principalKinds, withinKinds } from "./schema.ts";

const name = Type.String({ minLength: 1, maxLength: 64 });
const filters = {
  tenantId: anyOf(id("tnt")),
  principalKind: anyOf(oneOf(principalKinds)),
  principalId: anyOf(name),
  roleId: anyOf(name),
  withinKind: anyOf(oneOf(withinKinds)),
  withinId: anyOf(name),
};

export const assignmentRoutes = [
  route({
    method: "GET",
    path: "/assignment",
    versions: "v1+",
    id: "listAssignments",
    summary: "List who has which role where",
    permission: "role.read",
    query: listQuery(filters, ["createdAt"], Assignment),
    replies: { 200: listOf(Assignment) },
    run: (ctx, { query }) => listAssignments(ctx, query),
  }),
  route({
    method: "POST",
    path: "/assignment",
    versions: "v1+",
    id: "createAssignment",
    summary: "Assign a role",
    description: "Nobody assigns what they do not hold at that place themselves. A principal has at most 100 roles.",
    permission: "role.assign",
    body: NewAssignment,
    replies: { 201: Assignment },
    problems: [grantExceedsOwn, assignmentExists, assignmentLimitReached, reauthenticationRequired],
    emits: [assignmentEvents.created],
    run: async (ctx, { body }) => {
      const assignment = await createAssignment(ctx, body);
      return new Reply(201, assignment, { location: `/assignment/${assignment.id}` });
    },
  }),
  route({
    method: "GET",
    path: "/assignment/{id}",
    versions: "v1+",
    id: "getAssignment",
    summary: "Read an assigned role",
    permission: "role.read",
    replies: { 200: Assignment },
    run: (ctx, { params }) => getAssignment(ctx, params.id),
  }),
  route({
    method: "DELETE",
    path: "/assignment/{id}",
    versions: "v1+",
    id: "deleteAssignment",
    summary: "Take an assigned role away",
    description: "Counts on the principal's next call. The last administrator of a tenant is not removed from inside.",
    permission: "role.assign",
    replies: { 204: null },
    problems: [lastAdministrator, stale, reauthenticationRequired],
    emits: [assignmentEvents.deleted],
    run: async (ctx, { params }) => {
      await deleteAssignment(ctx, params.id);
      return new Reply(204, undefined);
    },
  }),
];
