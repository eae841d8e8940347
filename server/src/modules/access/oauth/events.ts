import { event } from "#kernel/events";
import { Grant } from "./schema.ts";

export const grantRevoked = event("access", "grant.revoked", {
  permission: "session.read",
  summary: "A grant was ended; all its tokens are refused",
  resource: Grant,
});
export const grantReused = event("access", "grant.reused", {
  permission: "session.read",
  summary: "A refresh token or a code was used twice, so one of its users is a thief: the grant was ended",
  resource: Grant,
});
