/** The built-in roles (access, section 3). They are code: nobody edits them, and every installation has the same. */
import { type Permission, permissions, providerOnly, serviceOf, withImplied } from "#kernel/permissions";

const inService = (...names: string[]) => permissions.filter((name) => names.includes(serviceOf(name)!));
const without = (from: readonly Permission[], ...names: Permission[]) => from.filter((name) => !names.includes(name));

const desk = inService("desk");
const integration = ["monitoring", "desk", "directory", "exchange", "export", "notifications"];

const held: Record<string, readonly Permission[]> = {
  provider_administrator: permissions,
  tenant_administrator: permissions.filter((name) => !providerOnly.has(name)),
  provisioner: without(inService("monitoring"), "watch.approve", "report.read", "application.write"),
  read_only: [
    ...permissions.filter((name) => /\.read$/.test(name) && !inService("access", "notifications").includes(name)),
    "notification.subscribe",
    "tenant.read",
    "usage.read",
  ],
  desk_administrator: [...desk, "key.read", "key.issue", "key.manage"],
  support_rep: without(
    desk,
    "request.delete",
    "request.purge",
    "request.self",
    "callback.manage",
    "lookup.write",
    "record.delete",
    "desk.admin",
  ),
  requester: ["request.self", "request.create"],
  directory_manager: without(
    inService("directory"),
    "person.readSensitive",
    "person.writeSensitive",
    "person.readConfidential",
  ),
  integrator: [
    ...without(
      inService(...integration),
      "person.readSensitive",
      "person.writeSensitive",
      "person.readConfidential",
      "desk.admin",
      "exchange.application.approve",
    ),
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
