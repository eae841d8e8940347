/** Filters that folders and locations share (monitoring, 3.1). */
import { type RawBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { Fault } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { visibleFolders, visibleLocations } from "./scope.ts";

type TreeQuery = {
  name?: string;
  numericId?: number[];
  reference?: string;
  tenantId?: string[];
  updatedSince?: string;
  q?: string;
};

/** The faults of a list's filters: those given, and that of `tenantId`. */
export async function listFaults(ctx: Context, query: TreeQuery, others: Promise<Fault[]>[]): Promise<Fault[]> {
  const tenant = filterFaults("tenantId", "tnt", query.tenantId, (ids) => seenTenants(ctx, ids));
  return (await Promise.all([...others, tenant])).flat();
}

/** Tenants of which the caller sees something, and its own. */
async function seenTenants(ctx: Context, ids: string[]): Promise<{ id: string }[]> {
  const folders = visibleFolders(ctx).select("f.tenant_id as id").distinct().where("f.tenant_id", "in", ids);
  const locations = visibleLocations(ctx).select("l.tenant_id as id").distinct().where("l.tenant_id", "in", ids);
  return [{ id: ctx.who.acting.id }, ...(await ctx.db.rows<{ id: string }>(folders.union(locations)))];
}

/** The rows of table `alias` that these filters find. */
export function treeMatches(alias: "f" | "l", query: TreeQuery): RawBuilder<boolean>[] {
  const column = (name: string) => sql.ref(`${alias}.${name}`);
  const found: RawBuilder<boolean>[] = [];
  if (query.name !== undefined) found.push(sql`${column("name")} = ${query.name}`);
  if (query.numericId) found.push(sql`${column("numeric_id")} = any(${query.numericId}::integer[])`);
  if (query.reference !== undefined)
    found.push(sql`${column("reference")} is not distinct from nullif(${query.reference}, '')`);
  if (query.tenantId) found.push(sql`${column("tenant_id")} = any(${query.tenantId}::text[])`);
  if (query.updatedSince) found.push(sql`${column("changed_at")} >= ${new Date(query.updatedSince)}::timestamptz`);
  if (query.q) found.push(anyHolds(["name", "reference", "description"].map(column), query.q));
  return found;
}

/** Whether one of the columns holds the text, ignoring case. */
export function anyHolds(columns: RawBuilder<unknown>[], text: string): RawBuilder<boolean> {
  const ways = columns.map((column) => sql`strpos(lower(${column}), lower(${text}::text)) > 0`);
  return sql`(${sql.join(ways, sql` or `)})`;
}
