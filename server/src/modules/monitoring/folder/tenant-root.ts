/** What happens to folders when tenants and users come, move and go. Other modules tell it; no event of ours is due. */
import { changesOf } from "#kernel/audit";
import type { Context, MadeTenant } from "#kernel/contract";
import { drawNumericId } from "../numeric-id.ts";
import { rootFolderOf } from "../scope.ts";
import { type FolderRow, monitoring } from "../tables.ts";
import { lockTree, reshapeBelow } from "../tree.ts";
import { changeable, checkFields, placed, recordContact, stampsOf } from "./store.ts";

/**
 * Makes the root folder of a tenant, below that of its parent; in the transaction that makes the tenant, acting in the
 * parent, whose folders must be visible. Nothing happens where it exists: the installation's own root is asked for at
 * every start.
 */
export async function makeTenantRoot(ctx: Context, tenant: MadeTenant): Promise<void> {
  const id = rootFolderOf(tenant.id);
  const ids = tenant.parentId === null ? [id] : [id, rootFolderOf(tenant.parentId)];
  const found = await ctx.db.rows(
    monitoring.selectFrom("monitoring.folder").selectAll().where("id", "in", ids).forShare(),
  );
  if (found.some((row) => row.id === id)) return;
  const parent = found[0] ?? null;
  if (tenant.parentId !== null && !parent)
    throw new Error(`The tenant ${tenant.parentId} has no root folder in reach.`);
  const row: FolderRow = {
    tenant_id: tenant.id,
    id,
    numeric_id: await drawNumericId(ctx, tenant.id, id),
    name: tenant.name,
    parent_id: parent?.id ?? null,
    category: tenant.kind === "customer" ? "customer" : "internalGroup",
    time_zone: tenant.timeZone,
    customer_reference: null,
    reference: null,
    description: null,
    contact_user_id: null,
    is_tenant_root: true,
    ...placed(id, tenant.name, null, parent),
    ...stampsOf(ctx),
  };
  const insert = monitoring
    .insertInto("monitoring.folder")
    .values(row)
    .onConflict((conflict) => conflict.column("id").doNothing());
  if ((await ctx.db.run(insert)) === 0) return;
  const changes = changesOf(null, { name: row.name, category: row.category, timeZone: row.time_zone }, [
    "name",
    "category",
    "timeZone",
  ]);
  ctx.audit({
    tenantId: tenant.id,
    type: "folder",
    action: "created",
    item: { kind: "folder", id, name: row.name },
    changes,
  });
}

/**
 * Hangs the root folder of a tenant below that of its new parent; in the transaction that moves the tenant, acting above
 * both. Paths and `changedAt` of all below follow.
 */
export async function moveTenantRoot(ctx: Context, tenantId: string, parentId: string): Promise<void> {
  const id = rootFolderOf(tenantId);
  await lockTree(ctx, id, true);
  const rows = monitoring.selectFrom("monitoring.folder").selectAll();
  const [before, parent] = await Promise.all([
    ctx.db.first(rows.where("id", "=", id).forUpdate()),
    ctx.db.first(rows.where("id", "=", rootFolderOf(parentId)).forShare()),
  ]);
  if (!before || !parent) throw new Error(`The root folders of ${tenantId} and ${parentId} are not both in reach.`);
  if (before.parent_id === parent.id) return;
  const after: FolderRow = {
    ...before,
    parent_id: parent.id,
    ...placed(id, before.name, before.customer_reference, parent),
    changed_at: new Date(Math.max(ctx.now.getTime(), before.changed_at.getTime())),
  };
  checkFields(after, parent);
  await ctx.db.run(monitoring.updateTable("monitoring.folder").set(changeable(after)).where("id", "=", id));
  await reshapeBelow(ctx, before, after);
  const changes = changesOf({ parentFolderId: before.parent_id }, { parentFolderId: parent.id }, ["parentFolderId"]);
  ctx.audit({ tenantId, type: "folder", action: "updated", item: { kind: "folder", id, name: before.name }, changes });
}

/** Takes a user that is being removed from all folders whose contact it is; in the transaction that removes it. */
export async function clearContact(ctx: Context, userId: string): Promise<void> {
  const found = await ctx.db.rows(
    monitoring
      .selectFrom("monitoring.folder")
      .selectAll()
      .where("contact_user_id", "=", userId)
      .where("deleted_at", "is", null)
      .orderBy("id")
      .forUpdate(),
  );
  for (const row of found) {
    const at = new Date(Math.max(ctx.now.getTime(), row.changed_at.getTime()));
    const after: FolderRow = {
      ...row,
      contact_user_id: null,
      updated_at: at,
      updated_by: ctx.who.actor.id,
      changed_at: at,
    };
    await ctx.db.run(monitoring.updateTable("monitoring.folder").set(changeable(after)).where("id", "=", row.id));
    const changes = changesOf({ contactUserId: userId }, null, ["contactUserId"]);
    ctx.audit({
      tenantId: row.tenant_id,
      type: "folder",
      action: "updated",
      item: { kind: "folder", id: row.id, name: row.name },
      changes,
    });
    await recordContact(ctx, row, after);
  }
}
