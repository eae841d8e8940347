/** Suspension of a tenant and all below it (access, section 1). */
import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { refuse } from "#kernel/problem";
import { tenantEvents } from "../events.ts";
import { denyTokens } from "../oauth/deny-list.ts";
import { access } from "../tables.ts";
import { findTenant, isAbove, itemOf, refuseFromWithin, shown, tenantIsRoot } from "./rows.ts";
import type { Tenant } from "./schema.ts";
import { tenantDeleting } from "./tree.ts";

/** Suspends or resumes; a tenant that already is so is answered as it is, and nothing is told. */
export async function setSuspended(ctx: Context, id: string, suspend: boolean, reason: string | null): Promise<Tenant> {
  const row = await findTenant(ctx, id, "tenant.suspend", "lock");
  if (row.parent_id === null)
    throw refuse(tenantIsRoot, { detail: "The provider is not suspended: nobody could resume it." });
  if (!isAbove(ctx.who, row)) throw refuseFromWithin("status");
  if (row.status === "deleting")
    throw refuse(tenantDeleting, { detail: "Cancel the operation that deletes it: it is suspended then." });
  if (row.status !== (suspend ? "active" : "suspended")) return shown(row, ctx.who);
  const next = { status: suspend ? "suspended" : "active", status_reason: suspend ? reason : null } as const;
  await ctx.db.run(
    access
      .updateTable("access.tenant")
      .set({ ...next, updated_at: sql`greatest(updated_at, ${ctx.now})`, version: row.version + 1 })
      .where("id", "=", row.id),
  );
  const after = await findTenant(ctx, row.id, "tenant.read");
  const [old, resource] = [shown(row, null), shown(after, null)];
  const changes = changesOf(old, resource, ["status", "statusReason"]);
  ctx.emit(suspend ? tenantEvents.suspended : tenantEvents.resumed, {
    tenantId: row.id,
    subject: row.id,
    path: `/tenant/${row.id}`,
    resource,
    previous: Object.fromEntries(changes.map((change) => [change.field, change.old])),
    changed: changes.map((change) => change.field),
  });
  ctx.audit({
    tenantId: row.id,
    type: "tenant",
    action: suspend ? "suspended" : "resumed",
    item: itemOf(row),
    changes,
    comment: reason ?? undefined,
  });
  if (suspend) await endTokens(ctx, row.id);
  ctx.forget();
  return shown(after, ctx.who);
}

/** Sessions and tokens of the tenant and all below it end for good: resuming wakes keys, not these. */
export async function endTokens(ctx: Context, tenantId: string): Promise<void> {
  // First, so that a grant that is just being opened in one is there to be ended, too.
  await ctx.db.run(
    query(sql`update access.session set ended_at = ${ctx.now}, ended_reason = 'tenant_suspended' where ended_at is null
      and tenant_id in (select tenant_id from access.tenant_ancestor where ancestor_id = ${tenantId})`),
  );
  await ctx.db.run(
    query(sql`update access."grant" set ended_at = ${ctx.now}, ended_reason = 'tenant_suspended' where ended_at is null
      and tenant_id in (select tenant_id from access.tenant_ancestor where ancestor_id = ${tenantId})`),
  );
  await denyTokens(ctx.db, ctx.now, [{ tenantId, kind: "tenant", value: tenantId }]);
}
