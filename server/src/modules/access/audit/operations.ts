/** Who changed what (access, section 8). Entries are written in the transaction of their change; here they are read. */
import { type SelectQueryBuilder, sql } from "kysely";
import { accessTypes } from "#kernel/audit";
import type { Context, Reply } from "#kernel/contract";
import { tables } from "#kernel/db";
import { readPage } from "#kernel/page";
import { invalid, notFound, refuse } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { inReach } from "#kernel/wall";
import { type Column, csvReply } from "../record/csv.ts";
import { visibleTenants } from "../tenant/rows.ts";
import type { Audit, AuditCsvQuery, AuditQuery } from "./schema.ts";

type Row = {
  tenant_id: string;
  position: number;
  id: string;
  seq: number | null;
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
  prev_hash: Buffer | null;
  hash: Buffer | null;
};
type Rows = SelectQueryBuilder<{ a: Row }, "a", Row>;
const trail = tables<{ "access.audit": Row }>();
const shown = [
  "tenant_id",
  "position",
  "id",
  "seq",
  "at",
  "type",
  "action",
  "item_kind",
  "item_id",
  "item_name",
  "actor",
  "on_behalf_of",
  "via",
  "request_id",
  "changes",
  "comment",
  "prev_hash",
  "hash",
] as const satisfies (keyof Row)[];

/** Entries about who may get in are absent for those who may not read them, from totals also. */
function visible(ctx: Context): Rows {
  const within = (permission: Parameters<typeof inReach>[1]) => inReach(ctx.who, permission, sql.ref("a.tenant_id"));
  return trail
    .selectFrom("access.audit as a")
    .select(shown.map((column) => `a.${column}` as const))
    .where(within("audit.read"))
    .where(
      sql<boolean>`(a.type <> all(${[...accessTypes]}) or ${within("audit.readAccess")}
        or (a.type = 'login' and ${within("loginReport.read")}))`,
    ) as unknown as Rows;
}

async function found(ctx: Context, input: AuditCsvQuery): Promise<Rows> {
  const faults = await filterFaults("tenantId", "tnt", input.tenantId, (ids) =>
    ctx.db.rows(visibleTenants(ctx, "audit.read").where("t.id", "in", ids)),
  );
  if (faults.length > 0) throw invalid(faults);
  let rows = visible(ctx);
  if (input.from) rows = rows.where("a.at", ">=", new Date(input.from));
  if (input.to) rows = rows.where("a.at", "<", new Date(input.to));
  if (input.type) rows = rows.where("a.type", "in", input.type);
  if (input.action) rows = rows.where("a.action", "in", input.action);
  if (input.actorId) rows = rows.where(sql<boolean>`a.actor ->> 'id' = any(${input.actorId})`);
  if (input.itemId) rows = rows.where("a.item_id", "in", input.itemId);
  if (input.requestId) rows = rows.where("a.request_id", "in", input.requestId);
  if (input.tenantId) rows = rows.where("a.tenant_id", "in", input.tenantId);
  // The column is stored this way; no pattern, so that % and _ are letters.
  if (input.q) rows = rows.where(sql<boolean>`strpos(a.search, lower(normalize(${input.q}, NFC))) > 0`);
  return rows;
}

export async function listAudit(ctx: Context, input: AuditQuery) {
  return readPage(ctx, input, {
    from: await found(ctx, input),
    sorts: { at: sql.ref("a.at") },
    by: "-at",
    id: sql.ref("a.position"),
    item: auditOf,
  });
}

export async function getAudit(ctx: Context, auditId: string): Promise<Audit> {
  const row = await ctx.db.first(visible(ctx).where("a.id", "=", auditId));
  if (!row) throw refuse(notFound);
  return auditOf(row);
}

export async function downloadAudit(ctx: Context, input: AuditCsvQuery): Promise<Reply> {
  const rows = (await found(ctx, input)).orderBy("a.at", "desc").orderBy("a.position", "desc");
  const read = (last: Row | undefined, size: number) =>
    ctx.db.rows(
      (last ? rows.where(sql<boolean>`(a.at, a.position) < (${last.at}, ${last.position})`) : rows).limit(size),
    );
  return csvReply("audit.csv", columns, read, !input.raw);
}

const hex = (value: Buffer | null) => value?.toString("hex") ?? null;

function auditOf(row: Row): Audit {
  return {
    id: row.id,
    seq: row.seq,
    at: row.at.toISOString(),
    tenantId: row.tenant_id,
    type: row.type,
    action: row.action,
    item: { kind: row.item_kind, id: row.item_id, name: row.item_name },
    actor: row.actor,
    onBehalfOf: row.on_behalf_of,
    via: row.via,
    requestId: row.request_id,
    changes: row.changes,
    comment: row.comment,
    prevHash: hex(row.prev_hash),
    hash: hex(row.hash),
  };
}

const columns: Column<Row>[] = [
  { name: "id", of: (row) => row.id },
  { name: "seq", of: (row) => row.seq },
  { name: "at", of: (row) => row.at },
  { name: "tenantId", of: (row) => row.tenant_id },
  { name: "type", of: (row) => row.type },
  { name: "action", of: (row) => row.action },
  { name: "itemKind", of: (row) => row.item_kind },
  { name: "itemId", of: (row) => row.item_id },
  { name: "itemName", of: (row) => row.item_name },
  { name: "actorKind", of: (row) => row.actor.kind },
  { name: "actorId", of: (row) => row.actor.id },
  { name: "actorName", of: (row) => row.actor.name },
  { name: "actorTenantName", of: (row) => row.actor.tenantName },
  { name: "onBehalfOfId", of: (row) => row.on_behalf_of?.id },
  { name: "onBehalfOfName", of: (row) => row.on_behalf_of?.name },
  { name: "viaKind", of: (row) => row.via?.kind },
  { name: "viaId", of: (row) => row.via?.id },
  { name: "viaHint", of: (row) => row.via?.hint },
  { name: "viaClientId", of: (row) => row.via?.clientId },
  { name: "requestId", of: (row) => row.request_id },
  { name: "changes", of: (row) => row.changes },
  { name: "comment", of: (row) => row.comment },
  { name: "hash", of: (row) => hex(row.hash) },
];
