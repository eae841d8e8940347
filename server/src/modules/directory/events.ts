import { event } from "#kernel/events";
import { User } from "./user/schema.ts";

const user = { permission: "user.read", resource: User } as const;

export const userCreated = event("directory", "user.created", { ...user, summary: "A user was made." });
export const userUpdated = event("directory", "user.updated", { ...user, summary: "Fields of a user were changed." });
export const userDeactivated = event("directory", "user.deactivated", {
  ...user,
  summary: "A user was switched off: by hand, by its expiry, or by provisioning.",
});
export const userReactivated = event("directory", "user.reactivated", {
  ...user,
  summary: "A user was switched on again.",
});
export const userDeleted = event("directory", "user.deleted", { ...user, summary: "A user was deleted for good." });

export const userEvents = [userCreated, userUpdated, userDeactivated, userReactivated, userDeleted];
