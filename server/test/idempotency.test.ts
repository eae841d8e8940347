import assert from "node:assert/strict";
import { test } from "node:test";
import { modules } from "../src/app.ts";
import { kernelJobs } from "../src/kernel/jobs.ts";
import { startServer } from "./harness.ts";
import { planted, steering } from "./planted.ts";

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

test("65. the same call twice has one effect, and the second reply is the first one, marked; member order does not matter", async () => {
  const before = await made();
  const first = await post("one", { name: "a", colour: "red" });
  const second = await post("one", { colour: "red", name: "a" });
  assert.deepEqual([first.status, second.status], [201, 201]);
  assert.equal(second.text, first.text);
  assert.equal(second.headers.get("location"), first.headers.get("location"));
  assert.equal(second.headers.get("etag"), first.headers.get("etag"));
  assert.deepEqual(
    [first.headers.get("idempotency-replayed"), second.headers.get("idempotency-replayed")],
    [null, "true"],
  );
  assert.notEqual(second.headers.get("x-request-id"), first.headers.get("x-request-id"));
  assert.equal(await made(), before + 1);
});

test("66. the same value with another body or query is 422 and has no effect", async () => {
  await post("two", { name: "a" });
  const before = await made();
  const other = await post("two", { name: "b" });
  assert.deepEqual([other.status, other.body.code], [422, "idempotency_key_reused"]);
  assert.equal(await made(), before);
});

test("67. while the first is running its twin is told so, and a later repeat gets the first one's reply", async () => {
  let release = () => {};
  steering.waits = new Promise<void>((resolve) => {
    release = resolve;
  });
  const before = await made();
  const first = post("three", { name: "slow" });
  let twin = await post("three", { name: "slow" });
  while (twin.status === 201) twin = await post("three", { name: "slow" });
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

test("68. 69. 70. a refusal keeps nothing: the same value works once the cause is gone", async () => {
  assert.equal((await post("four", { nmae: "x" })).status, 400);
  assert.equal((await post("four", { name: "x" })).status, 201);
  steering.taken.add("wanted");
  assert.equal((await post("five", { name: "wanted" })).body.code, "thing_name_taken");
  steering.taken.clear();
  assert.equal((await post("five", { name: "wanted" })).status, 201);
  const before = await made();
  steering.fails = 1;
  const response = await fetch(`${server.url}/v1/thing`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": "application/json", "idempotency-key": "six" },
    body: '{"name":"fails"}',
  });
  assert.equal(response.status, 500);
  const body = (await response.json()) as Record<string, unknown>;
  assert.deepEqual([body.code, Object.keys(body).includes("stack")], ["internal_error", false]);
  assert.equal(await made(), before, "what a failed call had done is undone");
  steering.fails = 0;
  assert.equal((await post("six", { name: "fails" })).status, 201);
});

test("70. after 72 hours a value is new", async () => {
  await post("old", { name: "a" });
  server.clock.advance(72 * 3_600_000);
  const again = await post("old", { name: "b" });
  assert.deepEqual([again.status, again.headers.get("idempotency-replayed")], [201, null]);
  assert.equal((await post("old", { name: "b" })).headers.get("idempotency-replayed"), "true");
});

test("71. /v1 and /latest are one address, and the reply keeps the label of the first call", async () => {
  const before = await made();
  await post("label", { name: "a" });
  const latest = await post("label", { name: "a" }, { path: "/latest/thing" });
  assert.equal(latest.headers.get("idempotency-replayed"), "true");
  assert.equal(await made(), before + 1);
});

test("72. another actor of the tenant may not use the value, another tenant may", async () => {
  await post("mine", { name: "a" });
  const second = await server.key(customer, ["export.run"]);
  assert.equal((await post("mine", { name: "a" }, { key: second })).status, 422);
  const stranger = await server.key(await server.tenant(server.rootId, "customer", "Stranger"), ["export.run"]);
  assert.equal((await post("mine", { name: "a" }, { key: stranger })).status, 201);
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
