import type { AuditField } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { invalid, problem, refuse } from "#kernel/problem";
import { lockUser, type UserCard } from "#modules/directory";
import { lastAdministrator, takesLastAdministrator } from "../last-administrator.ts";
import { endLinks } from "../link/link.ts";
import { guardOf } from "../log-in-guard.ts";
import { verifyPassword } from "../password.ts";
import { endTokens } from "./end-log-in.ts";
import { passwordChanged, userBlocked, userUnblocked } from "./events.ts";
import { lockLogIn, type Row, readLogIn, setBlock, setPassword, tellOfLogIn } from "./log-in-row.ts";
import { enterTry, logInNames, ownUser } from "./own.ts";
import { hashOrRefuse, passwordFaults, tooBusy } from "./password-rules.ts";
import type { PasswordChange } from "./schema.ts";

export const currentPasswordWrong = problem("current_password_wrong", 400, "The current password is not right.");

type Owner = Pick<UserCard, "id" | "tenantId" | "fullname">;

async function userToChange(ctx: Context, key: string): Promise<UserCard> {
  const { id, tenant_id: tenantId, username, fullname, email } = await lockUser(ctx, key);
  return { id, tenantId, username, fullname, email };
}

/** Suspends a user without switching it off: no log-in, its tokens end, its keys sleep until it is unblocked. */
export async function blockUser(ctx: Context, key: string): Promise<void> {
  const user = await userToChange(ctx, key);
  if ((await readLogIn(ctx.db, user.id))?.blocked_at) return;
  if (await takesLastAdministrator(ctx, user.tenantId, { userId: user.id })) throw refuse(lastAdministrator);
  const row = await setBlock(ctx, user, ctx.now);
  await endTokens(ctx, user);
  tellOfLogIn(ctx, userBlocked, row, "blockedAt", null);
  record(ctx, user, "blocked", { field: "blockedAt", old: null, new: ctx.now.toISOString() });
}

/** Ends a block, and lifts the lock that wrong passwords have put on the user's names. */
export async function unblockUser(ctx: Context, key: string): Promise<void> {
  const user = await userToChange(ctx, key);
  const guard = guardOf(ctx);
  if (guard) for (const name of await logInNames(ctx, user)) await guard.unlock(name);
  const before = (await readLogIn(ctx.db, user.id))?.blocked_at?.toISOString();
  if (!before) return;
  const row = await setBlock(ctx, user, null);
  // A refusal too is kept by the gate.
  ctx.forget();
  tellOfLogIn(ctx, userUnblocked, row, "blockedAt", before);
  record(ctx, user, "unblocked", { field: "blockedAt", old: before, new: null });
}

/**
 * Changes the caller's own password. Comparing and hashing happen outside the transaction. All its tokens end, this
 * call's too; personal keys stay, because they are not derived from it.
 */
export async function changePassword(ctx: Context, { current, new: chosen }: PasswordChange): Promise<void> {
  const user = await ownUser(ctx);
  const faults = passwordFaults(chosen, user);
  if (faults.length > 0) throw invalid(faults);
  const before = await compare(ctx, user, current);
  const phc = await hashOrRefuse(chosen);
  await ctx.transaction(async (tx) => {
    const row = await lockLogIn(tx.db, user.id);
    // Somebody changed it while this call was hashing.
    if (row?.password !== before.password) throw wrongPassword();
    await storePassword(tx, user, phc);
  });
}

type PasswordStored = {
  /** As `password.changed`; a first password is told by its invitation. */
  tells?: boolean;
  /** The log-in in which the password was chosen goes on. */
  keptSessionId?: string;
};

/** Stores a password that its owner chose: sessions and tokens end, and so do links that would set another one. */
export async function storePassword(
  ctx: Context,
  user: Owner,
  phc: string,
  { tells = true, keptSessionId }: PasswordStored = {},
): Promise<void> {
  const old = (await readLogIn(ctx.db, user.id))?.password_changed_at?.toISOString() ?? null;
  const row = await setPassword(ctx, user.id, phc, user.id);
  await endTokens(ctx, user, keptSessionId);
  await endLinks(ctx, user.id);
  if (tells) tellOfLogIn(ctx, passwordChanged, row, "passwordChangedAt", old);
  record(ctx, user, "password_changed", { field: "password", old: "***", new: "***" });
}

/** The log-in whose password this is; a wrong one counts like a failed log-in. */
async function compare(ctx: Context, user: UserCard, password: string): Promise<Row> {
  const attempt = await enterTry(ctx, user);
  const row = await readLogIn(ctx.db, user.id);
  const verdict = await verifyPassword(row?.password ?? null, password);
  if (verdict === "busy") {
    await attempt?.cancel();
    throw tooBusy();
  }
  if (verdict === "wrong" || !row) {
    await attempt?.fail();
    throw wrongPassword();
  }
  await attempt?.succeed();
  return row;
}

const wrongPassword = () =>
  invalid([{ pointer: "/current", rule: "wrong", message: currentPasswordWrong.title }], currentPasswordWrong);

function record(ctx: Context, user: Owner, action: string, change: AuditField): void {
  ctx.audit({
    tenantId: user.tenantId,
    type: "user",
    action,
    item: { kind: "user", id: user.id, name: user.fullname },
    changes: [change],
  });
}
