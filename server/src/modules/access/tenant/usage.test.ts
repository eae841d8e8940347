import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";

const server = await startServer({ startsAt: "2026-10-24T23:30:00.000Z" });
const { p, q, a, pAdm, qAdm, aAdm, aRead } = await buildHouse(server);

async function tenantWithDay(name: string, perDay: number): Promise<{ id: string; key: string }> {
  const id = await server.tenant(q, "customer", name);
  const lane = { ratePerSecond: 1_000, burst: 1_000, perDay };
  const plan = await server.post("/v1/plan", { name, lanes: { api: lane } }, { key: pAdm.key });
  await server.patch(`/v1/tenant/${id}`, { planId: plan.body.id }, { key: pAdm.key });
  return { id, key: await server.key(id, "read_only") };
}
const usage = async (id: string) => {
  const answer = await server.get(`/v1/tenant/${id}/usage`, { key: pAdm.key });
  assert.equal(answer.status, 200);
  return answer.body;
};

test("usage shows what is spent and left of the day, exactly, by lane", async () => {
  const { id, key } = await tenantWithDay("Spender", 10_000);
  for (let call = 0; call < 7; call++) await server.get("/v1/ping", { key });
  const { lanes, plan } = await usage(id);
  // Ping's own bucket refuses the calls past five.
  assert.deepEqual([lanes.api.usedToday, lanes.api.leftToday], [5, 9_995]);
  assert.deepEqual(lanes.scim.usedToday, null);
  assert.ok(lanes.api.burstLeft <= 1_000);
  assert.equal(plan.lanes.api.perDay, 10_000);
});

test("usage counts the day's calls by key, and the last days, from the activity log", async () => {
  const { id, key } = await tenantWithDay("Logged", 1_000);
  for (let call = 0; call < 3; call++) await server.get("/v1/tenant/self", { key });
  const today = await eventually(async () => {
    const found = await usage(id);
    return found.keys[0]?.calls === 3 && found;
  });
  assert.equal(today.keys.length, 1);
  assert.equal(today.keys[0].refused, 0);
  assert.deepEqual(today.days, [{ date: "2026-10-24", calls: 3, refused: 0 }]);
  server.clock.set("2026-10-25T00:30:00.000Z");
  await server.get("/v1/tenant/self", { key });
  const next = await eventually(async () => {
    const found = await usage(id);
    return found.days.length === 2 && found.keys.length === 1 && found;
  });
  assert.deepEqual(
    [next.localDate, next.keys[0].calls, next.days[0], next.lanes.api.usedToday],
    ["2026-10-25", 1, { date: "2026-10-25", calls: 1, refused: 0 }, 1],
  );
});

test("60. the day of a tenant follows its clocks: 90,000 s in London on 25 October 2026", async () => {
  server.clock.set("2026-10-24T23:00:00.000Z");
  const { id, key } = await tenantWithDay("London", 1_000);
  await server.patch(`/v1/tenant/${id}`, { timeZone: "Europe/London" }, { key: pAdm.key });
  const answer = await server.get("/v1/tenant/self", { key });
  assert.match(answer.headers.get("ratelimit")!, /"day";r=999;t=90000/);
  const { localDate, resetsAt } = await usage(id);
  assert.deepEqual([localDate, resetsAt], ["2026-10-25", "2026-10-26T00:00:00.000Z"]);
});

test("the news of 80 % and of the whole day come once each, to who may read the usage", async () => {
  const { id, key } = await tenantWithDay("Quota", 20);
  const call = () => server.get("/v1/tenant/self", { key });
  for (let n = 0; n < 25; n++) await call();
  const told = await eventually(async () => {
    const rows = await server.sql(
      "select type, data from kernel.told where subject = $1 and type like '%quota%' order by id",
      [id],
    );
    return rows.length >= 2 && rows;
  });
  assert.deepEqual(
    told.map(({ type }) => type),
    ["demarc.access.quota.warned", "demarc.access.quota.exhausted"],
  );
  assert.deepEqual(told[0].data.resource, { tenantId: id, lane: "api", localDate: "2026-10-24", perDay: 20 });
  const stored = await server.sql("select level from access.quota_told where tenant_id = $1 order by level", [id]);
  assert.deepEqual(stored, [{ level: "exhausted" }, { level: "warned" }]);
});

test("news of a quota that is told twice is news once", async () => {
  const { tellQuota } = await import("../quota.ts");
  const tenant = (await server.kernel.gate.tenant(a))!;
  const news = { tenant, lane: "scim", level: "warned", localDate: "2026-10-25", perDay: 5 } as const;
  await Promise.all([tellQuota(server.kernel, news), tellQuota(server.kernel, news)]);
  await tellQuota(server.kernel, news);
  await tellQuota(server.kernel, { ...news, localDate: "2026-10-26" });
  const told = await server.sql(
    "select data from kernel.told where subject = $1 and type like '%quota.warned' order by id",
    [a],
  );
  assert.deepEqual(
    told.map(({ data }) => data.resource.localDate),
    ["2026-10-25", "2026-10-26"],
  );
});

test("usage is read by holders of usage.read, and its plan shows no source out of sight", async () => {
  const own = await server.get("/v1/tenant/self/usage", { key: aRead.key });
  assert.deepEqual([own.status, own.body.plan.id], [200, null]);
  assert.equal((await server.get(`/v1/tenant/${q}/usage`, { key: aAdm.key })).status, 404);
  const reader = await server.key(a, ["tenant.read"]);
  const refused = await server.get("/v1/tenant/self/usage", { key: reader });
  assert.deepEqual([refused.status, refused.body.permission], [403, "usage.read"]);
  assert.equal((await server.get(`/v1/tenant/${a}/usage`, { key: qAdm.key })).status, 200);
  assert.equal((await server.get(`/v1/tenant/${p}/usage`, { key: pAdm.key })).status, 200);
});
