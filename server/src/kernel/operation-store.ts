import { sql } from "kysely";
import type { Context } from "./contract.ts";
import { query } from "./db.ts";
import { newId } from "./ids.ts";
import type { OperationKind, OperationStart } from "./operations.ts";

/** Writes a queued operation in the transaction of its request: no 202 without work that will be done. */
export async function insertOperation<I>(
  ctx: Context,
  kind: OperationKind<I>,
  start: OperationStart<I>,
): Promise<string> {
  const id = newId("opn", ctx.now.getTime());
  await ctx.db.run(
    query(sql`insert into kernel.operation (tenant_id, id, kind, status, owner_id, owner_name, subject, input, correlation_id, request_id, created_at, updated_at)
      values (${start.tenantId}, ${id}, ${kind.kind}, 'queued', ${ctx.who.actor.id}, ${ctx.who.actor.name}, ${start.subject}, ${JSON.stringify(start.input)},
        ${ctx.call.correlationId}, ${ctx.call.requestId}, ${ctx.now}, ${ctx.now})`),
  );
  return id;
}
