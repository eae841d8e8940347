import { type Selectable, sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { Permission } from "#kernel/permissions";
import { holdsIn, lacking, type Principal } from "#kernel/principal";
import { notFound, problem, refuse } from "#kernel/problem";
import { inReach } from "#kernel/wall";
import { access, type TenantRow } from "../tables.ts";
import { appliedPlan, effectiveFeatures, idsOf, type Lineage, seenBy } from "./lineage.ts";
import type { Features, Tenant } from "./schema.ts";

export const aboveOnly = problem("above_only", 403, "Only a tenant above may set this.");
export const providerOnlyProperty = problem("provider_only", 403, "Only the provider may set this.");
export const tenantIsRoot = problem("tenant_is_root", 409, "This is the provider itself.");

export type TenantFound = Selectable<TenantRow> & { lineage: Lineage };
const lineage = sql<Lineage>`access.lineage(t.id)`.as("lineage");

/** Tenants that the caller may use `permission` on. */
export function visibleTenants(ctx: Pick<Context, "who">, permission: Permission = "tenant.read") {
  return access
    .selectFrom("access.tenant as t")
    .where(inReach(ctx.who, permission, sql.ref("t.id")))
    .selectAll("t")
    .select(lineage);
}

/**
 * The tenant of an address (`self`: the acting one), for a use that needs `permission` in all of it: 404 where it may
 * not be read either, else 403. `lock` keeps others from changing it meanwhile.
 */
export async function findTenant(
  ctx: Context,
  idOrSelf: string,
  permission: Permission,
  lock: "lock" | "no lock" = "no lock",
): Promise<TenantFound> {
  const id = idOrSelf === "self" ? ctx.who.acting.id : idOrSelf;
  const reach = sql<boolean>`(${inReach(ctx.who, "tenant.read", sql.ref("t.id"))} or ${inReach(ctx.who, permission, sql.ref("t.id"))})`;
  const rows = access
    .selectFrom("access.tenant as t")
    .where("t.id", "=", id)
    .where(reach)
    .selectAll("t")
    .select(lineage);
  const row = await ctx.db.first(lock === "lock" ? rows.forNoKeyUpdate("t") : rows);
  if (!row) throw refuse(notFound);
  requireIn(ctx, permission, row.lineage);
  return row;
}

/** Refuses with 403 where the caller lacks a permission in the whole of a tenant that it may see. */
export function requireIn(ctx: Pick<Context, "who">, permission: Permission, of: Lineage): void {
  if (!holdsIn(ctx.who, permission, { lineage: idsOf(of) })) throw lacking(permission);
}

/** Whether the caller comes from strictly above a tenant; nobody is above the root, so it sets its own. */
export function isAbove(who: Principal, row: Pick<TenantFound, "id" | "parent_id">): boolean {
  return who.tenant.id !== row.id || row.parent_id === null;
}

export function itemOf(row: Pick<TenantFound, "id" | "name">) {
  return { kind: "tenant", id: row.id, name: row.name };
}

export function refuseFromWithin(property: string) {
  return refuse(aboveOnly, {
    detail: `Of itself a tenant may change its name and time zone; ${property} is set from above.`,
    members: { property },
  });
}

/** A tenant as a reader sees it; as it sees itself for null. */
export function shown(row: TenantFound, who: Principal | null): Tenant {
  const sees = seenBy(who, row.lineage);
  const plan = appliedPlan(row.lineage);
  const planIsSeen = sees(plan.tenantId);
  return {
    id: row.id,
    kind: row.kind,
    parentId: row.parent_id !== null && sees(row.parent_id) ? row.parent_id : null,
    name: row.name,
    code: row.code,
    reference: row.reference,
    timeZone: row.time_zone,
    planId: planIsSeen ? row.plan_id : null,
    plan: shownPlan(row.lineage, sees),
    features: row.features as Features,
    effectiveFeatures: effectiveFeatures(row.lineage),
    limits: row.limits,
    status: row.status,
    statusReason: row.status_reason,
    purgeAt: row.purge_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

/** The plan that applies, as figures alone where it comes from a tenant that the reader cannot see. */
export function shownPlan(of: Lineage, sees: (tenantId: string) => boolean): Tenant["plan"] {
  const plan = appliedPlan(of);
  const isSeen = sees(plan.tenantId);
  return { id: isSeen ? plan.id : null, name: isSeen ? plan.name : null, lanes: plan.lanes };
}
