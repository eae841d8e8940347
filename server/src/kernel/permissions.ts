/**
 * Every permission of the installation (specification: access, section 3). They are listed in one place because roles,
 * scopes, routes, the sweep test and the documents must all mean the same thing; the service is the module that asks for it.
 */
const byService = {
  monitoring: [
    "watch.read",
    "pending.read",
    "watch.write",
    "watch.activate",
    "watch.approve",
    "folder.read",
    "folder.write",
    "maintenance.write",
    "report.read",
    "application.write",
  ],
  desk: [
    "request.read",
    "request.create",
    "request.update",
    "request.assign",
    "request.close",
    "request.due",
    "request.delete",
    "request.purge",
    "request.merge",
    "request.self",
    "note.write",
    "worklog.write",
    "resolution.write",
    "reply.send",
    "attachment.write",
    "callback.manage",
    "contact.read",
    "contact.write",
    "lookup.read",
    "lookup.write",
    "record.read",
    "record.write",
    "record.delete",
    "desk.admin",
  ],
  directory: [
    "user.read",
    "user.write",
    "orgunit.read",
    "orgunit.write",
    "role.read",
    "role.write",
    "licence.read",
    "licence.write",
    "directory.configure",
    "scim.provision",
    "person.read",
    "person.write",
    "person.readSensitive",
    "person.writeSensitive",
    "person.readConfidential",
  ],
  exchange: [
    "exchange.application.read",
    "exchange.application.write",
    "exchange.application.publish",
    "exchange.application.approve",
    "exchange.supplier.write",
    "exchange.endpoint.read",
    "exchange.endpoint.write",
    "exchange.key.read",
    "exchange.key.write",
    "exchange.subscription.read",
    "exchange.subscription.write",
    "exchange.event.read",
    "exchange.delivery.read",
    "exchange.delivery.replay",
    "exchange.identity.read",
    "exchange.identity.write",
    "exchange.setting.write",
  ],
  access: [
    "tenant.read",
    "tenant.create",
    "tenant.manage",
    "tenant.suspend",
    "tenant.delete",
    "plan.read",
    "plan.manage",
    "plan.assign",
    "usage.read",
    "role.assign",
    "key.read",
    "key.issue",
    "key.manage",
    "client.read",
    "client.manage",
    "token.introspect",
    "session.read",
    "session.end",
    "authPolicy.manage",
    "mfa.reset",
    "activity.read",
    "loginReport.read",
    "audit.read",
    "audit.readAccess",
    "signingKey.manage",
  ],
  notifications: [
    "notification.subscribe",
    "notification.manage",
    "webhook.read",
    "webhook.manage",
    "webhook.replay",
    "operation.read",
    "operation.cancel",
  ],
  export: ["export.run"],
} as const;

export type Service = keyof typeof byService;
export type Permission = (typeof byService)[Service][number];

const serviceByPermission = new Map<string, Service>();
for (const [service, names] of Object.entries(byService)) {
  for (const name of names) serviceByPermission.set(name, service as Service);
}

export const services = Object.keys(byService) as Service[];
export const permissions = [...serviceByPermission.keys()] as Permission[];

/** The service that owns a permission, or undefined when no permission has this name. */
export function serviceOf(name: string): Service | undefined {
  return serviceByPermission.get(name);
}

export function isPermission(name: string): name is Permission {
  return serviceByPermission.has(name);
}

/** Held by users and credentials of the root tenant alone. */
export const providerOnly: ReadonlySet<Permission> = new Set(["signingKey.manage"]);

const implied: Partial<Record<Permission, Permission[]>> = {
  "watch.write": ["pending.read"],
  "watch.activate": ["pending.read"],
  "watch.approve": ["pending.read"],
  "pending.read": ["watch.read"],
  "watch.read": ["folder.read"],
  "note.write": ["request.read"],
  "worklog.write": ["request.read"],
  "resolution.write": ["request.read"],
  "reply.send": ["request.read"],
  "attachment.write": ["request.read"],
  "user.write": ["audit.readAccess"],
  "role.assign": ["role.read", "user.read"],
  "key.issue": ["key.read"],
  "key.manage": ["key.read"],
  "client.manage": ["client.read"],
  "plan.manage": ["plan.read"],
  "plan.assign": ["plan.read"],
  "tenant.create": ["tenant.read"],
  "tenant.manage": ["tenant.read"],
  "tenant.suspend": ["tenant.read"],
  "tenant.delete": ["tenant.read"],
  "session.end": ["session.read"],
  "webhook.manage": ["webhook.read"],
  "webhook.replay": ["webhook.read"],
  "operation.cancel": ["operation.read"],
  "person.writeSensitive": ["person.read"],
  "exchange.application.publish": ["exchange.application.read"],
  "exchange.application.approve": ["exchange.application.read"],
  "exchange.delivery.replay": ["exchange.delivery.read"],
};

function readOfNoun(name: string): Permission[] {
  const write = /^(.*)\.(write|create|update|assign|close|due|delete|purge|merge)$/.exec(name);
  const read = `${write?.[1]}.read`;
  return write && isPermission(read) ? [read] : [];
}

/** The set closed under implication: a write permission brings the read one of its noun, and so on. */
export function withImplied(names: Iterable<Permission>): Set<Permission> {
  const closed = new Set<Permission>();
  const open = [...names];
  for (let name = open.pop(); name; name = open.pop()) {
    if (closed.has(name)) continue;
    closed.add(name);
    open.push(...(implied[name] ?? []), ...readOfNoun(name));
  }
  return closed;
}

/** Whether a permission only reads: the scope `read` and read-only credentials open these alone. */
export function isRead(name: Permission): boolean {
  return /\.read(Access|Sensitive|Confidential)?$/.test(name) || name === "notification.subscribe";
}

/** Every scope that a credential can be given (access, section 4). */
export function scopesOffered(): string[] {
  return ["*", "read", ...services.flatMap((service) => [service, `${service}:read`]), ...permissions];
}
