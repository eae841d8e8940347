/** Who changed what (access, section 8). Entries are written in the transaction of their change; here they are read. */
import { Readable } from "node:stream";
import { type SelectQueryBuilder, sql } from "kysely";
import { accessTypes } from "#kernel/audit";
import { type Context, Reply } from "#kernel/contract";
import { query, tables } from "#kernel/db";
import { readPage } from "#kernel/page";
import { holdsIn, lacking } from "#kernel/principal";
import { invalid, notFound, refuse } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { inReach } from "#kernel/wall";
import { type Column, csvReply } from "../record/csv.ts";
import { visibleTenants } from "../tenant/rows.ts";
import { type AuditRow, auditOf, entryColumns, lineOf, trail } from "./entry.ts";
import { type HeadRow, headOf } from "./head.ts";
import type { Audit, AuditCsvQuery, AuditHeadQuery, AuditQuery } from "./schema.ts";

type Rows = SelectQueryBuilder<{ a: AuditRow }, "a", AuditRow>;
const heads = tables<{ "access.audit_head": HeadRow }>();

/** Entries about who may get in are absent for those who may not read them, from totals also. */
function visible(ctx: Context): Rows {
  const within = (permission: Parameters<typeof inReach>[1]) => inReach(ctx.who, permission, sql.ref("a.tenant_id"));
  return trail
    .selectFrom("access.audit as a")
    .leftJoin("access.audit_seal as s", (join) =>
      join.onRef("s.tenant_id", "=", "a.tenant_id").onRef("s.position", "=", "a.position"),
    )
    .select(entryColumns as never)
    .select(["s.seq", "s.prev_hash", "s.hash"])
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
  const read = (last: AuditRow | undefined, size: number) =>
    ctx.db.rows(
      (last ? rows.where(sql<boolean>`(a.at, a.position) < (${last.at}, ${last.position})`) : rows).limit(size),
    );
  return csvReply("audit.csv", columns, read, !input.raw);
}

const chainBatch = 500;

/** The chain of the acting tenant alone, from its beginning or the head it begins behind; read while it is sent. */
export async function getAuditChain(ctx: Context): Promise<Reply> {
  const { acting } = ctx.who;
  // A chain with gaps proves nothing: it is for those who may read all of it.
  for (const permission of ["audit.read", "audit.readAccess"] as const)
    if (!holdsIn(ctx.who, permission, acting)) throw lacking(permission);
  const read = (behind: number) =>
    ctx.db.rows(
      query<AuditRow & { seq: number }>(sql`select ${entryColumns}, s.seq, s.prev_hash, s.hash
        from access.audit_seal s join access.audit a on a.tenant_id = s.tenant_id and a.position = s.position
        where s.tenant_id = ${acting.id} and s.seq > ${behind} order by s.seq limit ${chainBatch}`),
    );
  const start = await ctx.db.first(
    query<{ seq: number }>(
      sql`select seq from access.audit_head where tenant_id = ${acting.id} and starts order by seq desc limit 1`,
    ),
  );
  const first = await read(start?.seq ?? 0);
  async function* lines() {
    for (let rows = first; rows.length > 0; rows = await read(rows.at(-1)!.seq)) {
      yield rows.map(lineOf).join("");
      if (rows.length < chainBatch) return;
    }
  }
  return new Reply(200, Readable.from(lines()), {
    headers: {
      "content-type": "application/x-ndjson",
      "content-disposition": 'attachment; filename="audit-chain.ndjson"',
    },
  });
}

export async function listAuditHeads(ctx: Context, input: AuditHeadQuery) {
  const faults = await filterFaults("tenantId", "tnt", input.tenantId, (ids) =>
    ctx.db.rows(visibleTenants(ctx, "audit.read").where("t.id", "in", ids)),
  );
  if (faults.length > 0) throw invalid(faults);
  let rows = heads
    .selectFrom("access.audit_head as h")
    .selectAll("h")
    .where(inReach(ctx.who, "audit.read", sql.ref("h.tenant_id")));
  if (input.from) rows = rows.where("h.at", ">=", new Date(input.from));
  if (input.to) rows = rows.where("h.at", "<", new Date(input.to));
  if (input.tenantId) rows = rows.where("h.tenant_id", "in", input.tenantId);
  if (input.starts !== undefined) rows = rows.where("h.starts", "=", input.starts);
  return readPage(ctx, input, {
    from: rows,
    sorts: { at: sql.ref("h.at") },
    by: "-at",
    id: sql.ref("h.position"),
    item: headOf,
  });
}

const columns: Column<AuditRow>[] = [
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
  { name: "hash", of: (row) => row.hash?.toString("hex") },
];
