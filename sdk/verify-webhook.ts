/** Verifies webhooks by Standard Webhooks 1.0.0 (https://www.standardwebhooks.com). Needs nothing but Node. */
import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";

export type WebhookHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

type Options = {
  /** How far `webhook-timestamp` may be from now, before or after it; 300 unless said otherwise. */
  toleranceSeconds?: number;
  /** The time to hold it against, for tests and for what was stored. */
  now?: Date;
};

/** A message that is not to be believed: `reason` says what is wrong with it, and nothing says what would have been right. */
export class WebhookRejected extends Error {
  readonly reason: "header_missing" | "timestamp" | "signature";

  constructor(reason: WebhookRejected["reason"], message: string) {
    super(message);
    this.name = "WebhookRejected";
    this.reason = reason;
  }
}

/**
 * Verifies that a message was signed with one of the keys, and not long ago; gives its body, parsed. `body` must be the
 * octets as they came, not JSON made anew. `keys` are `whsec_…` (its signatures are the `v1` ones) and `whpk_…` (`v1a`,
 * Ed25519); while a secret is rotated, give both. Whether the message came before is for the caller: keep `webhook-id`.
 * @throws WebhookRejected where a header is missing, the time is off or no signature fits
 * @throws TypeError where a key is none, which is not the sender's fault
 */
export function verifyWebhook(
  headers: WebhookHeaders,
  body: string | Uint8Array,
  keys: string | readonly string[],
  { toleranceSeconds = 300, now = new Date() }: Options = {},
): unknown {
  const fits = [keys].flat().map(checkOf);
  if (fits.length === 0) throw new TypeError("There is no key to verify with.");
  const id = headerOf(headers, "webhook-id");
  const timestamp = headerOf(headers, "webhook-timestamp");
  const signatures = headerOf(headers, "webhook-signature");
  const isTime = /^[0-9]{1,12}$/.test(timestamp);
  if (!isTime || Math.abs(now.getTime() / 1_000 - Number(timestamp)) > toleranceSeconds)
    throw new WebhookRejected("timestamp", "The message is too old, or ahead of this machine's clock.");
  const octets = typeof body === "string" ? Buffer.from(body) : body;
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), octets]);
  if (!signatures.split(" ").some((signature) => fits.some((isRight) => isRight(signature, signed))))
    throw new WebhookRejected("signature", "No signature of the message fits a key.");
  return JSON.parse(new TextDecoder().decode(octets));
}

/**
 * The octets of a secret: `whsec_` and base64 of 24 to 64 of them.
 * @throws TypeError for any other text, without repeating it
 */
export function readSecret(text: string): Buffer {
  const encoded = text.slice("whsec_".length);
  const octets = Buffer.from(encoded, "base64");
  // Node reads nearly anything as base64: what does not come out again was none.
  const isExact = octets.toString("base64").replace(/=+$/, "") === encoded.replace(/=+$/, "");
  if (!text.startsWith("whsec_") || !isExact || octets.length < 24 || octets.length > 64)
    throw new TypeError("A secret is whsec_ and base64 of 24 to 64 octets.");
  return octets;
}

type Check = (signature: string, signed: Buffer) => boolean;

function checkOf(key: string): Check {
  if (!key.startsWith("whpk_")) {
    const secret = readSecret(key);
    return (signature, signed) => {
      const right = Buffer.from(`v1,${createHmac("sha256", secret).update(signed).digest("base64")}`);
      const given = Buffer.from(signature);
      return given.length === right.length && timingSafeEqual(given, right);
    };
  }
  const octets = Buffer.from(key.slice("whpk_".length), "base64");
  if (octets.length !== 32) throw new TypeError("A public key is whpk_ and base64 of 32 octets.");
  const jwk = { kty: "OKP", crv: "Ed25519", x: octets.toString("base64url") };
  const publicKey = createPublicKey({ key: jwk, format: "jwk" });
  return (signature, signed) =>
    signature.startsWith("v1a,") && verify(null, signed, publicKey, Buffer.from(signature.slice(4), "base64"));
}

function headerOf(headers: WebhookHeaders, name: string): string {
  const value =
    headers instanceof Headers
      ? headers.get(name)
      : Object.entries(headers).find(([own, given]) => own.toLowerCase() === name && given !== undefined)?.[1];
  const text = typeof value === "string" ? value : value?.join(" ");
  if (!text) throw new WebhookRejected("header_missing", `The header ${name} is missing.`);
  return text;
}
