/** Cases of the specification (access, section 12) that need several parts of the house at once. */
import assert from "node:assert/strict";
import { performance } from "node:perf_hooks";
import { type TestContext, test } from "node:test";
import { hash } from "@node-rs/argon2";
import { modules } from "../src/app.ts";
import { type Module, route } from "../src/kernel/contract.ts";
import { object } from "../src/kernel/schema.ts";
import { guardOf } from "../src/modules/access/log-in-guard.ts";
import { verifyPassword } from "../src/modules/access/password.ts";
import { rootFolderOf } from "../src/modules/monitoring/scope.ts";
import { type Answer, eventually, startServer } from "./harness.ts";
import { buildHouse } from "./house.ts";
import { planted, steering } from "./planted.ts";
import { clientToken, makeClient, makeUser, userTokens } from "./tokens.ts";

/** A route of the desk, as its module will have them. */
const desk: Module = {
  name: "desk",
  about: "A planted desk.",
  routes: [
    route({
      method: "GET",
      path: "/request",
      versions: "v1+",
      id: "listRequests",
      summary: "What needs the service desk",
      permission: "request.read",
      replies: { 200: object({}) },
      run: () => ({}),
    }),
  ],
};
// Addresses of callers are what the tests say they are.
const server = await startServer({
  modules: [...modules, planted, desk],
  settings: { trustedProxies: ["127.0.0.0/8"] },
});
const house = await buildHouse(server);
const { p, q, a, aAdm } = house;

let names = 0;
async function location(tenantId: string, folderId = rootFolderOf(tenantId)): Promise<string> {
  const key = await server.key(tenantId, ["folder.write"]);
  const answer = await server.post("/v1/location", { name: `Site ${++names}`, folderId }, { key });
  assert.equal(answer.status, 201, answer.text);
  return answer.body.id;
}
const bearer = (locationId: string, more: object = {}) => ({
  name: `hq-${++names}`,
  locationId,
  watchType: "Bearer",
  accessInKbps: 80_000,
  accessOutKbps: 20_000,
  ...more,
});
const plain = ({ body }: Answer) => ({ ...body, instance: "", requestId: "" });

test("5. a partner's desk switched off from above is off for its customers at once, whose own flag stays", async () => {
  const own = await server.patch(`/v1/tenant/${q}`, { features: { desk: false } }, { key: house.qAdm.key });
  assert.deepEqual([own.status, own.body.code, own.body.property], [403, "above_only", "features"]);
  assert.equal((await server.get("/v1/request", { key: aAdm.key })).status, 200);
  const set = (desk: boolean) => server.patch(`/v1/tenant/${q}`, { features: { desk } }, { key: house.pAdm.key });
  assert.equal((await set(false)).status, 200);
  const off = await server.get("/v1/request", { key: aAdm.key });
  assert.deepEqual([off.status, off.body.code, off.body.service], [403, "service_not_enabled", "desk"]);
  const { features, effectiveFeatures } = (await server.get("/v1/tenant/self", { key: aAdm.key })).body;
  assert.deepEqual([features.desk, effectiveFeatures.desk], [true, false]);
  await set(true);
  assert.equal((await server.get("/v1/request", { key: aAdm.key })).status, 200);
});

test("6. where the API is off, keys and third-party tokens are told so, and people go on in the console", async () => {
  const z = await server.tenant(q, "customer", "Zest", { api: false });
  const user = await makeUser(server, z, "zed", "tenant_administrator");
  const application = await makeClient(server, z, [], { kind: "application", public: true });
  const key = await server.key(z, "read_only");
  const { token: foreign } = await userTokens(server, z, user.id, { clientId: application.id });
  for (const credential of [{ key }, { token: foreign }]) {
    const refused = await server.get("/v1/ping", credential);
    assert.deepEqual([refused.status, refused.body.code], [403, "api_not_enabled"]);
  }
  const { token } = await userTokens(server, z, user.id, { clientId: "demarc-console" });
  assert.equal((await server.get("/v1/ping", { token })).status, 200);
  assert.equal((await server.get("/v1/tenant/self", { token })).body.id, z);
});

test("12. a permission held nowhere is 403 before any look-up, one held elsewhere is 404 until the thing may be read", async () => {
  const folder = async (name: string) =>
    (await server.post("/v1/folder", { name }, { key: aAdm.key })).body.id as string;
  const [f1, f2] = [await folder("F1"), await folder("F2")];
  const made = await server.post("/v1/watch", bearer(await location(a, f2)), { key: aAdm.key });
  await server.sql("update monitoring.watch set status = 'active' where id = $1", [made.body.id]);
  const patch = (key: string, id: string = made.body.id) =>
    server.patch(`/v1/watch/${id}`, { description: "x" }, { key });

  const aRep = await house.person(a, "aRep", "support_rep");
  for (const id of [made.body.id, "wch_00000000000000000000000000"]) {
    const rep = await patch(aRep.key, id);
    assert.deepEqual([rep.status, rep.body.code, rep.body.permission], [403, "permission_missing", "watch.write"]);
  }
  const writer = await house.role(a, ["watch.write"]);
  const aFold = await house.person(a, "aFold", writer, { kind: "folder", id: f1 });
  const unseen = await patch(aFold.key);
  assert.equal(unseen.status, 404);
  assert.deepEqual(plain(unseen), plain(await patch(aFold.key, "wch_00000000000000000000000000")));
  const given = { principal: { kind: "user", id: aFold.id }, roleId: "read_only" };
  assert.equal((await server.post("/v1/assignment", given, { key: aAdm.key })).status, 201);
  const seen = await patch(aFold.key);
  assert.deepEqual([seen.status, seen.body.permission], [403, "watch.write"]);
});

const logIn = (username: string, password: string, address: string) =>
  server.call("POST", "/oauth/token", {
    body: { userName: username, password },
    headers: { "x-forwarded-for": address },
  });

test("36. a name that nobody or several have costs a hash like one that somebody has", async () => {
  const known = await makeUser(server, a, "hashed");
  const z = await server.tenant(q, "customer", "Twins");
  for (const tenantId of [a, z]) await makeUser(server, tenantId, "twin");
  // The gate's 68 places are taken and taken again in the same turn: who needs a hash now is told that it is busy.
  const cheap = await hash("x", { memoryCost: 8, timeCost: 1, parallelism: 1 });
  let full = true;
  const crowd = Array.from({ length: 68 }, async () => {
    while (full) assert.equal(await verifyPassword(cheap, "x"), "right");
  });
  const names = ["hashed", known.email, "nobody", "twin", "nowhere/twin"];
  const answers = await Promise.all(names.map((name, n) => logIn(name, "x", `203.0.113.${n}`)));
  full = false;
  await Promise.all(crowd);
  for (const { status, headers } of answers) assert.deepEqual([status, headers.get("retry-after")], [503, "1"]);
});

test("42. the sixth wrong password is 429 there, also the right one; from another address it works", async () => {
  await server.sql(`update access.tenant set features = features || '{"passwordGrant": true}'`);
  await server.kernel.forget();
  const user = await makeUser(server, a, "locked");
  for (let count = 0; count < 5; count++) assert.equal((await logIn("locked", "wrong", "198.51.100.7")).status, 400);
  for (const password of ["wrong", user.password]) {
    const refused = await logIn("locked", password, "198.51.100.7");
    assert.deepEqual([refused.status, refused.body.code], [429, "login_throttled"]);
  }
  assert.equal((await logIn("locked", user.password, "198.51.100.8")).status, 200);
});

test("the failure that locks a name is told as login.locked, once, to who may read the user", async () => {
  const user = await makeUser(server, a, "besieged");
  const guard = guardOf(server.kernel)!;
  for (let n = 0; n < 49; n++) {
    const attempt = await guard.enter("besieged", `192.0.2.${n}`);
    assert.ok(attempt.admitted);
    await attempt.fail();
  }
  const told = () =>
    server.sql("select * from kernel.told where subject = $1 and type like '%login.locked'", [user.id]);
  assert.deepEqual(await told(), []);
  assert.equal((await logIn("besieged", "wrong", "198.51.100.20")).status, 400);
  assert.equal((await logIn("besieged", "wrong", "198.51.100.21")).body.code, "login_throttled");
  const [news] = await eventually(async () => {
    const found = await told();
    return found.length > 0 && found;
  });
  const lockedUntil = new Date(server.clock.now().getTime() + 3_600_000).toISOString();
  assert.deepEqual([news.type, news.tenant_id], ["demarc.access.login.locked", a]);
  assert.deepEqual(news.data.resource, { userId: user.id, tenantId: a, lockedUntil });
  assert.equal((await told()).length, 1);
});

test("48. a token with scope watch.read does not PATCH a watch: scope_missing, in body and header", async () => {
  const client = await makeClient(server, a, ["watch.write"]);
  const made = await server.post("/v1/watch", bearer(await location(a)), { key: aAdm.key });
  const token = await clientToken(server, client, "watch.read");
  const answer = await server.patch(`/v1/watch/${made.body.id}`, { description: "x" }, { token });
  assert.deepEqual([answer.status, answer.body.code, answer.body.permission], [403, "scope_missing", "watch.write"]);
  assert.equal(answer.headers.get("www-authenticate"), 'Bearer error="insufficient_scope", scope="watch.write"');
  const whole = await clientToken(server, client);
  assert.equal((await server.patch(`/v1/watch/${made.body.id}`, { description: "x" }, { token: whole })).status, 200);
});

/** Buckets fill by the monotonic clock: it stands still until the test moves it. */
function stopClock(t: TestContext): { advance(ms: number): void } {
  let nowMs = performance.now();
  t.mock.method(performance, "now", () => nowMs);
  return { advance: (ms) => (nowMs += ms) };
}

async function limited(parentId: string, kind: "partner" | "customer", api: object) {
  const id = await server.tenant(parentId, kind, `Limited ${++names}`);
  const planId = `pln_${id.slice(4)}`;
  const lane = { ratePerSecond: 10, burst: 20, perDay: 10_000 };
  await server.sql(
    "insert into access.plan (tenant_id, id, name, lanes, created_at, updated_at) values ($1, $2, $2, $3, now(), now())",
    [p, planId, { api: { ...lane, ...api }, scim: lane, publish: lane }],
  );
  await server.sql("update access.tenant set plan_id = $1 where id = $2", [planId, id]);
  await server.kernel.forget();
  return { id, key: await server.key(id, "tenant_administrator") };
}
const left = (answer: Answer, item: "burst" | "day") =>
  Number(new RegExp(`"${item}";r=(\\d+)`).exec(answer.headers.get("ratelimit") ?? "")?.[1]);

test("55. over HTTP: 20 calls pass at once, the 21st is 429 for a second, and then exactly 10 pass", async (t) => {
  const time = stopClock(t);
  const { key } = await limited(q, "customer", {});
  const self = () => server.get("/v1/principal/self", { key });
  for (let call = 1; call <= 20; call++) assert.equal((await self()).status, 200, String(call));
  const refused = await self();
  assert.deepEqual([refused.status, refused.body.code, refused.headers.get("retry-after")], [429, "rate_limited", "1"]);
  time.advance(1_000);
  for (let call = 1; call <= 10; call++) assert.equal((await self()).status, 200, String(call));
  assert.equal((await self()).status, 429);
});

test("56. what a partner calls in a customer's name is the partner's, and leaves the customer's limits alone", async (t) => {
  stopClock(t);
  const partner = await limited(p, "partner", { burst: 3 });
  const below = await server.tenant(partner.id, "customer", "Below");
  const key = await server.key(below, "read_only");
  const inside = () => server.get("/v1/tenant/self", { key: partner.key, headers: { "demarc-tenant": below } });
  for (const status of [200, 200, 200, 429]) assert.equal((await inside()).status, status);
  const own = await server.get("/v1/tenant/self", { key });
  assert.deepEqual([own.status, left(own, "burst"), left(own, "day")], [200, 2, 9_999]);
});

test("57. the 10,000th call of a day passes, the next says Limit Exceeded until local midnight, and then calls pass", async () => {
  const { id, key } = await limited(q, "customer", { burst: 100 });
  server.clock.set("2026-11-23T20:00:00.000Z");
  await server.sql(
    `insert into access.day_count (tenant_id, lane, local_date, count, last_drawn, resets_at)
     values ($1, 'api', '2026-11-23', 9998, 0, '2026-11-24T00:00:00Z')`,
    [id],
  );
  const self = () => server.get("/v1/principal/self", { key });
  assert.deepEqual([(await self()).status, (await self()).status], [200, 200]);
  const refused = await self();
  assert.deepEqual(
    [refused.status, refused.body.code, refused.body.message, refused.headers.get("retry-after")],
    [429, "quota_exceeded", "Limit Exceeded", String(4 * 3_600)],
  );
  assert.deepEqual(refused.body["violated-policies"], ["day"]);
  server.clock.set("2026-11-24T00:00:00.000Z");
  assert.equal((await self()).status, 200);
});

test("58. a create refused with 429 leaves nothing, its Idempotency-Key neither, and charges nothing", async (t) => {
  const time = stopClock(t);
  const { id, key } = await limited(q, "customer", { burst: 2, ratePerSecond: 1, perDay: 100 });
  const locationId = await location(id);
  time.advance(10_000);
  const traces = async () => {
    const count = (table: string) => `(select count(*)::int from ${table} where tenant_id = $1)`;
    return (
      await server.sql(
        `select ${count("monitoring.watch")} w, ${count("kernel.told")} o, ${count("access.audit")} a, ${count("kernel.idempotency")} i`,
        [id],
      )
    )[0];
  };
  const create = (value: string) =>
    server.post("/v1/watch", bearer(locationId, { name: value }), { key, headers: { "idempotency-key": value } });
  const passed = [await create("one"), await create("two")];
  assert.deepEqual(
    passed.map(({ status }) => status),
    [201, 201],
  );
  const before = await traces();
  const refused = await create("three");
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  assert.deepEqual(await traces(), before);
  time.advance(1_000);
  const again = await create("three");
  assert.equal(again.status, 201);
  assert.equal(again.headers.get("idempotency-replayed"), null);
  assert.equal(left(again, "day"), left(passed[1]!, "day") - 1);
});

test("59. a 404 and a 500 are charged, a 401 is not", async () => {
  const { id } = await limited(q, "customer", { burst: 1_000 });
  const key = await server.key(id, ["export.run"]);
  const day = async () => left(await server.get("/v1/principal/self", { key }), "day");
  const before = await day();
  assert.equal((await server.get("/v1/operation/opn_00000000000000000000000000", { key })).status, 404);
  steering.fails = 1;
  // Past the harness, which fails a test on a 500.
  const failed = await fetch(`${server.url}/v1/thing`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": "application/json" },
    body: '{"name":"fails"}',
  });
  steering.fails = 0;
  assert.equal(failed.status, 500);
  await server.get("/v1/operation", { key: `${key.slice(0, -1)}!` });
  assert.equal(await day(), before - 3);
});

test("63. the console works after the day is spent, on a bucket of each user, and spends nothing of the day", async (t) => {
  const time = stopClock(t);
  const { id, key } = await limited(q, "customer", { perDay: 1 });
  const tokenOf = async (name: string) => {
    const user = await makeUser(server, id, name, "read_only");
    return (await userTokens(server, id, user.id, { clientId: "demarc-console" })).token;
  };
  const [ann, ben] = [await tokenOf("ann"), await tokenOf("ben")];
  const self = (credential: { key: string } | { token: string }) => server.get("/v1/principal/self", credential);
  assert.deepEqual([(await self({ key })).status, (await self({ key })).status], [200, 429]);
  for (let call = 1; call <= 60; call++) {
    const answer = await self({ token: ann });
    assert.deepEqual([answer.status, answer.headers.get("ratelimit")], [200, null], String(call));
  }
  const refused = await self({ token: ann });
  assert.deepEqual([refused.status, refused.body.code, refused.headers.get("retry-after")], [429, "rate_limited", "1"]);
  assert.equal((await self({ token: ben })).status, 200);
  time.advance(50);
  assert.deepEqual([(await self({ token: ann })).status, (await self({ token: ann })).status], [200, 429]);
  const [row] = await server.sql("select count from access.day_count where tenant_id = $1", [id]);
  assert.equal(row.count, 1);
});

test("64. six pings at one instant: the sixth is 429 by ping's own policy", async (t) => {
  stopClock(t);
  const { key } = await limited(q, "customer", {});
  for (let call = 1; call <= 5; call++) assert.equal((await server.get("/v1/ping", { key })).status, 200);
  const sixth = await server.get("/v1/ping", { key });
  assert.deepEqual([sixth.status, sixth.body.code], [429, "rate_limited"]);
  assert.deepEqual(sixth.body["violated-policies"], ["ping"]);
  assert.equal((await server.get("/v1/principal/self", { key })).status, 200);
});

test("80. a changed SNMP community is *** on both sides, and stands in no table, log or CSV", async () => {
  const [old, next] = ["the-old-community", "the-next-community"];
  const snmp = { version: "v2c", community: old };
  const { body } = await server.post("/v1/watch", bearer(await location(a), { snmp }), { key: aAdm.key });
  const changed = await server.patch(`/v1/watch/${body.id}`, { snmp: { community: next } }, { key: aAdm.key });
  assert.equal(changed.status, 200);
  const trail = await server.get(`/v1/audit?itemId=${body.id}&action=updated`, { key: aAdm.key });
  const fields = trail.body.items[0].changes.filter(({ field }: { field: string }) => field === "snmp.community");
  assert.deepEqual(fields, [{ field: "snmp.community", old: "***", new: "***" }]);
  await server.kernel.activity.flush();
  const tables = await server.sql(
    "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
  );
  assert.ok(tables.length > 20);
  for (const { name } of tables) {
    const found = await server.sql(`select 1 from ${name} t where t::text like any($1) limit 1`, [
      [`%${old}%`, `%${next}%`],
    ]);
    assert.deepEqual(found, [], name);
  }
  for (const log of ["audit", "activity"]) {
    const { text } = await server.get(`/v1/${log}/csv`, { key: aAdm.key });
    assert.ok(text.length > 100 && !text.includes(old) && !text.includes(next), log);
  }
});
