import { isRead, type Permission, permissions, serviceOf, withImplied } from "./permissions.ts";
import { type Problem, permissionMissing, refuse } from "./problem.ts";

export type LaneName = "api" | "scim" | "publish";
/** A lane of a usage plan: token bucket (`ratePerSecond`, `burst`) and calls per local calendar day (null: no limit). */
export type Lane = { ratePerSecond: number; burst: number; perDay: number | null };
export type Plan = { id: string; name: string; lanes: Record<LaneName, Lane> };

/** What a call needs to know of a tenant, already worked out over its ancestors. Cached; never changed in place. */
export type TenantCard = {
  id: string;
  code: string;
  name: string;
  kind: "provider" | "partner" | "customer";
  parentId: string | null;
  /** Self first, then upwards to the root. */
  lineage: readonly string[];
  timeZone: string;
  suspended: boolean;
  features: ReadonlySet<string>;
  plan: Plan;
};

/** A node that an assignment is limited to. A tenant reaches itself and everything below it. */
export type Within = { kind: "tenant" | "folder" | "location" | "orgunit" | "groups" | "own"; id: string };
export type Grant = { permissions: ReadonlySet<Permission>; within: Within };

export type Actor = { kind: "user" | "client" | "key" | "system"; id: string; name: string };
export type Via = {
  kind: "key" | "token" | "session" | "job" | "link";
  id: string;
  hint: string | null;
  clientId: string | null;
  grantId: string | null;
};

/**
 * Who calls. Cached by credential and shared between calls: never changed in place. What is allowed is worked out per
 * call from `grants` and `scopes`, so a lowered role counts on the next call.
 */
export type Principal = {
  tenant: TenantCard;
  actor: Actor;
  onBehalfOf: { id: string; name: string } | null;
  via: Via;
  /** `*`, `read`, a service, `service:read`, or permissions (access, section 4). */
  scopes: readonly string[];
  readOnly: boolean;
  /** Users' tokens: when the person last proved who they are; null for keys and service accounts. */
  authTime: Date | null;
  grants: readonly Grant[];
  /** The one thing that a bound key acts for; its module lets it do nothing else. */
  bound?: { kind: string; id: string } | null;
  /** The tenant this call acts in: the credential's own, or the one named by `Demarc-Tenant`. */
  acting: TenantCard;
};

/** Whether the credential's scopes let it use a permission, whatever its actor holds. */
export function scopeCovers(scopes: readonly string[], permission: Permission): boolean {
  let opened = openedBy.get(scopes);
  if (!opened) {
    opened = opens(scopes);
    openedBy.set(scopes, opened);
  }
  return opened.has(permission);
}

/** By the very list, which lives as long as the principal that has it. */
const openedBy = new WeakMap<readonly string[], ReadonlySet<Permission>>();

/** Closed under implication, as roles are: what writing brings with it in a role, a scope for writing opens too. */
function opens(scopes: readonly string[]): ReadonlySet<Permission> {
  return withImplied(
    permissions.filter((permission) =>
      scopes.some(
        (scope) =>
          scope === "*" ||
          scope === permission ||
          scope === serviceOf(permission) ||
          (isRead(permission) && (scope === "read" || scope === `${serviceOf(permission)}:read`)),
      ),
    ),
  );
}

/** Whether scopes open nothing but reads: such a credential changes nothing, whatever a route asks for. */
export function onlyReads(scopes: readonly string[]): boolean {
  return permissions.every((permission) => isRead(permission) || !scopeCovers(scopes, permission));
}

/**
 * Where the caller holds a permission, seen from the acting tenant: everywhere in it (`all`), or only within some nodes.
 * An empty list of nodes: nowhere. A grant at a tenant below the acting one stays a node of its own.
 */
export function reachOf(who: Principal, permission: Permission): { all: boolean; nodes: Within[] } {
  const nodes: Within[] = [];
  if (!scopeCovers(who.scopes, permission)) return { all: false, nodes };
  for (const grant of who.grants) {
    if (!grant.permissions.has(permission)) continue;
    if (grant.within.kind !== "tenant") nodes.push(grant.within);
    else if (who.acting.lineage.includes(grant.within.id)) return { all: true, nodes: [] };
    else nodes.push(grant.within);
  }
  return { all: false, nodes };
}

/** Whether the caller holds a permission anywhere in reach. */
export function holds(who: Principal, permission: Permission): boolean {
  return scopeCovers(who.scopes, permission) && actorHolds(who, permission);
}

/** Whether the actor holds a permission anywhere in reach, whatever the credential's scopes. */
export function actorHolds(who: Principal, permission: Permission): boolean {
  return who.grants.some((grant) => grant.permissions.has(permission));
}

/** Whether the caller holds a permission in the whole of a tenant. */
export function holdsIn(who: Principal, permission: Permission, tenant: Pick<TenantCard, "lineage">): boolean {
  if (!scopeCovers(who.scopes, permission)) return false;
  return who.grants.some(
    (grant) =>
      grant.within.kind === "tenant" && tenant.lineage.includes(grant.within.id) && grant.permissions.has(permission),
  );
}

/** The refusal for a permission that is not held, naming it. */
export function lacking(permission: Permission): Problem {
  return refuse(permissionMissing, {
    detail: `This call needs the permission ${permission}.`,
    members: { permission },
  });
}
