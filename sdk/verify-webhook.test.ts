import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { modules } from "../server/src/app.ts";
import { eventually, startServer } from "../server/test/harness.ts";
import { planted } from "../server/test/planted.ts";
import { signedHeaders, startReceiver } from "../server/test/receiver.ts";
import { verifyWebhook, WebhookRejected } from "./verify-webhook.ts";

const secretOf = (octets: Uint8Array) => `whsec_${Buffer.from(octets).toString("base64")}`;
const signedBy = (secret: string, id: string, at: Date, body: string) => ({
  "webhook-id": id,
  "webhook-timestamp": String(Math.floor(at.getTime() / 1_000)),
  "webhook-signature": new Webhook(secret).sign(id, at, body),
});
const now = new Date("2026-11-22T10:00:00Z");
const [secret, body] = [secretOf(randomBytes(32)), '{"a":"Grüße ✓"}'];
const headers = signedBy(secret, "evt_1", now, body);
const refusal = (reason: WebhookRejected["reason"]) => (error: unknown) =>
  error instanceof WebhookRejected && error.reason === reason;

test("WH-1. the specification's test vector is accepted", () => {
  const vector = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  };
  const event = verifyWebhook(vector, '{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", {
    now: new Date(1_614_265_330_000),
  });
  assert.deepEqual(event, { test: 2432232314 });
});

test("WH-1. real deliveries are accepted by the secret and by the public key alike, and by no other webhook's", async () => {
  // The verifier looks at the machine's clock unless told otherwise.
  const server = await startServer({ modules: [...modules, planted], startsAt: new Date().toISOString() });
  const tenant = await server.tenant(server.rootId, "customer", "Ours");
  const key = await server.key(tenant, "tenant_administrator");
  const receiver = await startReceiver();
  const make = async () => {
    const ask = { url: receiver.url, types: ["demarc.export.*"], signatures: ["v1", "v1a"] };
    return (await server.post("/v1/webhook", ask, { key })).body;
  };
  const [one, two] = [await make(), await make()];
  await server.post("/v1/thing", { name: "thing" }, { key: await server.key(tenant, ["export.run"]) });
  await eventually(() => receiver.received.length === 2);
  const accepts = (keys: string) =>
    receiver.received.filter((got) => {
      try {
        return (verifyWebhook(got.headers, got.body, keys) as any).id === got.headers["webhook-id"];
      } catch (error) {
        assert.ok(refusal("signature")(error));
        return false;
      }
    });
  for (const { secret: own, publicKey } of [one, two]) {
    assert.equal(accepts(own).length, 1);
    assert.deepEqual(accepts(publicKey), accepts(own));
    new Webhook(own).verify(accepts(own)[0]!.body, signedHeaders(accepts(own)[0]!));
  }
  assert.notDeepEqual(accepts(one.secret), accepts(two.secret));
});

test("WH-4. refused: one space more, six minutes off either way, each header missing, another webhook's signature", () => {
  assert.deepEqual(verifyWebhook(headers, body, secret, { now }), JSON.parse(body));
  assert.throws(() => verifyWebhook(headers, `${body} `, secret, { now }), refusal("signature"));
  for (const minutes of [-6, 6]) {
    const later = new Date(now.getTime() + minutes * 60_000);
    assert.throws(() => verifyWebhook(headers, body, secret, { now: later }), refusal("timestamp"));
    verifyWebhook(headers, body, secret, { now: later, toleranceSeconds: 360 });
  }
  for (const name of Object.keys(headers)) {
    for (const value of [undefined, ""])
      assert.throws(
        () => verifyWebhook({ ...headers, [name]: value }, body, secret, { now }),
        refusal("header_missing"),
      );
  }
  assert.throws(() => verifyWebhook(headers, body, secretOf(randomBytes(32)), { now }), refusal("signature"));
  for (const timestamp of ["1e9", "-1", "NaN", " 1", "9".repeat(30)])
    assert.throws(
      () => verifyWebhook({ ...headers, "webhook-timestamp": timestamp }, body, secret, { now }),
      refusal("timestamp"),
    );
});

test("what an independent implementation signs is accepted, and nothing that differs in one character", () => {
  const octets = fc.uint8Array({ minLength: 24, maxLength: 64 });
  const cut = (text: string, at: number) => text.slice(0, at % text.length) + text.slice((at % text.length) + 1);
  fc.assert(
    fc.property(octets, fc.uuid(), fc.json(), fc.nat(), (key, id, text, at) => {
      const given = signedBy(secretOf(key), id, now, text);
      assert.deepEqual(verifyWebhook(given, Buffer.from(text), secretOf(key), { now }), JSON.parse(text));
      for (const other of [
        { ...given, "webhook-signature": cut(given["webhook-signature"], at) },
        { ...given, "webhook-id": cut(id, at) },
      ])
        assert.throws(() => verifyWebhook(other, text, secretOf(key), { now }), refusal("signature"));
    }),
  );
});

test("while a secret is rotated either signature and either key will do, and unknown kinds are passed over", () => {
  const other = secretOf(randomBytes(24));
  const both = `v2,abc ${signedBy(other, "evt_1", now, body)["webhook-signature"]} ${headers["webhook-signature"]}`;
  for (const keys of [secret, other, [secretOf(randomBytes(32)), secret]])
    verifyWebhook({ ...headers, "webhook-signature": both }, body, keys, { now });
});

test("v1a is verified by whpk_, a v1 signature never is, and a v1a one never by a secret", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const whpk = `whpk_${Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url").toString("base64")}`;
  const text = `evt_1.${headers["webhook-timestamp"]}.${body}`;
  const v1a = {
    ...headers,
    "webhook-signature": `v1a,${sign(null, Buffer.from(text), privateKey).toString("base64")}`,
  };
  verifyWebhook(v1a, body, whpk, { now });
  assert.throws(() => verifyWebhook(v1a, `${body} `, whpk, { now }), refusal("signature"));
  assert.throws(() => verifyWebhook(v1a, body, secret, { now }), refusal("signature"));
  assert.throws(() => verifyWebhook(headers, body, whpk, { now }), refusal("signature"));
});

test("headers may be a Headers, or have names in any case", () => {
  verifyWebhook(new Headers(headers), body, secret, { now });
  const loud = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toUpperCase(), value]));
  verifyWebhook(loud, body, secret, { now });
});

test("a key that is none is the caller's fault, and not repeated in words", () => {
  for (const key of ["", "secret", secretOf(randomBytes(23)), secretOf(randomBytes(65)), "whsec_!!!!", "whpk_AAAA", []])
    assert.throws(
      () => verifyWebhook(headers, body, key, { now }),
      (error: Error) => error instanceof TypeError && (key.length < 9 || !error.message.includes(String(key))),
    );
});
