import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { problem } from "#kernel/problem";

export const tenantDeleting = problem("tenant_deleting", 409, "The tenant is being deleted.");

/**
 * Holds the tree of tenants until the end of the transaction: `alone` to move or delete one, else to make one. Taken
 * before any row of it, so that nobody who holds it waits for somebody who wants it.
 */
export async function lockTree(ctx: Pick<Context, "db">, alone: boolean): Promise<void> {
  await ctx.db.run(query(sql`select access.lock_tree(${alone})`));
}
