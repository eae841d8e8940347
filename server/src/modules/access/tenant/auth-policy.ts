/** The rules of a tenant for log-in (access, section 5.2), set by its own administrator or from above. */
import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import type { Db } from "#kernel/db";
import { requireMatch } from "#kernel/match";
import { authPolicyUpdated } from "../events.ts";
import { requireRecentLogIn } from "../step-up.ts";
import { access, type AuthPolicy as Rules } from "../tables.ts";
import { findTenant, itemOf, type TenantFound } from "./rows.ts";
import { AuthPolicy, type AuthPolicyChange } from "./schema.ts";

const fields = ["mfa", "sessionIdleMinutes", "sessionMaxHours", "selfServiceKeys"];

/** The rules that a log-in goes by. `db` must see the tenant. */
export async function readAuthPolicy(db: Db, tenantId: string): Promise<Rules> {
  const row = await db.first(access.selectFrom("access.tenant").select("auth_policy").where("id", "=", tenantId));
  return row!.auth_policy;
}

export async function getAuthPolicy(ctx: Context, tenantId: string): Promise<AuthPolicy> {
  return shown(await findTenant(ctx, tenantId, "tenant.read"));
}

export async function updateAuthPolicy(ctx: Context, tenantId: string, change: AuthPolicyChange): Promise<AuthPolicy> {
  const row = await findTenant(ctx, tenantId, "authPolicy.manage", "lock");
  const before = shown(row);
  requireMatch(ctx, AuthPolicy, before);
  requireRecentLogIn(ctx);
  const after = { ...before, ...change };
  const changes = changesOf(before, after, fields);
  if (changes.length === 0) return before;
  await ctx.db.run(
    access
      .updateTable("access.tenant")
      .set({
        auth_policy: JSON.stringify({ ...row.auth_policy, ...change }) as never,
        updated_at: sql`greatest(updated_at, ${ctx.now})`,
        version: row.version + 1,
      })
      .where("id", "=", row.id),
  );
  ctx.emit(authPolicyUpdated, {
    tenantId: row.id,
    subject: row.id,
    path: `/tenant/${row.id}/auth-policy`,
    resource: after,
    previous: Object.fromEntries(changes.map(({ field, old }) => [field, old])),
    changed: changes.map(({ field }) => field),
  });
  ctx.audit({
    tenantId: row.id,
    type: "tenant",
    action: "updated",
    item: itemOf(row),
    changes: changes.map((one) => ({ ...one, field: `authPolicy.${one.field}` })),
  });
  ctx.forget();
  return after;
}

function shown(row: TenantFound): AuthPolicy {
  return { tenantId: row.id, ...row.auth_policy };
}
