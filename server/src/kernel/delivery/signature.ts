/** Signatures of outbound messages: Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), symmetric and asymmetric. */
import {
  createHmac,
  createPrivateKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";

/**
 * The live keys of a target, newest first: while a rotation overlaps, all of them sign. Objects, not octets: Node makes
 * them anew at every signature otherwise, at six times the price of an HMAC.
 */
export type SigningKeys = { v1: readonly KeyObject[]; v1a: readonly KeyObject[] };

const secretPrefix = "whsec_";
const leastBytes = 24;
const mostBytes = 64;

/** `webhook-signature` of a message at a second of Unix time. */
export function signatureOf(id: string, timestamp: number, body: string, keys: SigningKeys): string {
  const signed = `${id}.${timestamp}.${body}`;
  const shared = keys.v1.map((key) => `v1,${createHmac("sha256", key).update(signed).digest("base64")}`);
  const own = keys.v1a.map((key) => `v1a,${sign(null, Buffer.from(signed), key).toString("base64")}`);
  return [...shared, ...own].join(" ");
}

/** A new secret for `v1`: 32 random octets. */
export function newSecret(): string {
  return secretPrefix + randomBytes(32).toString("base64");
}

/** The octets of a secret; undefined where the text is none: `whsec_` and base64 of 24 to 64 octets. */
export function readSecret(text: string): Buffer | undefined {
  if (!text.startsWith(secretPrefix)) return undefined;
  const encoded = text.slice(secretPrefix.length);
  const bytes = Buffer.from(encoded, "base64");
  // Node reads nearly anything as base64: what does not come out again was none.
  const isExact = bytes.toString("base64").replace(/=+$/, "") === encoded.replace(/=+$/, "");
  return isExact && bytes.length >= leastBytes && bytes.length <= mostBytes ? bytes : undefined;
}

/** The key of a secret that `readSecret` takes, or `newSecret` made. */
export function keyOfSecret(secret: string): KeyObject {
  return createSecretKey(readSecret(secret)!);
}

/** A new pair for `v1a` (Ed25519): `whpk_` and base64 of the public key's 32 octets, and the private key as stored. */
export function newPair(): { publicKey: string; privateKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { x } = publicKey.export({ format: "jwk" });
  return {
    publicKey: `whpk_${Buffer.from(x!, "base64url").toString("base64")}`,
    privateKey: privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"),
  };
}

/** The private key of a pair, from its stored form. */
export function readPrivateKey(stored: string): KeyObject {
  return createPrivateKey({ key: Buffer.from(stored, "base64"), format: "der", type: "pkcs8" });
}
