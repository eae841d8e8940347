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

export const notifications: Module = {
  name: "notifications",
  about: "News of what changed, and long-running operations.",
  routes: [...operationRoutes, ...eventLogRoutes, ...eventCatalogueRoutes, ...documentRoutes],
  mount: mountPages,
  events: Object.values(operationEvents),
};
