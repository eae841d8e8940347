import { type Selectable, sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { violates } from "#kernel/db";
import { newId } from "#kernel/ids";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import type { Permission } from "#kernel/permissions";
import { holdsIn, lacking } from "#kernel/principal";
import { type Fault, invalid, notFound, problem, refuse } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { inReach } from "#kernel/wall";
import { planEvents } from "../events.ts";
import { access, type PlanRow } from "../tables.ts";
import { tenantKind } from "../tenant/kind.ts";
import { visibleTenants } from "../tenant/rows.ts";
import {
  figureNames,
  type Lanes,
  type LanesChange,
  laneNames,
  type NewPlan,
  Plan,
  type PlanChange,
  standardLanes,
} from "./schema.ts";

export const planNameTaken = problem("plan_name_taken", 409, "A plan of this name already exists in the tenant.");
export const planInUse = problem("plan_in_use", 409, "Tenants have this plan.");
export const planBuiltIn = problem("plan_built_in", 409, "The built-in plan cannot be deleted.");
export const planExceedsOwn = problem("plan_exceeds_own", 400, "A plan cannot give more than the giver's own.");

type Row = Selectable<PlanRow>;

/** Plans that the caller may use `permission` on. */
export function visiblePlans(ctx: Pick<Context, "who">, permission: Permission = "plan.read") {
  return access.selectFrom("access.plan as p").where(inReach(ctx.who, permission, sql.ref("p.tenant_id")));
}

type Filters = { tenantId?: string[]; name?: string; q?: string };
type ListInput = Filters & { limit?: number; cursor?: string; sort?: string[]; count?: boolean };

export async function listPlans(ctx: Context, input: ListInput) {
  const faults = await filterFaults("tenantId", "tnt", input.tenantId, (ids) =>
    ctx.db.rows(visibleTenants(ctx, "plan.read").where("t.id", "in", ids)),
  );
  if (faults.length > 0) throw invalid(faults);
  let rows = visiblePlans(ctx).selectAll("p");
  if (input.tenantId) rows = rows.where("p.tenant_id", "in", input.tenantId);
  if (input.name !== undefined) rows = rows.where("p.name", "=", input.name);
  if (input.q) rows = rows.where(sql<boolean>`strpos(lower(p.name), lower(${input.q})) > 0`);
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("p.created_at"), name: sql.ref("p.name") },
    by: "createdAt",
    id: sql.ref("p.id"),
    item: shown,
  });
}

export async function getPlan(ctx: Context, planId: string): Promise<Plan> {
  const row = await ctx.db.first(visiblePlans(ctx).selectAll("p").where("p.id", "=", planId));
  if (!row) throw refuse(notFound);
  return shown(row);
}

/** The plan belongs to the acting tenant, and may be given to those below it. */
export async function createPlan(ctx: Context, input: NewPlan): Promise<Plan> {
  const { acting } = ctx.who;
  if (!holdsIn(ctx.who, "plan.manage", acting)) throw lacking("plan.manage");
  if (acting.kind === "customer") {
    throw refuse(tenantKind, { detail: "A customer has no tenants below, so it has no use for plans." });
  }
  const lanes = merged(standardLanes, input.lanes ?? {});
  refuseExcess(ctx, lanes, "/lanes");
  const id = newId("pln", ctx.now.getTime());
  const made = await ctx.db.run(
    access
      .insertInto("access.plan")
      .values({
        tenant_id: acting.id,
        id,
        name: input.name,
        lanes: JSON.stringify(lanes) as never,
        built_in: false,
        created_at: ctx.now,
        updated_at: ctx.now,
      })
      .onConflict((conflict) => conflict.doNothing()),
  );
  if (made === 0) throw nameTaken(input.name);
  const plan: Plan = {
    id,
    tenantId: acting.id,
    name: input.name,
    lanes,
    builtIn: false,
    createdAt: ctx.now.toISOString(),
    updatedAt: ctx.now.toISOString(),
  };
  ctx.emit(planEvents.created, news(plan, plan, null, []));
  record(ctx, plan, "created", null, plan);
  return plan;
}

export async function updatePlan(ctx: Context, planId: string, input: PlanChange): Promise<Plan> {
  const row = await lockPlan(ctx, planId);
  const before = shown(row);
  requireMatch(ctx, Plan, before);
  const lanes = merged(row.lanes, input.lanes ?? {});
  const changes = changesOf(before, { name: input.name ?? before.name, lanes }, ["name", "lanes"]);
  if (changes.length === 0) return before;
  if (input.lanes) refuseExcess(ctx, lanes, "/lanes");
  const updatedAt = new Date(Math.max(ctx.now.getTime(), row.updated_at.getTime()));
  const after: Plan = { ...before, name: input.name ?? before.name, lanes, updatedAt: updatedAt.toISOString() };
  await ctx.db
    .run(
      access
        .updateTable("access.plan")
        .set({
          name: after.name,
          lanes: JSON.stringify(lanes) as never,
          updated_at: updatedAt,
          version: row.version + 1,
        })
        .where("id", "=", planId),
    )
    .catch((error) => {
      throw violates(error, "plan_name") ? nameTaken(after.name) : error;
    });
  const changed = changes.map(({ field }) => field);
  const previous = Object.fromEntries(changes.map(({ field, old }) => [field, old]));
  ctx.emit(planEvents.updated, news(before, after, previous, changed));
  record(ctx, after, "updated", before, after);
  ctx.forget();
  return after;
}

export async function deletePlan(ctx: Context, planId: string): Promise<void> {
  const row = await lockPlan(ctx, planId);
  const plan = shown(row);
  requireMatch(ctx, Plan, plan);
  if (row.built_in) throw refuse(planBuiltIn);
  const user = await ctx.db.first(
    access.selectFrom("access.tenant").select("id").where("plan_id", "=", planId).limit(1),
  );
  if (user) throw refuse(planInUse, { members: { tenantId: user.id } });
  await ctx.db.run(access.deleteFrom("access.plan").where("id", "=", planId));
  ctx.emit(planEvents.deleted, news(plan, null, plan, []));
  record(ctx, plan, "deleted", plan, null);
}

/** Locks the row: whoever gives the plan to a tenant locks it too, so that no plan in use is deleted. */
async function lockPlan(ctx: Context, planId: string): Promise<Row> {
  const row = await ctx.db.first(visiblePlans(ctx).selectAll("p").where("p.id", "=", planId).forUpdate("p"));
  if (!row) throw refuse(notFound);
  const managed = await ctx.db.first(visiblePlans(ctx, "plan.manage").select("p.id").where("p.id", "=", planId));
  if (!managed) throw lacking("plan.manage");
  return row;
}

/**
 * Refuses figures above the giver's own, because the calls of those below are not counted above. The giver is the acting
 * tenant; the root is free.
 */
export function refuseExcess(ctx: Pick<Context, "who">, given: Lanes, pointer: "/lanes" | "/planId"): void {
  const { acting } = ctx.who;
  if (acting.kind === "provider") return;
  const own = acting.plan.lanes;
  const faults: Fault[] = laneNames.flatMap((lane) =>
    figureNames
      .filter((figure) => (given[lane][figure] ?? Infinity) > (own[lane][figure] ?? Infinity))
      .map((figure) => ({
        pointer: pointer === "/lanes" ? `/lanes/${lane}/${figure}` : pointer,
        rule: "maximum",
        message: `${lane}.${figure} is above that of your own plan, ${own[lane][figure]}.`,
      })),
  );
  if (faults.length > 0) throw invalid(faults, planExceedsOwn);
}

function nameTaken(name: string) {
  return refuse(planNameTaken, { detail: `The tenant already has a plan named ${name}; capitals do not matter.` });
}

function merged(lanes: Lanes, change: LanesChange): Lanes {
  return Object.fromEntries(laneNames.map((name) => [name, { ...lanes[name], ...change[name] }])) as Lanes;
}

function shown(row: Row): Plan {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    name: row.name,
    lanes: row.lanes,
    builtIn: row.built_in,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

function news(of: Plan, resource: Plan | null, previous: object | null, changed: readonly string[]) {
  return { tenantId: of.tenantId, subject: of.id, path: `/plan/${of.id}`, resource, previous, changed };
}

function record(ctx: Context, plan: Plan, action: string, before: Plan | null, after: Plan | null): void {
  ctx.audit({
    tenantId: plan.tenantId,
    type: "plan",
    action,
    item: { kind: "plan", id: plan.id, name: plan.name },
    changes: changesOf(before, after, ["name", "lanes"]),
  });
}
