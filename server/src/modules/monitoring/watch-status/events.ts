import { event } from "#kernel/events";
import { id, nullable } from "#kernel/schema";
import { watchEvent } from "../watch/events.ts";

export const watchActivated = event<{ contactUserId: string | null }>("monitoring", "watch.activated", {
  ...watchEvent,
  summary: "A pending watch went live.",
  adds: { contactUserId: nullable(id("usr", { description: "The contact of the nearest folder that has one." })) },
});
export const watchDisabled = event("monitoring", "watch.disabled", { ...watchEvent, summary: "A watch was disabled." });
export const watchEnabled = event("monitoring", "watch.enabled", {
  ...watchEvent,
  summary: "A disabled watch went live again.",
});

export const watchStatusEvents = [watchActivated, watchDisabled, watchEnabled];
