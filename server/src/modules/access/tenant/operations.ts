import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { violates } from "#kernel/db";
import type { EventKind } from "#kernel/events";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import { type Fault, invalid, problem, referenceNotFound, refuse } from "#kernel/problem";
import { filterFaults, idFault } from "#kernel/reference";
import { isTimeZone } from "#kernel/time-zone";
import { tenantEvents } from "../events.ts";
import { refuseExcess, visiblePlans } from "../plan/operations.ts";
import { access } from "../tables.ts";
import { idsOf, type Lineage } from "./lineage.ts";
import { followMove, losesPlan, readMove } from "./move.ts";
import {
  findTenant,
  isAbove,
  itemOf,
  providerOnlyProperty,
  refuseFromWithin,
  requireIn,
  shown,
  type TenantFound,
  visibleTenants,
} from "./rows.ts";
import { Tenant, type TenantChange } from "./schema.ts";
import { nameTaken, refuseTaken, tenantExists } from "./siblings.ts";
import { lockTree } from "./tree.ts";

export const tenantCodeTaken = problem("tenant_code_taken", 409, "Another tenant has this code.");

type Filters = {
  kind?: ("provider" | "partner" | "customer")[];
  parentId?: string[];
  status?: ("active" | "suspended" | "deleting")[];
  reference?: string;
  code?: string[];
  q?: string;
};
type ListInput = Filters & { limit?: number; cursor?: string; sort?: string[]; count?: boolean };

export async function listTenants(ctx: Context, input: ListInput) {
  const faults = await filterFaults("parentId", "tnt", input.parentId, (ids) =>
    ctx.db.rows(visibleTenants(ctx).where("t.id", "in", ids)),
  );
  if (faults.length > 0) throw invalid(faults);
  let rows = visibleTenants(ctx);
  if (input.kind) rows = rows.where("t.kind", "in", input.kind);
  if (input.parentId) rows = rows.where("t.parent_id", "in", input.parentId);
  if (input.status) rows = rows.where("t.status", "in", input.status);
  if (input.reference !== undefined) rows = rows.where("t.reference", "=", input.reference);
  if (input.code) rows = rows.where("t.code", "in", input.code);
  if (input.q) {
    const text = sql`lower(normalize(concat_ws(chr(10), t.name, t.code, t.reference), NFC))`;
    rows = rows.where(sql<boolean>`strpos(${text}, lower(normalize(${input.q}, NFC))) > 0`);
  }
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("t.created_at"), name: sql.ref("t.name"), updatedAt: sql.ref("t.updated_at") },
    by: "createdAt",
    id: sql.ref("t.id"),
    item: (row) => shown(row, ctx.who),
  });
}

export async function getTenant(ctx: Context, id: string): Promise<Tenant> {
  return shown(await findTenant(ctx, id, "tenant.read"), ctx.who);
}

const fields = ["name", "code", "reference", "timeZone", "limits", "features", "planId"] as const;
/** Which event tells of a field, where it is not `updated`. */
const toldBy: Partial<Record<(typeof toldFields)[number], EventKind>> = {
  features: tenantEvents.featuresChanged,
  planId: tenantEvents.planChanged,
  parentId: tenantEvents.moved,
};
const toldFields = [...fields, "parentId"] as const;

/** Changes a tenant's settings, and moves it under another parent. */
export async function updateTenant(ctx: Context, id: string, change: TenantChange): Promise<Tenant> {
  if (change.parentId !== undefined) await lockTree(ctx, true);
  else if (change.planId !== undefined) await lockTree(ctx, false);
  const row = await findTenant(ctx, id, "tenant.manage", "lock");
  const before = shown(row, ctx.who);
  requireMatch(ctx, Tenant, before);
  refuseFromBelow(ctx, row, change);
  const move = await readMove(ctx, row, change.parentId);
  await checkSettings(ctx, change, move?.to.lineage ?? (row.parent_id === null ? row.lineage : row.lineage.slice(1)));
  if (change.planId === null && row.parent_id === null) {
    throw invalid([
      { pointer: "/planId", rule: "required", message: "Nobody is above the provider: it needs a plan of its own." },
    ]);
  }
  const keptPlan = move && losesPlan(row, move) ? null : row.plan_id;
  if (keptPlan !== row.plan_id && change.planId === undefined) ctx.warn("plan_dropped", "/planId");
  const next = {
    parent_id: move?.to.id ?? row.parent_id,
    name: change.name ?? row.name,
    code: change.code ?? row.code,
    reference: change.reference === undefined ? row.reference : change.reference,
    time_zone: change.timeZone ?? row.time_zone,
    plan_id: change.planId === undefined ? keptPlan : change.planId,
    features: { ...row.features, ...change.features },
    limits: { ...row.limits, ...change.limits },
  };
  const changes = changesOf(settings(row), settings(next), fields);
  if (changes.length === 0 && !move) return before;
  if (move) await refuseTaken(ctx, move.to.id, next);
  await write(ctx, row, next);
  if (changes.length > 0)
    ctx.audit({ tenantId: row.id, type: "tenant", action: "updated", item: itemOf({ ...row, ...next }), changes });
  if (move) await followMove(ctx, row, move);
  const after = await findTenant(ctx, row.id, "tenant.read");
  tellChange(ctx, row, after);
  ctx.forget();
  return shown(after, ctx.who);
}

/** Of itself a tenant may change its name and time zone; its code is the provider's to choose. */
function refuseFromBelow(ctx: Context, row: TenantFound, change: TenantChange): void {
  const own = new Set(["name", "timeZone"]);
  const property = Object.keys(change).find((name) => !own.has(name));
  if (property && !isAbove(ctx.who, row)) throw refuseFromWithin(property);
  if (change.code !== undefined) refuseChosenCode(ctx);
  if (change.planId !== undefined) requireIn(ctx, "plan.assign", row.lineage);
}

/** For anyone but the provider, a refusal of a code would tell that another tenant has it. */
export function refuseChosenCode(ctx: Pick<Context, "who">): void {
  if (ctx.who.tenant.kind === "provider") return;
  throw refuse(providerOnlyProperty, {
    detail: "Codes are made by the server; only the provider's credentials may choose one.",
    members: { property: "code" },
  });
}

/**
 * Refuses a time zone that is none, and a plan that the caller may not give: one it cannot see, that belongs to no tenant
 * of `givers` (those above the tenant), or with more than the giver's own.
 */
export async function checkSettings(
  ctx: Context,
  given: { timeZone?: string; planId?: string | null },
  givers: Lineage,
): Promise<void> {
  const faults: Fault[] = [];
  if (given.timeZone !== undefined && !isTimeZone(given.timeZone)) {
    faults.push({ pointer: "/timeZone", rule: "format", message: `${given.timeZone} is no IANA time zone.` });
  }
  if (typeof given.planId === "string") {
    const place = { pointer: "/planId" };
    const wrong = idFault("pln", given.planId, place);
    if (wrong) throw invalid([...faults, wrong]);
    const plan = await ctx.db.first(visiblePlans(ctx).selectAll("p").where("p.id", "=", given.planId).forShare("p"));
    if (!plan) faults.push(referenceNotFound(place));
    else if (!idsOf(givers).includes(plan.tenant_id)) {
      faults.push({ ...place, rule: "plan_not_above", message: "The plan belongs to no tenant above this one." });
    } else if (faults.length === 0) refuseExcess(ctx, plan.lanes, "/planId");
  }
  if (faults.length > 0) throw invalid(faults);
}

type Settings = Pick<TenantFound, "name" | "code" | "reference" | "time_zone" | "plan_id" | "features" | "limits">;

async function write(ctx: Context, row: TenantFound, next: Settings & { parent_id: string | null }): Promise<void> {
  const statement = access
    .updateTable("access.tenant")
    .set({
      ...next,
      features: JSON.stringify(next.features) as never,
      limits: JSON.stringify(next.limits) as never,
      updated_at: sql`greatest(updated_at, ${ctx.now})`,
      version: row.version + 1,
    })
    .where("id", "=", row.id);
  try {
    await ctx.db.run(statement);
  } catch (error) {
    // The siblings are behind the wall, so only the unique indexes know them.
    if (violates(error, "tenant_name")) throw nameTaken(next.name);
    if (violates(error, "tenant_code_key")) throw refuse(tenantCodeTaken);
    if (violates(error, "tenant_reference")) throw refuse(tenantExists);
    throw error;
  }
}

/** What a tenant was given, for the audit trail. */
function settings(row: Settings): Record<string, unknown> {
  return {
    name: row.name,
    code: row.code,
    reference: row.reference,
    timeZone: row.time_zone,
    planId: row.plan_id,
    features: row.features,
    limits: row.limits,
  };
}

function tellChange(ctx: Context, row: TenantFound, after: TenantFound): void {
  const changed = changesOf(
    { ...settings(row), parentId: row.parent_id },
    { ...settings(after), parentId: after.parent_id },
    toldFields,
  ).map(({ field }) => field as (typeof toldFields)[number]);
  const [old, resource] = [shown(row, null), shown(after, null)];
  const { updated, featuresChanged, planChanged, moved } = tenantEvents;
  for (const kind of [updated, featuresChanged, planChanged, moved]) {
    const told = changed.filter((field) => (toldBy[field] ?? tenantEvents.updated) === kind);
    if (told.length === 0) continue;
    const previous = Object.fromEntries(told.map((field) => [field, old[field]]));
    ctx.emit(kind, { tenantId: row.id, subject: row.id, path: `/tenant/${row.id}`, resource, previous, changed: told });
  }
}
