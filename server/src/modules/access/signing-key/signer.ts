/** What signs and what verifies. Public halves never change, so they are kept; which key signs, until it may have changed. */
import { type CryptoKey, importJWK, importPKCS8, type JWK, type JWTPayload, SignJWT } from "jose";
import { sql } from "kysely";
import { type Database, hot, query } from "#kernel/db";
import { createKept } from "#kernel/kept";
import type { Kernel } from "#kernel/kernel";
import { privatePlace, publishedKeys, type SigningAlgorithm, type SigningKeyRow } from "./keys.ts";
import { tendSigningKeys } from "./tend.ts";

type VerificationKey = { algorithm: SigningAlgorithm; key: CryptoKey };
type PublicRow = Pick<SigningKeyRow, "kid" | "algorithm" | "public_jwk">;
type VerificationKeys = {
  /** The key of this name, also one that signs no more; null when the installation has none. */
  find(kid: string): Promise<VerificationKey | null>;
  learn(row: PublicRow): Promise<void>;
  /** Looks for names that were unknown at once, not after the pause: there may be new keys. */
  expectNew(): void;
};

/** Strangers may name as many keys as they like: the table is read again for them once in this time. */
const rereadMs = 10_000;
const known = new WeakMap<Database, VerificationKeys>();

/** The public keys of an installation, without any network call; one store per process and database. */
export function verificationKeys(system: Database): VerificationKeys {
  const existing = known.get(system);
  if (existing) return existing;
  const keys = new Map<string, VerificationKey>();
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | null = null;

  async function learn({ kid, algorithm, public_jwk }: PublicRow): Promise<void> {
    if (!keys.has(kid)) keys.set(kid, { algorithm, key: (await importJWK(public_jwk, algorithm)) as CryptoKey });
  }
  async function read(): Promise<void> {
    readAtMs = performance.now();
    const rows = await system
      .in("")
      .rows(query<PublicRow>(sql`select kid, algorithm, public_jwk from access.signing_key`));
    for (const row of rows) await learn(row);
  }
  const store: VerificationKeys = {
    learn,
    expectNew() {
      readAtMs = Number.NEGATIVE_INFINITY;
    },
    async find(kid) {
      const held = keys.get(kid);
      if (held) return held;
      if (!reading && performance.now() - readAtMs < rereadMs) return null;
      reading ??= read().finally(() => {
        reading = null;
      });
      await reading;
      return keys.get(kid) ?? null;
    },
  };
  known.set(system, store);
  return store;
}

export type Signer = {
  /** Signs an access token (RFC 9068) with the key that is active now. */
  sign(claims: JWTPayload): Promise<string>;
  /** The public halves of all keys that verify, for the JWKS. */
  published(): Promise<JWK[]>;
};

type Turn = { kid: string; active_from: Date; until: Date | null };
/** The key whose turn it is, and when the next one's begins. */
const activeKey = hot<{ at: Date }, Turn>("active_signing_key", ({ at }) =>
  query(sql`select kid, active_from,
      (select min(active_from) from access.signing_key where active_from > ${at}) as until
    from access.signing_key where active_from <= ${at} order by active_from desc limit 1`),
);
const keyByName = (kid: string) => query<SigningKeyRow>(sql`select * from access.signing_key where kid = ${kid}`);

/** Makes the first keys when they are first needed: a process that signs nothing pays for none. */
export function createSigner(kernel: Kernel): Signer {
  const { system, secrets } = kernel;
  const turns = createKept<Turn>(kernel.processes, 1);
  let held: { kid: string; algorithm: SigningAlgorithm; key: CryptoKey } | null = null;
  let making: Promise<void> | null = null;

  function make(): Promise<void> {
    making ??= tendSigningKeys(kernel).finally(() => {
      making = null;
    });
    return making;
  }

  function knownTurn(at: Date): Turn | undefined {
    const known = turns.known("");
    return known && known.active_from <= at && (known.until === null || at < known.until) ? known : undefined;
  }

  async function active(): Promise<NonNullable<typeof held>> {
    for (let row = knownTurn(kernel.now()); ; row = undefined) {
      row ??= await turns.read("", () => system.in("").first(activeKey({ at: kernel.now() })));
      if (!row) {
        await make();
        continue;
      }
      if (held?.kid === row.kid) return held;
      const found = await system.in("").first(keyByName(row.kid));
      if (!found) continue;
      const pem = await secrets.open(found.tenant_id, privatePlace(found.kid), found.private_sealed);
      const { kid, algorithm } = found;
      await verificationKeys(system).learn(found);
      held = { kid, algorithm, key: await importPKCS8(pem.toString(), algorithm) };
      return held;
    }
  }

  return {
    async sign(claims) {
      const { kid, algorithm, key } = await active();
      return new SignJWT(claims).setProtectedHeader({ alg: algorithm, typ: "at+jwt", kid }).sign(key);
    },
    async published() {
      for (;;) {
        const rows = await system.in("").rows(publishedKeys(kernel.now()));
        if (rows.length > 0) return rows.map((row) => row.public_jwk);
        await make();
      }
    },
  };
}
