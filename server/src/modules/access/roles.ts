/** The built-in roles (access, section 3). They are code: nobody edits them, and every installation has the same. */
import {
  isPermission,
  type Permission,
  permissions,
  providerOnly,
  type Service,
  serviceOf,
  withImplied,
} from "#kernel/permissions";
import type { Within } from "#kernel/principal";

const inService = (...names: string[]) => permissions.filter((name) => names.includes(serviceOf(name)!));
const without = (from: readonly Permission[], ...names: Permission[]) => from.filter((name) => !names.includes(name));

const desk = inService("desk");
/** What the read-only role and those of integrations leave out of the register of persons. */
const sensitive = ["person.readSensitive", "person.writeSensitive", "person.readConfidential"] as const;
const integration = ["monitoring", "desk", "directory", "exchange", "export", "notifications"];

const held: Record<string, readonly Permission[]> = {
  provider_administrator: permissions,
  tenant_administrator: permissions.filter((name) => !providerOnly.has(name)),
  provisioner: without(inService("monitoring"), "watch.approve", "report.read", "application.write"),
  read_only: [
    ...inService(...integration).filter((name) => name.endsWith(".read")),
    "notification.subscribe",
    "tenant.read",
    "usage.read",
  ],
  desk_administrator: [...desk, "key.read", "key.issue", "key.manage"],
  // desk.md 5.1: SDCo-ordinator and SDGuest.
  support_rep: [
    ...without(
      desk.filter((name) => name.startsWith("request.")),
      "request.due",
      "request.delete",
      "request.purge",
      "request.merge",
    ),
    "note.write",
    "worklog.write",
    "resolution.write",
    "reply.send",
    "attachment.write",
    "contact.read",
    "lookup.read",
    "record.read",
    "record.write",
  ],
  requester: ["request.self", "lookup.read"],
  directory_manager: without(inService("directory"), ...sensitive),
  integrator: [
    ...without(inService(...integration), ...sensitive, "desk.admin", "exchange.application.approve"),
    "tenant.read",
    "usage.read",
  ],
  api_manager: [...permissions.filter((name) => /^(key|client)\./.test(name)), "usage.read", "activity.read"],
  auditor: [...permissions.filter((name) => name.startsWith("audit.")), "activity.read", "loginReport.read"],
};

/** The permissions of each built-in role, closed under implication. `provider_administrator` is given in the root only. */
export const builtInRoles: ReadonlyMap<string, ReadonlySet<Permission>> = new Map(
  Object.entries(held).map(([name, list]) => [name, withImplied(list)]),
);

/** What a custom role's switches grant: only `allow` does, and a name that this release no longer knows grants nothing. */
export function allowedBy(switches: Record<string, string>): ReadonlySet<Permission> {
  return withImplied(
    Object.keys(switches).filter((name): name is Permission => switches[name] === "allow" && isPermission(name)),
  );
}

/** What an assignment may be limited to besides a tenant, by service; in the directory, records alone know org units. */
const knownWithin: Partial<Record<Service, readonly Within["kind"][]>> = {
  monitoring: ["folder", "location"],
  desk: ["groups", "own"],
  directory: ["orgunit"],
};

/** The part of a role that counts within a node of this kind: a service that does not know the kind gives nothing. */
export function heldWithin(role: ReadonlySet<Permission>, kind: Within["kind"]): ReadonlySet<Permission> {
  if (kind === "tenant") return role;
  const known = [...role].filter((name) => knownWithin[serviceOf(name)!]?.includes(kind));
  return new Set(kind === "orgunit" ? known.filter((name) => name.startsWith("person.")) : known);
}
