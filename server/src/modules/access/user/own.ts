/** What concerns the caller's own log-in: who it is, and the guard before what it must prove. */
import { countingKey } from "#kernel/address";
import type { Context } from "#kernel/contract";
import { problem, refuse, userNeeded } from "#kernel/problem";
import { fold, type UserCard, userCards } from "#modules/directory";
import type { Try } from "../guess-guard.ts";
import { guardOf } from "../log-in-guard.ts";
import { access } from "../tables.ts";

export const loginThrottled = problem("login_throttled", 429, "Too many wrong passwords. Try again later.");

/** The user who calls; a key or client that is nobody's is refused. */
export async function ownUser(ctx: Context): Promise<UserCard> {
  const { actor } = ctx.who;
  const user = actor.kind === "user" ? (await userCards(ctx.db, [actor.id])).get(actor.id) : undefined;
  if (!user) throw refuse(userNeeded);
  return user;
}

/** Enters a try to prove a password or code, which counts like a log-in; refused with 429 after too many wrong ones. */
export async function enterTry(ctx: Context, user: UserCard): Promise<Try | undefined> {
  const [name] = await logInNames(ctx, user);
  const attempt = await guardOf(ctx)?.enter(name!, countingKey(ctx.call.address));
  if (!attempt || attempt.admitted) return attempt;
  throw refuse(loginThrottled, { headers: { "retry-after": String(attempt.retryAfterSeconds) } });
}

/** What a person may type to log in, as the guard counts it; the qualified user name first. */
export async function logInNames(
  ctx: Pick<Context, "db">,
  user: Pick<UserCard, "tenantId" | "username" | "email">,
): Promise<string[]> {
  const tenant = await ctx.db.first(access.selectFrom("access.tenant").select("code").where("id", "=", user.tenantId));
  const names = [user.username, user.email];
  return [...names.map((name) => `${tenant?.code}/${name}`), ...names].map(fold);
}
