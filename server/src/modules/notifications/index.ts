/**
 * What changed, whoever changed it, and how long-running work ended. The kernel writes events and runs operations; this
 * module is where callers see them.
 */
import type { Module } from "#kernel/contract";
import { operationEvents } from "#kernel/operations";
import { mountPages } from "./document/pages.ts";
import { documentRoutes } from "./document/routes.ts";
import { eventCatalogueRoutes } from "./event-catalogue/routes.ts";
import { eventLogRoutes } from "./event-log/routes.ts";
import { operationRoutes } from "./operation/routes.ts";
import { mountStomp } from "./stomp/index.ts";
import { stompJobs } from "./stomp/jobs.ts";
import { connectStomp } from "./stomp/routes.ts";
import { durableEvents } from "./stomp-durable/events.ts";
import { stompDurableRoutes } from "./stomp-durable/routes.ts";
import { queueEvents } from "./stomp-queue/events.ts";
import { stompQueueRoutes } from "./stomp-queue/routes.ts";
import { stompSessionRoutes } from "./stomp-session/routes.ts";
import { versionEvents } from "./version/events.ts";
import { versionRoutes } from "./version/routes.ts";
import { versionJobs } from "./version/tell.ts";
import { webhookDeliveries } from "./webhook/delivery-kind.ts";
import { webhookEvents } from "./webhook/events.ts";
import { startFanOut } from "./webhook/fan-out.ts";
import { webhookJobs } from "./webhook/jobs.ts";
import { webhookReplay } from "./webhook/replay.ts";
import { webhookRoutes } from "./webhook/routes.ts";
import { deliveryEvents } from "./webhook-delivery/events.ts";
import { webhookDeliveryRoutes } from "./webhook-delivery/routes.ts";

export const notifications: Module = {
  name: "notifications",
  about: "News of what changed, webhooks, and long-running operations.",
  routes: [
    ...operationRoutes,
    ...eventLogRoutes,
    ...eventCatalogueRoutes,
    ...webhookRoutes,
    ...webhookDeliveryRoutes,
    ...documentRoutes,
    ...versionRoutes,
    connectStomp,
    ...stompSessionRoutes,
    ...stompDurableRoutes,
    ...stompQueueRoutes,
  ],
  async mount(http, kernel) {
    await mountPages(http, kernel);
    await mountStomp(http, kernel);
  },
  events: [
    ...Object.values(operationEvents),
    ...webhookEvents,
    ...deliveryEvents,
    ...versionEvents,
    ...durableEvents,
    ...queueEvents,
  ],
  operations: [webhookReplay],
  jobs: [...webhookJobs, ...versionJobs, ...stompJobs],
  deliveries: [webhookDeliveries],
  sealed: [
    { table: "notifications.webhook", column: "headers_sealed", rowId: "id" },
    { table: "notifications.webhook_secret", column: "sealed", rowId: "id" },
  ],
  start: async (kernel) => startFanOut(kernel),
};
