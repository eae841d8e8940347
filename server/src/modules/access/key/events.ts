import { Type } from "typebox";
import type { EventKind } from "#kernel/events";
import { event } from "#kernel/events";
import { Key } from "./schema.ts";

const about = { permission: "key.read", resource: Key } as const;

export const keyCreated = event("access", "key.created", { ...about, summary: "A key was issued." });
export const keyUpdated = event("access", "key.updated", { ...about, summary: "A key was changed." });
export const keyEnabled = event("access", "key.enabled", { ...about, summary: "A key works again." });
export const keyDisabled = event("access", "key.disabled", { ...about, summary: "A key works no more." });
export const keyRotated = event("access", "key.rotated", { ...about, summary: "A key has a new secret." });
export const keyReassigned = event("access", "key.reassigned", {
  ...about,
  summary: "A key was handed over to another responsible user, or to nobody.",
});
export const keyDeleted = event("access", "key.deleted", { ...about, summary: "A key was deleted." });
export const keyExpiryWarned = event("access", "key.expiry_warned", {
  ...about,
  summary: "A key expires within seven days.",
});
export const keyExpired = event("access", "key.expired", { ...about, summary: "A key has expired." });
export const keyAddressRefused = event<{ address: string }>("access", "key.address_refused", {
  ...about,
  summary: "A key was shown from an address outside its list; told at most once an hour per address.",
  adds: { address: Type.String({ description: "Where it came from; an IPv6 address is its /64." }) },
});

export const keyEvents = [
  keyCreated,
  keyUpdated,
  keyEnabled,
  keyDisabled,
  keyRotated,
  keyReassigned,
  keyDeleted,
  keyExpiryWarned,
  keyExpired,
  keyAddressRefused,
] as EventKind[];
