import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { problem } from "#kernel/problem";

export const tenantDeleting = problem("tenant_deleting", 409, "The tenant is being deleted.");

/**
 * Holds the tree of tenants until the end of the transaction: `alone` to move or delete one, else to make one, or to give
 * a tenant something of one above (a role, a plan): who moves it then sees what was given, or was there before. Taken
 * before any row, so that nobody who holds it waits for somebody who wants it.
 */
export async function lockTree(ctx: Pick<Context, "db">, alone: boolean): Promise<void> {
  await ctx.db.run(query(sql`select access.lock_tree(${alone})`));
}
