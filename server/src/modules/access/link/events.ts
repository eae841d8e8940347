import { event } from "#kernel/events";
import { Invitation } from "./schema.ts";

const about = { permission: "user.read", resource: Invitation } as const;

export const invitationCreated = event("access", "invitation.created", {
  ...about,
  summary: "A user was sent or given a link to set its password.",
});
export const invitationAccepted = event("access", "invitation.accepted", {
  ...about,
  summary: "A user has set its password by the link it was given.",
});

export const invitationEvents = [invitationCreated, invitationAccepted];
