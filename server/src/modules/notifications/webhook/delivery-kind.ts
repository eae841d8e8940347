/** What the engine asks of webhooks and tells them. */
import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { DeliveryKind, DeliveryRow, Rendered } from "#kernel/delivery/contract";
import { switchTarget } from "#kernel/delivery/store";
import { knownTypes } from "#kernel/event-filter";
import { findEvents } from "#kernel/event-reader";
import { renderEvent } from "#kernel/event-view";
import type { Kernel } from "#kernel/kernel";
import { Problem, refuse, unauthenticated, unavailable } from "#kernel/problem";
import { notificationTables, type WebhookRow } from "../tables.ts";
import { deliveryDeadLettered, tellDelivery } from "../webhook-delivery/events.ts";
import { webhookDisabled, webhookWarned } from "./events.ts";
import { eventMediaType, missedFrom, record, webhookKind } from "./operations.ts";
import { ownerNow } from "./owner.ts";
import { readWebhook, tell, webhookOf } from "./rows.ts";
import { addressesOf } from "./secrets.ts";

export const webhookDeliveries: DeliveryKind = {
  kind: webhookKind,
  keptDays: (settings) => settings.eventsDays,
  addresses: (kernel, ids) => addressesOf(kernel.system.in(""), kernel.secrets, ids, kernel.now()),
  async render(kernel, deliveries) {
    const ids = [...new Set(deliveries.map(({ target_id }) => target_id))];
    const webhooks = await kernel.system
      .in("")
      .rows(query<WebhookRow>(sql`select * from notifications.webhook where id = any(${ids})`));
    const messages = new Map<string, Rendered>();
    for (const webhook of webhooks) {
      const own = deliveries.filter(({ target_id }) => target_id === webhook.id);
      await renderFor(kernel, webhook, own, messages);
    }
    return messages;
  },
  async dead(ctx, delivery) {
    // A message about a message that died would breed more of them where several webhooks fail.
    if (delivery.about.startsWith("demarc.notifications.webhook_delivery.")) return;
    tellDelivery(ctx, deliveryDeadLettered, delivery);
  },
  async warned(ctx, webhookId) {
    const row = await readWebhook(ctx, webhookId);
    if (row) tell(ctx, webhookWarned, webhookOf(ctx, row));
  },
  disabled: (ctx, webhookId, reason) => disable(ctx, webhookId, reason),
};

/** Puts into `messages` what the owner may be told at this moment. */
async function renderFor(
  kernel: Kernel,
  webhook: WebhookRow,
  deliveries: readonly DeliveryRow[],
  messages: Map<string, Rendered>,
): Promise<void> {
  const reader = async () => {
    const who = await ownerNow(kernel, webhook);
    if (who) return who;
    throw refuse(unauthenticated);
  };
  const kinds = knownTypes(kernel.versions, webhook.api_version);
  const eventIds = deliveries.map(({ message_id }) => message_id);
  try {
    const { who, events } = await findEvents(kernel, reader, eventIds, kinds);
    const byId = new Map(events.map((event) => [event.id, event]));
    for (const { id, message_id } of deliveries) {
      const event = byId.get(message_id);
      // Of tenants below only where that was asked for: the look-up finds those too.
      if (!event || (event.tenant_id !== webhook.tenant_id && !webhook.include_below)) continue;
      const body = renderEvent(kernel, event, webhook.api_version, who);
      messages.set(id, { contentType: eventMediaType, body, replaces: event.data.redacted });
    }
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== unauthenticated) throw error;
    await leaveOwnerless(kernel, webhook);
  }
}

/** Its owner is gone: it waits, disabled, for somebody to take it over. What was to be sent is discarded. */
async function leaveOwnerless(kernel: Kernel, webhook: WebhookRow): Promise<void> {
  const [home, card] = await Promise.all([
    kernel.gate.tenant(webhook.owner.tenantId),
    kernel.gate.tenant(webhook.tenant_id),
  ]);
  // A suspended tenant's principals come back.
  if (home?.suspended || card?.suspended)
    throw refuse(unavailable, { detail: "The tenant of the webhook's owner is suspended." });
  await inTransaction(kernel, systemCaller(kernel, card!, webhookKind), async (ctx) => {
    await switchTarget(ctx.db, webhook.id, false, ctx.now);
    await disable(ctx, webhook.id, "owner_gone");
  });
}

/** Disables what is bound to a version that has ended: nothing is moved to another one silently. */
export async function disableOfVersion(kernel: Kernel, version: string): Promise<void> {
  const bound = await kernel.system
    .in("")
    .rows(
      query<{ tenant_id: string; id: string }>(
        sql`select tenant_id, id from notifications.webhook where api_version = ${version} and status <> 'disabled' order by id`,
      ),
    );
  for (const { tenant_id, id } of bound) {
    const card = await kernel.gate.tenant(tenant_id);
    if (!card) continue;
    await inTransaction(kernel, systemCaller(kernel, card, "tell_versions"), async (ctx) => {
      await switchTarget(ctx.db, id, false, ctx.now);
      await disable(ctx, id, "version_retired");
    });
  }
}

async function disable(
  ctx: Context,
  webhookId: string,
  reason: NonNullable<WebhookRow["disabled_reason"]>,
): Promise<void> {
  const row = await readWebhook(ctx, webhookId);
  if (!row || row.status === "disabled") return;
  const before = webhookOf(ctx, row);
  await ctx.db.run(
    notificationTables
      .updateTable("notifications.webhook")
      .set({
        status: "disabled",
        disabled_reason: reason,
        missed_from: await missedFrom(ctx, row),
        updated_at: ctx.now,
      })
      .where("id", "=", webhookId),
  );
  const webhook = webhookOf(ctx, (await readWebhook(ctx, webhookId))!);
  tell(ctx, webhookDisabled, webhook, before);
  record(ctx, "disabled", before, webhook);
}
