/** Inviting a user to set its first password. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { requireMail } from "#kernel/mail";
import { invalid, notFound, Problem, problem, referenceNotFound, refuse } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { lockUser, type UserCard } from "#modules/directory";
import { requireMayHandOut } from "../hand-out.ts";
import { heldBy } from "../key/given-roles.ts";
import { readLogIn } from "../user/log-in-row.ts";
import { invitationCreated } from "./events.ts";
import { endLinks, type Link, makeLink } from "./link.ts";
import { invitationMail } from "./mail-text.ts";
import type { Invitation, IssuedInvitation, NewInvitation } from "./schema.ts";

export const invitationNotPossible = problem("invitation_not_possible", 409, "The user cannot be invited.");

const pointer = "/userId";

/** Invites a user that has no password of its own yet. Who gets the link itself could log in as the user. */
export async function createInvitation(ctx: Context, input: NewInvitation): Promise<IssuedInvitation> {
  const { userId, sendInvitation = true } = input;
  const wrong = idFault("usr", userId, { pointer });
  if (wrong) throw invalid([wrong]);
  const row = await lockUser(ctx, userId).catch((error: unknown) => {
    if (error instanceof Problem && error.kind === notFound) throw invalid([referenceNotFound({ pointer })]);
    throw error;
  });
  if (!sendInvitation) requireMayHandOut(ctx, await heldBy(ctx, row.tenant_id, row.id));
  const logIn = await readLogIn(ctx.db, row.id);
  const isOver = row.expires_at !== null && row.expires_at <= ctx.now;
  if (!row.is_current || isOver || row.log_in_method !== "password") {
    throw refuse(invitationNotPossible, { detail: "The user is not one who logs in with a password." });
  }
  if (logIn?.password && !logIn.must_change) {
    throw refuse(invitationNotPossible, { detail: "The user has a password of its own; it can be reset." });
  }
  const { id, tenant_id: tenantId, username, fullname, email } = row;
  return invite(ctx, { id, tenantId, username, fullname, email }, { mailed: sendInvitation });
}

/**
 * Makes an invitation and mails it, or gives its link back. An earlier one of the user works no more. Checks nothing: for
 * operations that have just made the user. Emits `invitation.created`.
 */
export async function invite(
  ctx: Context,
  user: UserCard,
  { mailed, takesUser = false }: { mailed: boolean; takesUser?: boolean },
): Promise<IssuedInvitation> {
  if (mailed) requireMail(ctx.settings, "Ask for the link with sendInvitation: false, and pass it on yourself.");
  const earlier = await ctx.db.first(
    query<{ takes: boolean | null }>(
      sql`select bool_or(takes_user) as takes from access.link where user_id = ${user.id} and kind = 'invitation'`,
    ),
  );
  await endLinks(ctx, user.id);
  const place = { tenantId: user.tenantId, userId: user.id, takesUser: takesUser || earlier?.takes === true };
  const { link, url } = await makeLink(ctx, "invitation", place);
  if (mailed) await ctx.mail(await invitationMail(ctx, user, link, url));
  tellOfInvitation(ctx, invitationCreated, link);
  ctx.audit({
    tenantId: user.tenantId,
    type: "authentication",
    action: "invited",
    item: { kind: "user", id: user.id, name: user.fullname },
    changes: [
      { field: "mailed", old: null, new: mailed },
      { field: "expiresAt", old: null, new: link.expires_at.toISOString() },
    ],
  });
  return { ...invitationOf(link), url: mailed ? null : url };
}

function invitationOf(link: Link): Invitation {
  return {
    id: link.id,
    tenantId: link.tenant_id,
    userId: link.user_id!,
    createdAt: link.created_at.toISOString(),
    expiresAt: link.expires_at.toISOString(),
  };
}

export function tellOfInvitation(ctx: Context, kind: typeof invitationCreated, link: Link): void {
  ctx.emit(kind, {
    tenantId: link.tenant_id,
    subject: link.user_id!,
    path: `/user/${link.user_id}`,
    resource: invitationOf(link),
    previous: null,
    changed: [],
    ownerId: link.user_id!,
  });
}
