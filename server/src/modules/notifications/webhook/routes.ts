import { Reply, route } from "#kernel/contract";
import { cursorUnknown, positionExpired } from "#kernel/event-cursor";
import { Operation, operationEvents, operationRunning } from "#kernel/operations";
import { listOf, listQuery } from "#kernel/page";
import { webhookNotActive } from "../webhook-delivery/operations.ts";
import {
  webhookCreated,
  webhookDeleted,
  webhookDisabled,
  webhookEnabled,
  webhookSecretRotated,
  webhookUpdated,
} from "./events.ts";
import { urlNotAllowed } from "./faults.ts";
import {
  createWebhook,
  deleteWebhook,
  getWebhook,
  listWebhooks,
  rotateWebhookSecret,
  rotationInProgress,
  testWebhook,
  updateWebhook,
  webhookLimitReached,
} from "./operations.ts";
import { countChanged, replayWebhook } from "./replay.ts";
import {
  IssuedWebhook,
  NewWebhook,
  RotatedWebhook,
  Webhook,
  WebhookChange,
  WebhookReplay,
  WebhookReplayCount,
  WebhookRotation,
  WebhookTest,
  WebhookTestAsk,
  webhookFilters,
} from "./schema.ts";

export const webhookRoutes = [
  route({
    method: "GET",
    path: "/webhook",
    versions: "v1+",
    id: "listWebhooks",
    summary: "List webhooks",
    permission: "webhook.read",
    query: listQuery(webhookFilters, ["createdAt", "updatedAt"], Webhook),
    replies: { 200: listOf(Webhook) },
    run: (ctx, { query }) => listWebhooks(ctx, query),
  }),
  route({
    method: "GET",
    path: "/webhook/{id}",
    versions: "v1+",
    id: "getWebhook",
    summary: "Read a webhook",
    permission: "webhook.read",
    replies: { 200: Webhook },
    run: (ctx, { params }) => getWebhook(ctx, params.id),
  }),
  route({
    method: "POST",
    path: "/webhook",
    versions: "v1+",
    id: "createWebhook",
    summary: "Register a webhook",
    description:
      "It is sent the events of its types from now on, signed by Standard Webhooks, as far as whoever made it may see them. The reply alone holds the secret.",
    permission: "webhook.manage",
    body: NewWebhook,
    replies: { 201: IssuedWebhook },
    secret: "secret",
    problems: [urlNotAllowed, webhookLimitReached],
    emits: [webhookCreated],
    run: async (ctx, { body }) => {
      const webhook = await createWebhook(ctx, body);
      return new Reply(201, webhook, { location: `/webhook/${webhook.id}` });
    },
  }),
  route({
    method: "PATCH",
    path: "/webhook/{id}",
    versions: "v1+",
    id: "updateWebhook",
    summary: "Change a webhook",
    description:
      "Whoever changes it owns it from then on: its rights say what is sent. `status` pauses, disables and enables.",
    permission: "webhook.manage",
    body: WebhookChange,
    replies: { 200: Webhook },
    problems: [urlNotAllowed],
    emits: [webhookUpdated, webhookDisabled, webhookEnabled],
    run: (ctx, { params, body }) => updateWebhook(ctx, params.id, body),
  }),
  route({
    method: "DELETE",
    path: "/webhook/{id}",
    versions: "v1+",
    id: "deleteWebhook",
    summary: "Delete a webhook",
    description: "What was not delivered is discarded. Its deliveries stay listed.",
    permission: "webhook.manage",
    replies: { 204: null },
    emits: [webhookDeleted],
    run: async (ctx, { params }) => void (await deleteWebhook(ctx, params.id)),
  }),
  route({
    method: "POST",
    path: "/webhook/{id}/rotate",
    versions: "v1+",
    id: "rotateWebhookSecret",
    summary: "Give a webhook a new secret",
    description: "Until the overlap ends both sign, the newest first. A key pair is made anew with it.",
    permission: "webhook.manage",
    body: WebhookRotation,
    bodyOptional: true,
    replies: { 200: RotatedWebhook },
    secret: "secret",
    problems: [rotationInProgress],
    emits: [webhookSecretRotated],
    run: (ctx, { params, body }) => rotateWebhookSecret(ctx, params.id, body),
  }),
  route({
    method: "POST",
    path: "/webhook/{id}/test",
    versions: "v1+",
    id: "testWebhook",
    summary: "Send a webhook an example",
    description:
      "One attempt at once, with the example of a type and `test: true`, whatever state the webhook is in. Answers 200 also when the receiver failed.",
    permission: "webhook.manage",
    body: WebhookTestAsk,
    bodyOptional: true,
    replies: { 200: WebhookTest },
    transaction: "own",
    emits: { none: "It changes nothing." },
    run: (ctx, { params, body }) => testWebhook(ctx, params.id, body?.type),
  }),
  route({
    method: "POST",
    path: "/webhook/{id}/replay",
    versions: "v1+",
    id: "replayWebhook",
    summary: "Replay what a webhook was sent or missed",
    description:
      "Oldest first, under the same `webhook-id`, with the header `demarc-replay`. A dry run counts. One replay at a time.",
    permission: "webhook.replay",
    async: true,
    body: WebhookReplay,
    replies: { 202: Operation, 200: WebhookReplayCount },
    problems: [webhookNotActive, countChanged, operationRunning, cursorUnknown, positionExpired],
    emits: [operationEvents.queued],
    run: (ctx, { params, body }) => replayWebhook(ctx, params.id, body),
  }),
];
