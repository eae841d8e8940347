/**
 * Time-based one-time passwords (RFC 6238): SHA-1, six digits, 30 seconds, which is what every authenticator knows. A
 * code of the step before or after is good too; no step's code is accepted twice, whatever the number of processes:
 * the row is locked while a code is judged.
 */
import { Secret, TOTP } from "otpauth";
import type { Context } from "#kernel/contract";
import { problem, refuse } from "#kernel/problem";
import { access } from "../tables.ts";
import type { TotpSecret } from "./schema.ts";

export const mfaEnabledAlready = problem("mfa_enabled", 409, "A second factor is set up already.");
export const mfaNotEnabled = problem("mfa_not_enabled", 409, "No second factor is set up.");
export const mfaNotBegun = problem("mfa_not_begun", 409, "No set-up of a second factor is under way.");
export const mfaSwitchedOff = problem("mfa_off", 409, "The tenant's rules for log-in have the second factor off.");

export type FactorUser = { id: string; tenantId: string; username: string };

const kind = { algorithm: "SHA1", digits: 6, period: 30 } as const;
const issuer = "Demarc";
const secretOctets = 20;
/** One step either side: for clocks that differ, and for who types slowly. */
const window = 1;
const setUpMs = 60 * 60_000;

const place = (userId: string) => ({ table: "access.totp", column: "secret_sealed", rowId: userId });
const stepAt = (at: Date) => Math.floor(at.getTime() / 1_000 / kind.period);

/** Makes a secret, which asks for nothing until a code of it has been shown; one made before and not confirmed goes. */
export async function beginSetUp(ctx: Context, user: FactorUser): Promise<TotpSecret> {
  const tenant = await ctx.db.first(
    access.selectFrom("access.tenant").select(["auth_policy", "code"]).where("id", "=", user.tenantId),
  );
  if (tenant!.auth_policy.mfa === "off") throw refuse(mfaSwitchedOff);
  const secret = new Secret({ size: secretOctets });
  const fresh = {
    secret_sealed: await ctx.secrets.seal(user.tenantId, place(user.id), secret.bytes),
    begun_at: ctx.now,
  };
  const stored = await ctx.db.run(
    access
      .insertInto("access.totp")
      .values({ tenant_id: user.tenantId, user_id: user.id, confirmed_at: null, ...fresh })
      .onConflict((conflict) =>
        conflict.column("user_id").doUpdateSet(fresh).where("access.totp.confirmed_at", "is", null),
      ),
  );
  if (stored === 0) throw refuse(mfaEnabledAlready);
  const totp = new TOTP({ ...kind, issuer, label: `${tenant!.code}/${user.username}`, secret });
  return { secret: secret.base32, uri: totp.toString() };
}

/** Ends the set-up with the first right code, which is thereby used. */
export async function confirmSetUp(ctx: Context, user: FactorUser, code: string): Promise<"right" | "wrong"> {
  const row = await lockTotp(ctx, user.id);
  if (row?.confirmed_at) throw refuse(mfaEnabledAlready);
  if (!row || ctx.now.getTime() - row.begun_at.getTime() >= setUpMs) throw refuse(mfaNotBegun);
  const step = await stepOf(ctx, user, row, code);
  if (step === null) return "wrong";
  await ctx.db.run(
    access
      .updateTable("access.totp")
      .set({ confirmed_at: ctx.now, steps: [String(step)] })
      .where("user_id", "=", user.id),
  );
  return "right";
}

/** Judges a code of a factor that is set up, and uses it up when it is right. */
export async function takeTotpCode(
  ctx: Context,
  user: Pick<FactorUser, "id" | "tenantId">,
  code: string,
): Promise<boolean> {
  const row = await lockTotp(ctx, user.id);
  if (!row?.confirmed_at) return false;
  const step = await stepOf(ctx, user, row, code);
  if (step === null || row.steps.includes(String(step))) return false;
  const oldest = stepAt(ctx.now) - window;
  const steps = [...row.steps.filter((used) => Number(used) >= oldest), String(step)];
  await ctx.db.run(access.updateTable("access.totp").set({ steps }).where("user_id", "=", user.id));
  return true;
}

/** Whether a code may be asked of the user; the row stays locked until the transaction ends. */
export async function hasTotp(ctx: Context, userId: string): Promise<boolean> {
  return (await lockTotp(ctx, userId))?.confirmed_at != null;
}

export async function dropTotp(ctx: Context, userId: string): Promise<void> {
  await ctx.db.run(access.deleteFrom("access.totp").where("user_id", "=", userId));
}

function lockTotp(ctx: Context, userId: string) {
  return ctx.db.first(access.selectFrom("access.totp").selectAll().where("user_id", "=", userId).forUpdate());
}

/** The time step that a code belongs to, among those that count now. */
async function stepOf(
  ctx: Context,
  user: { id: string; tenantId: string },
  row: { secret_sealed: string },
  code: string,
): Promise<number | null> {
  const token = code.replaceAll(/\s/g, "");
  if (!/^[0-9]{6}$/.test(token)) return null;
  const octets = await ctx.secrets.open(user.tenantId, place(user.id), row.secret_sealed);
  const secret = new Secret({ buffer: Uint8Array.from(octets).buffer });
  const delta = TOTP.validate({ ...kind, token, secret, window, timestamp: ctx.now.getTime() });
  return delta === null ? null : stepAt(ctx.now) + delta;
}
