/** What goes when a person's way in goes (access, section 2). */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { keysOfEndedUser } from "../key/ended-user.ts";
import { endLinks } from "../link/link.ts";
import { denyTokens } from "../oauth/deny-list.ts";
import { endSessionsOf } from "../session/store.ts";
import { lockLogIn } from "./log-in-row.ts";

/**
 * Ends every credential of a user that is deactivated, deleted or loses its log-in, in the transaction of that change:
 * its sessions, tokens, grants and links end, its personal keys are deleted, and keys that it answers for are
 * disabled (`owner_gone`) until somebody else does. Coming back revives none of them. Routes that call it declare `endedUserEvents`.
 */
export async function endLogIn(ctx: Context, user: { tenantId: string; id: string }): Promise<void> {
  await endTokens(ctx, user);
  await endLinks(ctx, user.id);
  await keysOfEndedUser(ctx, user.id);
}

/**
 * Ends a user's sessions, access and refresh tokens, and no keys: for a block, and for a changed password.
 * `keptSessionId`: the one in which the password is being changed.
 */
export async function endTokens(
  ctx: Context,
  user: { tenantId: string; id: string },
  keptSessionId: string | null = null,
): Promise<void> {
  // A log-in under way sees this change, or is over and ended by it (oauth/log-in.ts, stillProves).
  await lockLogIn(ctx.db, user.id);
  // Sent at once, run in order: a grant that is just being opened in a session is there when the session could be ended.
  await Promise.all([
    endSessionsOf(ctx.db, user.id, ctx.now, "log_in_ended", keptSessionId),
    ctx.db.run(
      query(sql`update access."grant" set ended_at = ${ctx.now}, ended_reason = 'log_in_ended'
        where user_id = ${user.id} and ended_at is null`),
    ),
    denyTokens(ctx.db, ctx.now, [{ tenantId: user.tenantId, kind: "user", value: user.id }]),
  ]);
  ctx.forget();
}

/** What is kept of a deleted user besides: its password and its roles go with it. */
export async function forgetUser(ctx: Context, userId: string): Promise<void> {
  await Promise.all([
    ctx.db.run(query(sql`delete from access.assignment where principal_kind = 'user' and principal_id = ${userId}`)),
    ctx.db.run(query(sql`delete from access.login where user_id = ${userId}`)),
    ctx.db.run(query(sql`delete from access.totp where user_id = ${userId}`)),
    ctx.db.run(query(sql`delete from access.recovery_code where user_id = ${userId}`)),
    ctx.db.run(query(sql`delete from access.consent where user_id = ${userId}`)),
  ]);
}
