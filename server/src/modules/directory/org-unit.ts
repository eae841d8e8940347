import type { Context, MadeTenant } from "#kernel/contract";
import { newId } from "#kernel/ids";
import { directory } from "./tables.ts";

/** The key of the unit at the top of every tenant's structure. */
export const rootUnit = "ROOT";

/** Makes the root org unit of a tenant, with the tenant's name; harmless when it exists. */
export async function makeRootUnit(ctx: Context, tenant: Pick<MadeTenant, "id" | "name">): Promise<void> {
  await ctx.db.run(
    directory
      .insertInto("directory.orgunit")
      .values({
        tenant_id: tenant.id,
        id: newId("oun", ctx.now.getTime()),
        external_id: rootUnit,
        name: tenant.name,
        parent_id: null,
        created_at: ctx.now,
        updated_at: ctx.now,
      })
      .onConflict((conflict) => conflict.doNothing()),
  );
}
