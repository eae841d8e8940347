/** What an entry of the audit trail is: as a row, as the API shows it, and as it is hashed into its tenant's chain. */
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { sql } from "kysely";
import { tables } from "#kernel/db";
import type { Audit } from "./schema.ts";

type EntryRow = {
  tenant_id: string;
  position: number;
  id: string;
  at: Date;
  type: string;
  action: string;
  item_kind: string;
  item_id: string;
  item_name: string;
  actor: Audit["actor"];
  on_behalf_of: Audit["onBehalfOf"];
  via: Audit["via"];
  request_id: string | null;
  changes: Audit["changes"];
  comment: string | null;
};
type SealRow = { tenant_id: string; seq: number; position: number; prev_hash: Buffer; hash: Buffer };
export type AuditRow = EntryRow & { [K in "seq" | "prev_hash" | "hash"]: SealRow[K] | null };

export const trail = tables<{ "access.audit": EntryRow; "access.audit_seal": SealRow }>();

/** Columns of an entry itself, for `a`; a sealed one's place in its chain is in `s`. */
export const entryColumns = sql<EntryRow>`a.tenant_id, a.position, a.id, a.at, a.type, a.action, a.item_kind, a.item_id,
  a.item_name, a.actor, a.on_behalf_of, a.via, a.request_id, a.changes, a.comment`;

const hex = (value: Buffer | null) => value?.toString("hex") ?? null;

export function auditOf(row: AuditRow): Audit {
  const { actor, on_behalf_of: behalf, via } = row;
  return {
    id: row.id,
    seq: row.seq,
    at: row.at.toISOString(),
    tenantId: row.tenant_id,
    type: row.type,
    action: row.action,
    item: { kind: row.item_kind, id: row.item_id, name: row.item_name },
    actor: { kind: actor.kind, id: actor.id, name: actor.name, tenantName: actor.tenantName },
    onBehalfOf: behalf && { id: behalf.id, name: behalf.name },
    via: via && { kind: via.kind, id: via.id, hint: via.hint, clientId: via.clientId },
    requestId: row.request_id,
    changes: row.changes.map(({ field, old, new: next }) => ({ field, old: old ?? null, new: next ?? null })),
    comment: row.comment,
    prevHash: hex(row.prev_hash),
    hash: hex(row.hash),
  };
}

/** What the first entry of a tenant's chain is hashed behind. */
export function genesisOf(tenantId: string): Buffer {
  return createHash("sha256").update("demarc-audit-v1").update(tenantId).digest();
}

/** `SHA-256(prevHash || JCS(entry without hash))`. The text is the format of the record (docs/the-record.md): it never changes. */
export function hashOf(row: AuditRow & { prev_hash: Buffer }): Buffer {
  const { hash: _, ...entry } = auditOf(row);
  return createHash("sha256").update(row.prev_hash).update(canonicalize(entry)!).digest();
}

/** An entry's line in the chain that auditors download. */
export function lineOf(row: AuditRow): string {
  return `${canonicalize(auditOf(row))}\n`;
}
