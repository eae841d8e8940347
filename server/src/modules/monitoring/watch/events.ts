import { event } from "#kernel/events";
import { Watch } from "./schema.ts";

// Of the type, not of the row: a watch may be pending, and a pending one must not show to who lacks `pending.read`.
const watch = { permission: "pending.read", resource: Watch } as const;

export const watchCreated = event("monitoring", "watch.created", { ...watch, summary: "A watch was made, pending." });
export const watchUpdated = event("monitoring", "watch.updated", { ...watch, summary: "A watch was changed." });
export const watchDeleted = event("monitoring", "watch.deleted", { ...watch, summary: "A watch was removed." });

export const watchEvents = [watchCreated, watchUpdated, watchDeleted];
