import { Type } from "typebox";
import { Reply, route } from "#kernel/contract";
import { listOf, listQuery } from "#kernel/page";
import { stale } from "#kernel/problem";
import { anyOf, id, text } from "#kernel/schema";
import { planEvents } from "../events.ts";
import { tenantKind } from "../tenant/kind.ts";
import {
  createPlan,
  deletePlan,
  getPlan,
  listPlans,
  planBuiltIn,
  planExceedsOwn,
  planInUse,
  planNameTaken,
  updatePlan,
} from "./operations.ts";
import { NewPlan, Plan, PlanChange } from "./schema.ts";

const filters = {
  tenantId: anyOf(id("tnt")),
  name: text(100),
  q: Type.String({ minLength: 1, maxLength: 200, description: "Part of the name, ignoring case." }),
};

export const planRoutes = [
  route({
    method: "GET",
    path: "/plan",
    versions: "v1+",
    id: "listPlans",
    summary: "List usage plans",
    description: "Of the acting tenant and those below it; what a tenant above gave shows in the tenant alone.",
    permission: "plan.read",
    query: listQuery(filters, ["createdAt", "name"], Plan),
    replies: { 200: listOf(Plan) },
    run: (ctx, { query }) => listPlans(ctx, query),
  }),
  route({
    method: "POST",
    path: "/plan",
    versions: "v1+",
    id: "createPlan",
    summary: "Create a usage plan",
    description:
      "It belongs to the acting tenant, and may be given to those below it. No figure may exceed its own plan.",
    permission: "plan.manage",
    body: NewPlan,
    replies: { 201: Plan },
    problems: [planNameTaken, planExceedsOwn, tenantKind],
    emits: [planEvents.created],
    run: async (ctx, { body }) => {
      const plan = await createPlan(ctx, body);
      return new Reply(201, plan, { location: `/plan/${plan.id}` });
    },
  }),
  route({
    method: "GET",
    path: "/plan/{id}",
    versions: "v1+",
    id: "getPlan",
    summary: "Read a usage plan",
    permission: "plan.read",
    replies: { 200: Plan },
    run: (ctx, { params }) => getPlan(ctx, params.id),
  }),
  route({
    method: "PATCH",
    path: "/plan/{id}",
    versions: "v1+",
    id: "updatePlan",
    summary: "Change a usage plan",
    description: "Counts at once for every tenant that has it; what is spent of a day stays spent.",
    permission: "plan.manage",
    body: PlanChange,
    replies: { 200: Plan },
    problems: [planNameTaken, planExceedsOwn, stale],
    emits: [planEvents.updated],
    run: (ctx, { params, body }) => updatePlan(ctx, params.id, body),
  }),
  route({
    method: "DELETE",
    path: "/plan/{id}",
    versions: "v1+",
    id: "deletePlan",
    summary: "Delete a usage plan",
    permission: "plan.manage",
    replies: { 204: null },
    problems: [planInUse, planBuiltIn, stale],
    emits: [planEvents.deleted],
    run: async (ctx, { params }) => {
      await deletePlan(ctx, params.id);
      return new Reply(204, undefined);
    },
  }),
];
