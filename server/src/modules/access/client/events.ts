import type { EventKind } from "#kernel/events";
import { event } from "#kernel/events";
import { Client } from "./schema.ts";

const about = { permission: "client.read", resource: Client } as const;

export const clientCreated = event("access", "client.created", { ...about, summary: "A client was registered." });
export const clientUpdated = event("access", "client.updated", { ...about, summary: "A client was changed." });
export const clientRotated = event("access", "client.rotated", { ...about, summary: "A client has a new secret." });
export const clientDeleted = event("access", "client.deleted", { ...about, summary: "A client was deleted." });

export const clientEvents = [clientCreated, clientUpdated, clientRotated, clientDeleted] as EventKind[];
