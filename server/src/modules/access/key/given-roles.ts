/** Roles that are given to a key or client together with its making: read, checked, and stored as its assignments. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { idKind, newId } from "#kernel/ids";
import { type Permission, permissions, serviceOf } from "#kernel/permissions";
import type { Within } from "#kernel/principal";
import { type Fault, referenceNotFound } from "#kernel/problem";
import { nearest } from "#kernel/validate";
import type { GivenRole } from "../hand-out.ts";
import { allowedBy, builtInRoles, heldWithin } from "../roles.ts";
import { access } from "../tables.ts";
import type { RoleFound } from "./rows.ts";
import type { NewRole } from "./schema.ts";

type Holder = { tenantId: string; kind: "key" | "client"; integration?: boolean };
/** A role as it is stored, with what it opens. */
export type ReadRole = RoleFound & GivenRole;

/** Held by the root's own credentials, or by bound keys alone. */
const reserved: ReadonlySet<string> = new Set(["provider_administrator", "application", "endpoint"]);
const prefixOfKind: Partial<Record<Within["kind"], string>> = { folder: "fld", location: "loc", orgunit: "oun" };

/**
 * The roles of a body for a principal of `holder.tenantId`. Faults point below `/roles`; all are found at once. A
 * permission may count anywhere in that tenant and below it.
 */
export async function readRoles(
  ctx: Context,
  holder: Holder,
  given: readonly NewRole[],
): Promise<{ roles: ReadRole[]; faults: Fault[] }> {
  const wanted: RoleFound[] = given.map(({ roleId, within }) => ({
    roleId,
    within: { kind: within?.kind ?? kindOf(roleId), id: within?.id ?? holder.tenantId },
  }));
  const tenantIds = wanted.filter(({ within }) => within.kind === "tenant").map(({ within }) => within.id);
  const [custom, lineages] = await Promise.all([
    customRoles(
      ctx,
      wanted.map(({ roleId }) => roleId),
      holder.tenantId,
    ),
    lineagesOf(ctx, [holder.tenantId, ...tenantIds]),
  ]);
  const own = lineages.get(holder.tenantId)!;
  const faults: Fault[] = [];
  const roles: ReadRole[] = [];
  const seen = new Set<string>();
  for (const [index, { roleId, within }] of wanted.entries()) {
    const pointer = `/roles/${index}`;
    const held = builtInRoles.get(roleId) ?? custom.get(roleId);
    const lineage = within.kind === "tenant" ? lineages.get(within.id) : own;
    if (!held) faults.push(unknownRole(`${pointer}/roleId`, roleId));
    else if (!mayHold(holder, roleId, held, own)) {
      const message = `A credential of this kind cannot hold ${roleId}.`;
      faults.push({ pointer: `${pointer}/roleId`, rule: "not_supported", message });
    }
    const expected = within.kind === "tenant" ? "tnt" : prefixOfKind[within.kind];
    if (expected && idKind(within.id) !== expected) {
      const message = `Must be the id of a ${within.kind}.`;
      faults.push({ pointer: `${pointer}/within/id`, rule: "id_kind", message });
    } else if (!lineage?.includes(holder.tenantId)) {
      faults.push(referenceNotFound({ pointer: `${pointer}/within/id` }));
    }
    const name = `${roleId} ${within.kind} ${within.id}`;
    if (seen.has(name))
      faults.push({ pointer, rule: "not_unique", message: "This role is given twice at this place." });
    seen.add(name);
    roles.push({ roleId, within, permissions: heldWithin(held ?? new Set(), within.kind), lineage: lineage ?? own });
  }
  return { roles, faults };
}

/** Two of the desk's roles never count for all of a tenant. */
function kindOf(roleId: string): Within["kind"] {
  return roleId === "support_rep" ? "groups" : roleId === "requester" ? "own" : "tenant";
}

function unknownRole(pointer: string, roleId: string): Fault {
  if (idKind(roleId) === "rol") return referenceNotFound({ pointer });
  const hint = nearest(roleId, [...builtInRoles.keys()]);
  return { pointer, rule: "not_found", message: "There is no role of this name.", ...(hint ? { hint } : {}) };
}

function mayHold(holder: Holder, roleId: string, held: ReadonlySet<Permission>, lineage: readonly string[]): boolean {
  if (roleId === "provider_administrator") return lineage.length === 1 && !holder.integration;
  if (reserved.has(roleId)) return false;
  if (!holder.integration || roleId === "desk_administrator") return true;
  return [...held].every((permission) => serviceOf(permission) === "desk");
}

/** What custom roles open: the holder's tenant's own, and those that a tenant above it shares. */
async function customRoles(ctx: Context, roleIds: string[], tenantId: string) {
  const ids = roleIds.filter((roleId) => idKind(roleId) === "rol");
  if (ids.length === 0) return new Map<string, ReadonlySet<Permission>>();
  const rows = await ctx.db.rows(
    access
      .selectFrom("access.role")
      .select(["id", "permissions"])
      .where("id", "in", ids)
      .where((where) => where.or([where("tenant_id", "=", tenantId), where("shared", "=", true)])),
  );
  return new Map(rows.map((row) => [row.id, opened(row.permissions)]));
}

function opened(switches: Record<string, string> | null): ReadonlySet<Permission> {
  // A role behind the wall cannot be read: it counts as everything, so that nobody hands it out unseen.
  return switches === null ? new Set(permissions) : allowedBy(switches);
}

/** Each tenant that the caller reaches, with all above it. */
async function lineagesOf(ctx: Context, tenantIds: readonly string[]): Promise<Map<string, readonly string[]>> {
  const { acting } = ctx.who;
  const rows = await ctx.db.rows(
    query<{ id: string; chain: string[] }>(sql`
      with recursive up (start, id, parent_id, depth) as (
        select id, id, parent_id, 0 from access.tenant where id = any(${[...new Set(tenantIds)]})
        union all select up.start, t.id, t.parent_id, up.depth + 1 from up join access.tenant t on t.id = up.parent_id)
      select start as id, array_agg(id order by depth) as chain from up group by start`),
  );
  // The wall ends every chain at the acting tenant.
  return new Map(rows.map(({ id, chain }) => [id, [...chain, ...acting.lineage.slice(1)]]));
}

/** Replaces the roles of a key or client; what stays is left alone. */
export async function storeRoles(
  ctx: Context,
  holder: { tenantId: string; kind: "key" | "client"; id: string },
  before: readonly RoleFound[],
  after: readonly RoleFound[],
): Promise<void> {
  const same = (a: RoleFound) => (b: RoleFound) =>
    a.roleId === b.roleId && a.within.kind === b.within.kind && a.within.id === b.within.id;
  const taken = before.filter((role) => !after.some(same(role)));
  const added = after.filter((role) => !before.some(same(role)));
  if (taken.length > 0) {
    await ctx.db.run(
      access
        .deleteFrom("access.assignment")
        .where("principal_id", "=", holder.id)
        .where((where) =>
          where.or(
            taken.map(({ roleId, within }) =>
              where.and({ role_id: roleId, within_kind: within.kind, within_id: within.id }),
            ),
          ),
        ),
    );
  }
  if (added.length === 0) return;
  await ctx.db.run(
    access.insertInto("access.assignment").values(
      added.map(({ roleId, within }) => ({
        tenant_id: holder.tenantId,
        id: newId("asg"),
        principal_kind: holder.kind,
        principal_id: holder.id,
        role_id: roleId,
        within_kind: within.kind,
        within_id: within.id,
        created_at: ctx.now,
        created_by: ctx.who.actor.id,
      })),
    ),
  );
}

/** What a principal holds by its assignments, for the check of who gets at its credential. */
export async function heldBy(ctx: Context, tenantId: string, principalId: string): Promise<GivenRole[]> {
  const rows = await ctx.db.rows(
    query<{ role: string; custom: Record<string, string> | null; kind: Within["kind"]; id: string }>(sql`
      select a.role_id as role, r.permissions as custom, a.within_kind as kind, a.within_id as id
      from access.assignment a left join access.role r on r.id = a.role_id where a.principal_id = ${principalId}`),
  );
  const tenantIds = rows.filter(({ kind }) => kind === "tenant").map(({ id }) => id);
  const lineages = await lineagesOf(ctx, [tenantId, ...tenantIds]);
  return rows.map(({ role, custom, kind, id }) => ({
    permissions: heldWithin(builtInRoles.get(role) ?? opened(custom), kind),
    within: { kind, id },
    lineage: (kind === "tenant" ? lineages.get(id) : undefined) ?? lineages.get(tenantId) ?? [],
  }));
}
