import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { eventually, startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";
import { clientToken, makeClient, userTokens } from "../../../../test/tokens.ts";

const server = await startServer();
const house = await buildHouse(server);
const { p, q, a, pAdm, qAdm, aAdm } = house;

/** A tenant's root folder has the tenant's own suffix. */
const rootFolderOf = (tenantId: string) => tenantId.replace("tnt_", "fld_");

let names = 0;
const name = (what: string) => `${what} ${++names}`;
const partner = (parentId = p) => server.tenant(parentId, "partner", name("Partner"));
const customer = (parentId: string) => server.tenant(parentId, "customer", name("Customer"));
const move = (id: string, parentId: unknown, key = pAdm.key, more: object = {}) =>
  server.patch(`/v1/tenant/${id}`, { parentId, ...more }, { key });
const read = async (id: string, key = pAdm.key) => (await server.get(`/v1/tenant/${id}`, { key })).body;
const code = ({ status, body }: { status: number; body: any }) => [status, body.code];
const actions = async (tenantId: string, itemId: string) =>
  (
    await server.sql(
      "select action, changes from access.audit where tenant_id = $1 and item_id = $2 order by position",
      [tenantId, itemId],
    )
  ).filter(({ action }) => action.startsWith("moved"));

/** The closure table as a recursive query makes it from the parents alone. */
async function assertClosure(): Promise<void> {
  const wrong = await server.sql(`
    with recursive up as (
      select id as tenant_id, id as ancestor_id, 0 as depth, parent_id from access.tenant
      union all select up.tenant_id, t.id, up.depth + 1, t.parent_id from up join access.tenant t on t.id = up.parent_id
    ), truth as (select tenant_id, ancestor_id, depth from up),
    kept as (select tenant_id, ancestor_id, depth::int from access.tenant_ancestor)
    (select 'missing', * from (select * from truth except select * from kept) m)
    union all (select 'too much', * from (select * from kept except select * from truth) m)`);
  assert.deepEqual(wrong, []);
}

test("a moved tenant takes all below it along; features, plan, suspension and the tree of folders follow at once", async () => {
  const [r, s] = [await partner(), await partner()];
  const sub = await partner(r);
  const c = await customer(sub);
  const key = await server.key(c, "tenant_administrator");
  const plan = await server.post("/v1/plan", { name: name("small"), lanes: { api: { burst: 7 } } }, { key: pAdm.key });
  await server.patch(`/v1/tenant/${s}`, { planId: plan.body.id, features: { desk: false } }, { key: pAdm.key });
  assert.equal((await server.get("/v1/tenant/self", { key })).body.effectiveFeatures.desk, true);
  const answer = await move(sub, s);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.parentId, s);
  const self = (await server.get("/v1/tenant/self", { key })).body;
  assert.deepEqual([self.effectiveFeatures.desk, self.plan.lanes.api.burst], [false, 7]);
  await assertClosure();
  const [{ path_ids }] = await server.sql("select path_ids from monitoring.folder where id = $1", [rootFolderOf(c)]);
  assert.deepEqual(path_ids, [p, s, sub, c].map(rootFolderOf));
  assert.equal((await server.get(`/v1/tenant/${c}`, { key: await server.key(r, "tenant_administrator") })).status, 404);
  assert.equal((await server.get(`/v1/tenant/${c}`, { key: await server.key(s, "tenant_administrator") })).status, 200);

  const [told] = (await server.sql("select * from kernel.told where subject = $1 order by id", [sub])).slice(-1);
  assert.deepEqual([told.type, told.tenant_id, told.data.changed], ["demarc.access.tenant.moved", sub, ["parentId"]]);
  assert.equal(told.data.resource.parentId, null, "a tenant's own event does not show what it cannot see");
  assert.deepEqual(await actions(p, sub), [{ action: "moved", changes: [{ field: "parentId", old: r, new: s }] }]);
  for (const [tenantId, action] of [
    [sub, "moved"],
    [r, "moved_away"],
    [s, "moved_here"],
  ] as const)
    assert.deepEqual(await actions(tenantId, sub), [{ action, changes: [] }], "no parent learns of the other");
  assert.equal((await move(sub, s)).text, answer.text, "moved again: nothing happens");
  assert.equal((await actions(p, sub)).length, 1);
});

test("moved below a suspended tenant it is suspended, and its tokens stay dead when that one is resumed", async () => {
  const [held, free] = [await partner(), await partner()];
  const c = await customer(free);
  const key = await server.key(c, "read_only");
  const client = await makeClient(server, c, "read_only");
  const token = await clientToken(server, client);
  await server.post(`/v1/tenant/${held}/suspend`, {}, { key: pAdm.key });
  assert.equal((await server.get("/v1/ping", { token })).status, 200);
  assert.equal((await move(c, held)).status, 200);
  assert.deepEqual(code(await server.get("/v1/ping", { key })), [403, "tenant_suspended"]);
  assert.equal((await server.get("/v1/ping", { token })).status, 401);
  await server.post(`/v1/tenant/${held}/resume`, {}, { key: pAdm.key });
  assert.equal((await server.get("/v1/ping", { key })).status, 200);
  assert.equal((await server.get("/v1/ping", { token })).status, 401);
});

test("only who reaches the old and the new parent moves a tenant", async () => {
  const [r, s] = [await partner(q), await partner()];
  const c = await customer(q);
  assert.equal((await move(c, r, qAdm.key)).status, 200);
  const beyond = await move(c, s, qAdm.key);
  assert.deepEqual(
    [beyond.status, beyond.body.errors],
    [
      400,
      [{ pointer: "/parentId", rule: "not_found", message: "Nothing with this id exists, or you may not see it." }],
    ],
  );
  assert.equal((await move(c, `pln_${"0".repeat(26)}`, qAdm.key)).body.errors[0].rule, "id_kind");
  assert.equal((await move(c, null, qAdm.key)).status, 400);
  const own = await move(q, s, qAdm.key);
  assert.deepEqual([own.status, own.body.code, own.body.property], [403, "above_only", "parentId"]);
  const inside = await server.patch(
    `/v1/tenant/${c}`,
    { parentId: q },
    { key: qAdm.key, headers: { "demarc-tenant": c } },
  );
  assert.equal(inside.status, 400, "acting in the tenant, nobody sees where it could go");
  // Who manages the tenant itself and may read the new parent, but manages neither parent.
  const within = await house.person(p, name("half").replace(" ", "-"), "read_only");
  await house.assign(p, "user", within.id, "tenant_administrator", { kind: "tenant", id: c });
  await server.kernel.forget();
  const half = await move(c, s, within.key);
  assert.deepEqual([half.status, half.body.permission], [403, "tenant.manage"]);
  assert.equal((await read(c)).parentId, r);
});

test("kinds, depth and the shape of the tree bind a move as they bind a new tenant", async () => {
  const r = await partner();
  const below = await partner(r);
  for (const target of [r, below]) assert.deepEqual(code(await move(r, target)), [409, "tenant_cycle"]);
  assert.deepEqual(code(await move(r, a)), [409, "tenant_kind"]);
  assert.deepEqual(code(await move(p, r)), [409, "tenant_is_root"]);
  let deep = p;
  for (let level = 2; level <= 7; level++) deep = await partner(deep);
  // At level 7; with its child the moved tenant would end at level 9.
  assert.deepEqual(code(await move(r, deep)), [409, "tenant_kind"]);
  assert.equal((await move(below, deep)).status, 200);
  await assertClosure();
});

test("names and references are unique under the new parent, also of what the same call renames", async () => {
  const [r, s] = [await partner(), await partner()];
  const at = (parentId: string, called: string, reference: string) =>
    server.post("/v1/tenant", { name: called, kind: "customer", parentId, reference }, { key: pAdm.key });
  const there = (await at(s, "Twin", "T-1")).body.id;
  const [named, referred] = [(await at(r, "TWIN", "T-2")).body.id, (await at(r, "Other", "T-1")).body.id];
  assert.deepEqual(code(await move(named, s)), [409, "tenant_name_taken"]);
  const taken = await move(referred, s);
  assert.deepEqual([...code(taken), taken.body.existingId], [409, "tenant_exists", there]);
  assert.equal((await read(named)).parentId, r, "nothing happened");
  const renamed = await move(named, s, pAdm.key, { name: "Triplet" });
  assert.deepEqual([renamed.status, renamed.body.name, renamed.body.parentId], [200, "Triplet", s]);
});

test("a plan of a tenant that is no longer above falls away, in all that was moved, and with a warning", async () => {
  const [r, s] = [await partner(), await partner()];
  const rAdm = await server.key(r, "tenant_administrator");
  const plan = (await server.post("/v1/plan", { name: "ours", lanes: { api: { burst: 5 } } }, { key: rAdm })).body;
  const sub = await partner(r);
  const c = await customer(sub);
  for (const id of [sub, c]) await server.patch(`/v1/tenant/${id}`, { planId: plan.id }, { key: rAdm });
  const moved = await move(sub, s);
  assert.equal(moved.headers.get("demarc-warning"), 'plan_dropped;pointer="/planId"');
  for (const id of [sub, c]) {
    const found = await read(id);
    assert.deepEqual([found.planId, found.plan.lanes.api.burst], [null, 100_000]);
    const types = (await server.sql("select type from kernel.told where subject = $1", [id])).map(({ type }) => type);
    assert.ok(types.includes("demarc.access.tenant.plan_changed"), id);
  }
  const back = await move(sub, r, pAdm.key, { planId: plan.id });
  assert.deepEqual([back.status, back.body.planId], [200, plan.id], "a plan of the new parents goes with the move");
  const gone = await move(sub, s, pAdm.key, { planId: plan.id });
  assert.deepEqual([gone.status, gone.body.errors[0].rule], [400, "plan_not_above"]);
  await move(sub, s);
  assert.equal((await server.delete(`/v1/plan/${plan.id}`, { key: rAdm })).status, 204, "nobody uses it any more");
});

test("what the tenants that are no longer above had in a moved one ends: roles within it, shared roles, grants", async () => {
  const [r, s] = [await partner(), await partner()];
  const c = await customer(r);
  const folder = (
    await server.post("/v1/folder", { name: "Site" }, { key: await server.key(c, "tenant_administrator") })
  ).body.id;
  const inTenant = await house.person(r, "rOne", "read_only", { kind: "tenant", id: c });
  const inFolder = await house.person(r, "rTwo", "read_only", { kind: "folder", id: folder });
  const elsewhere = await house.person(r, "rThree", "read_only");
  const above = await house.person(p, "pOne", "read_only", { kind: "folder", id: folder });
  const shared = await house.role(r, ["watch.read"], true);
  const rootShared = await house.role(p, ["watch.read"], true);
  const local = await house.person(c, "cOne", shared);
  const other = await house.person(c, "cTwo", rootShared);
  const application = await makeClient(server, r, [], { kind: "application", public: true });
  const foreign = await userTokens(server, c, local.id, { clientId: application.id });
  const console_ = await userTokens(server, c, local.id, { clientId: "demarc-console" });
  assert.equal((await server.get("/v1/ping", { token: foreign.token })).status, 200);
  assert.equal((await move(c, s)).status, 200);
  const held = async (id: string) =>
    (await server.sql("select 1 from access.assignment where principal_id = $1", [id])).length;
  for (const { id } of [inTenant, inFolder, local]) assert.equal(await held(id), 0, id);
  for (const { id } of [elsewhere, above, other]) assert.equal(await held(id), 1, id);
  const told = await server.sql("select type, tenant_id from kernel.told where subject = $1", [inTenant.assignmentId]);
  assert.deepEqual(told, [{ type: "demarc.access.assignment.deleted", tenant_id: r }]);
  assert.equal((await server.get("/v1/ping", { token: foreign.token })).status, 401);
  assert.equal((await server.get("/v1/ping", { token: console_.token })).status, 200);
});

test("after any moves, the forbidden ones among them, the closure table is what the parents say", async () => {
  const nodes: string[] = [];
  for (let count = 0; count < 6; count++) nodes.push(await partner(count < 3 ? p : nodes[count - 3]));
  const place = fc.nat({ max: nodes.length });
  const at = (index: number) => nodes[index] ?? p;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(place, place), { minLength: 1, maxLength: 8 }), async (moves) => {
      for (const [child, parent] of moves) {
        const { status } = await move(at(child), at(parent));
        assert.ok(status === 200 || status === 409, String(status));
      }
      await assertClosure();
    }),
    { numRuns: 12 },
  );
});

test("tenants that are moved below each other, and made below, at the same moment leave one tree", async () => {
  for (let round = 0; round < 4; round++) {
    const [r, s] = [await partner(), await partner()];
    const under = await partner(r);
    const answers = await Promise.all([
      move(r, s),
      move(s, r),
      move(under, s),
      ...[r, s, under].map((parentId) =>
        server.post("/v1/tenant", { name: name("New"), kind: "customer", parentId }, { key: pAdm.key }),
      ),
    ]);
    assert.deepEqual(
      answers.filter(({ status }) => ![200, 201, 409].includes(status)).map(({ text }) => text),
      [],
    );
    assert.equal([answers[0], answers[1]].filter((answer) => answer?.status === 200).length, 1);
    await assertClosure();
  }
});

test("a move is guarded by If-Match, and the moved tenant's people go on", async () => {
  const s = await partner();
  const before = await server.get(`/v1/tenant/${a}`, { key: pAdm.key });
  const headers = { "if-match": before.headers.get("etag")! };
  assert.equal((await server.patch(`/v1/tenant/${a}`, { parentId: s }, { key: pAdm.key, headers })).status, 200);
  const stale = await server.patch(`/v1/tenant/${a}`, { parentId: q }, { key: pAdm.key, headers });
  assert.equal(stale.status, 412);
  assert.equal((await server.get("/v1/tenant/self", { key: aAdm.key })).body.id, a);
  assert.ok(await eventually(async () => (await server.get("/v1/folder", { key: aAdm.key })).status === 200));
});
