/** The second factor as the log-in pages use it: for somebody who proved a password and has no token yet. */
import { generate } from "lean-qr";
import { toSvgSource } from "lean-qr/extras/svg";
import { inTransaction, systemCaller } from "#kernel/context";
import type { Context } from "#kernel/contract";
import type { Kernel } from "#kernel/kernel";
import { userCards } from "#modules/directory";
import type { Html } from "../page/page.ts";
import { setMfa, tellOfLogIn } from "../user/log-in-row.ts";
import { mfaEnabled } from "./events.ts";
import { makeRecoveryCodes, takeRecoveryCode } from "./recovery-code.ts";
import type { TotpSecret } from "./schema.ts";
import { beginSetUp, confirmSetUp, type FactorUser, hasTotp, takeTotpCode } from "./totp.ts";

type Owner = { id: string; tenantId: string };

/**
 * Judges a code of the authenticator or a recovery code, in a transaction of its own: a right one is used up, whatever
 * becomes of the log-in. The caller counts a wrong one as a failed log-in. Whoever has no second factor has no right code.
 */
export async function checkSecondFactor(kernel: Kernel, user: Owner, code: string): Promise<"right" | "wrong"> {
  return within(kernel, user, async (ctx, card) => ((await takeCode(ctx, card, code)) ? "right" : "wrong"));
}

/** Begins the set-up of a second factor; see `beginSetUp` for refusals. `totpPicture` shows the reply's `uri`. */
export async function beginSecondFactor(kernel: Kernel, user: Owner): Promise<TotpSecret> {
  return within(kernel, user, (ctx, card) => beginSetUp(ctx, card));
}

/** Ends the set-up: the recovery codes, to be shown once, or `wrong`. */
export async function confirmSecondFactor(
  kernel: Kernel,
  user: Owner,
  code: string,
): Promise<{ recoveryCodes: string[] } | "wrong"> {
  return within(kernel, user, (ctx, card) => enableFactor(ctx, card, code));
}

/** The QR code of an `otpauth:` address, as markup for a page. */
export function totpPicture(uri: string): Html {
  return { html: toSvgSource(generate(uri)).replace("<svg", '<svg class="code" role="img" aria-label="QR code"') };
}

/** In the transaction of who removes its factor, too. */
export async function takeCode(ctx: Context, user: FactorUser & { fullname: string }, code: string): Promise<boolean> {
  if (await takeTotpCode(ctx, user, code)) return true;
  if (!(await hasTotp(ctx, user.id)) || !(await takeRecoveryCode(ctx, user.id, code))) return false;
  recordFactor(ctx, user, "recovery_code_used");
  return true;
}

/** Confirms the set-up and switches the question for a code on. */
export async function enableFactor(
  ctx: Context,
  user: FactorUser & { fullname: string },
  code: string,
): Promise<{ recoveryCodes: string[] } | "wrong"> {
  if ((await confirmSetUp(ctx, user, code)) === "wrong") return "wrong";
  const recoveryCodes = await makeRecoveryCodes(ctx, user);
  tellOfLogIn(ctx, mfaEnabled, await setMfa(ctx, user, true), "mfaEnabled", false);
  recordFactor(ctx, user, "mfa_enabled");
  return { recoveryCodes };
}

export function recordFactor(ctx: Context, user: Owner & { fullname: string }, action: string): void {
  ctx.audit({
    tenantId: user.tenantId,
    type: "authentication",
    action,
    item: { kind: "user", id: user.id, name: user.fullname },
    changes: [],
  });
}

async function within<T>(
  kernel: Kernel,
  user: Owner,
  part: (ctx: Context, card: FactorUser & { fullname: string }) => Promise<T>,
): Promise<T> {
  const tenant = (await kernel.gate.tenant(user.tenantId))!;
  return inTransaction(kernel, systemCaller(kernel, tenant, "log-in"), async (ctx) => {
    const card = (await userCards(ctx.db, [user.id])).get(user.id);
    if (!card) throw new Error(`The user ${user.id} went while it was logging in.`);
    return part(ctx, card);
  });
}
