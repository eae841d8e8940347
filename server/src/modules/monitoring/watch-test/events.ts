import { event } from "#kernel/events";
import { id } from "#kernel/schema";
import { Watch } from "../watch/schema.ts";

export const watchTested = event<{ operationId: string }>("monitoring", "watch.tested", {
  permission: "pending.read",
  resource: Watch,
  summary: "A technical test of a watch has a result.",
  adds: { operationId: id("opn") },
});
