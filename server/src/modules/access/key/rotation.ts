/** Secrets of keys and clients: at most two live ones, of which the newest has no end. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { credentialDigest, mintCredential } from "#kernel/credential";
import { query } from "#kernel/db";
import { invalid } from "#kernel/problem";

type Owner = { kind: "key" | "client"; tenantId: string; id: string };

/** A secret of another form has no public part. */
const shownOfForeign = 4;
const minuteMs = 60_000;
/** As long as the activity log may ask why an old secret was refused. */
const keptMs = 30 * 86_400_000;

/**
 * Gives a key or client a secret, and returns it: it can never be read again. `value`: one that is in use already; 400
 * where any credential of the installation has it, also a deleted one.
 */
export async function addSecret(ctx: Context, owner: Owner, value?: string): Promise<string> {
  const { secret, hint } =
    value === undefined
      ? mintCredential(owner.kind === "key" ? "dmk" : "dms")
      : { secret: value, hint: value.slice(0, shownOfForeign) };
  const added = await ctx.db.run(
    query(sql`insert into ${tableOf(owner)} (tenant_id, ${sql.ref(`${owner.kind}_id`)}, digest, hint, created_at)
      values (${owner.tenantId}, ${owner.id}, ${credentialDigest(secret)}, ${hint}, ${ctx.now})
      on conflict (digest) do nothing`),
  );
  if (added === 0)
    throw invalid([{ pointer: "/value", rule: "not_unique", message: "A credential of this value is known already." }]);
  return secret;
}

/**
 * A new secret; the one before it works for `overlapMinutes` more, any older one ends now. The caller holds the lock on
 * the owner's row.
 */
export async function rotateSecret(ctx: Context, owner: Owner, overlapMinutes: number): Promise<string> {
  const ends = new Date(ctx.now.getTime() + overlapMinutes * minuteMs);
  const mine = sql`${sql.ref(`${owner.kind}_id`)} = ${owner.id}`;
  await ctx.db.run(
    query(sql`update ${tableOf(owner)} set expires_at = case when expires_at is null then ${ends}::timestamptz else ${ctx.now}::timestamptz end
      where ${mine} and (expires_at is null or expires_at > ${ctx.now})`),
  );
  await ctx.db.run(
    query(sql`delete from ${tableOf(owner)} where ${mine} and expires_at < ${new Date(ctx.now.getTime() - keptMs)}`),
  );
  return addSecret(ctx, owner);
}

function tableOf(owner: Owner) {
  return sql.table(`access.${owner.kind}_secret`);
}
