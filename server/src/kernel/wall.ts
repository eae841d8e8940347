import { type RawBuilder, sql } from "kysely";
import type { Permission } from "./permissions.ts";
import { type Principal, reachOf } from "./principal.ts";

/**
 * The tenant wall in a query: rows whose tenant is the acting one or below it. It stands in the `visible` of every
 * resource, once; the row policies of the database say the same again, should one ever be forgotten.
 * `column` is the row's tenant id, such as `sql.ref("w.tenant_id")`.
 */
export function inActing(who: Principal, column: RawBuilder<unknown>): RawBuilder<boolean> {
  // A customer has nobody below it: an equality, which its indexes begin with.
  if (who.acting.kind === "customer") return sql`${column} = ${who.acting.id}`;
  return sql`${column} in (select tenant_id from access.tenant_ancestor where ancestor_id = ${who.acting.id})`;
}

/**
 * The wall for a permission that may be held within parts of the acting tenant: `within` says, per kind of node, which
 * rows lie in one of these nodes. Nodes of a kind that it does not know give nothing.
 */
export function inReach(
  who: Principal,
  permission: Permission,
  column: RawBuilder<unknown>,
  within: Partial<Record<string, (ids: string[]) => RawBuilder<boolean>>> = {},
): RawBuilder<boolean> {
  const { all, nodes } = reachOf(who, permission);
  if (all) return inActing(who, column);
  const ways: RawBuilder<boolean>[] = [];
  for (const kind of new Set(nodes.map((node) => node.kind))) {
    const ids = nodes.filter((node) => node.kind === kind).map((node) => node.id);
    if (kind === "tenant")
      ways.push(sql`${column} in (select tenant_id from access.tenant_ancestor where ancestor_id = any(${ids}))`);
    else if (within[kind]) ways.push(within[kind](ids));
  }
  if (ways.length === 0) return sql`false`;
  return sql`(${inActing(who, column)} and (${sql.join(ways, sql` or `)}))`;
}
