import assert from "node:assert/strict";
import { test } from "node:test";
import { type Module, route } from "#kernel/contract";
import { newId } from "#kernel/ids";
import { object } from "#kernel/schema";
import { startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";
import { userTokens } from "../../../../test/tokens.ts";
import { modules } from "../../../app.ts";

/** Nodes of a kind, as a module states them. */
const nodes = new Map<string, string>();
const orchard: Module = {
  name: "export",
  about: "A planted service.",
  nodes: {
    kinds: ["location"],
    find: async (_ctx, _kind, ids) => new Map(ids.flatMap((id) => (nodes.has(id) ? [[id, nodes.get(id)!]] : []))),
  },
  routes: [
    route({
      method: "GET",
      path: "/export",
      versions: "v1+",
      id: "listWatched",
      summary: "What needs watch.read",
      permission: "watch.read",
      replies: { 200: object({}) },
      run: () => ({}),
    }),
  ],
};
const kept = modules.filter((module) => module.name !== "monitoring" && module.name !== "export");
const server = await startServer({ modules: [...kept, orchard] });
const house = await buildHouse(server);
const { p, q, a, b, pAdm, qAdm, aAdm, aRead, bAdm } = house;

const userOf = (id: string) => ({ kind: "user", id });
const assign = (key: string, body: object) => server.post("/v1/assignment", body, { key });

test("an assigned role counts on the next call, and one taken away no longer", async () => {
  const person = await house.person(a, "fresh", null);
  const refused = await server.get("/v1/tenant/self", { key: person.key });
  assert.deepEqual([refused.status, refused.body.permission], [403, "tenant.read"]);
  const answer = await assign(aAdm.key, { principal: userOf(person.id), roleId: "read_only" });
  assert.equal(answer.status, 201);
  assert.equal(answer.headers.get("location"), `/v1/assignment/${answer.body.id}`);
  assert.deepEqual(answer.body.within, { kind: "tenant", id: a });
  assert.deepEqual([answer.body.tenantId, answer.body.createdBy], [a, aAdm.id]);
  assert.equal((await server.get("/v1/tenant/self", { key: person.key })).status, 200);
  assert.equal((await server.delete(`/v1/assignment/${answer.body.id}`, { key: aAdm.key })).status, 204);
  assert.equal((await server.get("/v1/tenant/self", { key: person.key })).status, 403);
  assert.equal((await server.delete(`/v1/assignment/${answer.body.id}`, { key: aAdm.key })).status, 404);
  const told = await server.sql("select type from kernel.told where subject = $1 order by id", [answer.body.id]);
  assert.deepEqual(
    told.map(({ type }) => type),
    ["demarc.access.assignment.created", "demarc.access.assignment.deleted"],
  );
  const trail = await server.sql("select action from access.audit where tenant_id = $1 and item_id = $2", [
    a,
    answer.body.id,
  ]);
  assert.deepEqual(
    trail.map(({ action }) => action),
    ["created", "deleted"],
  );
});

test("15. nobody assigns a role with a permission that they lack at that place", async () => {
  const assigner = await house.person(
    a,
    "assigner",
    await house.role(a, ["role.assign", "activity.read", "usage.read"]),
  );
  const target = await house.person(a, "target", null);
  const refused = await assign(assigner.key, { principal: userOf(target.id), roleId: "api_manager" });
  assert.deepEqual([refused.status, refused.body.code], [403, "grant_exceeds_own"]);
  assert.ok(refused.body.permissions.includes("key.issue"));
  const own = await house.role(a, ["usage.read"]);
  assert.equal((await assign(assigner.key, { principal: userOf(target.id), roleId: own })).status, 201);
  const partOf = await house.person(q, "partOf", "tenant_administrator", { kind: "tenant", id: a });
  const elsewhere = await assign(partOf.key, { principal: userOf(bAdm.id), roleId: "read_only" });
  assert.deepEqual([elsewhere.status, elsewhere.body.errors[0].rule], [400, "not_found"]);
  const narrow = await server.key(a, "tenant_administrator", { scopes: ["directory", "role.assign"] });
  const byScope = await assign(narrow, { principal: userOf(target.id), roleId: "auditor" });
  assert.deepEqual([byScope.status, byScope.body.code], [403, "grant_exceeds_own"]);
});

test("16. the last administrator of a tenant is not demoted from inside, but from above", async () => {
  const c = await server.tenant(q, "customer", "Sole");
  const sole = await house.person(c, "sole", "tenant_administrator");
  const path = `/v1/assignment/${sole.assignmentId}`;
  const refused = await server.delete(path, { key: sole.key });
  assert.deepEqual([refused.status, refused.body.code], [409, "last_administrator"]);
  const second = await house.person(c, "second", "tenant_administrator");
  assert.equal((await server.delete(path, { key: second.key })).status, 204);
  assert.equal((await server.delete(`/v1/assignment/${second.assignmentId}`, { key: qAdm.key })).status, 204);
});

test("16. of two administrators who demote each other at the same moment one stays", async () => {
  const c = await server.tenant(q, "customer", "Duel");
  const [one, two] = [
    await house.person(c, "one", "tenant_administrator"),
    await house.person(c, "two", "tenant_administrator"),
  ];
  const answers = await Promise.all([
    server.delete(`/v1/assignment/${two.assignmentId}`, { key: one.key }),
    server.delete(`/v1/assignment/${one.assignmentId}`, { key: two.key }),
  ]);
  assert.ok(answers.filter(({ status }) => status === 204).length === 1, answers.map(({ status }) => status).join());
});

test("principals are referred to by ids of their kind, in reach; nobody learns of others", async () => {
  const faultOf = async (principal: object) => {
    const { status, body } = await assign(aAdm.key, { principal, roleId: "read_only" });
    return [status, body.errors[0].pointer, body.errors[0].rule];
  };
  assert.deepEqual(await faultOf({ kind: "user", id: a }), [400, "/principal/id", "id_kind"]);
  assert.deepEqual(await faultOf(userOf(newId("usr"))), [400, "/principal/id", "not_found"]);
  assert.deepEqual(await faultOf(userOf(bAdm.id)), [400, "/principal/id", "not_found"]);
  const [personal] = await server.sql("select id from access.key where user_id = $1", [aAdm.id]);
  assert.deepEqual(await faultOf({ kind: "key", id: personal.id }), [400, "/principal/id", "not_supported"]);
});

test("roles: unknown names get the nearest one, the provider's stay the provider's, shared ones serve below", async () => {
  const target = userOf((await house.person(a, "roles", null)).id);
  const mistyped = await assign(aAdm.key, { principal: target, roleId: "read_onyl" });
  assert.deepEqual([mistyped.status, mistyped.body.errors[0].hint], [400, "read_only"]);
  const provider = await assign(pAdm.key, { principal: target, roleId: "provider_administrator" });
  assert.deepEqual([provider.status, provider.body.errors[0].rule], [400, "not_supported"]);
  assert.equal((await assign(aAdm.key, { principal: target, roleId: "endpoint" })).status, 400, "bound keys only");
  const [shared, unshared] = [await house.role(q, ["usage.read"], true), await house.role(q, ["usage.read"])];
  assert.equal((await assign(aAdm.key, { principal: target, roleId: shared })).status, 201);
  const hidden = await assign(qAdm.key, { principal: target, roleId: unshared });
  assert.deepEqual([hidden.status, hidden.body.errors[0].rule], [400, "not_found"]);
  const sideways = await assign(qAdm.key, { principal: target, roleId: await house.role(b, ["usage.read"], true) });
  assert.deepEqual([sideways.status, sideways.body.errors[0].rule], [400, "not_found"]);
});

test("what is the provider's alone does not count below, whatever role says so", async () => {
  const leak = await house.person(a, "leak", await house.role(p, ["signingKey.manage", "tenant.read"], true));
  const answer = await server.get("/v1/signing-key", { key: leak.key });
  assert.deepEqual([answer.status, answer.body.permission], [403, "signingKey.manage"]);
});

test("a role is limited to a tenant at or below the principal's, or to a node of a kind that its services know", async () => {
  const person = await house.person(q, "limited", null);
  const principal = userOf(person.id);
  const faultOf = async (roleId: string, within: object) => {
    const { status, body } = await assign(qAdm.key, { principal, roleId, within });
    return status === 201 ? 201 : [body.errors[0].pointer, body.errors[0].rule];
  };
  assert.equal(await faultOf("auditor", { kind: "tenant", id: a }), 201);
  assert.deepEqual(await faultOf("auditor", { kind: "tenant", id: p }), ["/within/id", "not_found"]);
  assert.deepEqual(await faultOf("auditor", { kind: "tenant" }), ["/within/id", "required"]);
  assert.deepEqual(await faultOf("auditor", { kind: "location", id: newId("loc") }), ["/within/kind", "not_supported"]);
  assert.deepEqual(await faultOf("provisioner", { kind: "folder", id: newId("fld") }), [
    "/within/kind",
    "not_supported",
  ]);
  const [mine, foreign] = [newId("loc"), newId("loc")];
  nodes.set(mine, a).set(foreign, p);
  assert.deepEqual(await faultOf("provisioner", { kind: "location", id: newId("loc") }), ["/within/id", "not_found"]);
  assert.deepEqual(await faultOf("provisioner", { kind: "location", id: foreign }), ["/within/id", "not_found"]);
  assert.equal(await faultOf("provisioner", { kind: "location", id: mine }), 201);
  assert.deepEqual(await faultOf("requester", { kind: "tenant", id: q }), ["/within/kind", "not_supported"]);
  assert.deepEqual(await faultOf("support_rep", { kind: "groups", id: a }), ["/within/id", "not_supported"]);
});

test("the desk's roles are limited by themselves: requester to its own, support_rep to its groups", async () => {
  const principal = userOf((await house.person(a, "desk", null)).id);
  const requester = await assign(aAdm.key, { principal, roleId: "requester" });
  assert.deepEqual(requester.body.within, { kind: "own", id: a });
  const rep = await assign(aAdm.key, { principal, roleId: "support_rep" });
  assert.deepEqual(rep.body.within, { kind: "groups", id: a });
});

test("through a kind of node that its service does not know a permission is held nowhere", async () => {
  const mixed = await house.role(a, ["watch.read", "user.read"]);
  const person = await house.person(a, "mixed", mixed, { kind: "location", id: newId("loc") });
  assert.equal((await server.get("/v1/export", { key: person.key })).status, 200);
  const users = await server.get("/v1/user", { key: person.key });
  assert.deepEqual([users.status, users.body.permission], [403, "user.read"]);
});

test("a role is held once at a place, and a principal has at most 100", async () => {
  const person = await house.person(a, "many", "auditor");
  const principal = userOf(person.id);
  const again = await assign(aAdm.key, { principal, roleId: "auditor" });
  assert.deepEqual(
    [again.status, again.body.code, again.body.existingId],
    [409, "assignment_exists", person.assignmentId],
  );
  const roles = await Promise.all(Array.from({ length: 99 }, () => house.role(a, [])));
  for (const role of roles.slice(0, 98)) await house.assign(a, "user", person.id, role);
  const last = await Promise.all([
    assign(aAdm.key, { principal, roleId: roles[98]! }),
    assign(aAdm.key, { principal, roleId: "read_only" }),
  ]);
  assert.deepEqual(last.map(({ status }) => status).sort(), [201, 409]);
  assert.ok(last.some(({ body }) => body.code === "assignment_limit_reached"));
});

test("a role given to a key is a change of the key", async () => {
  await server.key(a, []);
  const [key] = await server.sql("select id, version from access.key where tenant_id = $1 and kind = 'standard'", [a]);
  await assign(aAdm.key, { principal: { kind: "key", id: key.id }, roleId: "read_only" });
  const [after] = await server.sql("select version from access.key where id = $1", [key.id]);
  assert.equal(after.version, key.version + 1);
});

test("lists filter by principal, role and place, within reach", async () => {
  const person = await house.person(a, "listed", "auditor");
  const list = await server.get(`/v1/assignment?principalId=${person.id}&roleId=auditor&withinKind=tenant&count=true`, {
    key: aRead.key,
  });
  assert.deepEqual([list.body.total, list.body.items[0].id], [1, person.assignmentId]);
  assert.equal((await server.get(`/v1/assignment?principalId=${person.id}`, { key: bAdm.key })).body.items.length, 0);
  assert.equal((await server.get(`/v1/assignment/${person.assignmentId}`, { key: bAdm.key })).status, 404);
  const refused = await server.delete(`/v1/assignment/${person.assignmentId}`, { key: aRead.key });
  assert.deepEqual([refused.status, refused.body.permission], [403, "role.assign"]);
});

test("changing roles needs a log-in of the last 15 minutes from users' tokens alone", async () => {
  const person = await house.person(a, "stepped", null);
  const body = { principal: userOf(person.id), roleId: "read_only" };
  const at = server.clock.now().getTime();
  const tokenOf = async (authTime: Date) => (await userTokens(server, a, aAdm.id, { authTime })).access_token;
  const old = await tokenOf(new Date(at - 15 * 60_000));
  const young = await tokenOf(new Date(at - 15 * 60_000 + 1_000));
  const refused = await server.post("/v1/assignment", body, { token: old });
  assert.deepEqual([refused.status, refused.body.code], [403, "reauthentication_required"]);
  const made = await server.post("/v1/assignment", body, { token: young });
  assert.equal(made.status, 201);
  const kept = await server.delete(`/v1/assignment/${made.body.id}`, { token: old });
  assert.deepEqual([kept.status, kept.body.code], [403, "reauthentication_required"]);
  const policy = await server.patch("/v1/tenant/self/auth-policy", { mfa: "required" }, { token: old });
  assert.deepEqual([policy.status, policy.body.code], [403, "reauthentication_required"]);
  assert.equal((await server.delete(`/v1/assignment/${made.body.id}`, { key: aAdm.key })).status, 204);
});
