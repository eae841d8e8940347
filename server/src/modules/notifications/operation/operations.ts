import { type RawBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { tables } from "#kernel/db";
import { cancelOperation as cancel } from "#kernel/operation-runner";
import { type OperationRow, operationOf } from "#kernel/operation-store";
import { operationNotCancellable } from "#kernel/operations";
import { readPage } from "#kernel/page";
import type { Permission } from "#kernel/permissions";
import { notFound, refuse } from "#kernel/problem";
import { inReach } from "#kernel/wall";

const kernel = tables<{ "kernel.operation": OperationRow }>();

/** One's own operations need no permission; those of others need it where they belong. */
function visible(ctx: Context, permission: Permission) {
  const own = sql<boolean>`o.owner_id = ${ctx.who.actor.id}`;
  const others: RawBuilder<boolean> = inReach(ctx.who, permission, sql.ref("o.tenant_id"));
  return kernel.selectFrom("kernel.operation as o").where(sql<boolean>`(${own} or ${others})`);
}

type Filters = { kind?: string[]; status?: string[]; subject?: string[]; correlationId?: string; ownerId?: string[] };
type ListInput = Filters & { limit?: number; cursor?: string; sort?: string[]; count?: boolean };

export function listOperations(ctx: Context, input: ListInput) {
  let rows = visible(ctx, "operation.read").selectAll("o");
  if (input.kind) rows = rows.where("o.kind", "in", input.kind);
  if (input.status) rows = rows.where("o.status", "in", input.status as OperationRow["status"][]);
  if (input.subject) rows = rows.where("o.subject", "in", input.subject);
  if (input.correlationId) rows = rows.where("o.correlation_id", "=", input.correlationId);
  if (input.ownerId) rows = rows.where("o.owner_id", "in", input.ownerId);
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("o.created_at") },
    by: "createdAt",
    id: sql.ref("o.id"),
    item: (row) => operationOf(row, `/${ctx.call.label}`),
  });
}

async function find(ctx: Context, operationId: string, permission: Permission): Promise<OperationRow> {
  const row = await ctx.db.first(visible(ctx, permission).selectAll("o").where("o.id", "=", operationId));
  if (!row) throw refuse(notFound);
  return row;
}

/** The operation, after the wait that the caller asked for; `applied` says which preference was heeded. */
export async function getOperation(ctx: Context, operationId: string) {
  const { wait } = ctx.call.prefer;
  let row = await find(ctx, operationId, "operation.read");
  if (wait !== null && !row.finished_at) {
    await ctx.awaitOperation(operationId, wait);
    row = await find(ctx, operationId, "operation.read");
  }
  const applied: Record<string, string> = wait === null ? {} : { "preference-applied": `wait=${wait}` };
  return { operation: operationOf(row, `/${ctx.call.label}`), applied };
}

export async function cancelOperation(ctx: Context, operationId: string) {
  const row = await find(ctx, operationId, "operation.cancel");
  const kind = ctx.operationKind(row.kind);
  const changed = kind?.cancellable && !row.finished_at ? await cancel(ctx, kind, row) : undefined;
  if (!changed) {
    throw refuse(operationNotCancellable, {
      detail: row.finished_at
        ? `The operation is ${row.status}.`
        : kind?.cancellable === "queued"
          ? "It has begun, and cannot be undone."
          : "This kind of operation cannot be cancelled.",
    });
  }
  return operationOf(changed, `/${ctx.call.label}`);
}
