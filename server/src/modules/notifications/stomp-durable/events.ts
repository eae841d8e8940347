import { sql } from "kysely";
import { permittedEvents } from "#kernel/event-reader";
import { type EventKind, event } from "#kernel/events";
import type { Principal } from "#kernel/principal";
import { StompDurable } from "./schema.ts";

/** Whose subscription it is hears of it without the permission. */
const ownOrPermitted = (who: Principal) =>
  sql<boolean>`(e.owner_id = ${who.actor.id} or ${permittedEvents(who, "notification.manage")})`;

const told = (verb: string, summary: string): EventKind =>
  event("notifications", `durable.${verb}`, {
    permission: "notification.manage",
    summary,
    resource: StompDurable,
    visible: ownOrPermitted,
  });

export const durableWarned = told("warned", "A durable subscription that nobody uses is about to be removed.");
export const durableExpired = told("expired", "A durable subscription that nobody used was removed.");
export const durableDeleted = told("deleted", "A durable subscription was removed.");
export const durableUnparked = told("unparked", "Events that were given up are to be delivered again.");
export const durableEvents = [durableWarned, durableExpired, durableDeleted, durableUnparked];
