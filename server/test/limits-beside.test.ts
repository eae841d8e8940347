/** Limits of two servers on one database: what one granted the other does not grant again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { eventually, startServer, type TestServer } from "./harness.ts";
import { makeClient, makeUser, userTokens } from "./tokens.ts";

const settings = { trustedProxies: ["127.0.0.0/8"], publicUrl: "http://localhost" };
const first = await startServer({ settings });
const second = await startServer({ beside: first, settings });
const both = (call: number) => (call % 2 === 0 ? first : second);

async function customer(name: string, api: object) {
  const tenantId = await first.tenant(first.rootId, "customer", name, { passwordGrant: true });
  const planId = `pln_${tenantId.slice(4)}`;
  const lane = { ratePerSecond: 1, burst: 20, perDay: null };
  await first.sql(
    "insert into access.plan (tenant_id, id, name, lanes, created_at, updated_at) values ($1, $2, $3, $4, now(), now())",
    [first.rootId, planId, name, { api: { ...lane, ...api }, scim: lane, publish: lane }],
  );
  await first.sql("update access.tenant set plan_id = $1 where id = $2", [planId, tenantId]);
  await first.kernel.forget();
  return { tenantId, key: await first.key(tenantId, "read_only") };
}

/** How many of so many calls, in turns to both servers, were not refused by a limit; and how long it took. */
async function granted(calls: number, ask: (server: TestServer) => Promise<{ status: number }>) {
  const startedMs = performance.now();
  const answers: { status: number }[] = [];
  while (answers.length < calls) {
    const wave = Array.from({ length: Math.min(20, calls - answers.length) }, (_, call) => ask(both(call)));
    answers.push(...(await Promise.all(wave)));
  }
  const passed = answers.filter(({ status }) => status !== 429).length;
  assert.deepEqual(
    answers.filter(({ status }) => status !== 200 && status !== 429),
    [],
  );
  return { passed, seconds: (performance.now() - startedMs) / 1_000 };
}

/** Exactly what a bucket grants from full: its burst, and what flowed in meanwhile. */
function isWhole({ passed, seconds }: { passed: number; seconds: number }, rate: number, burst: number): void {
  assert.ok(passed >= burst && passed <= burst + Math.ceil(seconds * rate), `${passed} of ${burst} in ${seconds} s`);
}

test("56. the keys of a tenant share one bucket over both servers, and nobody else feels it", async () => {
  const { tenantId, key } = await customer("Shared", {});
  const neighbour = await customer("Neighbour", {});
  const other = await first.key(tenantId, "read_only");
  let turn = 0;
  isWhole(await granted(60, (server) => server.get("/v1/principal/self", { key: turn++ % 3 ? key : other })), 1, 20);
  assert.equal((await second.get("/v1/principal/self", { key: neighbour.key })).status, 200);
});

test("64. ping has its own bucket over both servers, and what it refuses costs the lane nothing", async () => {
  const { key } = await customer("Pings", { burst: 30 });
  isWhole(await granted(20, (server) => server.get("/v1/ping", { key })), 1, 5);
  const usage = await second.get("/v1/tenant/self/usage", { key });
  assert.ok(usage.body.lanes.api.burstLeft >= 24, usage.text);
});

test("open routes count by address, token calls by client and the console by user, each over both servers", async () => {
  const headers = { "x-forwarded-for": "198.51.100.77" };
  isWhole(await granted(160, (server) => server.get("/v1/version", { headers })), 50, 100);
  const { tenantId } = await customer("Tokens", {});
  const client = await makeClient(first, tenantId, []);
  const body = new URLSearchParams({ grant_type: "client_credentials" });
  const authorization = `Basic ${btoa(`${client.id}:${client.secret}`)}`;
  const token = (server: TestServer) =>
    fetch(`${server.url}/oauth/token`, { method: "POST", headers: { authorization }, body });
  isWhole(await granted(60, token), 5, 20);
  const user = await makeUser(first, tenantId, "ann", "read_only");
  const { token: console } = await userTokens(first, tenantId, user.id, { clientId: "demarc-console" });
  isWhole(await granted(100, (server) => server.get("/v1/principal/self", { token: console })), 20, 60);
});

test("57. the day is one day over both servers: never a call beyond, and none short once nobody holds any", async () => {
  const { key } = await customer("Day", { ratePerSecond: 10_000, burst: 100_000, perDay: 80 });
  let passed = 0;
  await eventually(async () => {
    passed += (await granted(40, (server) => server.get("/v1/principal/self", { key }))).passed;
    assert.ok(passed <= 80, `${passed} of 80`);
    return passed === 80;
  });
  assert.equal((await first.get("/v1/principal/self", { key })).body.code, "quota_exceeded");
});

test("while the common store is stuck, calls are granted by share, and what needs no store is not held up", async () => {
  const { tenantId, key } = await customer("Stuck", { burst: 20 });
  await first.get("/v1/principal/self", { key });
  const hand = new pg.Client({ connectionString: first.databaseUrl });
  await hand.connect();
  await hand.query("begin");
  await hand.query("select from kernel.bucket where name = $1 for update", [`{${tenantId}}:api`]);
  const stuck = granted(30, (server) => server.get("/v1/principal/self", { key }));
  let over = false;
  void stuck.then(() => {
    over = true;
  });
  assert.equal((await first.get("/v1/ping", { headers: { "x-forwarded-for": "203.0.113.50" } })).status, 401);
  assert.equal((await second.get("/v1/nothing-here", { key })).status, 404);
  assert.equal(over, false);
  const { passed, seconds } = await stuck;
  assert.ok(passed >= 8 && passed <= 24 + seconds, `${passed} of 20 by shares of a half in ${seconds} s`);
  await hand.query("rollback");
  await hand.end();
  // The common count holds again once the store has answered.
  const at = async () =>
    (await first.sql("select at_ms from kernel.bucket where name = $1", [`{${tenantId}}:api`]))[0].at_ms;
  const before = await at();
  await eventually(async () => {
    await first.get("/v1/principal/self", { key });
    return (await at()) > before;
  });
});

test("42. five wrong passwords at one server close the name at the other, for that address alone", async () => {
  const { tenantId } = await customer("Guessed", { burst: 1_000 });
  await first.sql(`update access.tenant set features = features || '{"passwordGrant": true}'`);
  await first.kernel.forget();
  const user = await makeUser(first, tenantId, "zoe");
  const logIn = (server: TestServer, password: string, from: string) =>
    server.post("/oauth/token", { userName: "zoe", password }, { headers: { "x-forwarded-for": from } });
  for (let n = 0; n < 5; n++) assert.equal((await logIn(first, "wrong", "198.51.100.7")).status, 400);
  for (const password of ["wrong", user.password]) {
    const refused = await logIn(second, password, "198.51.100.7");
    assert.deepEqual([refused.status, refused.body.code], [429, "login_throttled"]);
  }
  assert.equal((await logIn(second, user.password, "198.51.100.8")).status, 200);
});

test("wrong keys and wrong client secrets of an address are one count over both servers, and right ones pass", async () => {
  const { key, tenantId } = await customer("Wrong", { burst: 1_000 });
  const client = await makeClient(first, tenantId, []);
  const headers = { "x-forwarded-for": "198.51.100.99" };
  const wrongKey = (server: TestServer) => server.get("/v1/ping", { key: `${key.slice(0, -1)}!`, headers });
  const wrongSecret = (server: TestServer) =>
    server.call("POST", "/oauth/token", {
      raw: "grant_type=client_credentials",
      headers: {
        ...headers,
        authorization: `Basic ${btoa(`${client.id}:wrong`)}`,
        "content-type": "application/x-www-form-urlencoded",
      },
    });
  for (let n = 0; n < 15; n++) {
    for (const server of [first, second]) {
      assert.equal((await wrongKey(server)).status, 401);
      assert.equal((await wrongSecret(server)).status, 401);
    }
  }
  for (const server of [first, second]) {
    assert.deepEqual(
      [(await wrongKey(server)).status, (await wrongKey(server)).body.code],
      [429, "credential_throttled"],
    );
    const refused = await wrongSecret(server);
    assert.deepEqual([refused.status, refused.body.code], [429, "credential_throttled"]);
    assert.equal((await server.get("/v1/ping", { key, headers })).status, 200);
  }
});

test("servers whose sessions break count together meanwhile and afterwards", async () => {
  const sessions = async () =>
    first.sql(
      "select pid from pg_stat_activity where datname = current_database() and application_name = 'demarc limits' order by pid",
    );
  const before = await sessions();
  assert.equal(before.length, 2);
  for (const { pid } of before) await first.sql("select pg_terminate_backend($1)", [pid]);
  const meanwhile = await customer("Broken", {});
  const self = (key: string) => (server: TestServer) => server.get("/v1/principal/self", { key });
  isWhole(await granted(60, self(meanwhile.key)), 1, 20);
  await eventually(async () => (await sessions()).length === 2);
  const { key } = await customer("Mended", {});
  isWhole(await granted(60, self(key)), 1, 20);
});

test("a server that is told to counts in PostgreSQL though it is alone", async () => {
  const told = await startServer({ settings, limiter: "postgres" });
  const key = await told.key(told.rootId, "read_only");
  const answer = await told.get("/v1/ping", { key });
  assert.match(answer.headers.get("ratelimit")!, /"ping";r=4;t=1$/);
  const rows = await told.sql("select name, level from kernel.bucket where name like '%:own:ping'");
  assert.deepEqual(rows, [{ name: `{${told.rootId}}:own:ping`, level: 4_000 }]);
  await told.close();
});

test("what was spent while alone stays spent when another server comes, and when it has gone", async () => {
  await second.close();
  const { tenantId, key } = await customer("Carried", { burst: 40 });
  const row = async () =>
    (await first.sql("select level, at_ms from kernel.bucket where name = $1", [`{${tenantId}}:api`]))[0];
  const call = () => first.get("/v1/principal/self", { key });
  const startedMs = performance.now();
  const since = () => (performance.now() - startedMs) / 1_000;
  let passed = 0;
  // Alone again: the database hears of no call.
  await eventually(async () => {
    const before = await row();
    if ((await call()).status === 200) passed++;
    return before === undefined || (await row()).at_ms === before.at_ms;
  });
  const told = await row();
  while (passed < 30) if ((await call()).status === 200) passed++;
  assert.deepEqual(await row(), told);
  const third = await startServer({ beside: first, settings });
  // A bucket that is full again by then is not handed over.
  const level = (await row())?.level ?? 40_000;
  assert.ok(level <= (40 - passed + since()) * 1_000 + 1_000, "the newcomer finds what was spent");
  const later = await Promise.all(
    Array.from({ length: 60 }, (_, n) => (n % 2 ? first : third).get("/v1/principal/self", { key })),
  );
  passed += later.filter(({ status }) => status === 200).length;
  assert.ok(passed >= 40 && passed <= 40 + Math.ceil(since()), `${passed} of 40 in ${since()} s`);
  await third.close();
  await eventually(async () => {
    const before = await row();
    if ((await call()).status === 200) passed++;
    return (await row()).at_ms === before.at_ms && since() > 0;
  });
  assert.ok(passed <= 40 + Math.ceil(since()), `${passed} of 40 in ${since()} s`);
});
