/** What the item of an audit entry is (access, section 8). A module adds its word here when it first records one. */
export type AuditType =
  | "tenant"
  | "plan"
  | "role"
  | "assignment"
  | "key"
  | "client"
  | "login"
  | "session"
  | "authentication"
  | "signingKey"
  | "user"
  | "orgUnit"
  | "person"
  | "folder"
  | "location"
  | "watch"
  | "operation"
  | "webhook"
  | "stompSession"
  | "stompDurable"
  | "stompQueue";

/** One field of a change. Secret fields are `***` on both sides before they get here; see `changesOf`. */
export type AuditField = { field: string; old: unknown; new: unknown };

export type AuditChange = {
  /** The tenant that owns the thing, not the one that acts. */
  tenantId: string;
  type: AuditType;
  /** Past tense, such as `created`, `updated`, `activated`. */
  action: string;
  item: { kind: string; id: string; name: string };
  changes: readonly AuditField[];
  comment?: string;
};

/** Types whose entries also need `audit.readAccess`. */
export const accessTypes: ReadonlySet<string> = new Set([
  "user",
  "role",
  "assignment",
  "key",
  "client",
  "login",
  "session",
  "authentication",
  "agent",
]);

/**
 * The fields in which two states of a thing differ, in the order of `fields`. Values are compared as JSON.
 * Secrets have no place in either state: a given secret is added by its module as `***` to `***`.
 */
export function changesOf(
  before: Record<string, unknown> | null,
  after: Record<string, unknown> | null,
  fields: readonly string[],
): AuditField[] {
  const changes: AuditField[] = [];
  for (const field of fields) {
    const old = before?.[field] ?? null;
    const next = after?.[field] ?? null;
    if (JSON.stringify(old) !== JSON.stringify(next)) changes.push({ field, old, new: next });
  }
  return changes;
}
