import { event } from "#kernel/events";
import { SigningKey } from "./schema.ts";

export const signingKeyRotated = event("access", "signing_key.rotated", {
  permission: "signingKey.manage",
  summary: "Another key signs access tokens, or is going to at a time now set",
  resource: SigningKey,
});
