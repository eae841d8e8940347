import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { idsOf, type Lineage } from "./lineage.ts";

/** A tenant with all above it; undefined where the caller cannot see the tenant. */
export async function lineageOf(ctx: Pick<Context, "db">, tenantId: string): Promise<string[] | undefined> {
  const row = await ctx.db.first(
    query<{ lineage: Lineage | null }>(sql`select access.lineage(${tenantId}) as lineage`),
  );
  return row?.lineage ? idsOf(row.lineage) : undefined;
}
