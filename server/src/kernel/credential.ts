import { hash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH = 10;
const SECRET_LENGTH = 32;
const CHECKSUM_LENGTH = 6;
const FORM = /^dm[ks]_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}$/;
const DIGEST_PREFIX = "demarc-credential-v1\0";

/** `demarc_key` and `demarc_client_secret` are well formed, which does not mean that they exist. */
export type CredentialForm = "demarc_key" | "demarc_client_secret" | "bad_checksum" | "other";

/**
 * Makes a key (`dmk`) or a client secret (`dms`) of 53 characters with 190 random bits (access.md, section 4).
 * `hint` is the part that may be stored and shown: prefix and public id. `secret` is shown once and never stored.
 */
export function mintCredential(kind: "dmk" | "dms"): { secret: string; hint: string } {
  const hint = `${kind}_${randomDigits(ID_LENGTH)}`;
  const body = `${hint}_${randomDigits(SECRET_LENGTH)}`;
  return { secret: body + checksum(body), hint };
}

/**
 * Tells from the form alone what a presented value can be. `bad_checksum`: it starts as ours but was mistyped or cut,
 * so it is refused without a look-up and earns the hint `key_checksum`. `other`: a token, or a key of another form.
 */
export function credentialForm(value: string): CredentialForm {
  if (!value.startsWith("dmk_") && !value.startsWith("dms_")) return "other";
  if (!FORM.test(value)) return "bad_checksum";
  const body = value.slice(0, -CHECKSUM_LENGTH);
  if (checksum(body) !== value.slice(-CHECKSUM_LENGTH)) return "bad_checksum";
  return value.startsWith("dmk_") ? "demarc_key" : "demarc_client_secret";
}

/** The 32 octets under which a credential of any form is stored and looked up: SHA-256 with a domain prefix. */
export function credentialDigest(value: string): Buffer {
  return Buffer.from(credentialMark(value), "latin1");
}

/** The same octets as a string of one character each: what caches go by, several times cheaper to make. */
export function credentialMark(value: string): string {
  return hash("sha256", DIGEST_PREFIX + value, "binary");
}

function checksum(body: string): string {
  let rest = crc32(body);
  let digits = "";
  for (let i = 0; i < CHECKSUM_LENGTH; i++) {
    digits = DIGITS[rest % 62] + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

function randomDigits(length: number): string {
  let digits = "";
  while (digits.length < length) {
    for (const octet of randomBytes(length)) {
      // 248 = 4 * 62: higher octets would make the first digits likelier than the rest.
      if (octet < 248 && digits.length < length) digits += DIGITS[octet % 62];
    }
  }
  return digits;
}
