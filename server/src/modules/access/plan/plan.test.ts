import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";

const server = await startServer();
const { p, q, a, b, pAdm, qAdm, aAdm, aRead } = await buildHouse(server);
const small = { ratePerSecond: 5, burst: 10, perDay: 1_000 };
const lanes = { api: small, scim: small, publish: small };

async function makePlan(key: string, name: string, given: object = lanes, headers = {}): Promise<any> {
  const answer = await server.post("/v1/plan", { name, lanes: given }, { key, headers });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}
const give = (key: string, tenantId: string, planId: string | null) =>
  server.patch(`/v1/tenant/${tenantId}`, { planId }, { key });
const own = async (key: string) => (await server.get("/v1/tenant/self", { key })).body;

test("a plan states its lanes, what is left out is as in the standard one", async () => {
  const answer = await server.post("/v1/plan", { name: "Part", lanes: { api: { burst: 30 } } }, { key: pAdm.key });
  assert.equal(answer.headers.get("location"), `/v1/plan/${answer.body.id}`);
  assert.deepEqual(answer.body.lanes, {
    api: { ratePerSecond: 10, burst: 30, perDay: 10_000 },
    scim: { ratePerSecond: 25, burst: 50, perDay: null },
    publish: { ratePerSecond: 100, burst: 200, perDay: 1_000_000 },
  });
  assert.deepEqual([answer.body.tenantId, answer.body.builtIn], [p, false]);
  const faulty = await server.post(
    "/v1/plan",
    { name: "Bad", lanes: { api: { burst: 0, perDay: 0 } } },
    { key: pAdm.key },
  );
  assert.deepEqual(
    faulty.body.errors.map((fault: any) => fault.pointer),
    ["/lanes/api/burst", "/lanes/api/perDay"],
  );
});

test("a plan given to a partner applies to its customers, who see figures and not the source", async () => {
  const plan = await makePlan(pAdm.key, "Bronze");
  assert.equal((await give(pAdm.key, q, plan.id)).status, 200);
  const above = (await server.get(`/v1/tenant/${a}`, { key: pAdm.key })).body;
  assert.deepEqual([above.planId, above.plan], [null, { id: plan.id, name: "Bronze", lanes }]);
  assert.deepEqual([(await own(aAdm.key)).planId, (await own(aAdm.key)).plan], [null, { id: null, name: null, lanes }]);
  const partner = await own(qAdm.key);
  assert.deepEqual([partner.planId, partner.plan.lanes], [null, lanes], "given from out of sight: without its id");
  assert.equal((await server.get(`/v1/plan/${plan.id}`, { key: qAdm.key })).status, 404);
  const self = (await server.get("/v1/principal/self", { key: aAdm.key })).body;
  assert.deepEqual(self.plan, { lanes });
  const [told] = await server.sql(
    "select data from kernel.told where type = 'demarc.access.tenant.plan_changed' and subject = $1",
    [q],
  );
  assert.deepEqual([told.data.changed, told.data.resource.plan.id], [["planId"], null]);
  await give(pAdm.key, q, null);
});

test("61. a partner gives nothing above its own plan, figure by figure, when making, changing or giving a plan", async () => {
  const bronze = await makePlan(pAdm.key, "Bronze 61");
  await give(pAdm.key, q, bronze.id);
  const above = { ...lanes, api: { ...small, burst: 11, perDay: null } };
  const made = await server.post("/v1/plan", { name: "Above", lanes: above }, { key: qAdm.key });
  assert.deepEqual([made.status, made.body.code], [400, "plan_exceeds_own"]);
  assert.deepEqual(
    made.body.errors.map((fault: any) => fault.pointer),
    ["/lanes/api/burst", "/lanes/api/perDay"],
  );
  const tin = await makePlan(qAdm.key, "Tin");
  const raised = await server.patch(`/v1/plan/${tin.id}`, { lanes: { api: { burst: 11 } } }, { key: qAdm.key });
  assert.deepEqual([raised.status, raised.body.code], [400, "plan_exceeds_own"]);
  assert.equal((await give(qAdm.key, a, tin.id)).status, 200);
  assert.equal(
    (await server.patch(`/v1/plan/${tin.id}`, { lanes: above }, { key: pAdm.key })).status,
    200,
    "the root is free",
  );
  const given = await give(qAdm.key, b, tin.id);
  assert.deepEqual([given.status, given.body.code, given.body.errors[0].pointer], [400, "plan_exceeds_own", "/planId"]);
  await give(qAdm.key, a, null);
  await give(pAdm.key, q, null);
});

test("a plan is given downwards only, by who holds plan.assign there", async () => {
  const mine = await makePlan(qAdm.key, "Mine");
  const up = await give(pAdm.key, p, mine.id);
  assert.deepEqual([up.status, up.body.errors[0].rule], [400, "plan_not_above"]);
  const same = await give(pAdm.key, q, mine.id);
  assert.deepEqual([same.status, same.body.errors[0].rule], [400, "plan_not_above"]);
  const hidden = await makePlan(pAdm.key, "Hidden");
  const unseen = await give(qAdm.key, a, hidden.id);
  assert.deepEqual([unseen.status, unseen.body.errors[0].rule], [400, "not_found"]);
  const wrong = await give(qAdm.key, a, a);
  assert.deepEqual([wrong.status, wrong.body.errors[0].rule], [400, "id_kind"]);
  const manager = await server.key(q, ["tenant.manage", "plan.read"]);
  // A key of Q comes from strictly above A.
  const refused = await give(manager, a, mine.id);
  assert.deepEqual([refused.status, refused.body.permission], [403, "plan.assign"]);
  const rootless = await give(pAdm.key, p, null);
  assert.deepEqual([rootless.status, rootless.body.errors[0].pointer], [400, "/planId"]);
});

test("a customer has no plans of its own, and who may not manage plans is refused by name", async () => {
  const leaf = await server.post("/v1/plan", { name: "Leaf" }, { key: aAdm.key });
  assert.deepEqual([leaf.status, leaf.body.code], [409, "tenant_kind"]);
  const read = await server.post("/v1/plan", { name: "Leaf" }, { key: aRead.key });
  assert.deepEqual([read.status, read.body.permission], [403, "plan.manage"]);
});

test("names are unique in a tenant whatever their capitals, and If-Match guards changes", async () => {
  const plan = await makePlan(qAdm.key, "Namely");
  const taken = await server.post("/v1/plan", { name: "NAMELY" }, { key: qAdm.key });
  assert.deepEqual([taken.status, taken.body.code], [409, "plan_name_taken"]);
  await makePlan(pAdm.key, "Namely");
  const other = await makePlan(qAdm.key, "Other");
  const renamed = await server.patch(`/v1/plan/${other.id}`, { name: "namely" }, { key: qAdm.key });
  assert.deepEqual([renamed.status, renamed.body.code], [409, "plan_name_taken"]);
  const headers = { "if-match": '"not this one"' };
  assert.equal((await server.patch(`/v1/plan/${plan.id}`, { name: "X" }, { key: qAdm.key, headers })).status, 412);
  assert.equal((await server.delete(`/v1/plan/${plan.id}`, { key: qAdm.key, headers })).status, 412);
});

test("a plan in use and the built-in one are not deleted; another one is gone, and told of", async () => {
  const plan = await makePlan(qAdm.key, "Used");
  await give(qAdm.key, a, plan.id);
  const used = await server.delete(`/v1/plan/${plan.id}`, { key: qAdm.key });
  assert.deepEqual([used.status, used.body.code, used.body.tenantId], [409, "plan_in_use", a]);
  await give(qAdm.key, a, null);
  assert.equal((await server.delete(`/v1/plan/${plan.id}`, { key: qAdm.key })).status, 204);
  assert.equal((await server.delete(`/v1/plan/${plan.id}`, { key: qAdm.key })).status, 404);
  const [standard] = (await server.get("/v1/plan?name=standard", { key: pAdm.key })).body.items;
  const builtIn = await server.delete(`/v1/plan/${standard.id}`, { key: pAdm.key });
  assert.deepEqual([builtIn.status, builtIn.body.code], [409, "plan_built_in"]);
  const told = await server.sql("select type, data from kernel.told where subject = $1 order by id", [plan.id]);
  assert.deepEqual(
    told.map(({ type, data }) => [type, data.resource === null]),
    [
      ["demarc.access.plan.created", false],
      ["demarc.access.plan.deleted", true],
    ],
  );
});

test("of two calls that give a plan and delete it at the same moment, one finds the other's work", async () => {
  for (let round = 0; round < 5; round++) {
    const plan = await makePlan(qAdm.key, `Race ${round}`);
    const [given, deleted] = await Promise.all([
      give(qAdm.key, a, plan.id),
      server.delete(`/v1/plan/${plan.id}`, { key: qAdm.key }),
    ]);
    assert.ok(
      (given.status === 200 && deleted.status === 409) || (given.status === 400 && deleted.status === 204),
      `${given.status} ${deleted.status}`,
    );
    if (given.status === 200) await give(qAdm.key, a, null);
  }
});

test("a changed plan counts on the next call", async () => {
  const plan = await makePlan(pAdm.key, "Moving");
  const c = await server.tenant(p, "customer", "Mover");
  const key = await server.key(c, "read_only");
  await give(pAdm.key, c, plan.id);
  const before = await server.get("/v1/tenant/self", { key });
  assert.match(before.headers.get("ratelimit-policy")!, /"burst";q=10;w=2, "day";q=1000/);
  await server.patch(`/v1/plan/${plan.id}`, { lanes: { api: { burst: 3, perDay: null } } }, { key: pAdm.key });
  const after = await server.get("/v1/tenant/self", { key });
  assert.equal(after.headers.get("ratelimit-policy"), '"burst";q=3;w=1');
});
