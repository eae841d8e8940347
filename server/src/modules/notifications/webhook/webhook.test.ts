import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { Webhook as Verifier } from "standardwebhooks";
import { eventually } from "../../../../test/harness.ts";
import { type Received, signedHeaders } from "../../../../test/receiver.ts";
import { hour, seenBy, startWebhooks } from "./webhook.fixture.ts";

const { server, startReceiver, ours, key, makeThing, register, remove, deliveries } = await startWebhooks();
const theirs = await server.tenant(server.rootId, "customer", "Theirs");
const foreign = await server.key(theirs, "tenant_administrator");

test("WH-1. a public verifier accepts real deliveries, and v1a verifies by whpk_ in node:crypto", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url, { signatures: ["v1", "v1a"] });
  const thing = await makeThing();
  await seenBy(receiver.received, 1);
  const [got] = receiver.received;
  const event = new Verifier(webhook.secret).verify(got!.body, signedHeaders(got!)) as any;
  assert.equal(event.subject, thing);
  assert.equal(got!.headers["webhook-id"], event.id);
  assert.equal(got!.headers["content-type"], "application/cloudevents+json; charset=utf-8");
  assert.equal(got!.headers["user-agent"], "Demarc/0.0.0-test");
  assert.equal(got!.headers["demarc-attempt"], "1");
  const x = Buffer.from(webhook.publicKey.slice(5), "base64").toString("base64url");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const own = got!.headers["webhook-signature"]!.split(" ").find((part) => part.startsWith("v1a,"))!;
  const signed = `${event.id}.${got!.headers["webhook-timestamp"]}.${got!.body}`;
  assert.ok(verify(null, Buffer.from(signed), publicKey, Buffer.from(own.slice(4), "base64")));
  const [delivery] = await eventually(async () => {
    const all = await deliveries(webhook.id, "&status=delivered");
    return all.length === 1 && all;
  });
  assert.equal(delivery.eventId, event.id);
  assert.deepEqual(
    [delivery.attempts[0].number, delivery.attempts[0].outcome, delivery.attempts[0].status],
    [1, "delivered", 204],
  );
  await remove(webhook.id);
});

test("WH-3. while a rotation overlaps both secrets sign, newest first; afterwards one; with 0 at once", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url);
  const rotate = (body: object) => server.post(`/v1/webhook/${webhook.id}/rotate`, body, { key });
  const rotated = await rotate({});
  assert.equal(rotated.status, 200);
  assert.equal(Date.parse(rotated.body.previousEndsAt) - server.clock.now().getTime(), 24 * hour);
  const again = await rotate({});
  assert.deepEqual([again.status, again.body.code], [409, "rotation_in_progress"]);
  const signers = async () => {
    const before = receiver.received.length;
    await makeThing();
    await seenBy(receiver.received, before + 1);
    return receiver.received.at(-1)!;
  };
  const accepted = (got: Received, secret: string) => {
    // The clock of the installation may be ahead of the machine's by now: the signature alone is looked at.
    const at = new Date(Number(got.headers["webhook-timestamp"]) * 1_000);
    return got.headers["webhook-signature"]!.split(" ").indexOf(
      new Verifier(secret).sign(got.headers["webhook-id"]!, at, got.body),
    );
  };
  const both = await signers();
  assert.deepEqual([accepted(both, rotated.body.secret), accepted(both, webhook.secret)], [0, 1]);
  server.clock.advance(24 * hour + 1);
  const one = await signers();
  assert.deepEqual([accepted(one, rotated.body.secret), accepted(one, webhook.secret)], [0, -1]);
  const third = await rotate({ overlapHours: 0 });
  assert.equal(third.body.previousEndsAt, null);
  const last = await signers();
  assert.deepEqual([accepted(last, third.body.secret), accepted(last, rotated.body.secret)], [0, -1]);
  assert.ok(!third.text.includes(rotated.body.secret.slice(6)));
  await rotate({});
  assert.equal((await rotate({ force: true })).status, 200);
  const forced = await signers();
  assert.equal(forced.headers["webhook-signature"]!.split(" ").length, 2);
  await remove(webhook.id);
});

test("WH-4. a verifier refuses a changed body, an old or early timestamp, a missing header, another webhook's signature", async () => {
  server.clock.set(new Date());
  const receiver = await startReceiver();
  const [webhook, other] = [await register(receiver.url), await register((await startReceiver()).url)];
  await makeThing();
  await seenBy(receiver.received, 1);
  const [got] = receiver.received;
  const verifier = new Verifier(webhook.secret);
  const headers = signedHeaders(got!);
  verifier.verify(got!.body, headers);
  const refused = (body: string, more: Record<string, string>, by = verifier) =>
    assert.throws(() => by.verify(body, { ...headers, ...more }), JSON.stringify(more));
  refused(`${got!.body} `, {});
  refused(got!.body, {}, new Verifier(other.secret));
  for (const minutes of [-6, 6])
    refused(got!.body, { "webhook-timestamp": String(Number(headers["webhook-timestamp"]) + minutes * 60) });
  for (const name of Object.keys(headers)) refused(got!.body, { [name]: "" });
  for (const { id } of [webhook, other]) await remove(id);
});

test("WH-5. secrets and headers are in no reply but the first, and in no row", async () => {
  const receiver = await startReceiver();
  const given = `whsec_${Buffer.alloc(24, 5).toString("base64")}`;
  const webhook = await register(receiver.url, { secret: given, headers: { "X-Token": "fixed-value-1" } });
  assert.equal(webhook.secret, given);
  await makeThing();
  await seenBy(receiver.received, 1);
  assert.equal(receiver.received[0]!.headers["x-token"], "fixed-value-1");
  await eventually(async () => (await deliveries(webhook.id, "&status=delivered")).length === 1);
  const read = await server.get(`/v1/webhook/${webhook.id}`, { key });
  assert.equal(read.body.secretHint, given.slice(-4));
  assert.deepEqual(read.body.headers, { "X-Token": "***" });
  const changed = await server.patch(
    `/v1/webhook/${webhook.id}`,
    { headers: { "x-token": "***", "X-More": "fixed-value-2" } },
    { key },
  );
  assert.deepEqual(changed.body.headers, { "X-Token": "***", "X-More": "***" });
  for (const name of [
    "notifications.webhook",
    "notifications.webhook_secret",
    "kernel.delivery",
    "kernel.delivery_attempt",
    "access.audit",
    "kernel.told",
    "kernel.idempotency",
  ]) {
    const rows = JSON.stringify(await server.sql(`select * from ${name}`));
    for (const value of ["fixed-value", given, given.slice(6)])
      assert.ok(!rows.includes(value), `${name} holds ${value}`);
  }
  for (const [pointer, body] of Object.entries({
    "/secret": { secret: `whsec_${Buffer.alloc(23).toString("base64")}` },
    "/headers/Host": { headers: { Host: "x" } },
    "/headers/Webhook-Id": { headers: { "Webhook-Id": "x" } },
    "/headers/X-A": { headers: { "X-A": "a\nb" } },
    "/apiVersion": { apiVersion: "v9" },
  })) {
    const refused = await server.post("/v1/webhook", { url: receiver.url, types: ["*"], ...body }, { key });
    assert.deepEqual([refused.status, refused.body.errors[0].pointer], [400, pointer]);
  }
  const masked = await server.patch(`/v1/webhook/${webhook.id}`, { headers: { "X-None": "***" } }, { key });
  assert.deepEqual([masked.status, masked.body.errors[0].rule], [400, "masked_value"]);
  await remove(webhook.id);
});

test("401 without a key, 403 without the right, 404 for another tenant's, 409 for the 101st, 412 when stale", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url);
  assert.equal((await server.get(`/v1/webhook/${webhook.id}`)).status, 401);
  const reader = await server.key(ours, ["webhook.read"]);
  const refused = await server.patch(`/v1/webhook/${webhook.id}`, { description: "x" }, { key: reader });
  assert.deepEqual([refused.status, refused.body.permission], [403, "webhook.manage"]);
  assert.equal((await server.get(`/v1/webhook/${webhook.id}`, { key: foreign })).status, 404);
  await server.sql(
    `insert into notifications.webhook select tenant_id, 'whk_' || n, url, description, types, include_below, api_version, 'disabled', 'by_user', signatures, header_names, headers_sealed, rate_per_second, owner, missed_from, from_position, created_at, updated_at
     from notifications.webhook, generate_series(1, 100 - (select count(*)::int from notifications.webhook where tenant_id = $2)) n where id = $1`,
    [webhook.id, ours],
  );
  const full = await server.post("/v1/webhook", { url: receiver.url, types: ["*"] }, { key });
  assert.deepEqual([full.status, full.body.code], [409, "webhook_limit_reached"]);
  await server.sql("delete from notifications.webhook where disabled_reason = 'by_user'");
  const stale = await server.patch(
    `/v1/webhook/${webhook.id}`,
    { description: "x" },
    { key, headers: { "if-match": '"old"' } },
  );
  assert.equal(stale.status, 412);
  await remove(webhook.id);
});
