import { etagOf } from "#kernel/answer";
import { Reply, route } from "#kernel/contract";
import { mailNotConfigured } from "#kernel/mail";
import { grantExceedsOwn } from "../hand-out.ts";
import { passwordChanged } from "../user/events.ts";
import { invitationAccepted, invitationCreated } from "./events.ts";
import { createInvitation, invitationNotPossible } from "./invitation.ts";
import { linkExpired, linkInvalid } from "./link.ts";
import { requestPasswordReset, resetRequested } from "./reset.ts";
import { IssuedInvitation, LinkPassword, NewInvitation, ResetRequest, ResetRequested } from "./schema.ts";
import { acceptInvitation, resetPassword } from "./set-password.ts";

const done = () => new Reply(204, undefined);

export const linkRoutes = [
  route({
    method: "POST",
    path: "/invitation",
    versions: "v1+",
    id: "createInvitation",
    summary: "Invite a user to set its password",
    description:
      "For users that log in with a password and have none of their own yet. The link works once, for 45 days; an earlier one works no more. It is mailed, or with `sendInvitation: false` shown in the reply, to callers who hold all that the user holds.",
    permission: "user.write",
    body: NewInvitation,
    replies: { 201: IssuedInvitation },
    secret: "url",
    problems: [invitationNotPossible, mailNotConfigured, grantExceedsOwn],
    emits: [invitationCreated],
    run: async (ctx, { body }) => {
      const made = await createInvitation(ctx, body);
      return new Reply(201, made, { etag: etagOf(IssuedInvitation, { ...made, url: null }) });
    },
  }),
  route({
    method: "POST",
    path: "/invitation/accept",
    versions: "v1+",
    id: "acceptInvitation",
    summary: "Set one's first password by an invitation",
    permission: "open",
    body: LinkPassword,
    replies: { 204: null },
    problems: [linkExpired, linkInvalid],
    emits: [invitationAccepted],
    transaction: "own",
    run: (ctx, { body }) => acceptInvitation(ctx, body).then(done),
  }),
  route({
    method: "POST",
    path: "/password/reset-request",
    versions: "v1+",
    id: "requestPasswordReset",
    summary: "Ask for a mail to reset a password",
    description: "The same answer whether there is such a log-in or not. The link works once, for 60 minutes.",
    permission: "open",
    body: ResetRequest,
    replies: { 202: ResetRequested },
    problems: [mailNotConfigured],
    emits: { none: "Who asks is nobody yet, and nothing changes before the link is used." },
    transaction: "own",
    run: async (ctx, { body }) => {
      await requestPasswordReset(ctx, body);
      return { message: resetRequested };
    },
  }),
  route({
    method: "POST",
    path: "/password/reset",
    versions: "v1+",
    id: "resetPassword",
    summary: "Set a new password by a reset link",
    description: "All tokens of the user end; personal keys stay.",
    permission: "open",
    body: LinkPassword,
    replies: { 204: null },
    problems: [linkExpired, linkInvalid],
    emits: [passwordChanged],
    transaction: "own",
    run: (ctx, { body }) => resetPassword(ctx, body).then(done),
  }),
];
