/** What the directory's users call for here: a welcome, and care when the address of their mail changes. */
import type { Context } from "#kernel/contract";
import type { EventListener } from "#kernel/event-listeners";
import { requireMayHandOut } from "../hand-out.ts";
import { heldBy } from "../key/given-roles.ts";
import { createInvitation } from "./invitation.ts";
import { endLinks } from "./link.ts";

/**
 * Before a user's e-mail address is changed: links lead to a log-in, and they go there. So whoever changes another one's
 * address must hold what that one holds (403 `grant_exceeds_own`), and what was mailed to the old address ends.
 */
export async function moveMailbox(ctx: Context, user: { id: string; tenantId: string }): Promise<void> {
  if (ctx.who.actor.id !== user.id) requireMayHandOut(ctx, await heldBy(ctx, user.tenantId, user.id));
  await endLinks(ctx, user.id);
}

/** Answers `user.welcome_requested` with an invitation by mail. Who cannot be invited, or has a password, gets none. */
export const welcomes: EventListener = {
  name: "welcome",
  types: ["demarc.directory.user.welcome_requested"],
  answer: async (ctx, { subject }) => void (await createInvitation(ctx, { userId: subject })),
};
