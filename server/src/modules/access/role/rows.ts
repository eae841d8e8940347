/** Custom roles as rows, and as those see them who may (access, section 3). The faces of them are the directory's. */
import { type RawBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { isId } from "#kernel/ids";
import { readPage } from "#kernel/page";
import { holds, type Principal } from "#kernel/principal";
import { invalid } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { inReach } from "#kernel/wall";
import { fold } from "#modules/directory";
import { builtInRoles } from "../roles.ts";
import { access, type RoleRow } from "../tables.ts";
import { visibleTenants } from "../tenant/rows.ts";
import { type Switches, switchesOf } from "./switches.ts";

/** `role`: given at places. `privilege`: given in a whole tenant. */
export type RoleFace = "role" | "privilege";
export type CustomRole = {
  id: string;
  /** null: of a tenant above, which shares it. */
  tenantId: string | null;
  externalId: string;
  name: string;
  permissions: Switches;
  shared: boolean;
  createdAt: string;
  updatedAt: string;
};

const prefixes = { role: "rol", privilege: "spv" } as const;
/** The privilege that every tenant has and nobody changes: the built-in role `tenant_administrator`. */
export const administrator = "Administrator";
export const isAdministrator = (name: string) => fold(name) === fold(administrator);

/** The built-in role that an id of a privilege stands for; undefined for those of custom ones. */
export function builtInOf(roleId: string, tenantId: string): string | undefined {
  return roleId === tenantId.replace(/^tnt_/, "spv_") ? "tenant_administrator" : undefined;
}

type Found = Pick<
  RoleRow,
  "id" | "tenant_id" | "external_id" | "name" | "permissions" | "shared" | "created_at" | "updated_at"
> & {
  fixed: boolean;
};

/** Rows of a face, of the acting tenant and below, and those that a tenant above shares. */
function rowsOf(who: Principal, face: RoleFace) {
  const columns = sql`id, tenant_id, external_id, name, name_key, permissions, shared, created_at, updated_at`;
  const fixed = sql`union all select replace(id, 'tnt_', 'spv_'), id, replace(id, 'tnt_', 'spv_'), ${administrator}, ${fold(administrator)},
    '{}'::jsonb, false, created_at, created_at, true from access.tenant`;
  const all = sql<
    Found & { name_key: string | null }
  >`(select ${columns}, false as fixed from access.role where face = ${face}
    ${face === "privilege" ? fixed : sql``})`;
  const above = who.acting.lineage.slice(1);
  const shared = sql`(r.shared and ${holds(who, "role.read")} and r.tenant_id = any(${above}))`;
  return access
    .selectFrom(all.as("r"))
    .selectAll("r")
    .where(sql<boolean>`(${inReach(who, "role.read", sql.ref("r.tenant_id"))} or ${shared})`);
}

/** By our id, or by the caller's own key in the acting tenant. */
function named(who: Principal, face: RoleFace, key: string): RawBuilder<boolean> {
  if (isId(prefixes[face], key)) return sql<boolean>`r.id = ${key}`;
  const own = face === "role" ? sql`r.external_id = ${key}` : sql`r.name_key = ${fold(key)}`;
  return sql<boolean>`(r.tenant_id = ${who.acting.id} and ${own})`;
}

function roleOf(row: Found, who: Principal): CustomRole {
  const isAbove = who.acting.lineage.indexOf(row.tenant_id) > 0;
  const allOf = (name: string) => Object.fromEntries([...builtInRoles.get(name)!].map((one) => [one, "allow"]));
  return {
    id: row.id,
    tenantId: isAbove ? null : row.tenant_id,
    externalId: row.external_id,
    name: row.name,
    permissions: switchesOf(row.fixed ? allOf("tenant_administrator") : row.permissions),
    shared: row.shared,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

export type RoleFilters = {
  tenantId?: string[];
  externalId?: string[];
  name?: string;
  shared?: boolean;
  updatedSince?: string;
  q?: string;
};
type ListInput = RoleFilters & { limit?: number; cursor?: string; sort?: string[]; count?: boolean };

export async function listCustomRoles(ctx: Context, face: RoleFace, input: ListInput) {
  const faults = await filterFaults("tenantId", "tnt", input.tenantId, (ids) =>
    ctx.db.rows(visibleTenants(ctx, "role.read").where("t.id", "in", ids)),
  );
  if (faults.length > 0) throw invalid(faults);
  let rows = rowsOf(ctx.who, face);
  if (input.tenantId) rows = rows.where("r.tenant_id", "in", input.tenantId);
  if (input.externalId)
    rows = rows.where("r.tenant_id", "=", ctx.who.acting.id).where("r.external_id", "in", input.externalId);
  if (input.name !== undefined) rows = rows.where("r.name_key", "=", fold(input.name));
  if (input.shared !== undefined) rows = rows.where("r.shared", "=", input.shared);
  if (input.updatedSince) rows = rows.where("r.updated_at", ">=", new Date(input.updatedSince));
  if (input.q) {
    const text = sql`lower(normalize(concat_ws(chr(10), r.name, r.external_id), NFC))`;
    rows = rows.where(sql<boolean>`strpos(${text}, lower(normalize(${input.q}, NFC))) > 0`);
  }
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("r.created_at"), updatedAt: sql.ref("r.updated_at"), name: sql.ref("r.name") },
    by: "createdAt",
    id: sql.ref("r.id"),
    item: (row) => roleOf(row as Found, ctx.who),
  });
}

/** The role of this key as the caller sees it; undefined where there is none for it. */
export async function findCustomRole(ctx: Context, face: RoleFace, key: string): Promise<CustomRole | undefined> {
  const row = await ctx.db.first(rowsOf(ctx.who, face).where(named(ctx.who, face, key)));
  return row && roleOf(row as Found, ctx.who);
}
