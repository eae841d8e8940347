import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { permissions } from "#kernel/permissions";
import { startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";
import { userTokens } from "../../../../test/tokens.ts";

const server = await startServer();
const house = await buildHouse(server);
const { q, a, b, pAdm, qAdm, aAdm, aRead, bAdm } = house;

let count = 0;
const fresh = () => `R-${++count}`;
const role = (body: object, key = aAdm.key, headers: Record<string, string> = {}) =>
  server.post("/v1/role", { externalId: fresh(), name: `Role ${count}`, ...body }, { key, headers });
const privilege = (body: object, key = aAdm.key) =>
  server.post("/v1/supervisor-privilege", { name: `Privilege ${++count}`, ...body }, { key });
const outcome = (answer: { headers: Headers }) => answer.headers.get("demarc-outcome");
const assign = (key: string, userId: string, roleId: string, within?: object) =>
  server.post("/v1/assignment", { principal: { kind: "user", id: userId }, roleId, within }, { key });
const news = async (subject: string) =>
  (await server.sql("select type, data from kernel.told where subject = $1 order by id", [subject])).map((row) => ({
    ...row,
    type: row.type.replace("demarc.directory.", ""),
  }));
const trail = (subject: string) =>
  server.sql("select type, action, changes from access.audit where item_id = $1 order by position", [subject]);
const may = async (key: string) => (await server.get("/v1/watch", { key })).status;

describe("writing roles", () => {
  test("a role is made, changed and left alone by its externalId, and told of and recorded each time but the last", async () => {
    const body = { externalId: "SITE-MANAGER", name: "Site manager", permissions: { "watch.write": "allow" } };
    const made = await role(body);
    assert.deepEqual([made.status, outcome(made)], [200, "created"], made.text);
    const { id, tenantId, createdAt, updatedAt, ...rest } = made.body;
    assert.match(id, /^rol_/);
    assert.deepEqual([tenantId, createdAt], [a, updatedAt]);
    assert.deepEqual(rest, {
      externalId: "SITE-MANAGER",
      name: "Site manager",
      permissions: { "watch.read": "allow", "pending.read": "allow", "watch.write": "allow", "folder.read": "allow" },
      shared: false,
    });
    const same = await role(body);
    assert.deepEqual([outcome(same), same.text], ["unchanged", made.text]);
    const changed = await role({
      ...body,
      name: "Site boss",
      permissions: { "watch.read": "allow", "person.read": "deny", "user.read": "inherit" },
    });
    assert.equal(outcome(changed), "updated");
    assert.deepEqual(changed.body.permissions, {
      "watch.read": "allow",
      "folder.read": "allow",
      "person.read": "deny",
    });
    const kept = await role({ externalId: "SITE-MANAGER", name: "Site boss" });
    assert.equal(outcome(kept), "unchanged", "what is absent is kept");
    const cleared = await role({ externalId: "SITE-MANAGER", name: "Site boss", permissions: null });
    assert.deepEqual(cleared.body.permissions, {});
    assert.deepEqual(
      (await news(id)).map(({ type }) => type),
      ["role.created", "role.updated", "role.updated"],
    );
    assert.deepEqual((await news(id))[1].data.changed, ["name", "permissions"]);
    assert.deepEqual(
      (await trail(id)).map(({ type, action }) => [type, action]),
      [
        ["role", "created"],
        ["role", "updated"],
        ["role", "updated"],
      ],
    );
    for (const key of ["SITE-MANAGER", id]) {
      const read = await server.get(`/v1/role/${key}`, { key: aRead.key });
      assert.equal(read.status, 200);
      assert.equal(read.text, cleared.text);
    }
    assert.equal((await server.get("/v1/role/site-manager", { key: aRead.key })).status, 404, "compared exactly");
  });

  test("13. letters stand in place of permissions: WCSU is four, what they imply, and the base; HW is none", async () => {
    const made = await role({ letters: "WCSU" });
    assert.equal(made.status, 200, made.text);
    assert.deepEqual(Object.keys(made.body.permissions).sort(), [
      "folder.read",
      "folder.write",
      "pending.read",
      "watch.activate",
      "watch.read",
      "watch.write",
    ]);
    for (const letters of ["HW", "WZ", "w"]) {
      const refused = await role({ letters });
      assert.deepEqual([refused.status, refused.body.errors[0].pointer], [400, "/letters"], letters);
    }
    assert.deepEqual((await role({ letters: "H" })).body.permissions, {});
    assert.deepEqual((await role({ letters: "" })).body.permissions, { "watch.read": "allow", "folder.read": "allow" });
    const both = await role({ letters: "W", permissions: { "watch.read": "allow" } });
    assert.deepEqual([both.status, both.body.errors[0].rule], [400, "not_supported"]);
  });

  test("14. an unknown permission is 400 with the nearest name, and every fault is told at once", async () => {
    const typo = await role({ permissions: { "watch.wriet": "allow" } });
    assert.equal(typo.status, 400);
    const [fault] = typo.body.errors;
    assert.deepEqual([fault.pointer, fault.hint], ["/permissions/watch.wriet", "watch.write"]);
    const many = await server.post(
      "/v1/role",
      { externalId: "no blanks", name: " outer", permissions: { "watch.read": "maybe" }, shared: "yes", tenantId: a },
      { key: aAdm.key },
    );
    assert.deepEqual(many.body.errors.map((one: any) => one.pointer).sort(), [
      "/externalId",
      "/name",
      "/permissions/watch.read",
      "/shared",
      "/tenantId",
    ]);
    const denied = await role({ permissions: { "watch.write": "allow", "folder.read": "deny" } });
    assert.deepEqual(
      [denied.status, denied.body.errors[0].pointer, denied.body.errors[0].rule],
      [400, "/permissions/folder.read", "implied"],
    );
    const provider = await role({ permissions: { "signingKey.manage": "allow" } });
    assert.deepEqual([provider.status, provider.body.errors[0].rule], [400, "not_supported"]);
    const inRoot = await role({ permissions: { "signingKey.manage": "allow" } }, pAdm.key);
    assert.equal(inRoot.status, 200, inRoot.text);
  });

  test("A15. nobody makes a role, or makes one larger, with what they do not hold in the whole tenant themselves", async () => {
    const writer = await house.person(
      a,
      "aWriter",
      await house.role(a, ["role.write", "role.assign", "key.issue", "watch.read"]),
    );
    const beyond = await role({ permissions: { "orgunit.write": "allow", "watch.read": "allow" } }, writer.key);
    assert.deepEqual([beyond.status, beyond.body.code], [403, "grant_exceeds_own"]);
    assert.deepEqual(beyond.body.permissions, ["orgunit.read", "orgunit.write"]);
    const carried = await role({ permissions: { "tenant.read": "allow" } }, writer.key);
    assert.equal(carried.body.code, "grant_exceeds_own", "the right to issue keys carries no custom roles");
    const own = await role({ externalId: "OWN", permissions: { "watch.read": "allow" } }, writer.key);
    assert.equal(own.status, 200, own.text);
    const larger = await role(
      { externalId: "OWN", name: own.body.name, permissions: { "watch.write": "allow" } },
      writer.key,
    );
    assert.equal(larger.body.code, "grant_exceeds_own");
    await role({
      externalId: "OWN",
      name: own.body.name,
      permissions: { "watch.write": "allow", "user.write": "allow" },
    });
    const smaller = await role(
      { externalId: "OWN", name: own.body.name, permissions: { "watch.write": "allow" } },
      writer.key,
    );
    assert.equal(smaller.status, 200, "what is kept or taken is not handed out");
    const giver = await house.person(a, "aGiver", await house.role(a, ["role.assign"]));
    const given = await assign(giver.key, aRead.id, smaller.body.id);
    assert.equal(given.body.code, "grant_exceeds_own", "nor is it given on");
    const partly = await house.person(a, "aPartly", await house.role(a, ["role.write"]), { kind: "tenant", id: a });
    await house.assign(a, "user", partly.id, "provisioner", { kind: "folder", id: a.replace("tnt", "fld") });
    await server.kernel.forget();
    assert.equal(
      (await role({ permissions: { "watch.read": "allow" } }, partly.key)).status,
      403,
      "a folder is not the tenant",
    );
    const narrow = await server.key(a, "tenant_administrator", { scopes: ["role.write"] });
    assert.equal((await role({ permissions: { "watch.read": "allow" } }, narrow)).body.code, "grant_exceeds_own");
  });

  test("a changed role counts on the next call of those who have it, wherever it was given", async () => {
    const made = (await role({ externalId: "LIVE", permissions: { "watch.read": "allow" } })).body;
    const user = await house.person(a, "aLive", null);
    assert.equal(await may(user.key), 403);
    assert.equal((await assign(aAdm.key, user.id, made.id)).status, 201);
    assert.equal(await may(user.key), 200);
    await role({ externalId: "LIVE", name: made.name, permissions: {} });
    assert.equal(await may(user.key), 403);
    await role({ externalId: "LIVE", name: made.name, letters: "W" });
    assert.equal(await may(user.key), 200);
    const refused = await server.delete("/v1/role/LIVE", { key: aAdm.key });
    assert.deepEqual([refused.status, refused.body.code], [400, "role_in_use"]);
  });

  test("names are unique in a tenant whatever their case, externalIds are, and If-Match and If-None-Match guard", async () => {
    const first = await role({ externalId: "ONE", name: "Größe" });
    const taken = await role({ externalId: "TWO", name: "GRÖSSE" });
    assert.deepEqual(
      [taken.status, taken.body.errors[0].pointer, taken.body.errors[0].rule],
      [400, "/name", "not_unique"],
    );
    assert.equal((await role({ externalId: "ONE", name: "größe" })).status, 200, "its own name in other letters");
    assert.equal((await role({ externalId: "ONE", name: "Größe" }, bAdm.key)).status, 200, "another tenant's own");
    const only = { "if-none-match": "*" };
    assert.equal((await role({ externalId: "ONE", name: "x" }, aAdm.key, only)).status, 412);
    assert.equal((await role({ externalId: "THREE", name: "x" }, aAdm.key, { "if-match": "*" })).status, 412);
    const stale = { "if-match": first.headers.get("etag")! };
    assert.equal((await role({ externalId: "ONE", name: "x" }, aAdm.key, stale)).status, 412);
    assert.equal((await server.delete("/v1/role/ONE", { key: aAdm.key, headers: stale })).status, 412);
  });

  test("twenty equal upserts at one moment make one role", async () => {
    const body = { externalId: "RACE", name: "Race", permissions: { "watch.read": "allow" } };
    const answers = await Promise.all(Array.from({ length: 20 }, () => role(body)));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.equal(answers.filter((one) => outcome(one) === "created").length, 1);
    assert.equal(new Set(answers.map(({ body: { id } }) => id)).size, 1);
  });

  test("a tenant has at most 100 roles, and deleting one makes room", async () => {
    const c = await server.tenant(q, "customer", "Many");
    const key = await server.key(c, "tenant_administrator");
    await server.sql(
      `insert into access.role (tenant_id, id, external_id, name, name_key, permissions, created_at, updated_at)
       select $1, 'rol_' || lpad(n::text, 26, '0'), 'X' || n, 'X' || n, 'x' || n, '{}', $2, $2 from generate_series(1, 99) n`,
      [c, server.clock.now()],
    );
    assert.equal((await role({ externalId: "LAST" }, key)).status, 200);
    const full = await role({ externalId: "MORE" }, key);
    assert.deepEqual([full.status, full.body.code], [400, "limit_of_kind_reached"]);
    assert.equal((await role({ externalId: "LAST", name: "Still mine" }, key)).status, 200);
    assert.equal((await privilege({}, key)).status, 200, "privileges have places of their own");
    const gone = await server.delete("/v1/role/LAST", { key });
    assert.deepEqual([gone.status, outcome(gone)], [204, "deleted"]);
    const again = await server.delete("/v1/role/LAST", { key });
    assert.deepEqual([again.status, outcome(again)], [204, "absent"]);
    assert.equal((await role({ externalId: "MORE" }, key)).status, 200);
  });

  test("16. a custom role is not narrowed from inside when its holder is the last administrator", async () => {
    const c = await server.tenant(q, "customer", "Lonely");
    const all = { "user.write": "allow", "role.write": "allow", "role.assign": "allow" };
    const maker = await server.key(c, "tenant_administrator");
    const made = (await role({ externalId: "BOSS", permissions: all }, maker)).body;
    const boss = await house.person(c, "cBoss", made.id);
    await server.kernel.forget();
    const narrow = (key: string, headers = {}) =>
      server.post(
        "/v1/role",
        { externalId: "BOSS", name: made.name, permissions: { ...all, "role.write": "inherit" } },
        { key, headers },
      );
    const refused = await narrow(boss.key);
    assert.deepEqual([refused.status, refused.body.code], [400, "last_administrator"]);
    assert.equal((await narrow(qAdm.key, { "demarc-tenant": c })).status, 200, "from above it is");
  });

  test("writing roles needs role.write in the acting tenant, and a fresh log-in from people", async () => {
    const reader = await role({}, aRead.key);
    assert.deepEqual([reader.status, reader.body.permission], [403, "role.write"]);
    assert.equal((await server.post("/v1/role", {}, {})).status, 401);
    const below = await house.person(q, "qBelow", "tenant_administrator", { kind: "tenant", id: a });
    assert.equal((await role({}, below.key)).status, 403);
    assert.equal((await role({}, below.key, { "demarc-tenant": a })).status, 200);
    const { token } = await userTokens(server, a, aAdm.id, {
      authTime: new Date(server.clock.now().getTime() - 900_000),
    });
    const old = await server.post("/v1/role", { externalId: fresh(), name: "Old" }, { token });
    assert.deepEqual([old.status, old.body.code], [403, "reauthentication_required"]);
  });
});

describe("sharing", () => {
  test("a shared role serves in tenants below, whose administrators use it and cannot change it", async () => {
    const shared = (
      await role({ externalId: "SHARED", shared: true, permissions: { "watch.read": "allow" } }, qAdm.key)
    ).body;
    const own = (await role({ externalId: "PRIVATE", permissions: { "watch.read": "allow" } }, qAdm.key)).body;
    const seen = await server.get(`/v1/role/${shared.id}`, { key: aAdm.key });
    assert.deepEqual([seen.status, seen.body.tenantId, seen.body.shared], [200, null, true]);
    assert.equal((await server.get(`/v1/role/${own.id}`, { key: aAdm.key })).status, 404);
    const listed = await server.get("/v1/role?shared=true", { key: aAdm.key });
    assert.ok(listed.body.items.some(({ id }: { id: string }) => id === shared.id));
    const user = await house.person(a, "aShared", null);
    assert.equal((await assign(aAdm.key, user.id, shared.id)).status, 201);
    assert.equal(await may(user.key), 200);
    assert.deepEqual((await assign(aAdm.key, user.id, own.id)).body.errors[0].rule, "not_found");
    const refused = await server.delete(`/v1/role/${shared.id}`, { key: aAdm.key });
    assert.deepEqual([refused.status, refused.body.permission], [403, "role.write"]);
    const twin = await role({ externalId: "SHARED" });
    assert.notEqual(twin.body.id, shared.id, "the same key in the own tenant is the own tenant's");
    const unshared = await role({ externalId: "SHARED", name: shared.name, shared: false }, qAdm.key);
    assert.deepEqual(
      [unshared.status, unshared.body.code, unshared.body.errors[0].pointer],
      [400, "role_in_use", "/shared"],
    );
    const inUse = await server.delete("/v1/role/SHARED", { key: qAdm.key });
    assert.deepEqual([inUse.status, inUse.body.code], [400, "role_in_use"]);
  });

  test("lists have the roles of the acting tenant and below, filtered by every stated parameter", async () => {
    const mine = (await role({ externalId: "F-1", name: "Filter one" })).body;
    const other = (await role({ externalId: "F-2", name: "Filter two" }, bAdm.key)).body;
    const ids = async (query: string, key = qAdm.key) =>
      (await server.get(`/v1/role?limit=200&${query}`, { key })).body.items.map(({ id }: { id: string }) => id);
    assert.deepEqual((await ids("q=filter")).sort(), [mine.id, other.id].sort());
    assert.deepEqual(await ids(`q=FILTER&tenantId=${b}`), [other.id]);
    assert.deepEqual(await ids("name=filter%20ONE"), [mine.id]);
    assert.deepEqual(await ids("externalId=F-1", aAdm.key), [mine.id]);
    assert.deepEqual(await ids("externalId=F-1"), [], "a caller's own key is looked up in the acting tenant alone");
    assert.deepEqual(await ids("q=filter", aAdm.key), [mine.id]);
    assert.deepEqual(await ids("updatedSince=2030-01-01T00:00:00Z"), []);
    assert.equal((await server.get(`/v1/role?tenantId=${b}`, { key: aAdm.key })).status, 400);
    assert.equal((await server.get(`/v1/role/${other.id}`, { key: aAdm.key })).status, 404);
    assert.equal((await server.get(`/v1/role/${other.id}`, { key: pAdm.key })).body.tenantId, b);
  });
});

describe("supervisor privileges", () => {
  test("a privilege is keyed by its name, ignoring case, and given in the whole tenant", async () => {
    const made = await privilege({ name: "Help desk", permissions: { "user.read": "allow" } });
    assert.deepEqual([made.status, outcome(made)], [200, "created"], made.text);
    assert.match(made.body.id, /^spv_/);
    assert.equal("externalId" in made.body, false);
    const again = await privilege({ name: "HELP DESK", letters: "W" });
    assert.deepEqual([outcome(again), again.body.id, again.body.name], ["updated", made.body.id, "Help desk"]);
    assert.equal((await server.get("/v1/supervisor-privilege/help%20desk", { key: aRead.key })).text, again.text);
    const user = await house.person(a, "aPrivileged", null);
    assert.equal((await assign(aAdm.key, user.id, made.body.id)).status, 201);
    assert.equal(await may(user.key), 200);
    const inUse = await server.delete("/v1/supervisor-privilege/Help desk", { key: aAdm.key });
    assert.deepEqual([inUse.status, inUse.body.code], [400, "privilege_in_use"]);
    assert.deepEqual(
      (await news(made.body.id)).map(({ type }) => type),
      ["supervisor_privilege.created", "supervisor_privilege.updated"],
    );
    assert.equal((await server.get(`/v1/role/${made.body.id}`, { key: aAdm.key })).status, 404, "it is no role");
  });

  test("A15. a privilege of inherit only allows nothing", async () => {
    const made = (await privilege({ permissions: { "watch.read": "inherit" } })).body;
    const user = await house.person(a, "aInherits", null);
    assert.equal((await assign(aAdm.key, user.id, made.id)).status, 201);
    assert.equal(await may(user.key), 403);
  });

  test("Administrator is in every tenant, allows everything there, and stays as it is", async () => {
    const listed = await server.get("/v1/supervisor-privilege?q=administrator&limit=200", { key: qAdm.key });
    const tenants = listed.body.items.map(({ tenantId }: { tenantId: string }) => tenantId);
    for (const tenantId of [q, a, b]) assert.ok(tenants.includes(tenantId));
    const own = await server.get("/v1/supervisor-privilege/administrator", { key: aAdm.key });
    assert.deepEqual([own.status, own.body.tenantId], [200, a]);
    assert.deepEqual(
      permissions.filter((name) => own.body.permissions[name] !== "allow"),
      ["signingKey.manage"],
    );
    for (const answer of [
      await privilege({ name: "ADMINISTRATOR", permissions: {} }),
      await server.delete("/v1/supervisor-privilege/Administrator", { key: aAdm.key }),
      await server.delete(`/v1/supervisor-privilege/${own.body.id}`, { key: aAdm.key }),
    ])
      assert.deepEqual([answer.status, answer.body.code], [400, "privilege_fixed"]);
    const user = await house.person(a, "aChief", null);
    const given = await assign(aAdm.key, user.id, own.body.id);
    assert.deepEqual([given.status, given.body.roleId], [201, "tenant_administrator"]);
    const [foreign] = listed.body.items.filter(({ tenantId }: { tenantId: string }) => tenantId === b);
    assert.equal((await assign(qAdm.key, user.id, foreign.id)).status, 400, "each tenant has its own");
  });
});

test("the catalogue names every permission with its class, module, sentence and what it implies", async () => {
  const nobody = await server.key(a, []);
  const { body } = await server.get("/v1/permission", { key: nobody });
  assert.deepEqual(
    body.items.map(({ name }: { name: string }) => name),
    permissions,
  );
  const byName = new Map<string, any>(body.items.map((entry: any) => [entry.name, entry]));
  assert.deepEqual(byName.get("person.write").class, "record");
  assert.deepEqual(byName.get("watch.write"), {
    name: "watch.write",
    class: "supervisor",
    module: "monitoring",
    sentence: "Make, change, test and delete watches.",
    implies: ["watch.read", "pending.read", "folder.read"],
    providerOnly: false,
  });
  assert.equal(byName.get("signingKey.manage").providerOnly, true);
  const records = await server.get("/v1/permission?class=record", { key: nobody });
  assert.equal(records.body.items.length, 5);
  const desk = await server.get("/v1/permission?module=desk,export", { key: nobody });
  assert.ok(desk.body.items.every(({ module }: { module: string }) => ["desk", "export"].includes(module)));
});
