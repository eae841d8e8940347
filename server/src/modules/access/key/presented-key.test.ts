import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { route } from "#kernel/contract";
import { mintCredential } from "#kernel/credential";
import { object } from "#kernel/schema";
import { eventually, startServer } from "../../../../test/harness.ts";
import { startKeyHolders } from "../../../../test/key-holders.ts";
import { modules } from "../../../app.ts";

/** A POST that only reads, as dry runs do. */
const dryRun = route({
  method: "POST",
  path: "/test-dry-run",
  versions: "v1+",
  id: "testDryRun",
  summary: "Only reads",
  permission: "any",
  effect: "read",
  emits: { none: "It only reads." },
  replies: { 200: object({ ok: Type.Boolean() }) },
  run: () => ({ ok: true }),
});
const server = await startServer({
  modules: [...modules, { name: "export", about: "A route for tests.", routes: [dryRun] }],
  settings: { trustedProxies: [] },
});
const { partner, customer, issue, statusOf } = await startKeyHolders(server);

const news = (type: string, subject: string) =>
  server.sql("select * from kernel.told where type = $1 and subject = $2 order by id", [
    `demarc.access.${type}`,
    subject,
  ]);
test("19. a key with a wrong checksum costs no look-up and earns the hint, a right form that is unknown does not", async () => {
  const example = "dmk_AbCdEf0123_0123456789abcdefghijklmnopqrstuv3SAiBe";
  const known = await server.get("/v1/ping", { key: example });
  assert.equal(known.status, 401);
  assert.equal("hint" in known.body, false);
  const typo = await server.get("/v1/ping", { key: `${example.slice(0, -1)}f` });
  assert.equal(typo.status, 401);
  assert.equal(typo.body.hint, "key_checksum");
});

test("22. a key works as X-API-KEY and as Bearer", async () => {
  const a = await customer();
  const { secret } = (await issue(a.key, { title: "both" })).body;
  assert.equal((await server.get("/v1/operation", { headers: { "X-API-KEY": secret } })).status, 200);
  assert.equal((await server.get("/v1/operation", { headers: { Authorization: `Bearer ${secret}` } })).status, 200);
});

test("23. unknown or of another installation, expired, disabled, deleted, or from a wrong address: one 401 body, and the reason only in the log", async () => {
  const a = await customer();
  const make = async (body: object) => (await issue(a.key, body)).body;
  const expired = await make({ title: "expired", expiresAt: new Date(server.clock.now().getTime() + 60_000) });
  const disabled = await make({ title: "disabled" });
  const deleted = await make({ title: "deleted" });
  const elsewhere = await make({ title: "elsewhere", allowedAddresses: ["203.0.113.9"] });
  for (const key of [disabled, deleted]) assert.equal(await statusOf(key.secret), 200);
  await server.patch(`/v1/key/${disabled.id}`, { enabled: false }, { key: a.key });
  await server.delete(`/v1/key/${deleted.id}`, { key: a.key });
  server.clock.advance(120_000);
  // Of another installation, or of none: this one cannot tell.
  const foreign = mintCredential("dmk").secret;
  const bodies = new Set<string>();
  const secrets = [expired.secret, disabled.secret, deleted.secret, elsewhere.secret, foreign];
  for (const [index, key] of secrets.entries()) {
    const headers = { "x-request-id": `case23-${index}` };
    const answer = await server.get("/v1/operation", { key, headers });
    assert.equal(answer.status, 401);
    bodies.add(`${answer.headers.get("www-authenticate")} ${answer.text.replace(/case23-\d/, "")}`);
  }
  assert.equal(bodies.size, 1);
  await server.kernel.activity.flush();
  const reasons = await server.sql(
    "select reason, tenant_id from access.activity where request_id like 'case23-%' order by request_id",
  );
  assert.deepEqual(
    reasons.map(({ reason }) => reason),
    ["expired", "disabled", "revoked", "address", "unknown"],
  );
  assert.deepEqual(new Set(reasons.slice(0, 4).map(({ tenant_id }) => tenant_id)), new Set([a.id]));
  assert.equal((await server.patch(`/v1/key/${disabled.id}`, { enabled: true }, { key: a.key })).body.enabled, true);
  assert.equal(await statusOf(disabled.secret), 200, "enabled counts on the next call too");
});

test("24. the address is the peer's, mapped IPv4 read as IPv4; an untrusted peer cannot forge one", async () => {
  const a = await customer();
  const networks = (list: string[]) => ({
    title: `n${list.length}-${list[0]!.replaceAll(/\W/g, "")}`,
    allowedAddresses: list,
  });
  const inside = (await issue(a.key, networks(["127.0.0.0/8"]))).body.secret;
  const outside = (await issue(a.key, networks(["192.0.2.0/24"]))).body.secret;
  const gate = server.kernel.gate;
  assert.equal((await gate.authenticate(outside, "192.0.2.9")).ok, true);
  assert.equal(await statusOf(inside), 200);
  const forged = await server.get("/v1/operation", { key: outside, headers: { "x-forwarded-for": "192.0.2.9" } });
  assert.equal(forged.status, 401);
  const behind = await startServer({
    beside: server,
    settings: { trustedProxies: ["127.0.0.0/8"] },
    startsAt: server.clock.now().toISOString(),
  });
  const mapped = { key: outside, headers: { "x-forwarded-for": "203.0.113.1, ::ffff:192.0.2.9" } };
  assert.equal((await behind.get("/v1/operation", mapped)).status, 200);
  const wrong = { key: outside, headers: { "x-forwarded-for": "192.0.2.9, 203.0.113.1" } };
  assert.equal((await behind.get("/v1/operation", wrong)).status, 401);
  await behind.close();
});

test("a key shown from a foreign address is told of once an hour and address, in any number of processes", async () => {
  const a = await customer();
  const { id, secret } = (await issue(a.key, { title: "far", allowedAddresses: ["203.0.113.9"] })).body;
  const told = () => news("key.address_refused", id);
  for (let n = 0; n < 3; n++) assert.equal(await statusOf(secret), 401);
  await eventually(async () => (await told()).length === 1);
  const beside = await startServer({ beside: server, startsAt: server.clock.now().toISOString() });
  assert.equal((await beside.get("/v1/operation", { key: secret })).status, 401);
  await beside.close();
  assert.equal((await told()).length, 1);
  assert.equal((await told())[0].data.address, "127.0.0.1");
  server.clock.advance(3_600_000);
  assert.equal(await statusOf(secret), 401);
  await eventually(async () => (await told()).length === 2);
});

test("28. a read-only key opens reads, whatever their verb, and no write", async () => {
  const a = await customer();
  const roles = [{ roleId: "tenant_administrator" }];
  const { id, secret } = (await issue(a.key, { title: "reader", readOnly: true, roles })).body;
  assert.equal((await server.get("/v1/key", { key: secret })).status, 200);
  const write = await server.patch(`/v1/key/${id}`, { description: "x" }, { key: secret });
  assert.equal(write.status, 403);
  assert.equal(write.body.code, "key_read_only");
  assert.equal((await server.post("/v1/test-dry-run", {}, { key: secret })).status, 200);
});

test("after 60 wrong credentials in a minute an address gets 429, while a right key goes through", async () => {
  const own = await startServer({ beside: server, startsAt: server.clock.now().toISOString() });
  // The wrong ones of other tests are counted with these, for a minute.
  own.clock.advance(60_000);
  const good = await server.key(partner, "read_only");
  for (let n = 0; n < 60; n++) assert.equal((await own.get("/v1/ping", { key: `wrong-${n}` })).status, 401);
  const refused = await own.get("/v1/ping", { key: "wrong-again" });
  assert.equal(refused.status, 429);
  assert.equal(refused.body.code, "credential_throttled");
  assert.equal(refused.headers.get("retry-after"), "60");
  assert.equal((await own.get("/v1/operation", { key: good })).status, 200);
  own.clock.advance(60_000);
  assert.equal((await own.get("/v1/ping", { key: "wrong-again" })).status, 401);
  await own.close();
});
