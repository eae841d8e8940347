import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { credentialDigest, credentialForm, mintCredential } from "./credential.ts";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const EXAMPLE = "dmk_AbCdEf0123_0123456789abcdefghijklmnopqrstuv3SAiBe";

test("18: a minted key matches the scanner expression and its checksum recomputes", () => {
  for (let i = 0; i < 200; i++) {
    const { secret, hint } = mintCredential("dmk");
    assert.match(secret, /^dmk_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}$/);
    assert.equal(secret.length, 53);
    assert.equal(hint, secret.slice(0, 14));
    const value = [...secret.slice(47)].reduce((sum, digit) => sum * 62 + DIGITS.indexOf(digit), 0);
    assert.equal(value, crc32(secret.slice(0, 47)));
    assert.equal(credentialForm(secret), "demarc_key");
  }
});

test("a minted client secret has the same form under its own prefix", () => {
  const { secret, hint } = mintCredential("dms");
  assert.match(secret, /^dms_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}$/);
  assert.ok(hint.startsWith("dms_"));
  assert.equal(credentialForm(secret), "demarc_client_secret");
});

test("minted credentials differ and use every digit evenly, so no digit is favoured by the sampling", () => {
  const secrets = Array.from({ length: 3000 }, () => mintCredential("dmk").secret);
  assert.equal(new Set(secrets).size, secrets.length);
  const counts = new Map<string, number>();
  for (const secret of secrets) {
    for (const digit of secret.slice(4, 14) + secret.slice(15, 47)) counts.set(digit, (counts.get(digit) ?? 0) + 1);
  }
  // 126,000 digits: 2032 each, standard deviation 45. Without rejection the first 8 digits would stand at 2461.
  const mean = (secrets.length * 42) / 62;
  for (const digit of DIGITS) assert.ok(Math.abs((counts.get(digit) ?? 0) - mean) < 320, digit);
});

test("19: the example key of the specification is well formed, and with its last character changed it is not", () => {
  assert.equal(credentialForm(EXAMPLE), "demarc_key");
  assert.equal(credentialForm(`${EXAMPLE.slice(0, -1)}f`), "bad_checksum");
});

test("any one changed character, and any two neighbours swapped, of a key are noticed", () => {
  fc.assert(
    fc.property(fc.nat(52), fc.constantFrom(...DIGITS), (at, digit) => {
      const { secret } = mintCredential("dmk");
      if (at < 4) return;
      const changed = secret.slice(0, at) + digit + secret.slice(at + 1);
      assert.equal(credentialForm(changed), changed === secret ? "demarc_key" : "bad_checksum");
      const swapped = secret.slice(0, at - 1) + secret.charAt(at) + secret.charAt(at - 1) + secret.slice(at + 1);
      if (at > 4) assert.equal(credentialForm(swapped), swapped === secret ? "demarc_key" : "bad_checksum");
    }),
  );
});

test("what starts as ours but is cut, longer or padded is bad; what starts otherwise is left to other resolvers", () => {
  const { secret } = mintCredential("dms");
  for (const bad of ["dmk_", "dms_", secret.slice(0, -1), `${secret}0`, `${secret}\n`, EXAMPLE.replace("_0", "-0")]) {
    assert.equal(credentialForm(bad), "bad_checksum", bad);
  }
  const others = [
    "",
    "dmk",
    `DMK_${EXAMPLE.slice(4)}`,
    ` ${EXAMPLE}`,
    "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
    "eyJ.a.b",
  ];
  for (const other of others) assert.equal(credentialForm(other), "other", other);
});

test("the checksum of a key does not hold for the same characters under the other prefix", () => {
  assert.equal(credentialForm(EXAMPLE.replace("dmk_", "dms_")), "bad_checksum");
});

test("the digest is SHA-256 over the domain prefix, a zero octet and the whole value", () => {
  for (const value of [EXAMPLE, "6F9619FF-8B86-D011-B42D-00CF4FC964FF", ""]) {
    const digest = createHash("sha256").update("demarc-credential-v1").update(Buffer.of(0)).update(value).digest();
    assert.deepEqual(credentialDigest(value), digest);
  }
});
