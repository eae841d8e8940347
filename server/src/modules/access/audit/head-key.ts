/**
 * The keys that sign the ends of audit chains: Ed25519, another one every 90 days, published when its predecessor begins
 * to sign. Nothing retires a public half: heads must verify as long as anybody keeps them.
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { calculateJwkThumbprint, exportJWK, exportPKCS8, generateKeyPair, type JWK } from "jose";
import { sql } from "kysely";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import type { Place } from "#kernel/secrets";

const periodMs = 90 * 24 * 3_600_000;

type KeyRow = { tenant_id: string; kid: string; public_jwk: JWK; private_sealed: string; active_from: Date };

const privatePlace = (kid: string): Place => ({ table: "access.audit_key", column: "private_sealed", rowId: kid });

const allKeys = query<KeyRow>(
  sql`select tenant_id, kid, public_jwk, private_sealed, active_from from access.audit_key order by active_from, kid`,
);

/** When the key that is missing should begin to sign: now, where none signs; a period on, where none follows. */
function missingFrom(keys: readonly KeyRow[], at: Date): Date | null {
  const active = activeOf(keys, at);
  if (!active) return at;
  return keys.at(-1) === active ? new Date(at.getTime() + periodMs) : null;
}
const activeOf = (keys: readonly KeyRow[], at: Date) => keys.findLast((key) => key.active_from <= at);

/** Sees that there is a key that signs and one that follows it, and returns all of them. */
async function tendKeys(kernel: Kernel, rootId: string): Promise<KeyRow[]> {
  const at = kernel.now();
  for (;;) {
    const keys = await kernel.system.in("").rows(allKeys);
    if (!missingFrom(keys, at)) return keys;
    const { publicKey, privateKey } = await generateKeyPair("Ed25519", { extractable: true });
    const jwk = await exportJWK(publicKey);
    const kid = await calculateJwkThumbprint(jwk);
    const published = JSON.stringify({ ...jwk, kid, alg: "EdDSA", use: "sig" });
    const sealed = await kernel.secrets.seal(rootId, privatePlace(kid), await exportPKCS8(privateKey));
    await kernel.system.transaction("", async (tx) => {
      await tx.run(query(sql`select pg_advisory_xact_lock(7301946031)`));
      // Another process may have added it meanwhile.
      const activeFrom = missingFrom(await tx.rows(allKeys), at);
      if (!activeFrom) return;
      await tx.run(
        query(sql`insert into access.audit_key (tenant_id, kid, public_jwk, private_sealed, published_at, active_from)
          values (${rootId}, ${kid}, ${published}::jsonb, ${sealed}, ${at}, ${activeFrom})`),
      );
    });
  }
}

/** The key that signs now; private halves leave the database sealed. */
export async function headSigner(kernel: Kernel, rootId: string): Promise<{ kid: string; key: KeyObject }> {
  const row = activeOf(await tendKeys(kernel, rootId), kernel.now())!;
  const pem = await kernel.secrets.open(row.tenant_id, privatePlace(row.kid), row.private_sealed);
  return { kid: row.kid, key: createPrivateKey(pem) };
}

/** The public halves of all keys that ever signed, and of the next one. */
export async function publishedHeadKeys(kernel: Kernel, rootId: string): Promise<JWK[]> {
  return (await tendKeys(kernel, rootId)).map((key) => key.public_jwk);
}
