import { event } from "#kernel/events";
import { id } from "#kernel/schema";
import { watchEvent } from "../watch/events.ts";

export const watchTested = event<{ operationId: string }>("monitoring", "watch.tested", {
  ...watchEvent,
  summary: "A technical test of a watch has a result.",
  adds: { operationId: id("opn") },
});
