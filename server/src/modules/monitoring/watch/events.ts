import { event } from "#kernel/events";
import { seesWholeTree, visibleWatchEvents } from "../scope.ts";
import { Watch } from "./schema.ts";

/** What all events of watches have in common: those of a pending one show to readers of pending watches alone. */
export const watchEvent = {
  permission: "watch.read",
  resource: Watch,
  visible: visibleWatchEvents,
  isWholeFor: seesWholeTree,
} as const;

export const watchCreated = event("monitoring", "watch.created", {
  ...watchEvent,
  summary: "A watch was made, pending.",
});
export const watchUpdated = event("monitoring", "watch.updated", { ...watchEvent, summary: "A watch was changed." });
export const watchDeleted = event("monitoring", "watch.deleted", { ...watchEvent, summary: "A watch was removed." });

export const watchEvents = [watchCreated, watchUpdated, watchDeleted];
