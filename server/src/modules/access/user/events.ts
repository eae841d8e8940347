import { event } from "#kernel/events";
import { LogIn } from "./schema.ts";

const about = { permission: "user.read", resource: LogIn } as const;

export const userBlocked = event("access", "user.blocked", {
  ...about,
  summary: "A user was blocked: no log-in, tokens ended, keys asleep.",
});
export const userUnblocked = event("access", "user.unblocked", { ...about, summary: "A user's block ended." });
export const passwordChanged = event("access", "password.changed", {
  ...about,
  summary: "A user's password was changed; its other log-ins ended.",
});

export const logInEvents = [userBlocked, userUnblocked, passwordChanged];
