/** Nobody hands out more than they hold (access, section 3): roles, keys, clients, and the credentials of others. */
import type { Context } from "#kernel/contract";
import type { Permission } from "#kernel/permissions";
import { type Grant, type Principal, scopeCovers, type Within } from "#kernel/principal";
import { problem, refuse } from "#kernel/problem";
import { builtInRoles } from "./roles.ts";

export const grantExceedsOwn = problem("grant_exceeds_own", 403, "This would hand out more than the caller holds.");

/** Permissions at a place, as somebody is to get them. `lineage`: the tenant of the place, then all above it. */
export type GivenRole = { permissions: ReadonlySet<Permission>; within: Within; lineage: readonly string[] };

/** What `key.issue` and `client.manage` carry the right to hand out. */
const carried = new Set([...builtInRoles.get("integrator")!, ...builtInRoles.get("read_only")!]);

/** Refuses with 403 what exceeds the caller's own. Only permissions that `scopes` cover count: the others stay shut. */
export function requireMayHandOut(
  ctx: Pick<Context, "who">,
  roles: readonly GivenRole[],
  scopes: readonly string[] = ["*"],
): void {
  const exceeding = new Set<Permission>();
  for (const role of roles) {
    for (const permission of role.permissions) {
      if (scopeCovers(scopes, permission) && !mayHandOut(ctx.who, permission, role)) exceeding.add(permission);
    }
  }
  if (exceeding.size > 0) throw exceeds(exceeding);
}

/** Refuses with 403 what the caller does not hold itself at the place: nothing is carried by the right to issue keys. */
export function requireHolds({ who }: Pick<Context, "who">, role: GivenRole): void {
  const lacking = [...role.permissions].filter(
    (name) => !scopeCovers(who.scopes, name) || !holdsAt(who.grants, name, role),
  );
  if (lacking.length > 0) throw exceeds(lacking);
}

function exceeds(exceeding: Iterable<Permission>) {
  const permissions = [...exceeding].sort();
  return refuse(grantExceedsOwn, {
    detail: `You do not hold ${permissions.slice(0, 5).join(", ")}${permissions.length > 5 ? " and others" : ""} there.`,
    members: { permissions },
  });
}

type Place = Pick<GivenRole, "within" | "lineage">;

function mayHandOut(who: Principal, permission: Permission, place: Place): boolean {
  // What a credential is shut out of by its own scopes, it opens for no other one.
  if (!scopeCovers(who.scopes, permission)) return false;
  if (holdsAt(who.grants, permission, place)) return true;
  if (!carried.has(permission)) return false;
  const carrying = who.grants.filter((grant) => !isForDeskKeysOnly(grant));
  return (["key.issue", "client.manage"] as const).some(
    (name) => scopeCovers(who.scopes, name) && holdsAt(carrying, name, place),
  );
}

function holdsAt(grants: readonly Grant[], permission: Permission, { within, lineage }: Place): boolean {
  return grants.some(
    (grant) =>
      grant.permissions.has(permission) &&
      (grant.within.kind === "tenant"
        ? lineage.includes(grant.within.id)
        : grant.within.kind === within.kind && grant.within.id === within.id),
  );
}

/** `desk_administrator` holds its `key.*` over rep and integration keys only. The set of a built-in role is one object. */
export function isForDeskKeysOnly(grant: Grant): boolean {
  return grant.permissions === builtInRoles.get("desk_administrator");
}
