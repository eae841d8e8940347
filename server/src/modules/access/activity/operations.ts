/** Who called what, when, and what became of it (access, section 8). The kernel writes it; here it is read. */
import { type Selectable, type SelectQueryBuilder, sql } from "kysely";
import type { Context, Reply } from "#kernel/contract";
import { tables } from "#kernel/db";
import { readPage } from "#kernel/page";
import { holds, lacking } from "#kernel/principal";
import { invalid, notFound, refuse } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { inReach } from "#kernel/wall";
import { type Column, csvReply } from "../record/csv.ts";
import { visibleTenants } from "../tenant/rows.ts";
import type { Activity, ActivityCsvQuery, ActivityQuery } from "./schema.ts";

type Row = {
  tenant_id: string;
  acting_tenant_id: string;
  id: string;
  at: Date;
  request_id: string;
  actor: Activity["actor"];
  via: Activity["via"];
  service: string | null;
  version: string | null;
  operation_id: string | null;
  method: string;
  route: string | null;
  target: Record<string, string>;
  status: number;
  code: string | null;
  reason: string | null;
  duration_ms: number;
  address: string;
  user_agent: string | null;
  bytes_in: number;
  bytes_out: number;
};
type Tables = { "access.activity": Row };
type Rows = SelectQueryBuilder<{ a: Row }, "a", Selectable<Row>>;
const log = tables<Tables>();

const own = (ctx: Context) =>
  sql<boolean>`(a.tenant_id = ${ctx.who.tenant.id} and a.actor ->> 'id' = ${ctx.who.actor.id})`;

/** Calls of the acting tenant and those below, and calls from above into them: both logs show such a call. */
function inLog(ctx: Context) {
  const within = (column: string) => inReach(ctx.who, "activity.read", sql.ref(column));
  return sql<boolean>`(${within("a.tenant_id")} or ${within("a.acting_tenant_id")})`;
}

function all(): Rows {
  return log.selectFrom("access.activity as a").selectAll("a") as unknown as Rows;
}

/** What the caller may see of the log, filtered. Without `activity.read` that is one's own calls, and only if asked for. */
async function found(ctx: Context, input: ActivityCsvQuery): Promise<Rows> {
  if (!input.mine && !holds(ctx.who, "activity.read")) throw lacking("activity.read");
  const faults = await filterFaults("tenantId", "tnt", input.tenantId, (ids) => tenantsOfLog(ctx, ids));
  if (faults.length > 0) throw invalid(faults);
  let rows = all().where(input.mine ? own(ctx) : inLog(ctx));
  if (input.from) rows = rows.where("a.at", ">=", new Date(input.from));
  if (input.to) rows = rows.where("a.at", "<", new Date(input.to));
  if (input.status) rows = rows.where("a.status", "in", input.status);
  if (input.statusClass) {
    const classes = input.statusClass.map((name) => Number(name[0]));
    rows = rows.where(sql<boolean>`a.status / 100 = any(${classes})`);
  }
  if (input.method) rows = rows.where("a.method", "in", input.method);
  if (input.route) rows = rows.where("a.route", "=", input.route);
  if (input.actorId) rows = rows.where(sql<boolean>`a.actor ->> 'id' = any(${input.actorId})`);
  if (input.keyId) rows = rows.where(sql<boolean>`a.via ->> 'kind' = 'key' and a.via ->> 'id' = any(${input.keyId})`);
  if (input.address) rows = rows.where("a.address", "in", input.address);
  if (input.requestId) rows = rows.where("a.request_id", "in", input.requestId);
  if (input.code) rows = rows.where("a.code", "in", input.code);
  if (input.reason) rows = rows.where("a.reason", "in", input.reason);
  if (input.tenantId) {
    const ids = input.tenantId;
    rows = rows.where((eb) => eb.or([eb("a.tenant_id", "in", ids), eb("a.acting_tenant_id", "in", ids)]));
  }
  return rows;
}

/** Tenants that may be asked for: those whose log is open to the caller, and the two that its own calls name. */
async function tenantsOfLog(ctx: Context, ids: string[]): Promise<{ id: string }[]> {
  const open = await ctx.db.rows(visibleTenants(ctx, "activity.read").where("t.id", "in", ids));
  return [ctx.who.tenant, ctx.who.acting, ...open];
}

export async function listActivity(ctx: Context, input: ActivityQuery) {
  return readPage(ctx, input, {
    from: await found(ctx, input),
    sorts: { at: sql.ref("a.at") },
    by: "-at",
    id: sql.ref("a.id"),
    item: activityOf,
  });
}

export async function getActivity(ctx: Context, activityId: string): Promise<Activity> {
  const row = await ctx.db.first(
    all()
      .where("a.id", "=", activityId)
      .where(sql<boolean>`(${own(ctx)} or ${inLog(ctx)})`),
  );
  if (!row) throw refuse(notFound);
  return activityOf(row);
}

export async function downloadActivity(ctx: Context, input: ActivityCsvQuery): Promise<Reply> {
  const rows = (await found(ctx, input)).orderBy("a.at", "desc").orderBy("a.id", "desc");
  const read = (last: Row | undefined, size: number) =>
    ctx.db.rows((last ? rows.where(sql<boolean>`(a.at, a.id) < (${last.at}, ${last.id})`) : rows).limit(size));
  return csvReply("activity.csv", columns, read, !input.raw);
}

function activityOf(row: Row): Activity {
  return {
    id: row.id,
    at: row.at.toISOString(),
    requestId: row.request_id,
    tenantId: row.tenant_id,
    actingTenantId: row.acting_tenant_id,
    actor: row.actor,
    via: row.via,
    service: row.service,
    version: row.version,
    operationId: row.operation_id,
    method: row.method,
    route: row.route,
    target: row.target,
    status: row.status,
    code: row.code,
    reason: row.reason,
    durationMs: row.duration_ms,
    address: row.address,
    userAgent: row.user_agent,
    bytesIn: row.bytes_in,
    bytesOut: row.bytes_out,
  };
}

const columns: Column<Row>[] = [
  { name: "id", of: (row) => row.id },
  { name: "at", of: (row) => row.at },
  { name: "requestId", of: (row) => row.request_id },
  { name: "tenantId", of: (row) => row.tenant_id },
  { name: "actingTenantId", of: (row) => row.acting_tenant_id },
  { name: "actorKind", of: (row) => row.actor?.kind },
  { name: "actorId", of: (row) => row.actor?.id },
  { name: "actorName", of: (row) => row.actor?.name },
  { name: "viaKind", of: (row) => row.via?.kind },
  { name: "viaId", of: (row) => row.via?.id },
  { name: "viaHint", of: (row) => row.via?.hint },
  { name: "viaClientId", of: (row) => row.via?.clientId },
  { name: "service", of: (row) => row.service },
  { name: "version", of: (row) => row.version },
  { name: "operationId", of: (row) => row.operation_id },
  { name: "method", of: (row) => row.method },
  { name: "route", of: (row) => row.route },
  { name: "target", of: (row) => Object.values(row.target).join(" ") || null },
  { name: "status", of: (row) => row.status },
  { name: "code", of: (row) => row.code },
  { name: "reason", of: (row) => row.reason },
  { name: "durationMs", of: (row) => row.duration_ms },
  { name: "address", of: (row) => row.address },
  { name: "userAgent", of: (row) => row.user_agent },
  { name: "bytesIn", of: (row) => row.bytes_in },
  { name: "bytesOut", of: (row) => row.bytes_out },
];
