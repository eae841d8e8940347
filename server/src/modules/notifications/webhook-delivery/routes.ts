import { Reply, route } from "#kernel/contract";
import { listOf, listQuery } from "#kernel/page";
import { deliveryReplayed } from "./events.ts";
import {
  deliveryPending,
  getWebhookDelivery,
  listWebhookDeliveries,
  retryWebhookDelivery,
  webhookNotActive,
} from "./operations.ts";
import { deliveryFilters, WebhookDelivery } from "./schema.ts";

export const webhookDeliveryRoutes = [
  route({
    method: "GET",
    path: "/webhook-delivery",
    versions: "v1+",
    id: "listWebhookDeliveries",
    summary: "List deliveries of webhooks",
    description: "Each with its attempts. Kept as long as the event log.",
    permission: "webhook.read",
    query: listQuery(deliveryFilters, ["createdAt", "updatedAt"], WebhookDelivery),
    replies: { 200: listOf(WebhookDelivery) },
    run: (ctx, { query }) => listWebhookDeliveries(ctx, query),
  }),
  route({
    method: "GET",
    path: "/webhook-delivery/{id}",
    versions: "v1+",
    id: "getWebhookDelivery",
    summary: "Read a delivery of a webhook",
    permission: "webhook.read",
    replies: { 200: WebhookDelivery },
    run: (ctx, { params }) => getWebhookDelivery(ctx, params.id),
  }),
  route({
    method: "POST",
    path: "/webhook-delivery/{id}/retry",
    versions: "v1+",
    id: "retryWebhookDelivery",
    summary: "Send a delivery once more",
    description:
      "One that was delivered, is dead or was discarded. The same `webhook-id` in a new run of the schedule, with the header `demarc-replay`.",
    permission: "webhook.replay",
    replies: { 202: WebhookDelivery },
    problems: [deliveryPending, webhookNotActive],
    emits: [deliveryReplayed],
    run: async (ctx, { params }) =>
      new Reply(202, await retryWebhookDelivery(ctx, params.id), {
        location: `/webhook-delivery/${params.id}`,
        headers: { "retry-after": "1" },
      }),
  }),
];
