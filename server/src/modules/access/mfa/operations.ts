/** A user's own second factor, and that of somebody who has lost it. */
import type { Context } from "#kernel/contract";
import { invalid, problem, refuse, scopeMissing } from "#kernel/problem";
import { lockUser, type UserCard } from "#modules/directory";
import { requireMayHandOut } from "../hand-out.ts";
import { heldBy } from "../key/given-roles.ts";
import { requireRecentLogIn } from "../step-up.ts";
import { setMfa, tellOfLogIn } from "../user/log-in-row.ts";
import { enterTry, ownUser } from "../user/own.ts";
import { mfaDisabled, mfaReset } from "./events.ts";
import { dropRecoveryCodes } from "./recovery-code.ts";
import type { TotpSecret } from "./schema.ts";
import { enableFactor, recordFactor, takeCode } from "./second-factor.ts";
import { beginSetUp, dropTotp, hasTotp, mfaNotEnabled } from "./totp.ts";

export const codeWrong = problem("code_wrong", 400, "The code is not right.");
export const ownFactor = problem("own_factor", 409, "One's own second factor is removed with a code of it.");

/** A second factor is the whole user's: neither a narrowed credential nor an application that was let in may set it. */
async function wholeUser(ctx: Context): Promise<UserCard> {
  const user = await ownUser(ctx);
  requireRecentLogIn(ctx);
  if (ctx.who.scopes.includes("*")) return user;
  throw refuse(scopeMissing, {
    detail: "Only a credential with the scope * sets or removes a second factor.",
    members: { permission: "*" },
    headers: { "www-authenticate": 'Bearer error="insufficient_scope", scope="*"' },
  });
}

export async function beginTotp(ctx: Context): Promise<TotpSecret> {
  return beginSetUp(ctx, await wholeUser(ctx));
}

/** A wrong code is no failed log-in here: whoever began the set-up knows the secret, so there is nothing to guess. */
export async function confirmTotp(ctx: Context, code: string): Promise<{ recoveryCodes: string[] }> {
  const done = await enableFactor(ctx, await wholeUser(ctx), code);
  if (done === "wrong") throw wrongCode();
  return done;
}

export async function removeTotp(ctx: Context, code: string): Promise<void> {
  const user = await wholeUser(ctx);
  if (!(await hasTotp(ctx, user.id))) throw refuse(mfaNotEnabled);
  const attempt = await enterTry(ctx, user);
  let settled = false;
  try {
    const right = await takeCode(ctx, user, code);
    settled = true;
    if (!right) {
      await attempt?.fail();
      throw wrongCode();
    }
    await attempt?.succeed();
  } finally {
    if (!settled) await attempt?.cancel();
  }
  await dropFactor(ctx, user.id);
  tellOfLogIn(ctx, mfaDisabled, await setMfa(ctx, user, false), "mfaEnabled", true);
  recordFactor(ctx, user, "mfa_disabled");
}

/** Takes somebody's second factor away, which is half of getting in: so the caller must hold what the user holds. */
export async function resetMfa(ctx: Context, key: string): Promise<void> {
  const { id, tenant_id: tenantId, fullname } = await lockUser(ctx, key, "mfa.reset");
  requireRecentLogIn(ctx);
  if (ctx.who.actor.id === id) throw refuse(ownFactor);
  requireMayHandOut(ctx, await heldBy(ctx, tenantId, id));
  if (!(await hasTotp(ctx, id))) return;
  await dropFactor(ctx, id);
  tellOfLogIn(ctx, mfaReset, await setMfa(ctx, { id, tenantId }, false), "mfaEnabled", true);
  recordFactor(ctx, { id, tenantId, fullname }, "mfa_reset");
}

async function dropFactor(ctx: Context, userId: string): Promise<void> {
  await dropTotp(ctx, userId);
  await dropRecoveryCodes(ctx, userId);
}

const wrongCode = () => invalid([{ pointer: "/code", rule: "wrong", message: codeWrong.title }], codeWrong);
