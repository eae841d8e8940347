import { type Selectable, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { newId } from "#kernel/ids";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import type { Permission } from "#kernel/permissions";
import { lacking, type Within } from "#kernel/principal";
import { invalid, notFound, problem, refuse } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { inReach } from "#kernel/wall";
import { assignmentEvents } from "../events.ts";
import { requireMayHandOut } from "../hand-out.ts";
import { lastAdministrator, takesLastAdministrator } from "../last-administrator.ts";
import { heldWithin } from "../roles.ts";
import { requireRecentLogIn } from "../step-up.ts";
import { type AssignmentRow, access } from "../tables.ts";
import { visibleTenants } from "../tenant/rows.ts";
import { lockTree } from "../tenant/tree.ts";
import { findHolder, findPlace, findRole, type Principal } from "./given.ts";
import { Assignment, type NewAssignment } from "./schema.ts";

export const assignmentExists = problem("assignment_exists", 409, "The principal has this role there.");
export const assignmentLimitReached = problem("assignment_limit_reached", 409, "The principal has its most roles.");

const most = 100;
export type AssignmentFound = Selectable<AssignmentRow>;
type Row = AssignmentFound;

function visible(ctx: Pick<Context, "who">, permission: Permission = "role.read") {
  return access.selectFrom("access.assignment as a").where(inReach(ctx.who, permission, sql.ref("a.tenant_id")));
}

type Filters = {
  tenantId?: string[];
  principalKind?: Principal["kind"][];
  principalId?: string[];
  roleId?: string[];
  withinKind?: Within["kind"][];
  withinId?: string[];
};
type ListInput = Filters & { limit?: number; cursor?: string; sort?: string[]; count?: boolean };

export async function listAssignments(ctx: Context, input: ListInput) {
  const faults = await filterFaults("tenantId", "tnt", input.tenantId, (ids) =>
    ctx.db.rows(visibleTenants(ctx, "role.read").where("t.id", "in", ids)),
  );
  if (faults.length > 0) throw invalid(faults);
  let rows = visible(ctx).selectAll("a");
  if (input.tenantId) rows = rows.where("a.tenant_id", "in", input.tenantId);
  if (input.principalKind) rows = rows.where("a.principal_kind", "in", input.principalKind);
  if (input.principalId) rows = rows.where("a.principal_id", "in", input.principalId);
  if (input.roleId) rows = rows.where("a.role_id", "in", input.roleId);
  if (input.withinKind) rows = rows.where("a.within_kind", "in", input.withinKind);
  if (input.withinId) rows = rows.where("a.within_id", "in", input.withinId);
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("a.created_at") },
    by: "createdAt",
    id: sql.ref("a.id"),
    item: shown,
  });
}

export async function getAssignment(ctx: Context, assignmentId: string): Promise<Assignment> {
  const row = await ctx.db.first(visible(ctx).selectAll("a").where("a.id", "=", assignmentId));
  if (!row) throw refuse(notFound);
  return shown(row);
}

export async function createAssignment(ctx: Context, input: NewAssignment): Promise<Assignment> {
  await lockTree(ctx, false);
  const holder = await findHolder(ctx, input.principal);
  requireRecentLogIn(ctx);
  const role = await findRole(ctx, input.roleId, holder);
  const { within, lineage } = await findPlace(ctx, input.within, holder, role);
  requireMayHandOut(ctx, [{ permissions: heldWithin(role.permissions, within.kind), within, lineage }]);
  return store(ctx, holder, input.principal, role.id, within);
}

/** Makes the administrator of a tenant: for the operation that makes the tenant with its first user. */
export async function assignAdministrator(ctx: Context, tenantId: string, userId: string): Promise<void> {
  const principal: Principal = { kind: "user", id: userId };
  await store(ctx, { tenantId }, principal, "tenant_administrator", { kind: "tenant", id: tenantId });
}

async function store(
  ctx: Context,
  holder: { tenantId: string },
  principal: Principal,
  roleId: string,
  within: Within,
): Promise<Assignment> {
  // One at a time per principal, so that two calls do not both take the last place.
  await ctx.db.run(query(sql`select pg_advisory_xact_lock(hashtextextended(${`assignments ${principal.id}`}, 0))`));
  const held = await ctx.db.rows(
    access.selectFrom("access.assignment").selectAll().where("principal_id", "=", principal.id),
  );
  const same = held.find(
    (row) => row.role_id === roleId && row.within_kind === within.kind && row.within_id === within.id,
  );
  if (same) throw refuse(assignmentExists, { members: { existingId: same.id } });
  if (held.length >= most) throw refuse(assignmentLimitReached, { detail: `A principal has at most ${most} roles.` });
  const row: Row = {
    tenant_id: holder.tenantId,
    id: newId("asg", ctx.now.getTime()),
    principal_kind: principal.kind,
    principal_id: principal.id,
    role_id: roleId,
    within_kind: within.kind,
    within_id: within.id,
    created_at: ctx.now,
    created_by: ctx.who.actor.id,
  };
  await ctx.db.run(access.insertInto("access.assignment").values(row));
  await touchHolder(ctx, row);
  const assignment = shown(row);
  tell(ctx, assignment, "created");
  // A role counts from the next call on, given or taken.
  ctx.forget();
  return assignment;
}

export async function deleteAssignment(ctx: Context, assignmentId: string): Promise<void> {
  const row = await ctx.db.first(visible(ctx).selectAll("a").where("a.id", "=", assignmentId).forUpdate("a"));
  if (!row) throw refuse(notFound);
  const mine = await ctx.db.first(visible(ctx, "role.assign").select("a.id").where("a.id", "=", assignmentId));
  if (!mine) throw lacking("role.assign");
  const assignment = shown(row);
  requireMatch(ctx, Assignment, assignment);
  requireRecentLogIn(ctx);
  if (await takesLastAdministrator(ctx, row.tenant_id, { assignmentId })) throw refuse(lastAdministrator);
  await removeAssignment(ctx, row);
}

/** Takes a role away; that it may be taken is the caller's to know. */
export async function removeAssignment(ctx: Context, row: Row): Promise<void> {
  await ctx.db.run(access.deleteFrom("access.assignment").where("id", "=", row.id));
  await touchHolder(ctx, row);
  tell(ctx, shown(row), "deleted");
  ctx.forget();
}

/** Keys and clients show their roles: a role given or taken here is a change of theirs. */
async function touchHolder(ctx: Context, row: Row): Promise<void> {
  if (row.principal_kind === "user") return;
  const table = row.principal_kind === "key" ? ("access.key" as const) : ("access.client" as const);
  await ctx.db.run(
    access
      .updateTable(table)
      .set({ version: sql`version + 1`, updated_at: sql`greatest(updated_at, ${ctx.now})` })
      .where("id", "=", row.principal_id),
  );
}

function tell(ctx: Context, assignment: Assignment, action: "created" | "deleted"): void {
  const isNew = action === "created";
  ctx.emit(assignmentEvents[action], {
    tenantId: assignment.tenantId,
    subject: assignment.id,
    path: `/assignment/${assignment.id}`,
    resource: isNew ? assignment : null,
    previous: isNew ? null : assignment,
    changed: [],
  });
  const { principal, roleId, within } = assignment;
  const fields = { principal, roleId, within };
  ctx.audit({
    tenantId: assignment.tenantId,
    type: "assignment",
    action,
    item: { kind: "assignment", id: assignment.id, name: `${roleId} of ${principal.id}` },
    changes: Object.entries(fields).map(([field, value]) => ({
      field,
      old: isNew ? null : value,
      new: isNew ? value : null,
    })),
  });
}

function shown(row: Row): Assignment {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    principal: { kind: row.principal_kind, id: row.principal_id },
    roleId: row.role_id,
    within: { kind: row.within_kind as Within["kind"], id: row.within_id },
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
  };
}
