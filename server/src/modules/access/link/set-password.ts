/** Setting a password by a link: the first one by an invitation, a new one by a reset. */
import type { Context, OpenDoor } from "#kernel/contract";
import { invalid, refuse } from "#kernel/problem";
import { type UserCard, userCards, userStanding } from "#modules/directory";
import { guardOf } from "../log-in-guard.ts";
import { readLogIn } from "../user/log-in-row.ts";
import { storePassword } from "../user/operations.ts";
import { logInNames } from "../user/own.ts";
import { hashOrRefuse, passwordFaults } from "../user/password-rules.ts";
import { invitationAccepted } from "./events.ts";
import { tellOfInvitation } from "./invitation.ts";
import { type Link, linkExpired, readLink, takeLink } from "./link.ts";
import type { LinkPassword } from "./schema.ts";

/** The user of a link that works, for the page that it leads to. */
export async function ownerOfLink(
  ctx: Context,
  kind: "invitation" | "reset",
  token: string,
): Promise<{ link: Link; user: UserCard }> {
  const { system } = door(ctx);
  const link = await readLink(system, kind, token, ctx.now);
  const id = link.user_id!;
  const [user, standing, logIn] = await Promise.all([
    userCards(system, [id]).then((cards) => cards.get(id)),
    userStanding(system, id, ctx.now),
    readLogIn(system, id),
  ]);
  // Blocked: the link wakes with the user.
  if (!user || !standing?.live || logIn?.blocked_at) throw refuse(linkExpired);
  return { link, user };
}

export async function acceptInvitation(ctx: Context, given: LinkPassword): Promise<void> {
  await setByLink(ctx, "invitation", given);
}

export async function resetPassword(ctx: Context, given: LinkPassword): Promise<void> {
  await setByLink(ctx, "reset", given);
}

async function setByLink(ctx: Context, kind: "invitation" | "reset", given: LinkPassword): Promise<void> {
  const { link, user } = await ownerOfLink(ctx, kind, given.token);
  const faults = passwordFaults(given.new, user);
  if (faults.length > 0) throw invalid(faults);
  const phc = await hashOrRefuse(given.new);
  const actor = { kind: "user", id: user.id, name: user.fullname } as const;
  const via = { kind: "link", id: link.id, hint: null, clientId: null, grantId: null } as const;
  await door(ctx).as(user.tenantId, { actor, via, grants: [] }, async (tx) => {
    await takeLink(tx, link);
    await storePassword(tx, user, phc, { tells: kind === "reset" });
    if (kind === "invitation") tellOfInvitation(tx, invitationAccepted, link);
  });
  // Whoever has the mail of the user is the user: what was counted against its names is over.
  const guard = guardOf(ctx);
  const names = guard ? await logInNames({ db: door(ctx).system }, user) : [];
  for (const name of names) await guard!.unlock(name);
}

function door(ctx: Context): OpenDoor {
  if (!ctx.open) throw new Error("Links are shown at open routes alone.");
  return ctx.open;
}
