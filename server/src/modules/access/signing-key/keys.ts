/**
 * The life of signing keys (access, section 5.3). It is written down ahead: the next key is published when its
 * predecessor begins to sign, so that every verifier has met it long before; a key that signs no more verifies until its
 * last token has expired. Changes of state are the clock's, not a job's.
 */
import { calculateJwkThumbprint, exportJWK, exportPKCS8, generateKeyPair, type JWK } from "jose";
import { sql } from "kysely";
import { type Db, query, tables } from "#kernel/db";
import type { Place, Secrets } from "#kernel/secrets";

export type SigningAlgorithm = "RS256" | "ES256";
export type SigningKeyRow = {
  tenant_id: string;
  kid: string;
  algorithm: SigningAlgorithm;
  public_jwk: JWK;
  private_sealed: string;
  published_at: Date;
  active_from: Date;
  retired_from: Date | null;
  gone_at: Date | null;
};
type NewSigningKey = Pick<SigningKeyRow, "kid" | "algorithm" | "public_jwk" | "private_sealed">;

export const signing = tables<{ "access.signing_key": SigningKeyRow }>();

const minuteMs = 60_000;
const periodMs = 90 * 24 * 60 * minuteMs;
const publishedBeforeUseMs = 15 * minuteMs;
/** The longest life of an access token, and five minutes for clocks. */
const verifiesOnMs = 65 * minuteMs;

/** Where a private half is sealed: under the data key of the root tenant. */
export const privatePlace = (kid: string): Place => ({
  table: "access.signing_key",
  column: "private_sealed",
  rowId: kid,
});

/** Generates a key pair; the private half leaves this function sealed. RSA takes a tenth of a second: no transaction. */
export async function makeSigningKey(
  secrets: Secrets,
  rootId: string,
  algorithm: SigningAlgorithm,
): Promise<NewSigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { modulusLength: 2048, extractable: true });
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  const private_sealed = await secrets.seal(rootId, privatePlace(kid), await exportPKCS8(privateKey));
  return { kid, algorithm, public_jwk: { ...jwk, kid, alg: algorithm, use: "sig" }, private_sealed };
}

export function stateOf(key: Pick<SigningKeyRow, "active_from" | "retired_from">, at: Date) {
  if (key.active_from > at) return "next";
  return key.retired_from && key.retired_from <= at ? "retired" : "active";
}

/** Keys that are published: all but those whose last token has expired. */
export const publishedKeys = (at: Date) =>
  signing
    .selectFrom("access.signing_key")
    .selectAll()
    .where((where) => where.or([where("gone_at", "is", null), where("gone_at", ">", at)]))
    .orderBy("active_from");

/**
 * Brings the keys on, in the caller's transaction. `tend`: sees that there is an active key and a next one, of the
 * algorithm that is configured. `rotate`: the next key takes over as soon as it has been public for 15 minutes.
 * `emergency`: drops all keys and begins anew. Uses as many of the two spares as it needs; true: a key took over, or
 * is going to earlier than it was.
 */
export async function turnSigningKeys(
  db: Db,
  rootId: string,
  at: Date,
  wish: "tend" | "rotate" | "emergency",
  [first, second]: readonly [NewSigningKey, NewSigningKey],
): Promise<boolean> {
  await db.run(query(sql`select pg_advisory_xact_lock(7301946020)`));
  if (wish === "emergency") await db.run(signing.deleteFrom("access.signing_key"));
  const keys = await db.rows(publishedKeys(at));
  const active = keys.findLast((key) => key.active_from <= at);
  const next = keys.find((key) => key.active_from > at);
  const soon = new Date(at.getTime() + publishedBeforeUseMs);

  async function add(key: NewSigningKey, activeFrom: Date, before: string | null): Promise<void> {
    await db.run(
      signing.insertInto("access.signing_key").values({
        ...key,
        public_jwk: JSON.stringify(key.public_jwk) as never,
        tenant_id: rootId,
        published_at: at,
        active_from: activeFrom,
        retired_from: null,
        gone_at: null,
      }),
    );
    if (before) await retire(before, activeFrom);
  }
  async function retire(kid: string, from: Date): Promise<void> {
    await db.run(
      signing
        .updateTable("access.signing_key")
        .set({ retired_from: from, gone_at: new Date(from.getTime() + verifiesOnMs) })
        .where("kid", "=", kid),
    );
  }

  if (!active) {
    await add(first, at, null);
    await add(second, new Date(at.getTime() + periodMs), first.kid);
    return true;
  }
  if (!next) {
    const planned = new Date(active.active_from.getTime() + periodMs);
    await add(first, wish === "rotate" || planned < soon ? soon : planned, active.kid);
    return true;
  }
  if (wish === "tend") {
    if (next.algorithm === first.algorithm) return false;
    await db.run(signing.deleteFrom("access.signing_key").where("kid", "=", next.kid));
    await add(first, soon, active.kid);
    return true;
  }
  const published = new Date(next.published_at.getTime() + publishedBeforeUseMs);
  const takesOver = published > at ? published : at;
  if (next.active_from <= takesOver) return false;
  await db.run(signing.updateTable("access.signing_key").set({ active_from: takesOver }).where("kid", "=", next.kid));
  await retire(active.kid, takesOver);
  if (takesOver <= at) await add(first, new Date(at.getTime() + periodMs), next.kid);
  return true;
}
