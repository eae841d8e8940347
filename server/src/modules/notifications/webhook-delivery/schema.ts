import { type Static, Type } from "typebox";
import { anyOf, id, instant, nullable, object, oneOf, text } from "#kernel/schema";
import { Attempt } from "../webhook/schema.ts";

const deliveryStatuses = ["pending", "retrying", "held", "delivered", "dead", "discarded"] as const;

const members = {
  id: id("dlv"),
  tenantId: id("tnt"),
  webhookId: id("whk"),
  eventId: id("evt", { description: "Also `webhook-id` of every attempt." }),
  eventType: Type.String({ examples: ["demarc.monitoring.watch.updated"] }),
  status: oneOf(deliveryStatuses, {
    description: "`held`: the webhook is not active. `discarded`: its owner may not see the event, or it was deleted.",
  }),
  replayCount: Type.Integer(),
  nextAttemptAt: nullable(instant),
  createdAt: instant,
  updatedAt: instant,
};

/** As events tell of it: attempts are read where they are kept. */
export const WebhookDeliveryState = object(members, { title: "WebhookDeliveryState" });
export type WebhookDeliveryState = Static<typeof WebhookDeliveryState>;
export const WebhookDelivery = object(
  { ...members, attempts: Type.Array(Attempt, { description: "The newest 100, oldest first; kept for 30 days." }) },
  { title: "WebhookDelivery" },
);
export type WebhookDelivery = Static<typeof WebhookDelivery>;

export const deliveryFilters = {
  webhookId: anyOf(id("whk")),
  eventId: anyOf(id("evt")),
  status: anyOf(oneOf(deliveryStatuses)),
  eventType: anyOf(text(100)),
  updatedSince: instant,
};
