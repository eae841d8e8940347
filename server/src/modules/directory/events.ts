import { event } from "#kernel/events";
import { Role, SupervisorPrivilege } from "./role/schema.ts";
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

const ofRole = (name: string, summary: string) =>
  event("directory", `role.${name}`, { permission: "role.read", summary, resource: Role });
export const roleEvents = {
  created: ofRole("created", "A custom role was made."),
  updated: ofRole("updated", "A custom role changed; it counts from the next call on."),
  deleted: ofRole("deleted", "A custom role was deleted."),
};
const ofPrivilege = (name: string, summary: string) =>
  event("directory", `supervisor_privilege.${name}`, {
    permission: "role.read",
    summary,
    resource: SupervisorPrivilege,
  });
export const privilegeEvents = {
  created: ofPrivilege("created", "A supervisor privilege was made."),
  updated: ofPrivilege("updated", "A supervisor privilege changed; it counts from the next call on."),
  deleted: ofPrivilege("deleted", "A supervisor privilege was deleted."),
};

export const userEvents = [userCreated, userUpdated, userDeactivated, userReactivated, userDeleted];
