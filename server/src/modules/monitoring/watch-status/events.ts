import { event } from "#kernel/events";
import { id, nullable } from "#kernel/schema";
import { Watch } from "../watch/schema.ts";

// Readers of pending watches only, as for every event of a watch: see watch/events.ts.
const watch = { permission: "pending.read", resource: Watch } as const;

export const watchActivated = event<{ contactUserId: string | null }>("monitoring", "watch.activated", {
  ...watch,
  summary: "A pending watch went live.",
  adds: { contactUserId: nullable(id("usr", { description: "The contact of the nearest folder that has one." })) },
});
export const watchDisabled = event("monitoring", "watch.disabled", { ...watch, summary: "A watch was disabled." });
export const watchEnabled = event("monitoring", "watch.enabled", {
  ...watch,
  summary: "A disabled watch went live again.",
});

export const watchStatusEvents = [watchActivated, watchDisabled, watchEnabled];
