import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryBuckets } from "../src/kernel/bucket-store.ts";
import { createThrottle } from "../src/kernel/throttle.ts";
import type { QuotaNews } from "../src/kernel/throttle-day.ts";
import { eventually, startServer } from "./harness.ts";

const standardLanes = {
  api: { ratePerSecond: 10, burst: 20, perDay: 10_000 },
  scim: { ratePerSecond: 25, burst: 50, perDay: null },
  publish: { ratePerSecond: 100, burst: 200, perDay: 1_000_000 },
};
const server = await startServer({ startsAt: "2026-11-22T10:00:00.000Z" });

/** A throttle whose two clocks stand still until the test moves them, over the server's database. */
function makeThrottle(news: QuotaNews[] = []) {
  const time = { ms: 0 };
  const throttle = createThrottle({
    system: server.kernel.system,
    log: server.kernel.log,
    now: () => server.clock.now(),
    monotonicMs: () => time.ms,
    buckets: createMemoryBuckets(() => time.ms),
    onQuota: (one) => news.push(one),
  });
  return { time, throttle };
}

type Lanes = Partial<typeof standardLanes.api>;
async function caller(name: string, api: Lanes = {}, timeZone = "UTC") {
  const tenantId = await server.tenant(server.rootId, "customer", name);
  const planId = `pln_${tenantId.slice(4)}`;
  const lanes = { ...standardLanes, api: { ...standardLanes.api, ...api } };
  await server.sql(
    "insert into access.plan (tenant_id, id, name, lanes, created_at, updated_at) values ($1, $2, $3, $4, now(), now())",
    [server.rootId, planId, name, lanes],
  );
  await server.sql("update access.tenant set plan_id = $1, time_zone = $3 where id = $2", [planId, tenantId, timeZone]);
  await server.kernel.forget();
  const key = await server.key(tenantId, []);
  const verdict = await server.kernel.gate.authenticate(key, "127.0.0.1");
  assert.ok(verdict.ok);
  return { tenantId, planId, key, who: verdict.who };
}

test("55. of a full bucket 20 calls pass at once, the 21st waits a second, then exactly 10 more pass", async () => {
  const { throttle, time } = makeThrottle();
  const { who } = await caller("Bucket");
  for (let call = 1; call <= 20; call++) assert.equal((await throttle.charge(who, "api", undefined)).admitted, true);
  const refused = await throttle.charge(who, "api", undefined);
  assert.deepEqual([refused.admitted, refused.retryAfterSeconds, refused.violated], [false, 1, ["burst"]]);
  assert.match(refused.limit, /^"burst";r=0;t=1, "day";r=9980$/);
  time.ms += 1_000;
  let passed = 0;
  while ((await throttle.charge(who, "api", undefined)).admitted) passed++;
  assert.equal(passed, 10);
  await throttle.stop();
});

test("57. 60. the day is exact, ends at local midnight, and is a day of 90,000 s when clocks go back", async () => {
  server.clock.set("2026-10-24T23:00:00.000Z");
  const news: QuotaNews[] = [];
  const { throttle } = makeThrottle(news);
  const { who, tenantId } = await caller(
    "London",
    { ratePerSecond: 10_000, burst: 100_000, perDay: 1_000 },
    "Europe/London",
  );
  let passed = 0;
  let last = await throttle.charge(who, "api", undefined);
  while (last.admitted) {
    passed++;
    last = await throttle.charge(who, "api", undefined);
  }
  assert.equal(passed, 1_000);
  assert.deepEqual([last.violated, last.retryAfterSeconds], [["day"], 90_000]);
  assert.deepEqual(
    news.map(({ level }) => level),
    ["warned", "exhausted"],
  );
  const [row] = await server.sql("select count from access.day_count where tenant_id = $1", [tenantId]);
  assert.equal(row.count, 1_000);
  server.clock.set("2026-10-26T00:00:00.000Z");
  assert.equal((await throttle.charge(who, "api", undefined)).admitted, true);
  server.clock.set("2026-11-22T10:00:00.000Z");
  await throttle.stop();
});

test("the count survives a restart: what was drawn and not used is given back at a stop", async () => {
  const { who } = await caller("Restart", { perDay: 100 });
  const first = makeThrottle();
  for (let call = 0; call < 7; call++) await first.throttle.charge(who, "api", undefined);
  await first.throttle.stop();
  const second = makeThrottle();
  assert.match((await second.throttle.charge(who, "api", undefined)).limit, /"day";r=92;/);
  await second.throttle.stop();
});

test("two processes together never pass a call beyond the day", async () => {
  const { who } = await caller("Both", { ratePerSecond: 10_000, burst: 100_000, perDay: 2_000 });
  const [one, other] = [makeThrottle().throttle, makeThrottle().throttle];
  let passed = 0;
  const drain = async (throttle: typeof one) => {
    while ((await throttle.charge(who, "api", undefined)).admitted) passed++;
  };
  await Promise.all([drain(one), drain(other), drain(one), drain(other)]);
  assert.equal(passed, 2_000);
  await Promise.all([one.stop(), other.stop()]);
});

test("a changed plan keeps the level, capped, and the day's count; a changed time zone carries the count on", async () => {
  const { throttle } = makeThrottle();
  const { who } = await caller("Change", { perDay: 100 });
  for (let call = 0; call < 5; call++) await throttle.charge(who, "api", undefined);
  const tenant = {
    ...who.tenant,
    plan: { ...who.tenant.plan, lanes: { ...who.tenant.plan.lanes, api: { ratePerSecond: 1, burst: 3, perDay: 50 } } },
  };
  const changed = await throttle.charge({ ...who, tenant }, "api", undefined);
  assert.match(changed.limit, /^"burst";r=2;t=1, "day";r=44;/);
  const moved = await throttle.charge({ ...who, tenant: { ...tenant, timeZone: "Asia/Tokyo" } }, "api", undefined);
  assert.match(moved.limit, /"day";r=43;/);
  await throttle.stop();
});

test("a plan that loses its limit of a day forgets what was drawn of it, and one that gains it counts on", async () => {
  const { throttle } = makeThrottle();
  const { who, tenantId } = await caller("Unlimited", { perDay: 100 });
  const under = (perDay: number | null) => {
    const api = { ratePerSecond: 1_000, burst: 1_000, perDay };
    const plan = { ...who.tenant.plan, lanes: { ...who.tenant.plan.lanes, api } };
    return throttle.charge({ ...who, tenant: { ...who.tenant, plan } }, "api", undefined);
  };
  assert.match((await under(1_000)).limit, /"day";r=999;/);
  for (let call = 0; call < 60; call++) assert.deepEqual((await under(null)).violated, []);
  assert.doesNotMatch((await under(null)).limit, /day/);
  await eventually(async () => {
    const [row] = await server.sql("select count from access.day_count where tenant_id = $1", [tenantId]);
    return row.count === 1;
  });
  assert.match((await under(100)).limit, /"day";r=98;/);
  await throttle.stop();
});

test("a day that another process had drawn to the end is asked for again, and grants what was given back", async () => {
  const { who } = await caller("Given", { ratePerSecond: 1_000, burst: 1_000, perDay: 1_600 });
  const [one, other] = [makeThrottle(), makeThrottle()];
  const charge = ({ throttle }: typeof one) => throttle.charge(who, "api", undefined);
  await charge(one);
  let passed = 1;
  while ((await charge(other)).admitted) {
    passed++;
    other.time.ms += 1;
  }
  assert.equal(passed, 1_600 - 7, "the other holds the rest of its block of 8");
  await one.throttle.stop();
  assert.equal((await charge(other)).admitted, false);
  other.time.ms += 1_000;
  for (let call = 0; call < 7; call++) {
    assert.equal((await charge(other)).admitted, true);
    other.time.ms += 1_000;
  }
  assert.equal((await charge(other)).admitted, false);
  await other.throttle.stop();
});

test("56. the keys of a tenant share its limits, and nobody else feels them", async () => {
  const mine = await caller("Shared", { ratePerSecond: 1, burst: 2 });
  const neighbour = await caller("Neighbour", { ratePerSecond: 1, burst: 2 });
  const second = await server.key(mine.tenantId, []);
  const keys = Array.from({ length: 12 }, (_, index) => (index % 2 === 0 ? mine.key : second));
  const answers = await Promise.all(keys.map((key) => server.get("/v1/principal/self", { key })));
  assert.ok(answers.some(({ status }) => status === 200));
  const refused = answers.find(({ status }) => status === 429)!;
  assert.equal(refused.body.code, "rate_limited");
  assert.equal(refused.body.message, "Too Many Requests");
  assert.deepEqual(refused.body["violated-policies"], ["burst"]);
  assert.match(refused.headers.get("retry-after")!, /^[1-9]\d*$/);
  assert.equal((await server.get("/v1/ping", { key: neighbour.key })).status, 200);
});

test("every reply of a known tenant carries the policy and what is left of it", async () => {
  const { key } = await caller("Headers");
  const answer = await server.get("/v1/openapi", { key });
  assert.equal(answer.headers.get("ratelimit"), null, "an unknown address is not charged");
  const ping = await server.get("/v1/ping", { key });
  assert.equal(ping.headers.get("ratelimit-policy"), '"burst";q=20;w=2, "day";q=10000;w=86400, "ping";q=5;w=5');
  assert.match(ping.headers.get("ratelimit")!, /^"burst";r=19;t=1, "day";r=9999;t=50400, "ping";r=4;t=1$/);
});

test("57. a spent day says Limit Exceeded until local midnight, changes nothing and charges nothing", async () => {
  const { key, tenantId } = await caller("Spent", { perDay: 3, burst: 100 });
  for (let call = 0; call < 3; call++) assert.equal((await server.get("/v1/ping", { key })).status, 200);
  const refused = await server.get("/v1/ping", { key });
  assert.deepEqual([refused.status, refused.body.code, refused.body.detail], [429, "quota_exceeded", "Limit Exceeded"]);
  assert.equal(refused.headers.get("retry-after"), String(14 * 3_600));
  const [row] = await server.sql("select count from access.day_count where tenant_id = $1", [tenantId]);
  assert.equal(row.count, 3);
});

test("59. a 404 and a 403 are charged, a 401 is not", async () => {
  const { key, tenantId } = await caller("Charged", { perDay: 100 });
  const left = async () =>
    Number(/"day";r=(\d+)/.exec((await server.get("/v1/ping", { key })).headers.get("ratelimit")!)![1]);
  const before = await left();
  await server.get("/v1/operation/opn_00000000000000000000000000", { key });
  await server.get("/v1/ping", { key: `${key.slice(0, -1)}!` });
  assert.equal(await left(), before - 2);
  await eventually(
    async () =>
      (await server.sql("select count(*)::int as n from access.activity where tenant_id = $1", [tenantId]))[0].n >= 3,
  );
});

test("64. of six pings at one instant the sixth is refused by ping's own bucket", async () => {
  const { throttle } = makeThrottle();
  const { who } = await caller("Ping");
  const own = { name: "ping", ratePerSecond: 1, burst: 5 };
  for (let call = 1; call <= 5; call++) assert.equal((await throttle.charge(who, "api", own)).admitted, true);
  const sixth = await throttle.charge(who, "api", own);
  assert.deepEqual([sixth.admitted, sixth.violated], [false, ["ping"]]);
  await throttle.stop();
});
