/** Ten codes on paper, for the day the authenticator is lost. Each works once; only digests are kept. */
import { hash, randomBytes } from "node:crypto";
import type { Context } from "#kernel/contract";
import { access } from "../tables.ts";
import type { FactorUser } from "./totp.ts";

const howMany = 10;
/** Crockford's base32: nothing in it is mistaken for something else when read from paper. */
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
const letters = 16;

/** Makes a user's codes anew; those it had work no more. 80 random bits each, so a plain digest cannot be searched. */
export async function makeRecoveryCodes(ctx: Context, user: FactorUser): Promise<string[]> {
  const codes = Array.from({ length: howMany }, newCode);
  await dropRecoveryCodes(ctx, user.id);
  await ctx.db.run(
    access
      .insertInto("access.recovery_code")
      .values(codes.map((code) => ({ tenant_id: user.tenantId, user_id: user.id, digest: digestOf(user.id, code) }))),
  );
  return codes;
}

export async function dropRecoveryCodes(ctx: Context, userId: string): Promise<void> {
  await ctx.db.run(access.deleteFrom("access.recovery_code").where("user_id", "=", userId));
}

/** Whether this is an unused code of the user; it is used from now on. Of two who bring it at once, one is right. */
export async function takeRecoveryCode(ctx: Context, userId: string, code: string): Promise<boolean> {
  const taken = await ctx.db.run(
    access
      .updateTable("access.recovery_code")
      .set({ used_at: ctx.now })
      .where("user_id", "=", userId)
      .where("digest", "=", digestOf(userId, code))
      .where("used_at", "is", null),
  );
  return taken === 1;
}

function newCode(): string {
  const digits = [...randomBytes(letters)].map((octet) => alphabet[octet % 32]);
  return digits.join("").replace(/(.{4})(?=.)/g, "$1-");
}

/** As it was written down or as it was typed: case, hyphens, blanks and look-alikes do not matter. */
function digestOf(userId: string, code: string): Buffer {
  const plain = code
    .toLowerCase()
    .replaceAll(/[^0-9a-z]/g, "")
    .replaceAll("o", "0")
    .replaceAll(/[il]/g, "1");
  return hash("sha256", `demarc-recovery-code-v1\0${userId}\0${plain}`, "buffer");
}
