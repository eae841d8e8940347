/** Making, changing and deleting custom roles: the rules that hold whichever face is written through. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { newId } from "#kernel/ids";
import { permissions } from "#kernel/permissions";
import { fold } from "#modules/directory";
import { requireHolds } from "../hand-out.ts";
import { lockTenant } from "../key/place.ts";
import { takesLastAdministrator } from "../last-administrator.ts";
import { requireRecentLogIn } from "../step-up.ts";
import { access } from "../tables.ts";
import { lineageOf } from "../tenant/lineage-of.ts";
import { type CustomRole, findCustomRole, type RoleFace } from "./rows.ts";
import { allowedIn, type Switches } from "./switches.ts";

/** Custom roles of a face that a tenant may have. */
export const mostRoles = 100;

/** What stands in the way of a write; the faces word it. `below`: tenants below have the shared role. */
export type RoleObstacle = "name_taken" | "full" | "in_use" | "below" | "last_administrator";
export type RoleToStore = { externalId: string | null; name: string; permissions: Switches; shared: boolean };

/** Lets one caller at a time write the roles of a tenant. */
export async function lockRoles(ctx: Context, tenantId: string): Promise<void> {
  await lockTenant(ctx, tenantId);
}

/**
 * Makes a role in a tenant, or changes the one that is there; the caller holds the tenant's lock and knows that the roles
 * may be written. What it did not allow before must be held by the caller: 403 `grant_exceeds_own`. Counts on the next
 * call of all who have it.
 */
export async function storeCustomRole(
  ctx: Context,
  face: RoleFace,
  tenantId: string,
  before: CustomRole | null,
  given: RoleToStore,
): Promise<CustomRole | RoleObstacle> {
  requireRecentLogIn(ctx);
  const had = before ? allowedIn(before.permissions) : new Set();
  const added = [...allowedIn(given.permissions)].filter((name) => !had.has(name));
  const lineage = (await lineageOf(ctx, tenantId))!;
  requireHolds(ctx, { permissions: new Set(added), within: { kind: "tenant", id: tenantId }, lineage });
  const obstacle = await obstacleOf(ctx, face, tenantId, before, given);
  if (obstacle) return obstacle;
  const id = before?.id ?? newId(face === "role" ? "rol" : "spv", ctx.now.getTime());
  const written = {
    name: given.name,
    name_key: fold(given.name),
    permissions: JSON.stringify(given.permissions) as never,
    shared: given.shared,
  };
  if (before) {
    await ctx.db.run(
      access
        .updateTable("access.role")
        .set({ ...written, updated_at: sql`greatest(updated_at, ${ctx.now})`, version: sql`version + 1` })
        .where("id", "=", id),
    );
    ctx.forget();
  } else {
    const made = { ...written, tenant_id: tenantId, id, face, external_id: given.externalId ?? id };
    await ctx.db.run(access.insertInto("access.role").values({ ...made, created_at: ctx.now, updated_at: ctx.now }));
  }
  // Whoever writes roles reads them.
  return (await findCustomRole(ctx, face, id))!;
}

async function obstacleOf(
  ctx: Context,
  face: RoleFace,
  tenantId: string,
  before: CustomRole | null,
  given: RoleToStore,
): Promise<RoleObstacle | null> {
  const beside = await ctx.db.rows(
    access
      .selectFrom("access.role")
      .select(["id", "name_key"])
      .where("tenant_id", "=", tenantId)
      .where("face", "=", face),
  );
  if (beside.some((row) => row.name_key === fold(given.name) && row.id !== before?.id)) return "name_taken";
  if (!before) return beside.length >= mostRoles ? "full" : null;
  if (before.shared && !given.shared && (await isHeld(ctx, before.id, tenantId))) return "below";
  const lost = permissions.some((name) => before.permissions[name] === "allow" && given.permissions[name] !== "allow");
  const narrowed = { roleId: before.id, permissions: allowedIn(given.permissions) };
  return lost && (await takesLastAdministrator(ctx, tenantId, narrowed)) ? "last_administrator" : null;
}

/** Whether anybody has the role; `except`: anybody of another tenant. */
async function isHeld(ctx: Context, roleId: string, except?: string): Promise<boolean> {
  const found = await ctx.db.first(
    query(
      sql`select 1 from access.assignment where role_id = ${roleId} and tenant_id is distinct from ${except ?? null} limit 1`,
    ),
  );
  return found !== undefined;
}

/** Deletes a role that nobody has; the caller holds the tenant's lock. */
export async function deleteCustomRole(ctx: Context, role: CustomRole): Promise<RoleObstacle | null> {
  requireRecentLogIn(ctx);
  if (await isHeld(ctx, role.id)) return "in_use";
  await ctx.db.run(access.deleteFrom("access.role").where("id", "=", role.id));
  ctx.forget();
  return null;
}
