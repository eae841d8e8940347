import assert from "node:assert/strict";
import { test } from "node:test";
import { modules } from "../src/app.ts";
import { credentialDigest } from "../src/kernel/credential.ts";
import { kernelJobs } from "../src/kernel/jobs.ts";
import { eventually, startServer } from "./harness.ts";
import { planted, steering } from "./planted.ts";
import { makeUser } from "./tokens.ts";

const server = await startServer({ modules: [...modules, planted] });
const customer = await server.tenant(server.rootId, "customer", "Twice");
const key = await server.key(customer, ["export.run"]);
const made = async () =>
  (await server.sql("select count(*)::int as n from kernel.told where type like '%thing.created'"))[0].n as number;
const audited = async () =>
  (await server.sql("select count(*)::int as n from access.audit where item_kind = 'thing'"))[0].n as number;
const post = (
  value: string,
  body: unknown,
  more: { key?: string; path?: string; headers?: Record<string, string> } = {},
) =>
  server.post(more.path ?? "/v1/thing", body, {
    key: more.key ?? key,
    headers: { "idempotency-key": value, ...more.headers },
  });

test("65. the same call twice has one effect, and the second reply is the first one, marked; neither member order nor spelling matters", async () => {
  const before = [await made(), await audited()];
  const first = await post("one", { name: "a", colour: "red" });
  assert.deepEqual([first.status, first.headers.get("idempotency-replayed")], [201, null]);
  const spellings = [
    '{"name":"a","colour":"red"}',
    '{"colour":"red","name":"a"}',
    '{ "colour" : "\\u0072ed",\n"name":"a" }',
  ];
  const ids = new Set([first.headers.get("x-request-id")]);
  for (const raw of spellings) {
    const again = await server.call("POST", "/v1/thing", { key, raw, headers: { "idempotency-key": "one" } });
    assert.deepEqual([again.status, again.text], [201, first.text]);
    for (const name of ["location", "etag", "content-type"])
      assert.ok(again.headers.get(name) && again.headers.get(name) === first.headers.get(name), name);
    assert.equal(again.headers.get("idempotency-replayed"), "true");
    ids.add(again.headers.get("x-request-id"));
  }
  assert.equal(ids.size, 4);
  assert.deepEqual([await made(), await audited()], [before[0]! + 1, before[1]! + 1]);
});

test("65. what opens its own transaction after slow work is done once, too, and is not worked on again", async () => {
  const root = await server.key(server.rootId, "provider_administrator");
  const rotate = () => post("rotation", { emergency: true }, { key: root, path: "/v1/signing-key/rotate" });
  const [first, twin] = await Promise.all([rotate(), rotate()]);
  const answers = [first, twin, await rotate()];
  const done = answers.filter(({ status }) => status === 200);
  for (const { status, body } of answers) assert.ok(status === 200 || body.code === "idempotency_in_progress");
  assert.equal(done.filter(({ headers }) => headers.get("idempotency-replayed") === null).length, 1);
  assert.equal(new Set(done.map(({ text }) => text)).size, 1);
  const rotations = await server.sql("select 1 from kernel.told where type = 'demarc.access.signing_key.rotated'");
  assert.equal(rotations.length, 1);
  assert.equal((await post("rotation", {}, { key: root, path: "/v1/signing-key/rotate" })).status, 422);

  const queue = await server.key(customer, ["notification.manage", "export.run"]);
  const make = () =>
    post("queue", { name: "once", types: ["demarc.export.*"] }, { key: queue, path: "/v1/stomp-queue" });
  const made = [await make(), await make()];
  assert.deepEqual(
    made.map(({ status, headers }) => [status, headers.get("idempotency-replayed")]),
    [
      [201, null],
      [201, "true"],
    ],
  );
  assert.deepEqual(
    [made[1]!.text, made[1]!.headers.get("location"), made[1]!.headers.get("etag")],
    [made[0]!.text, made[0]!.headers.get("location"), made[0]!.headers.get("etag")],
  );

  const user = await makeUser(server, customer, "changer", "tenant_administrator");
  const admin = await server.key(customer, "tenant_administrator");
  const issued = await server.post("/v1/key", { kind: "personal", title: "mine", userId: user.id }, { key: admin });
  const change = () =>
    post(
      "password",
      { current: user.password, new: "quite another horse 9" },
      { key: issued.body.secret, path: "/v1/password/change" },
    );
  for (const replayed of [null, "true"]) {
    const { status, headers } = await change();
    assert.deepEqual([status, headers.get("idempotency-replayed")], [204, replayed]);
  }
});

test("66. the same value with another body or query is 422 and has no effect; another order of the query is the same call", async () => {
  const path = "/v1/thing?note=a&mark=b";
  const first = await post("two", { name: "a" }, { path });
  const before = await made();
  const others: [unknown, string][] = [
    [{ name: "b" }, path],
    [{ name: "a", colour: null }, path],
    [{ name: "a" }, "/v1/thing?note=b&mark=b"],
    [{ name: "a" }, "/v1/thing?note=a"],
    [{ name: "a" }, "/v1/thing"],
  ];
  for (const [body, at] of others) {
    const other = await post("two", body, { path: at });
    assert.deepEqual([other.status, other.body.code], [422, "idempotency_key_reused"], at);
    assert.ok(!other.text.includes(first.body.id));
  }
  assert.equal((await post("two", { name: "a" }, { path: "/v1/thing?mark=b&note=a" })).text, first.text);
  assert.equal(await made(), before);
});

test("67. while the first is running its twin is told so, and a later repeat gets the first one's reply", async () => {
  let release = () => {};
  steering.waits = new Promise<void>((resolve) => {
    release = resolve;
  });
  const [before, begun] = [await made(), steering.begun];
  const first = post("three", { name: "slow" });
  await eventually(() => steering.begun > begun);
  const twin = await post("three", { name: "slow" });
  assert.deepEqual(
    [twin.status, twin.body.code, twin.headers.get("retry-after")],
    [409, "idempotency_in_progress", "1"],
  );
  release();
  steering.waits = null;
  const done = await first;
  assert.equal(done.status, 201);
  assert.equal((await post("three", { name: "slow" })).text, done.text);
  assert.equal(await made(), before + 1);
});

test("68. a call that was refused for its form runs under the same value once it is right", async () => {
  const refused = await post("four", { nmae: "x" });
  assert.deepEqual([refused.status, refused.body.errors.length > 0], [400, true]);
  const corrected = await post("four", { name: "x" });
  assert.deepEqual([corrected.status, corrected.headers.get("idempotency-replayed")], [201, null]);
});

test("69. a call that failed with 500 has had no effect, and runs under the same value when it is repeated", async () => {
  const before = [await made(), await audited()];
  steering.fails = 1;
  // Past the harness, which fails a test on a 500.
  const response = await fetch(`${server.url}/v1/thing`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": "application/json", "idempotency-key": "six" },
    body: '{"name":"fails"}',
  });
  steering.fails = 0;
  const body = (await response.json()) as Record<string, unknown>;
  assert.deepEqual([response.status, body.code, Object.keys(body).includes("stack")], [500, "internal_error", false]);
  assert.deepEqual([await made(), await audited()], before, "what a failed call had done is undone");
  const retry = await post("six", { name: "fails" });
  assert.deepEqual([retry.status, retry.headers.get("idempotency-replayed")], [201, null]);
});

test("70. a name that was taken and is freed can be had under the same value", async () => {
  steering.taken.add("wanted");
  const taken = await post("five", { name: "wanted" });
  assert.deepEqual([taken.status, taken.body.code], [409, "thing_name_taken"]);
  steering.taken.clear();
  const freed = await post("five", { name: "wanted" });
  assert.deepEqual([freed.status, freed.headers.get("idempotency-replayed")], [201, null]);
});

test("70. a value is kept for 72 hours to the instant, sweeping or not, and new from then on", async () => {
  const sweep = () => kernelJobs.find(({ name }) => name === "sweep_idempotency")!.run(server.kernel);
  const first = await post("old", { name: "a" });
  server.clock.advance(72 * 3_600_000 - 1);
  await sweep();
  assert.equal((await post("old", { name: "a" })).text, first.text);
  assert.equal((await post("old", { name: "b" })).status, 422);
  server.clock.advance(1);
  const again = await post("old", { name: "b" });
  assert.deepEqual([again.status, again.headers.get("idempotency-replayed")], [201, null]);
  assert.equal((await post("old", { name: "b" })).headers.get("idempotency-replayed"), "true");
  server.clock.advance(72 * 3_600_000);
  await sweep();
  assert.equal((await server.sql("select count(*)::int as n from kernel.idempotency"))[0].n, 0);
});

test("71. /v1 and /latest are one address with one record, and the reply keeps the label of the first call", async () => {
  const records = async () => (await server.sql("select count(*)::int as n from kernel.idempotency"))[0].n as number;
  const before = [await made(), await records()];
  const first = await post("label", { name: "a" });
  for (const path of ["/latest/thing", "/v1/%74hing"]) {
    const again = await post("label", { name: "a" }, { path });
    assert.deepEqual([again.text, again.headers.get("idempotency-replayed")], [first.text, "true"], path);
    assert.equal(again.headers.get("location"), first.headers.get("location"));
  }
  assert.deepEqual([await made(), await records()], [before[0]! + 1, before[1]! + 1]);
});

test("72. another actor of the tenant may not use the value, another tenant may; who lost the permission gets no repeat", async () => {
  const first = await post("mine", { name: "a" });
  const before = await made();
  const second = await post("mine", { name: "a" }, { key: await server.key(customer, ["export.run"]) });
  assert.deepEqual([second.status, second.body.code], [422, "idempotency_key_reused"]);
  assert.ok(!second.text.includes(first.body.id), "its reply is not theirs to read");
  assert.equal(await made(), before);
  const stranger = await server.key(await server.tenant(server.rootId, "customer", "Stranger"), ["export.run"]);
  const theirs = await post("mine", { name: "a" }, { key: stranger });
  assert.deepEqual([theirs.status, theirs.headers.get("idempotency-replayed")], [201, null]);

  const fading = await server.key(customer, ["export.run"]);
  assert.equal((await post("fading", { name: "a" }, { key: fading })).status, 201);
  await server.sql(
    "delete from access.assignment where principal_id = (select key_id from access.key_secret where digest = $1)",
    [credentialDigest(fading)],
  );
  await server.kernel.forget();
  assert.equal((await post("fading", { name: "a" }, { key: fading })).status, 403);
});

test("a bare and a quoted value are equal; an empty, doubled, long or parametrised one is refused", async () => {
  await post("abc", { name: "a" });
  assert.equal((await post('"abc"', { name: "a" })).headers.get("idempotency-replayed"), "true");
  for (const value of ['""', '"a";p=1', "x".repeat(256), '"open', "a b"]) {
    const answer = await post(value, { name: "a" });
    assert.deepEqual([answer.status, answer.body.code], [400, "idempotency_key_invalid"], value);
  }
  assert.equal(
    (await server.get("/v1/ping", { key, headers: { "idempotency-key": '""' } })).status,
    200,
    "ignored on GET",
  );
});

test("33. a reply that shows a secret is replayed for ten minutes, then without it, and the database never holds it", async () => {
  const first = await post("secret", { name: "s" }, { path: "/v1/thing/secret" });
  const stored = JSON.stringify(
    await server.sql("select body, sealed_body from kernel.idempotency where sealed_body is not null"),
  );
  assert.ok(!stored.includes(first.body.secret));
  server.clock.advance(60_000);
  assert.equal((await post("secret", { name: "s" }, { path: "/v1/thing/secret" })).body.secret, first.body.secret);
  server.clock.advance(10 * 60_000);
  const late = await post("secret", { name: "s" }, { path: "/v1/thing/secret" });
  assert.deepEqual([late.status, late.body], [201, { name: "s", secret: null }]);
  await kernelJobs.find(({ name }) => name === "sweep_idempotency")!.run(server.kernel);
  assert.equal(
    (await server.sql("select count(*)::int as n from kernel.idempotency where sealed_body is not null"))[0].n,
    0,
  );
});

test("of fifty twins at once, over two servers on one database, exactly one has an effect and all end alike", async () => {
  const second = await startServer({ modules: [...modules, planted], beside: server });
  second.clock.set(server.clock.now());
  const before = [await made(), await audited()];
  const ask = async (index: number): Promise<string> => {
    const to = index % 2 === 0 ? server : second;
    for (;;) {
      const answer = await to.post("/v1/thing", { name: "twin" }, { key, headers: { "idempotency-key": "fifty" } });
      if (answer.status === 201) return answer.text;
      assert.equal(answer.body.code, "idempotency_in_progress");
    }
  };
  const texts = await Promise.all(Array.from({ length: 50 }, (_, index) => ask(index)));
  assert.equal(new Set(texts).size, 1);
  assert.deepEqual([await made(), await audited()], [before[0]! + 1, before[1]! + 1]);
});
