/** What the directory does here when it makes a user, or changes where its mail goes. */
import type { Context } from "#kernel/contract";
import { userCards } from "#modules/directory";
import { requireMayHandOut } from "../hand-out.ts";
import { heldBy } from "../key/given-roles.ts";
import { invite } from "./invitation.ts";
import { endLinks } from "./link.ts";

/**
 * Before a user's e-mail address is changed: links lead to a log-in, and they go there. So whoever changes another one's
 * address must hold what that one holds (403 `grant_exceeds_own`), and what was mailed to the old address ends.
 */
export async function moveMailbox(ctx: Context, user: { id: string; tenantId: string }): Promise<void> {
  if (ctx.who.actor.id !== user.id) requireMayHandOut(ctx, await heldBy(ctx, user.tenantId, user.id));
  await endLinks(ctx, user.id);
}

/**
 * Answers `user.welcome_requested`, in its transaction: an invitation by mail. Where the installation can send none, the
 * call succeeds with the warning `mail_not_configured`. Emits `invitation.created`, which the route must declare.
 */
export async function welcome(ctx: Context, userId: string): Promise<void> {
  const { production, mail } = ctx.settings;
  if (production && mail.smtpUrl === null) return ctx.warn("mail_not_configured");
  const user = (await userCards(ctx.db, [userId])).get(userId);
  if (user) await invite(ctx, user, { mailed: true });
}
