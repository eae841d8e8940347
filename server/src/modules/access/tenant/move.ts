/**
 * Hanging a tenant, with all below it, under another parent (access, section 1). Features, suspension and an inherited
 * plan follow at once, since they are worked out from the tree. What the tenants that are no longer above had there ends:
 * roles of their principals within the moved tenants, shared roles of theirs, their plans, their applications' grants.
 */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { holdsIn, lacking } from "#kernel/principal";
import { invalid, problem, referenceNotFound, refuse } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { dropRolesSharedBy, dropRolesWithin } from "../assignment/out-of-reach.ts";
import { tenantEvents } from "../events.ts";
import { endGrant } from "../oauth/grant.ts";
import { access } from "../tables.ts";
import { mostLevels, refuseMisplaced, tenantKind } from "./kind.ts";
import { idsOf } from "./lineage.ts";
import { itemOf, refuseFromWithin, shown, type TenantFound, tenantIsRoot, visibleTenants } from "./rows.ts";
import { endTokens } from "./suspension.ts";
import { tenantDeleting } from "./tree.ts";

export const tenantCycle = problem("tenant_cycle", 409, "A tenant cannot stand below itself.");

export type Move = {
  from: TenantFound;
  to: TenantFound;
  /** Those that were above the tenant and are not any more. */
  lost: string[];
  /** The tenant and all below it. */
  moved: string[];
};

/** What a change of parent means; the caller holds the tree alone. Null: the tenant stands there already. */
export async function readMove(ctx: Context, row: TenantFound, parentId: string | undefined): Promise<Move | null> {
  if (parentId === undefined || parentId === row.parent_id) return null;
  if (row.parent_id === null) throw refuse(tenantIsRoot, { detail: "Nothing is above the provider." });
  const place = { pointer: "/parentId" };
  const wrong = idFault("tnt", parentId, place);
  if (wrong) throw invalid([wrong]);
  const parents = await ctx.db.rows(visibleTenants(ctx).where("t.id", "in", [row.parent_id, parentId]));
  const from = parents.find(({ id }) => id === row.parent_id);
  const to = parents.find(({ id }) => id === parentId);
  if (!to) throw invalid([referenceNotFound(place)]);
  // Acting in the tenant itself, nobody sees where it comes from.
  if (!from) throw refuseFromWithin("parentId");
  for (const parent of [from, to]) {
    if (!holdsIn(ctx.who, "tenant.manage", { lineage: idsOf(parent.lineage) })) throw lacking("tenant.manage");
  }
  if (row.status === "deleting" || to.status === "deleting") throw refuse(tenantDeleting);
  if (idsOf(to.lineage).includes(row.id)) throw refuse(tenantCycle);
  const below = await ctx.db.rows(
    access.selectFrom("access.tenant_ancestor").select(["tenant_id", "depth"]).where("ancestor_id", "=", row.id),
  );
  refuseMisplaced({ kind: to.kind, level: to.lineage.length });
  if (to.lineage.length + 1 + Math.max(...below.map(({ depth }) => depth)) > mostLevels) {
    throw refuse(tenantKind, { detail: `With all below it the tree would have more than ${mostLevels} levels.` });
  }
  const kept = new Set(idsOf(to.lineage));
  const lost = idsOf(from.lineage).filter((id) => !kept.has(id));
  return { from, to, lost, moved: below.map(({ tenant_id }) => tenant_id) };
}

/** Whether the tenant's own plan belongs to one that is no longer above it. */
export function losesPlan(row: TenantFound, { lost }: Move): boolean {
  const plan = row.lineage[0]?.plan;
  return plan != null && lost.includes(plan.tenantId);
}

/** All that follows from a move whose row has been written. */
export async function followMove(ctx: Context, row: TenantFound, move: Move): Promise<void> {
  const { from, to, lost, moved } = move;
  await dropPlans(ctx, row.id, move);
  await dropRolesWithin(ctx, lost, moved);
  await dropRolesSharedBy(ctx, lost, moved);
  await endForeignGrants(ctx, lost, moved);
  await ctx.moveTenant({ id: row.id, fromParentId: from.id, parentId: to.id });
  if (await isHeldUp(ctx, to.id)) await endTokens(ctx, row.id);
  recordMove(ctx, row, move);
}

/** Plans of tenants that are no longer above fall away, also below the moved one. */
async function dropPlans(ctx: Context, movedId: string, { lost, moved }: Move): Promise<void> {
  if (lost.length === 0) return;
  const dropped = await ctx.db.rows(
    query<{ id: string; name: string; planId: string }>(sql`
      update access.tenant t set plan_id = null, updated_at = greatest(t.updated_at, ${ctx.now}), version = t.version + 1
      from access.plan p where p.id = t.plan_id and p.tenant_id = any(${lost}) and t.id = any(${moved}) and t.id <> ${movedId}
      returning t.id, t.name, p.id as "planId"`),
  );
  if (dropped.length === 0) return;
  const rows = await ctx.db.rows(
    visibleTenants(ctx).where(
      "t.id",
      "in",
      dropped.map(({ id }) => id),
    ),
  );
  for (const row of rows) {
    const changes = [{ field: "planId", old: dropped.find(({ id }) => id === row.id)!.planId, new: null }];
    ctx.audit({ tenantId: row.id, type: "tenant", action: "updated", item: itemOf(row), changes });
    ctx.emit(tenantEvents.planChanged, {
      tenantId: row.id,
      subject: row.id,
      path: `/tenant/${row.id}`,
      resource: shown(row, null),
      previous: { planId: null },
      changed: ["planId"],
    });
  }
}

/** An application serves users of its tenant and below: those who are there no longer have to allow another one. */
async function endForeignGrants(ctx: Context, lost: string[], moved: string[]): Promise<void> {
  const grants = await ctx.db.rows(
    query<{ id: string }>(sql`select g.id from access."grant" g join access.client c on c.id = g.client_id
      where g.tenant_id = any(${moved}) and c.tenant_id = any(${lost}) and g.ended_at is null order by g.id`),
  );
  for (const { id } of grants) await endGrant(ctx, id, "revoked");
  await ctx.db.run(
    query(sql`delete from access.consent c using access.client a where a.id = c.client_id
      and c.tenant_id = any(${moved}) and a.tenant_id = any(${lost})`),
  );
}

async function isHeldUp(ctx: Context, parentId: string): Promise<boolean> {
  const stopped = await ctx.db.first(
    query(sql`select 1 from access.tenant_ancestor a join access.tenant t on t.id = a.ancestor_id
      where a.tenant_id = ${parentId} and t.status <> 'active' limit 1`),
  );
  return stopped !== undefined;
}

/** Each trail says what its readers may know: neither parent learns of the other, unless it is the one that acts. */
function recordMove(ctx: Context, row: TenantFound, { from, to }: Move): void {
  const acting = ctx.who.acting.id;
  const entry = { type: "tenant", item: itemOf(row) } as const;
  const whole = [{ field: "parentId", old: from.id, new: to.id }];
  ctx.audit({ ...entry, tenantId: row.id, action: "moved", changes: [] });
  ctx.audit({ ...entry, tenantId: acting, action: "moved", changes: whole });
  if (from.id !== acting) ctx.audit({ ...entry, tenantId: from.id, action: "moved_away", changes: [] });
  if (to.id !== acting) ctx.audit({ ...entry, tenantId: to.id, action: "moved_here", changes: [] });
}
