import { type AuditField, changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import type { Key } from "./schema.ts";

export const shownFields = [
  "title",
  "description",
  "roles",
  "scopes",
  "readOnly",
  "expiresAt",
  "allowedAddresses",
] as const;
const auditedFields = [...shownFields, "enabled", "disabledReason", "userId", "responsibleUserId", "kind"] as const;

/** The entry of a key's change in the audit trail. */
export function record(
  ctx: Context,
  action: string,
  before: Key | null,
  after: Key | null,
  { more = [], comment }: { more?: AuditField[]; comment?: string } = {},
): void {
  const key = (after ?? before)!;
  ctx.audit({
    tenantId: key.tenantId,
    type: "key",
    action,
    item: { kind: "key", id: key.id, name: key.title },
    changes: [...changesOf(before, after, auditedFields), ...more],
    comment,
  });
}
