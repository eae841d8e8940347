/** Roles that are given to a key or client together with its making: read, checked, and stored as its assignments. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { newId } from "#kernel/ids";
import { permissions } from "#kernel/permissions";
import { scopeCovers, type Within } from "#kernel/principal";
import { type Fault, Problem } from "#kernel/problem";
import { findPlace, findRole } from "../assignment/given.ts";
import type { GivenRole } from "../hand-out.ts";
import { allowedBy, builtInRoles, heldWithin } from "../roles.ts";
import { access } from "../tables.ts";
import { lineageOf } from "../tenant/lineage-of.ts";
import type { RoleFound } from "./rows.ts";
import type { NewRole } from "./schema.ts";

type Holder = { tenantId: string; kind: "key" | "client"; id: string; deskOnly: boolean };
/** A role as it is stored, with what it opens. */
export type ReadRole = RoleFound & GivenRole;

/** The roles of a body for a key or client, by the rules of assignments. Faults point below `/roles`; all are found at once. */
export async function readRoles(
  ctx: Context,
  holder: Holder,
  given: readonly NewRole[],
): Promise<{ roles: ReadRole[]; faults: Fault[] }> {
  const lineage = (await lineageOf(ctx, holder.tenantId))!;
  const read = await Promise.all(given.map((role, index) => readRole(ctx, { ...holder, lineage }, role, index)));
  const faults = read.flatMap((one) => (Array.isArray(one) ? one : []));
  const roles = read.flatMap((one) => (Array.isArray(one) ? [] : [one]));
  const seen = new Set<string>();
  for (const [index, { roleId, within }] of roles.entries()) {
    const name = `${roleId} ${within.kind} ${within.id}`;
    const pointer = `/roles/${index}`;
    if (seen.has(name))
      faults.push({ pointer, rule: "not_unique", message: "This role is given twice at this place." });
    seen.add(name);
  }
  return { roles, faults };
}

async function readRole(
  ctx: Context,
  holder: Holder & { lineage: string[] },
  { roleId, within: given }: NewRole,
  index: number,
): Promise<ReadRole | Fault[]> {
  try {
    const role = await findRole(ctx, roleId, holder);
    const { within, lineage } = await findPlace(ctx, given, holder, role);
    return { roleId: role.id, within, permissions: heldWithin(role.permissions, within.kind), lineage };
  } catch (error) {
    const faults = error instanceof Problem ? error.refusal.errors : undefined;
    if (!faults) throw error;
    return faults.map((fault) => ({ ...fault, pointer: `/roles/${index}${fault.pointer}` }));
  }
}

/** Whether this very role at this very place is among them: `groups`, `own` and `tenant` all bear the tenant's id. */
export function isAmong(roles: readonly RoleFound[], { roleId, within }: RoleFound): boolean {
  return roles.some((one) => one.roleId === roleId && one.within.kind === within.kind && one.within.id === within.id);
}

/** Replaces the roles of a key or client; what stays is left alone. */
export async function storeRoles(
  ctx: Context,
  holder: { tenantId: string; kind: "key" | "client"; id: string },
  before: readonly RoleFound[],
  after: readonly RoleFound[],
): Promise<void> {
  const taken = before.filter((role) => !isAmong(after, role));
  const added = after.filter((role) => !isAmong(before, role));
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

/** What of some roles scopes kept shut until now: other scopes hand out that much. */
export function opened(roles: readonly GivenRole[], scopes: readonly string[]): GivenRole[] {
  return roles.map((role) => ({
    ...role,
    permissions: new Set([...role.permissions].filter((name) => !scopeCovers(scopes, name))),
  }));
}

/** What a principal holds by its assignments, for the check of who gets at its credential. */
export async function heldBy(ctx: Context, tenantId: string, principalId: string): Promise<GivenRole[]> {
  const rows = await ctx.db.rows(
    query<{ role: string; custom: Record<string, string> | null; kind: Within["kind"]; id: string }>(sql`
      select a.role_id as role, r.permissions as custom, a.within_kind as kind, a.within_id as id
      from access.assignment a left join access.role r on r.id = a.role_id where a.principal_id = ${principalId}`),
  );
  const own = (await lineageOf(ctx, tenantId)) ?? [];
  return Promise.all(
    rows.map(async ({ role, custom, kind, id }) => {
      // A role behind the wall cannot be read: it counts as everything, so that nobody hands it out unseen.
      const whole = builtInRoles.get(role) ?? (custom ? allowedBy(custom) : new Set(permissions));
      const lineage = kind === "tenant" && id !== tenantId ? await lineageOf(ctx, id) : own;
      return { permissions: heldWithin(whole, kind), within: { kind, id }, lineage: lineage ?? own };
    }),
  );
}
