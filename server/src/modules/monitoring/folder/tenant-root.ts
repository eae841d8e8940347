import { changesOf } from "#kernel/audit";
import type { Context, MadeTenant } from "#kernel/contract";
import { drawNumericId } from "../numeric-id.ts";
import { rootFolderOf } from "../scope.ts";
import { type FolderRow, monitoring } from "../tables.ts";
import { placed, stampsOf } from "./store.ts";

/**
 * Makes the root folder of a tenant, below that of its parent; in the transaction that makes the tenant, acting in the
 * parent, whose folders must be visible. Nothing happens where it exists: the installation's own root is asked for at
 * every start.
 */
export async function makeTenantRoot(ctx: Context, tenant: MadeTenant): Promise<void> {
  const id = rootFolderOf(tenant.id);
  const ids = tenant.parentId === null ? [id] : [id, rootFolderOf(tenant.parentId)];
  const found = await ctx.db.rows(monitoring.selectFrom("monitoring.folder").selectAll().where("id", "in", ids).forShare());
  if (found.some((row) => row.id === id)) return;
  const parent = found[0] ?? null;
  if (tenant.parentId !== null && !parent) throw new Error(`The tenant ${tenant.parentId} has no root folder in reach.`);
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
  const insert = monitoring.insertInto("monitoring.folder").values(row).onConflict((conflict) => conflict.column("id").doNothing());
  if ((await ctx.db.run(insert)) === 0) return;
  const changes = changesOf(null, { name: row.name, category: row.category, timeZone: row.time_zone }, ["name", "category", "timeZone"]);
  ctx.audit({ tenantId: tenant.id, type: "folder", action: "created", item: { kind: "folder", id, name: row.name }, changes });
}
