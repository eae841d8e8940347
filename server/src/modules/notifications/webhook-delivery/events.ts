import type { Context } from "#kernel/contract";
import type { DeliveryRow } from "#kernel/delivery/contract";
import type { EventKind } from "#kernel/events";
import { event } from "#kernel/events";
import { WebhookDeliveryState } from "./schema.ts";

const told = (verb: string, summary: string) =>
  event("notifications", `webhook_delivery.${verb}`, {
    permission: "webhook.read",
    resource: WebhookDeliveryState,
    summary,
  }) as EventKind;

export const deliveryReplayed = told("replayed", "A delivery is sent once more, because somebody asked for it.");
export const deliveryDeadLettered = told("dead_lettered", "The last attempt of a delivery failed.");

export const deliveryEvents = [deliveryReplayed, deliveryDeadLettered];

export function stateOf(row: DeliveryRow): WebhookDeliveryState {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    webhookId: row.target_id,
    eventId: row.message_id,
    eventType: row.about,
    status: row.status,
    replayCount: row.replay_count,
    nextAttemptAt: row.next_attempt_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

export function tellDelivery(ctx: Context, kind: EventKind, row: DeliveryRow): void {
  ctx.emit(kind, {
    tenantId: row.tenant_id,
    subject: row.id,
    path: `/webhook-delivery/${row.id}`,
    resource: stateOf(row),
    previous: null,
    changed: ["status"],
  });
}
