import { event } from "#kernel/events";
import { LogIn, LogInLock } from "./schema.ts";

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
export const loginLocked = event("access", "login.locked", {
  permission: "user.read",
  summary: "Too many wrong passwords: a user logs in only from addresses where it did in the last 30 days.",
  resource: LogInLock,
});

export const logInEvents = [userBlocked, userUnblocked, passwordChanged, loginLocked];
