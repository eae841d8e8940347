/**
 * What changed, whoever changed it, and how long-running work ended. The kernel writes events and runs operations; this
 * module is where callers see them.
 */
import type { Module } from "#kernel/contract";
import { operationEvents } from "#kernel/operations";
import { mountPages } from "./document/pages.ts";
import { documentRoutes } from "./document/routes.ts";
import { operationRoutes } from "./operation/routes.ts";

export const notifications: Module = {
  name: "notifications",
  about: "Long-running operations, and news of what changed.",
  routes: [...operationRoutes, ...documentRoutes],
  mount: mountPages,
  events: Object.values(operationEvents),
};
