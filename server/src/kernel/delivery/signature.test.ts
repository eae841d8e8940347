import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { keyOfSecret, newPair, newSecret, readPrivateKey, readSecret, signatureOf } from "./signature.ts";

test("WH-1. the specification's test vector comes out", () => {
  const key = keyOfSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  const signature = signatureOf("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}', {
    v1: [key],
    v1a: [],
  });
  assert.equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
});

test("several keys sign side by side, newest first, and v1a verifies by the public key as it is shown", () => {
  const [one, two] = [keyOfSecret(newSecret()), keyOfSecret(newSecret())];
  const pair = newPair();
  const parts = signatureOf("id", 1, "body ✓", { v1: [one, two], v1a: [readPrivateKey(pair.privateKey)] }).split(" ");
  assert.deepEqual(
    parts.map((part) => part.split(",")[0]),
    ["v1", "v1", "v1a"],
  );
  assert.equal(parts[0], signatureOf("id", 1, "body ✓", { v1: [one], v1a: [] }));
  const x = Buffer.from(pair.publicKey.slice("whpk_".length), "base64").toString("base64url");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  assert.ok(verify(null, Buffer.from("id.1.body ✓"), publicKey, Buffer.from(parts[2]!.slice(4), "base64")));
});

test("a secret has 24 to 64 octets in exact base64", () => {
  for (const [bytes, holds] of [
    [23, false],
    [24, true],
    [64, true],
    [65, false],
  ] as const) {
    const text = `whsec_${Buffer.alloc(bytes, 7).toString("base64")}`;
    assert.equal(readSecret(text)?.length, holds ? bytes : undefined, String(bytes));
    assert.equal(readSecret(text.slice("whsec_".length)), undefined);
  }
  assert.equal(readSecret(`whsec_${"!".repeat(40)}`), undefined);
});
