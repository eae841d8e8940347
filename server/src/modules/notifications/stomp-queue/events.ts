import { type EventKind, event } from "#kernel/events";
import { StompQueue } from "./schema.ts";

const told = (verb: string, summary: string): EventKind =>
  event("notifications", `queue.${verb}`, { permission: "notification.subscribe", summary, resource: StompQueue });

export const queueCreated = told("created", "A queue was made.");
export const queueUpdated = told("updated", "A queue was changed.");
export const queueDeleted = told("deleted", "A queue was removed.");
export const queueParked = told("parked", "An event was refused too often, or for good, and is passed over.");
export const queueUnparked = told("unparked", "Events that were given up are to be delivered again.");
export const queueEvents = [queueCreated, queueUpdated, queueDeleted, queueParked, queueUnparked];
