import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { AttemptRow, DeliveryRow } from "#kernel/delivery/contract";
import { deliveryTables, replayDeliveries } from "#kernel/delivery/store";
import { readPage } from "#kernel/page";
import type { Permission } from "#kernel/permissions";
import { lacking } from "#kernel/principal";
import { notFound, problem, refuse } from "#kernel/problem";
import { inReach } from "#kernel/wall";
import { webhookKind } from "../webhook/operations.ts";
import { deliveryReplayed, stateOf, tellDelivery } from "./events.ts";
import type { WebhookDelivery } from "./schema.ts";

export const deliveryPending = problem("delivery_pending", 409, "The delivery is on its way already.");
export const webhookNotActive = problem("webhook_not_active", 409, "The webhook is not active.");

const mostAttempts = 100;
type Found = DeliveryRow & { made: (Omit<AttemptRow, "at"> & { at: string })[] };

function visible(ctx: Pick<Context, "who">, permission: Permission) {
  const attempts = sql<Found["made"]>`(select coalesce(jsonb_agg(to_jsonb(a) order by a.number), '[]') from (
    select * from kernel.delivery_attempt a where a.tenant_id = d.tenant_id and a.delivery_id = d.id
    order by a.number desc limit ${mostAttempts}) a)`;
  return deliveryTables
    .selectFrom("kernel.delivery as d")
    .where("d.kind", "=", webhookKind)
    .where(inReach(ctx.who, permission, sql.ref("d.tenant_id")))
    .selectAll("d")
    .select(attempts.as("made"));
}

function deliveryOf(row: Found): WebhookDelivery {
  const attempts = row.made.map((attempt) => ({
    number: attempt.number,
    at: new Date(attempt.at).toISOString(),
    durationMs: attempt.duration_ms,
    outcome: attempt.outcome,
    status: attempt.status,
    error: attempt.error,
    replyBody: attempt.reply_body,
    url: attempt.url,
    requestHeaders: attempt.request_headers,
  }));
  return { ...stateOf(row), attempts };
}

type ListInput = { limit?: number; cursor?: string; sort?: string[]; count?: boolean };
type Filters = {
  webhookId?: string[];
  eventId?: string[];
  status?: DeliveryRow["status"][];
  eventType?: string[];
  updatedSince?: string;
};

export function listWebhookDeliveries(ctx: Context, input: ListInput & Filters) {
  let rows = visible(ctx, "webhook.read");
  if (input.webhookId) rows = rows.where("d.target_id", "in", input.webhookId);
  if (input.eventId) rows = rows.where("d.message_id", "in", input.eventId);
  if (input.status) rows = rows.where("d.status", "in", input.status);
  if (input.eventType) rows = rows.where("d.about", "in", input.eventType);
  if (input.updatedSince) rows = rows.where("d.updated_at", ">=", new Date(input.updatedSince));
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("d.created_at"), updatedAt: sql.ref("d.updated_at") },
    by: "createdAt",
    id: sql.ref("d.id"),
    item: deliveryOf,
  });
}

async function find(ctx: Context, deliveryId: string, permission: Permission): Promise<Found> {
  const row = await ctx.db.first(visible(ctx, permission).where("d.id", "=", deliveryId));
  if (row) return row;
  const seen =
    permission !== "webhook.read" && (await ctx.db.first(visible(ctx, "webhook.read").where("d.id", "=", deliveryId)));
  throw seen ? lacking(permission) : refuse(notFound);
}

export async function getWebhookDelivery(ctx: Context, deliveryId: string): Promise<WebhookDelivery> {
  return deliveryOf(await find(ctx, deliveryId, "webhook.read"));
}

/** Lets a final delivery run through its schedule once more. */
export async function retryWebhookDelivery(ctx: Context, deliveryId: string): Promise<WebhookDelivery> {
  const row = await find(ctx, deliveryId, "webhook.replay");
  await requireActive(ctx, row.target_id);
  const replayed = await replayDeliveries(ctx.db, row.target_id, [deliveryId], null, ctx.now);
  if (replayed === 0) throw refuse(deliveryPending, { detail: `The delivery is ${row.status}.` });
  const after = await find(ctx, deliveryId, "webhook.replay");
  tellDelivery(ctx, deliveryReplayed, after);
  ctx.audit({
    tenantId: row.tenant_id,
    type: "webhook",
    action: "retried",
    item: { kind: "webhookDelivery", id: row.id, name: row.about },
    changes: [{ field: "status", old: row.status, new: after.status }],
  });
  return deliveryOf(after);
}

export async function requireActive(ctx: Context, webhookId: string): Promise<void> {
  const active = await ctx.db.first(
    query(sql`select id from notifications.webhook where id = ${webhookId} and status = 'active' for share`),
  );
  if (!active) throw refuse(webhookNotActive, { detail: "The webhook must be active for this." });
}
