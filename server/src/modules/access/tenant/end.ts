/**
 * The end of a tenant (access, section 1): an operation of the parent's that stays queued until `purgeAt`, and may be
 * cancelled until then. Its steps bear repetition, so a kill in the middle costs nothing but time: keys of data, then
 * what others hold within the tenant, then its rows, and last the tenant itself together with the parent's record.
 */
import { sql } from "kysely";
import { type Static, Type } from "typebox";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { EventKind } from "#kernel/events";
import { requireMatch } from "#kernel/match";
import type { OperationKind, OperationPlace, OperationWork } from "#kernel/operations";
import { type Fault, invalid, problem, refuse } from "#kernel/problem";
import { object } from "#kernel/schema";
import { dropRolesWithin } from "../assignment/out-of-reach.ts";
import { tenantEvents } from "../events.ts";
import { requireRecentLogIn } from "../step-up.ts";
import { type AuditHead, access, type TenantRow } from "../tables.ts";
import { findTenant, isAbove, itemOf, refuseFromWithin, shown, type TenantFound, tenantIsRoot } from "./rows.ts";
import { Tenant } from "./schema.ts";
import { lockTree } from "./tree.ts";

export const tenantNotSuspended = problem("tenant_not_suspended", 409, "Only a suspended tenant can be deleted.");
export const tenantHasChildren = problem("tenant_has_children", 409, "Other tenants are below this one.");

const DeletedTenant = object({ tenantId: Type.String(), name: Type.String(), code: Type.String() });
type DeletedTenant = Static<typeof DeletedTenant>;

const dayMs = 86_400_000;
const minutesAWeek = 7 * 1_440;

export const tenantDeletion: OperationKind<DeletedTenant> = {
  kind: "access.deleteTenant",
  summary: "Delete a tenant for good",
  result: DeletedTenant,
  restart: "always",
  as: "system",
  exclusive: true,
  maxMinutes: minutesAWeek,
  cancellable: "queued",
  run: purge,
  ended: restore,
};

/** Puts a tenant on its way out; the operation's id. One that is on it already is answered with the same operation. */
export async function deleteTenant(ctx: Context, id: string, confirm: string | undefined): Promise<string> {
  await lockTree(ctx, true);
  const row = await findTenant(ctx, id, "tenant.delete", "lock");
  if (row.parent_id === null) throw refuse(tenantIsRoot, { detail: "The provider itself is never deleted." });
  if (!isAbove(ctx.who, row)) throw refuseFromWithin("status");
  requireMatch(ctx, Tenant, shown(row, ctx.who));
  requireRecentLogIn(ctx);
  if (row.status === "active") throw refuse(tenantNotSuspended, { detail: `Suspend ${row.name} first.` });
  await refuseParent(ctx, row);
  if (confirm !== row.code) throw invalid([confirmFault(confirm)]);
  const purgeAt = row.purge_at ?? new Date(ctx.now.getTime() + ctx.settings.tenantPurgeDays * dayMs);
  const { id: operationId } = await ctx.startOperation(tenantDeletion, {
    tenantId: row.parent_id,
    subject: row.id,
    input: { tenantId: row.id, name: row.name, code: row.code },
    notBefore: purgeAt,
  });
  if (row.status === "suspended") await setStatus(ctx, row, "deleting", purgeAt);
  return operationId;
}

function confirmFault(confirm: string | undefined): Fault {
  const message = "confirm must be the code of the tenant.";
  return { parameter: "confirm", rule: confirm === undefined ? "required" : "const", message };
}

async function refuseParent(ctx: Context, row: TenantFound): Promise<void> {
  const below = await ctx.db.first(
    query<{ count: number }>(
      sql`select count(*)::int + access.hidden_below(${row.id}) as count from access.tenant_ancestor
        where ancestor_id = ${row.id} and depth > 0`,
    ),
  );
  if (below!.count === 0) return;
  throw refuse(tenantHasChildren, {
    detail: `There are ${below!.count} tenants below ${row.name}: delete or move them first.`,
  });
}

/** From `suspended` to `deleting`, and back. */
async function setStatus(
  ctx: Context,
  row: TenantFound,
  status: "deleting" | "suspended",
  purgeAt: Date | null,
): Promise<void> {
  await ctx.db.run(
    access
      .updateTable("access.tenant")
      .set({
        status,
        purge_at: purgeAt,
        updated_at: sql`greatest(updated_at, ${ctx.now})`,
        version: sql`version + 1`,
      })
      .where("id", "=", row.id),
  );
  const after = await findTenant(ctx, row.id, "tenant.read");
  const [old, resource] = [shown(row, null), shown(after, null)];
  const changes = changesOf(old, resource, ["status", "purgeAt"]);
  const kind = status === "deleting" ? tenantEvents.deletionScheduled : tenantEvents.deletionCancelled;
  const action = status === "deleting" ? "deletion_scheduled" : "deletion_cancelled";
  for (const tenantId of [row.id, row.parent_id!])
    ctx.audit({ tenantId, type: "tenant", action, item: itemOf(row), changes });
  ctx.emit(kind as EventKind, {
    tenantId: row.id,
    subject: row.id,
    path: `/tenant/${row.id}`,
    resource,
    previous: Object.fromEntries(changes.map((change) => [change.field, change.old])),
    changed: changes.map((change) => change.field),
  });
  ctx.forget();
}

/** Cancelled, the tenant is suspended as it was. Work that failed leaves it `deleting`: deleting it again goes on. */
async function restore(ctx: Context, { input }: OperationPlace<DeletedTenant>, status: string): Promise<void> {
  if (status !== "cancelled") {
    await ctx.db.run(query(sql`select access.show_tenant(${input.tenantId})`));
    return ctx.forget();
  }
  // Whoever may cancel the operation need hold no permission on the tenant.
  const row = await ctx.db.first(
    access
      .selectFrom("access.tenant as t")
      .selectAll("t")
      .select(sql<TenantFound["lineage"]>`access.lineage(t.id)`.as("lineage"))
      .where("t.id", "=", input.tenantId)
      .forNoKeyUpdate("t"),
  );
  if (row?.status === "deleting") await setStatus(ctx, row as TenantFound, "suspended", null);
}

async function purge(work: OperationWork, input: DeletedTenant) {
  const { tenantId } = input;
  const rootId = work.who.tenant.lineage.at(-1)!;
  await work.transaction(async (ctx) => {
    await ctx.secrets.destroyKeys(tenantId);
    await keepHead(ctx, tenantId);
  });
  await work.transaction(async (ctx) => {
    const { lineage } = work.who.tenant;
    await lockTree(ctx, true);
    await dropRolesWithin(ctx, lineage, [tenantId]);
    // From now on nobody sees or fills it.
    await ctx.db.run(query(sql`select access.hide_tenant(${tenantId})`));
    ctx.forget();
  }, rootId);
  for (;;) {
    await work.purgeTenant(tenantId);
    if (await buried(work, tenantId)) break;
  }
  // What those wrote who came in before it went out of sight, and what is written off the calls' path.
  await work.purgeTenant(tenantId);
  return { url: null, data: input };
}

/** The last signed head outlives the chain: once written it stays, whatever a later run finds. */
async function keepHead(ctx: Context, tenantId: string): Promise<void> {
  await ctx.db.run(
    query(sql`update access.tenant set last_head = coalesce(last_head, (
        select jsonb_build_object('seq', h.seq, 'hash', encode(h.hash, 'hex'), 'at', h.at, 'kid', h.kid, 'signature', h.signature)
        from access.audit_head h where h.tenant_id = ${tenantId} order by h.position desc limit 1))
      where id = ${tenantId}`),
  );
}

/** Deletes the tenant itself and tells the parent; false: something of it was written meanwhile. */
async function buried(work: OperationWork, tenantId: string): Promise<boolean> {
  try {
    await work.transaction(async (ctx) => {
      await lockTree(ctx, false);
      await ctx.db.run(query(sql`select access.show_tenant(${tenantId})`));
      const row = await ctx.db.first(
        query<
          Pick<TenantRow, "id" | "name" | "code" | "reference"> & { parent_id: string; last_head: AuditHead | null }
        >(
          sql`delete from access.tenant where id = ${tenantId} and status = 'deleting'
            returning id, name, code, reference, parent_id, last_head`,
        ),
      );
      if (!row) return;
      const { name, code, reference, last_head: auditHead } = row;
      ctx.audit({
        tenantId: row.parent_id,
        type: "tenant",
        action: "deleted",
        item: itemOf(row),
        changes: [
          ...changesOf({ name, code, reference }, null, ["name", "code", "reference"]),
          { field: "auditHead", old: auditHead, new: null },
        ],
      });
      ctx.emit(tenantEvents.deleted, {
        tenantId: row.parent_id,
        subject: row.id,
        path: `/tenant/${row.id}`,
        resource: null,
        previous: null,
        changed: [],
      });
      ctx.forget();
    });
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === foreignKeyViolation) return false;
    throw error;
  }
}

const foreignKeyViolation = "23503";
