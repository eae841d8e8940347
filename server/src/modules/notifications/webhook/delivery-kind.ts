/** What the engine asks of webhooks and tells them. */
import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { DeliveryKind, DeliveryRow, Outgoing } from "#kernel/delivery/contract";
import { switchTarget } from "#kernel/delivery/store";
import { knownTypes } from "#kernel/event-filter";
import { findEvents } from "#kernel/event-reader";
import { renderEvent } from "#kernel/event-view";
import type { Kernel, Standing } from "#kernel/kernel";
import { Problem, refuse, unauthenticated } from "#kernel/problem";
import { notificationTables, type WebhookRow } from "../tables.ts";
import { deliveryDeadLettered, tellDelivery } from "../webhook-delivery/events.ts";
import { webhookDisabled, webhookWarned } from "./events.ts";
import { eventMediaType, missedFrom, record, webhookKind } from "./operations.ts";
import { ownerNow } from "./owner.ts";
import { readWebhook, tell, webhookOf } from "./rows.ts";
import { addressOf, findReceivers, type Receiver } from "./secrets.ts";

/** Readings of the log at once: they share connections with calls. */
const mostReading = 4;

export const webhookDeliveries: DeliveryKind = {
  kind: webhookKind,
  keptDays: (settings) => settings.eventsDays,
  async outgoing(kernel, deliveries) {
    const ids = [...new Set(deliveries.map(({ target_id }) => target_id))];
    const receivers = await kernel.system.in("").rows(findReceivers({ ids, now: kernel.now() }));
    const messages = new Map<string, Outgoing | "owner_off">();
    const reading = [...Map.groupBy(receivers, readerOf).values()].values();
    const some = Array.from({ length: mostReading }, async () => {
      for (const alike of reading) await putMessages(kernel, alike, deliveries, messages);
    });
    await Promise.all(some);
    return messages;
  },
  async mayGoOn(kernel, ids) {
    const rows = await kernel.system.in("").rows(findReceivers({ ids: [...ids], now: kernel.now() }));
    const standings = await Promise.all(rows.map((row) => ownerNow(kernel, row)));
    return rows.filter((_, index) => standings[index] !== "off").map(({ id }) => id);
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

/** Webhooks that see the log alike are read for together. */
const readerOf = ({ tenant_id, owner, api_version }: Receiver) => JSON.stringify([tenant_id, owner, api_version]);

/** Puts into `messages` what webhooks that see the log alike may be told at this moment. */
async function putMessages(
  kernel: Kernel,
  alike: readonly Receiver[],
  deliveries: readonly DeliveryRow[],
  messages: Map<string, Outgoing | "owner_off">,
): Promise<void> {
  const one = alike[0]!;
  const byWebhook = Map.groupBy(deliveries, ({ target_id }) => target_id);
  const own = alike.flatMap(({ id }) => byWebhook.get(id) ?? []);
  let standing: Standing = "gone";
  const reader = async () => {
    standing = await ownerNow(kernel, one);
    if (typeof standing !== "string") return standing;
    throw refuse(unauthenticated);
  };
  // A type that nothing here is of costs planning all the same.
  const types = new Set(own.map(({ about }) => about));
  const kinds = knownTypes(kernel.versions, one.api_version).filter(({ type }) => types.has(type));
  const ids = [...new Set(own.map(({ message_id }) => message_id))];
  try {
    const { who, events } = await findEvents(kernel, reader, ids, kinds, own[0]?.created_at);
    const byId = new Map(events.map((event) => [event.id, event]));
    for (const webhook of alike) {
      const address = await addressOf(kernel.secrets, webhook);
      for (const { id, message_id } of byWebhook.get(webhook.id) ?? []) {
        const event = byId.get(message_id);
        // Of tenants below only where that was asked for: the look-up finds those too.
        if (!event || (event.tenant_id !== webhook.tenant_id && !webhook.include_below)) continue;
        const body = renderEvent(kernel, event, webhook.api_version, who);
        messages.set(id, { address, contentType: eventMediaType, body, replaces: event.data.redacted });
      }
    }
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== unauthenticated) throw error;
    if ((standing as Standing) === "off") for (const { id } of own) messages.set(id, "owner_off");
    else for (const webhook of alike) await leaveOwnerless(kernel, webhook);
  }
}

/** Its owner is gone: it waits, disabled, for somebody to take it over. What was to be sent is discarded. */
async function leaveOwnerless(kernel: Kernel, webhook: WebhookRow): Promise<void> {
  const card = (await kernel.gate.tenant(webhook.tenant_id))!;
  await inTransaction(kernel, systemCaller(kernel, card, webhookKind), async (ctx) => {
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
