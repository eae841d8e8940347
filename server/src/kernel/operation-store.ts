import { sql } from "kysely";
import { type Context, Reply } from "./contract.ts";
import { type Db, query } from "./db.ts";
import { newId } from "./ids.ts";
import { type OperationKind, type OperationStart, type OperationStatus, operationEvents } from "./operations.ts";

export type OperationRow = {
  tenant_id: string;
  id: string;
  kind: string;
  status: OperationStatus;
  owner_id: string;
  owner: { kind: string; id: string; name: string; tenantId: string; scopes: string[] };
  subject: string | null;
  input: unknown;
  progress: { done: number; total: number | null; note: string | null };
  result: { url: string | null; data: unknown } | null;
  error: Record<string, unknown> | null;
  correlation_id: string | null;
  request_id: string | null;
  cancel_asked: boolean;
  tries: number;
  lease_holder: string | null;
  lease_until: Date | null;
  not_before: Date | null;
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
  updated_at: Date;
};

const keptDays = 30;

/** The resource that callers see; `prefix` is the label in front of the result's path, such as `/v1`; events have none. */
export function operationOf(row: OperationRow, prefix: string) {
  const expiresAt = row.finished_at && new Date(row.finished_at.getTime() + keptDays * 86_400_000);
  return {
    id: row.id,
    kind: row.kind,
    status: row.status,
    progress: row.progress,
    subject: row.subject,
    result: row.result && { url: row.result.url && prefix + row.result.url, data: row.result.data },
    error: row.error,
    correlationId: row.correlation_id,
    ownerId: row.owner_id,
    createdAt: row.created_at.toISOString(),
    notBefore: row.not_before?.toISOString() ?? null,
    startedAt: row.started_at?.toISOString() ?? null,
    finishedAt: row.finished_at?.toISOString() ?? null,
    expiresAt: expiresAt?.toISOString() ?? null,
  };
}

/**
 * Writes a queued operation in the transaction of its request: no 202 without work that will be done. Of an exclusive
 * kind, the one that is under way on the subject is returned instead, with `started` false.
 */
export async function insertOperation<I>(
  ctx: Context,
  kind: OperationKind<I>,
  start: OperationStart<I>,
): Promise<{ id: string; started: boolean }> {
  const { actor, tenant, scopes } = ctx.who;
  const owner = { ...actor, tenantId: tenant.id, scopes };
  for (;;) {
    const row = await ctx.db.first(
      query<OperationRow>(sql`insert into kernel.operation (tenant_id, id, kind, status, owner_id, owner, subject, exclusive, input, correlation_id,
          request_id, not_before, created_at, updated_at)
        values (${start.tenantId}, ${newId("opn", ctx.now.getTime())}, ${kind.kind}, 'queued', ${actor.id}, ${JSON.stringify(owner)}, ${start.subject},
          ${kind.exclusive}, ${JSON.stringify(start.input)}, ${ctx.call.correlationId}, ${ctx.call.requestId},
          ${start.notBefore ?? null}, ${ctx.now}, ${ctx.now})
        on conflict (tenant_id, kind, subject) where status in ('queued', 'running') and exclusive do nothing returning *`),
    );
    if (row) {
      tellOperation(ctx, row);
      return { id: row.id, started: true };
    }
    const running = await ctx.db.first(
      query<{
        id: string;
      }>(sql`select id from kernel.operation where tenant_id = ${start.tenantId} and kind = ${kind.kind}
        and subject = ${start.subject} and status in ('queued', 'running') and exclusive`),
    );
    if (running) return { id: running.id, started: false };
  }
}

/** Emits the event of the state that a row has now. */
export function tellOperation(ctx: Context, row: OperationRow, verb: keyof typeof operationEvents = row.status): void {
  ctx.emit(operationEvents[verb], {
    tenantId: row.tenant_id,
    subject: row.id,
    path: `/operation/${row.id}`,
    resource: operationOf(row, ""),
    previous: null,
    changed: verb === "progressed" ? ["progress"] : verb === "queued" ? [] : ["status"],
    ownerId: row.owner_id,
  });
}

/** An operation by its id, in the tenant of the handle and below; undefined when there is none. */
export function findOperation(db: Db, operationId: string): Promise<OperationRow | undefined> {
  return db.first(query<OperationRow>(sql`select * from kernel.operation where id = ${operationId}`));
}

/** The 202 of work that was accepted: the operation, where to watch it, and when to look again. */
export async function accepted(ctx: Context, operationId: string): Promise<Reply> {
  const row = await findOperation(ctx.db, operationId);
  return new Reply(202, operationOf(row!, `/${ctx.call.label}`), {
    location: `/operation/${operationId}`,
    headers: { "retry-after": "1" },
  });
}
