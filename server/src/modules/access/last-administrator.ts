/** A tenant cannot lock itself out: the rule of the last administrator (access, section 3; directory, A4.12). */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { Permission } from "#kernel/permissions";
import { problem } from "#kernel/problem";
import { usersWithLogIn } from "#modules/directory";
import { allowedBy, builtInRoles } from "./roles.ts";

export const lastAdministrator = problem("last_administrator", 409, "The tenant would be left without administrator.");

const needed: readonly Permission[] = ["user.write", "role.write"];

type Held = {
  id: string;
  userId: string;
  role: string;
  custom: Record<string, string> | null;
  able: boolean;
  left?: ReadonlySet<Permission>;
};

/**
 * Whether a change from inside a tenant takes its last administrator: a current user with a working log-in and no
 * expiry who holds `user.write` and `role.write` in the whole of it. `leaving`: the user that ends, is blocked or loses
 * its log-in, the assignment that goes, or the custom role with what is left of it. Ask in the transaction of the change, before it: what is asked is locked, so
 * that of two administrators who remove each other one stays. From above a tenant may be left without administrator.
 */
export async function takesLastAdministrator(
  ctx: Context,
  tenantId: string,
  leaving: { userId: string } | { assignmentId: string } | { roleId: string; permissions: ReadonlySet<Permission> },
): Promise<boolean> {
  if (ctx.who.tenant.id !== tenantId) return false;
  await ctx.db.run(query(sql`select pg_advisory_xact_lock(hashtextextended(${`administrators ${tenantId}`}, 0))`));
  const rows = await ctx.db.rows(
    query<Held>(sql`select a.id, a.principal_id as "userId", a.role_id as role, r.permissions as custom,
        l.password is not null and l.blocked_at is null as able
      from access.assignment a join access.login l on l.user_id = a.principal_id left join access.role r on r.id = a.role_id
      where a.principal_kind = 'user' and a.within_kind = 'tenant' and a.within_id = ${tenantId}`),
  );
  const able = rows.filter((row) => row.able);
  const before = administrators(able);
  const after = administrators(
    "permissions" in leaving
      ? able.map((row) => (row.role === leaving.roleId ? { ...row, left: leaving.permissions } : row))
      : able.filter((row) => ("userId" in leaving ? row.userId !== leaving.userId : row.id !== leaving.assignmentId)),
  );
  if (before.length === after.length) return false;
  const current = new Set(await usersWithLogIn(ctx.db, tenantId, before));
  return before.some((id) => current.has(id)) && !after.some((id) => current.has(id));
}

/** Those whose roles together hold all that makes an administrator. */
function administrators(rows: readonly Held[]): string[] {
  const held = new Map<string, Set<Permission>>();
  for (const { userId, role, custom, left } of rows) {
    const permissions = left ?? builtInRoles.get(role) ?? (custom ? allowedBy(custom) : []);
    held.set(userId, new Set([...(held.get(userId) ?? []), ...permissions]));
  }
  return [...held].filter(([, permissions]) => needed.every((name) => permissions.has(name))).map(([id]) => id);
}
