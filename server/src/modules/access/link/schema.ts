import { type Static, Type } from "typebox";
import { id, instant, nullable, object } from "#kernel/schema";
import { password } from "../user/schema.ts";

const invitation = {
  id: id("inv"),
  tenantId: id("tnt"),
  userId: id("usr"),
  createdAt: instant,
  expiresAt: instant,
};
/** What events tell of one: never its link. */
export const Invitation = object(invitation, { title: "Invitation" });
export type Invitation = Static<typeof Invitation>;

const url = Type.String({
  format: "uri",
  description: "The link: here and nowhere else. null where it was mailed, and in a replay after 10 minutes.",
  "x-secret": true,
});
export const IssuedInvitation = object({ ...invitation, url: nullable(url) }, { title: "IssuedInvitation" });
export type IssuedInvitation = Static<typeof IssuedInvitation>;

export const NewInvitation = object({
  userId: id("usr"),
  sendInvitation: Type.Optional(Type.Boolean({ default: true, description: "false: the reply holds the link." })),
});
export type NewInvitation = Static<typeof NewInvitation>;

const token = Type.String({ minLength: 1, maxLength: 200, description: "The `token` of the link.", "x-secret": true });
export const LinkPassword = object(
  { token, new: password },
  { title: "LinkPassword", description: "A password has 12 to 256 code points of any kind." },
);
export type LinkPassword = Static<typeof LinkPassword>;

const name = (description: string) => Type.String({ minLength: 1, maxLength: 300, description });
export const ResetRequest = object(
  {
    login: name("User name or e-mail address, alone or as `tenant/username`."),
    tenant: Type.Optional(name("The tenant's code, where it does not stand in `login`.")),
  },
  { title: "ResetRequest" },
);
export type ResetRequest = Static<typeof ResetRequest>;
export const ResetRequested = object({ message: Type.String() }, { title: "ResetRequested" });
