import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeProtectedHeader } from "jose";
import { startServer } from "../../../../test/harness.ts";
import { clientToken, makeClient } from "../../../../test/tokens.ts";
import { signingKeyJobs } from "./tend.ts";

const server = await startServer();
const key = await server.key(server.rootId, "provider_administrator");
const client = await makeClient(server, server.rootId, "read_only");
const minute = 60_000;
const days = 24 * 60 * minute;

type Shown = { kid: string; state: string; activeFrom: string; retiredFrom: string | null; goneAt: string | null };
const list = async (): Promise<Shown[]> => (await server.get("/v1/signing-key", { key })).body.items;
const states = (keys: Shown[]) => keys.map(({ state }) => state);
const rotate = (body: object = {}) => server.post("/v1/signing-key/rotate", body, { key });
const published = async (): Promise<string[]> =>
  (await server.get("/oauth/jwks")).body.keys.map(({ kid }: { kid: string }) => kid);
const token = () => clientToken(server, client);
/** Whether a credential is good; what it may do is another matter. */
const isGood = async (token: string) => (await server.get("/v1/signing-key", { token })).status !== 401;
const tend = () => signingKeyJobs[0]!.run(server.kernel);

test("the first token makes an active key and a next one; private halves are sealed and never shown", async () => {
  assert.deepEqual(await list(), []);
  const { kid } = decodeProtectedHeader(await token());
  const keys = await list();
  assert.deepEqual(states(keys), ["active", "next"]);
  assert.equal(keys[0]!.kid, kid);
  assert.equal(keys[1]!.activeFrom, keys[0]!.retiredFrom);
  assert.deepEqual(
    await published(),
    keys.map((one) => one.kid),
  );
  const rows = await server.sql("select * from access.signing_key");
  assert.ok(rows.every(({ private_sealed }) => /^v1\./.test(private_sealed)));
  assert.ok(!JSON.stringify(rows).includes("PRIVATE"));
  assert.ok(!JSON.stringify(keys).includes("sealed"));
  assert.deepEqual(await server.sql("select 1 from kernel.told where type like '%signing_key%'"), []);
});

test("a rotation lets the next key sign no sooner than 15 minutes after it was published, and old tokens live on", async () => {
  const [before, next] = (await list()) as [Shown, Shown];
  const old = await token();
  const planned = await rotate();
  assert.equal(planned.status, 200);
  const due = new Date(server.clock.now().getTime() + 15 * minute).toISOString();
  assert.equal(planned.body.items[1].activeFrom, due);
  assert.deepEqual(await rotate().then(({ body }) => body), planned.body);
  assert.equal(decodeProtectedHeader(await token()).kid, before.kid);

  server.clock.advance(15 * minute);
  assert.equal(decodeProtectedHeader(await token()).kid, next.kid);
  assert.deepEqual(states(await list()), ["retired", "active"]);
  assert.equal(await isGood(old), true);
  await tend();
  assert.deepEqual(states(await list()), ["retired", "active", "next"]);

  server.clock.advance(45 * minute - 1);
  assert.equal(await isGood(old), true);
  server.clock.advance(20 * minute);
  assert.ok((await published()).includes(before.kid));
  server.clock.advance(1);
  assert.ok(!(await published()).includes(before.kid));
  await tend();
  assert.deepEqual(await server.sql("select 1 from access.signing_key where kid = $1", [before.kid]), []);
});

test("a next key that has long been public signs at once when the keys are rotated", async () => {
  const next = (await list()).find(({ state }) => state === "next")!;
  const answer = await rotate();
  assert.deepEqual(states(answer.body.items), ["retired", "active", "next"]);
  assert.equal(decodeProtectedHeader(await token()).kid, next.kid);
});

test("after 90 days the next key signs by itself, and the job publishes its successor and tells of it", async () => {
  const next = (await list()).find(({ state }) => state === "next")!;
  server.clock.advance(90 * days);
  assert.equal(decodeProtectedHeader(await token()).kid, next.kid);
  const count = async () =>
    (await server.sql("select 1 from kernel.told where type = 'demarc.access.signing_key.rotated'")).length;
  const before = await count();
  await tend();
  await tend();
  assert.deepEqual(states(await list()).slice(-2), ["active", "next"]);
  assert.equal(await count(), before + 1);
});

test("52. an emergency rotation ends every older token at once, and the next one is good", async () => {
  const old = await token();
  assert.equal(await isGood(old), true);
  const kids = await published();
  const answer = await rotate({ emergency: true });
  assert.equal(answer.status, 200);
  assert.deepEqual(states(answer.body.items), ["active", "next"]);
  assert.equal(await isGood(old), false);
  assert.ok((await published()).every((kid) => !kids.includes(kid)));
  assert.equal(await isGood(await token()), true);
  const [entry] = await server.sql(
    "select changes from access.audit where type = 'signingKey' order by position desc limit 1",
  );
  assert.ok(
    entry.changes.some(({ field, new: value }: { field: string; new: unknown }) => field === "emergency" && value),
  );
});

test("another configured algorithm is taken over by the next key, and tokens of both are good", async () => {
  const rsa = await token();
  server.kernel.settings.oauthAlgorithm = "ES256";
  await tend();
  server.clock.advance(15 * minute);
  const elliptic = await token();
  assert.equal(decodeProtectedHeader(elliptic).alg, "ES256");
  assert.deepEqual([await isGood(rsa), await isGood(elliptic)], [true, true]);
  server.kernel.settings.oauthAlgorithm = "RS256";
});

test("a body that is not understood is 400, and below the root there are no keys to see or to rotate", async () => {
  assert.equal((await rotate({ emergencey: true })).status, 400);
  const customer = await server.tenant(server.rootId, "customer", "A");
  const headers = { "demarc-tenant": customer };
  assert.deepEqual((await server.get("/v1/signing-key", { key, headers })).body.items, []);
  assert.equal((await server.post("/v1/signing-key/rotate", {}, { key, headers })).status, 404);
  const theirs = await server.key(customer, "tenant_administrator");
  assert.equal((await server.get("/v1/signing-key", { key: theirs })).status, 403);
  assert.equal((await server.get("/v1/signing-key")).status, 401);
});
