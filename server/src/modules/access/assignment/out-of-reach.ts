/** Roles whose place is no longer below their principal's tenant, because a tenant was moved or has ended. */
import type { Context } from "#kernel/contract";
import { access } from "../tables.ts";
import { type AssignmentFound, removeAssignment } from "./operations.ts";

const asTenant = "tenant";
/** Kinds of place that name no node of their own: they lie in the principal's tenant. */
const homeKinds = ["groups", "own"];

/** Takes the roles that principals of some tenants hold within others, or within a node of these. */
export async function dropRolesWithin(
  ctx: Context,
  holders: readonly string[],
  places: readonly string[],
): Promise<void> {
  if (holders.length === 0 || places.length === 0) return;
  const rows = await ctx.db.rows(
    access
      .selectFrom("access.assignment")
      .selectAll()
      .where("tenant_id", "in", holders)
      .where("within_kind", "not in", homeKinds)
      .orderBy("id")
      .forUpdate(),
  );
  const out = new Set(places);
  for (const [kind, found] of Map.groupBy(rows, (row) => row.within_kind)) {
    const nodes = kind === asTenant ? null : await ctx.findNodes(kind, [...new Set(found.map((row) => row.within_id))]);
    for (const row of found) {
      const tenantId = kind === asTenant ? row.within_id : nodes?.get(row.within_id);
      if (tenantId !== undefined && out.has(tenantId)) await removeAssignment(ctx, row);
    }
  }
}

/** Takes the shared roles of some tenants from principals of others. */
export async function dropRolesSharedBy(
  ctx: Context,
  owners: readonly string[],
  holders: readonly string[],
): Promise<void> {
  if (owners.length === 0) return;
  const rows: AssignmentFound[] = await ctx.db.rows(
    access
      .selectFrom("access.assignment as a")
      .innerJoin("access.role as r", "r.id", "a.role_id")
      .where("r.tenant_id", "in", owners)
      .where("a.tenant_id", "in", holders)
      .selectAll("a")
      .orderBy("a.id")
      .forUpdate("a"),
  );
  for (const row of rows) await removeAssignment(ctx, row);
}
