import { event } from "#kernel/events";
import { LogIn } from "../user/schema.ts";

const about = { permission: "user.read", resource: LogIn } as const;

export const mfaEnabled = event("access", "mfa.enabled", { ...about, summary: "A user set up its second factor." });
export const mfaDisabled = event("access", "mfa.disabled", { ...about, summary: "A user removed its second factor." });
export const mfaReset = event("access", "mfa.reset", {
  ...about,
  summary: "Somebody else removed a user's second factor.",
});

export const mfaEvents = [mfaEnabled, mfaDisabled, mfaReset];
