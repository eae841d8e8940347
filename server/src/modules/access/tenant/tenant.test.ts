import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";
import { clientToken, makeClient, makeUser, userTokens } from "../../../../test/tokens.ts";

const server = await startServer();
const house = await buildHouse(server);
const { p, q, a, b, pAdm, qAdm, aAdm, aRead } = house;

const news = (subject: string) =>
  server.sql("select type, tenant_id, data from kernel.told where subject = $1 order by id", [subject]);
const trail = (tenantId: string, itemId: string) =>
  server.sql(
    "select action, actor, changes from access.audit where tenant_id = $1 and item_id = $2 order by position",
    [tenantId, itemId],
  );

test("1. a partner's administrator makes a customer with an administrator, and both trails show who", async () => {
  const body = {
    name: "Côte & Fils",
    kind: "customer",
    reference: "C-1",
    administrator: { username: "chief", email: "chief@cote.example", fullname: "Chief Côte" },
  };
  const answer = await server.post("/v1/tenant", body, { key: qAdm.key });
  assert.equal(answer.status, 201);
  const made = answer.body;
  assert.equal(answer.headers.get("location"), `/v1/tenant/${made.id}`);
  assert.match(made.code, /^cote-fils-[0-9a-z]{4}$/);
  assert.deepEqual([made.parentId, made.kind, made.reference, made.status], [q, "customer", "C-1", "active"]);
  assert.deepEqual([made.features.desk, made.features.exchangeProvider, made.features.beta], [true, false, false]);
  assert.deepEqual(made.limits, { maxKeys: 30, maxIntegrationKeys: 100 });
  assert.equal(made.invitation, null);
  const read = await server.get(`/v1/tenant/${made.id}`, { key: qAdm.key });
  assert.equal(read.headers.get("etag"), answer.headers.get("etag"));

  const [assignment] = (await server.get(`/v1/assignment?principalId=${made.administratorId}`, { key: qAdm.key })).body
    .items;
  assert.deepEqual(assignment.roleId, "tenant_administrator");
  assert.deepEqual(assignment.within, { kind: "tenant", id: made.id });
  const units = await server.sql("select name from directory.orgunit where tenant_id = $1", [made.id]);
  assert.deepEqual(units, [{ name: "Côte & Fils" }]);
  for (const tenantId of [made.id, q]) {
    const [entry] = await trail(tenantId, made.id);
    assert.deepEqual([entry.action, entry.actor.id], ["created", qAdm.id]);
  }
  const [created] = await news(made.id);
  assert.equal(created.type, "demarc.access.tenant.created");
  assert.equal(created.tenant_id, made.id);
  assert.equal(created.data.resource.parentId, null, "a tenant's own event does not show what it cannot see");
  const others = await server.sql("select type from kernel.told where tenant_id = $1 order by id", [made.id]);
  assert.ok(others.some(({ type }) => type === "demarc.directory.user.created"));
  assert.ok(others.some(({ type }) => type === "demarc.access.assignment.created"));
});

test("2. the same reference again is refused, naming the tenant that has it", async () => {
  const first = await server.post(
    "/v1/tenant",
    { name: "Twice", kind: "customer", reference: "T-2" },
    { key: qAdm.key },
  );
  const again = await server.post(
    "/v1/tenant",
    { name: "Twice", kind: "customer", reference: "T-2" },
    { key: qAdm.key },
  );
  assert.deepEqual([again.status, again.body.code, again.body.existingId], [409, "tenant_exists", first.body.id]);
});

test("3. a customer is a leaf, and the tree has at most eight levels", async () => {
  const below = await server.post("/v1/tenant", { name: "Under", kind: "customer" }, { key: aAdm.key });
  assert.deepEqual([below.status, below.body.code], [409, "tenant_kind"]);
  let parentId = p;
  for (let level = 2; level <= 8; level++) {
    const made = await server.post("/v1/tenant", { name: "Deep", kind: "partner", parentId }, { key: pAdm.key });
    assert.equal(made.status, 201, `level ${level}`);
    parentId = made.body.id;
  }
  const ninth = await server.post("/v1/tenant", { name: "Deep", kind: "customer", parentId }, { key: pAdm.key });
  assert.deepEqual([ninth.status, ninth.body.code], [409, "tenant_kind"]);
});

test("4. a sibling, a parent and an unknown tenant are one 404", async () => {
  for (const id of [b, q, `tnt_${"0".repeat(26)}`, "nonsense"]) {
    const answer = await server.get(`/v1/tenant/${id}`, { key: aAdm.key });
    assert.deepEqual([answer.status, answer.body.code, answer.body.detail], [404, "not_found", answer.body.title]);
  }
  assert.equal((await server.get(`/v1/tenant/${a}`, { key: aAdm.key })).status, 200);
});

test("5. a feature is switched from strictly above, and counts for all below without touching their own flags", async () => {
  const own = await server.patch(`/v1/tenant/${q}`, { features: { exchange: false } }, { key: qAdm.key });
  assert.deepEqual([own.status, own.body.code, own.body.property], [403, "above_only", "features"]);
  const above = await server.patch(`/v1/tenant/${q}`, { features: { exchange: false } }, { key: pAdm.key });
  assert.equal(above.status, 200);
  assert.deepEqual([above.body.features.exchange, above.body.features.desk], [false, true]);
  const below = (await server.get("/v1/tenant/self", { key: aAdm.key })).body;
  assert.deepEqual([below.features.exchange, below.effectiveFeatures.exchange], [true, false]);
  const told = (await news(q)).at(-1);
  assert.equal(told.type, "demarc.access.tenant.features_changed");
  assert.deepEqual([told.data.changed, told.data.previous.features.exchange], [["features"], true]);
});

test("5. a service switched off above answers 403 below at once", async () => {
  const path = `/v1/user?limit=1`;
  assert.equal((await server.get(path, { key: aAdm.key })).status, 200);
  await server.patch(`/v1/tenant/${q}`, { features: { directory: false } }, { key: pAdm.key });
  const off = await server.get(path, { key: aAdm.key });
  assert.deepEqual([off.status, off.body.code], [403, "service_not_enabled"]);
  await server.patch(`/v1/tenant/${q}`, { features: { directory: true } }, { key: pAdm.key });
  assert.equal((await server.get(path, { key: aAdm.key })).status, 200);
});

test("6. a key of a tenant whose API is off is told so, and its people work on in the console", async () => {
  const z = await server.tenant(q, "customer", "Zest");
  const key = await server.key(z, "read_only");
  await server.patch(`/v1/tenant/${z}`, { features: { api: false } }, { key: qAdm.key });
  const answer = await server.get("/v1/ping", { key });
  assert.deepEqual([answer.status, answer.body.code], [403, "api_not_enabled"]);
  const user = await makeUser(server, z, "zed", "read_only");
  const ping = async (clientId: string) =>
    (await server.get("/v1/ping", { token: (await userTokens(server, z, user.id, { clientId })).token })).status;
  assert.deepEqual([await ping("demarc-console"), await ping("demarc-cli")], [200, 403]);
});

test("7. suspending a partner stops the keys of its customers until it is resumed, and those above still read", async () => {
  const r = await server.tenant(p, "partner", "Rift");
  const c = await server.tenant(r, "customer", "Cove");
  const key = await server.key(c, "read_only");
  const client = await makeClient(server, c, "read_only");
  const token = await clientToken(server, client);
  assert.equal((await server.get("/v1/ping", { token })).status, 200);
  const suspended = await server.post(`/v1/tenant/${r}/suspend`, { reason: "Unpaid" }, { key: pAdm.key });
  assert.deepEqual(
    [suspended.status, suspended.body.status, suspended.body.statusReason],
    [200, "suspended", "Unpaid"],
  );
  const refused = await server.get("/v1/ping", { key });
  assert.deepEqual([refused.status, refused.body.code], [403, "tenant_suspended"]);
  assert.equal((await server.get("/v1/ping", { token })).status, 401);
  assert.equal((await server.get(`/v1/tenant/${c}`, { key: pAdm.key })).body.status, "active");
  const again = await server.post(`/v1/tenant/${r}/suspend`, { reason: "Other" }, { key: pAdm.key });
  assert.equal(again.text, suspended.text);
  const resumed = await server.post(`/v1/tenant/${r}/resume`, undefined, { key: pAdm.key });
  assert.deepEqual([resumed.body.status, resumed.body.statusReason], ["active", null]);
  assert.equal((await server.get("/v1/ping", { key })).status, 200);
  assert.deepEqual(
    (await news(r)).map(({ type }) => type),
    ["demarc.access.tenant.suspended", "demarc.access.tenant.resumed"],
  );
  assert.equal((await server.get("/v1/ping", { token })).status, 401, "an ended token stays dead");
  assert.equal((await server.get("/v1/ping", { token: await clientToken(server, client) })).status, 200);
});

test("nobody suspends the own tenant, and the provider is never suspended", async () => {
  const own = await server.post(`/v1/tenant/${q}/suspend`, {}, { key: qAdm.key });
  assert.deepEqual([own.status, own.body.code, own.body.property], [403, "above_only", "status"]);
  const root = await server.post(`/v1/tenant/${p}/suspend`, {}, { key: pAdm.key });
  assert.deepEqual([root.status, root.body.code], [409, "tenant_is_root"]);
});

test("9. siblings have different names, whatever their capitals; cousins may share one", async () => {
  const taken = await server.post("/v1/tenant", { name: "ACME", kind: "customer" }, { key: qAdm.key });
  assert.deepEqual([taken.status, taken.body.code], [409, "tenant_name_taken"]);
  const renamed = await server.patch(`/v1/tenant/${b}`, { name: "aCME" }, { key: qAdm.key });
  assert.deepEqual([renamed.status, renamed.body.code], [409, "tenant_name_taken"]);
  const own = await server.patch("/v1/tenant/self", { name: "Bolt" }, { key: aAdm.key });
  assert.deepEqual([own.status, own.body.code], [409, "tenant_name_taken"], "also where the sibling is out of sight");
  const cousin = await server.post("/v1/tenant", { name: "Acme", kind: "customer" }, { key: pAdm.key });
  assert.equal(cousin.status, 201);
});

test("11. Demarc-Tenant narrows a list to the named tenant and below; out of reach it is 404", async () => {
  const all = await server.get("/v1/tenant?limit=200", { key: qAdm.key });
  assert.ok(all.body.items.some(({ id }: { id: string }) => id === b));
  const narrowed = await server.get("/v1/tenant", { key: qAdm.key, headers: { "demarc-tenant": a } });
  assert.deepEqual(
    narrowed.body.items.map(({ id }: { id: string }) => id),
    [a],
  );
  assert.equal(narrowed.body.items[0].parentId, null);
  const users = await server.get("/v1/user?limit=200", { key: qAdm.key, headers: { "demarc-tenant": a } });
  assert.deepEqual([...new Set(users.body.items.map(({ tenantId }: { tenantId: string }) => tenantId))], [a]);
  const other = await server.get("/v1/tenant", { key: aAdm.key, headers: { "demarc-tenant": b } });
  assert.equal(other.status, 404);
});

test("a role within a tenant further down reads that tenant and no other", async () => {
  const only = await house.person(q, "qOnlyA", "read_only", { kind: "tenant", id: a });
  const list = await server.get("/v1/tenant?count=true", { key: only.key });
  assert.deepEqual([list.body.total, list.body.items[0].id, list.body.items[0].parentId], [1, a, null]);
  assert.equal((await server.get(`/v1/tenant/${b}`, { key: only.key })).status, 404);
  assert.equal((await server.get("/v1/tenant/self", { key: only.key })).status, 404);
});

test("a tenant changes its own name and time zone and nothing else", async () => {
  const mine = await server.patch("/v1/tenant/self", { name: "Acme Ltd", timeZone: "Asia/Kolkata" }, { key: aAdm.key });
  assert.deepEqual([mine.status, mine.body.name, mine.body.timeZone], [200, "Acme Ltd", "Asia/Kolkata"]);
  for (const [property, value] of Object.entries({
    reference: "x",
    planId: null,
    limits: { maxKeys: 9 },
    features: {},
  })) {
    const answer = await server.patch("/v1/tenant/self", { [property]: value }, { key: aAdm.key });
    assert.deepEqual([answer.status, answer.body.code, answer.body.property], [403, "above_only", property]);
  }
  const zone = await server.patch("/v1/tenant/self", { timeZone: "Mars/Olympus" }, { key: aAdm.key });
  assert.deepEqual([zone.status, zone.body.errors[0].pointer], [400, "/timeZone"]);
  await server.patch("/v1/tenant/self", { name: "Acme", timeZone: "UTC" }, { key: aAdm.key });
});

test("a reader without tenant.manage is refused by name, what the server sets cannot be written", async () => {
  const missing = await server.patch(`/v1/tenant/${a}`, { name: "No" }, { key: aRead.key });
  assert.deepEqual([missing.status, missing.body.permission], [403, "tenant.manage"]);
  const set = await server.patch(`/v1/tenant/${a}`, { status: "suspended", kind: "partner" }, { key: pAdm.key });
  assert.deepEqual(
    set.body.errors.map((fault: any) => [fault.pointer, fault.rule]),
    [
      ["/status", "read_only"],
      ["/kind", "read_only"],
    ],
  );
});

test("only the provider chooses codes, and nobody else learns that one is taken", async () => {
  const chosen = await server.post("/v1/tenant", { name: "Coded", kind: "customer", code: "coded" }, { key: qAdm.key });
  assert.deepEqual([chosen.status, chosen.body.code, chosen.body.property], [403, "provider_only", "code"]);
  const first = await server.post("/v1/tenant", { name: "Coded", kind: "customer", code: "coded" }, { key: pAdm.key });
  assert.deepEqual([first.status, first.body.code], [201, "coded"]);
  const second = await server.post(
    "/v1/tenant",
    { name: "Coded 2", kind: "customer", code: "coded" },
    { key: pAdm.key },
  );
  assert.deepEqual([second.status, second.body.code], [409, "tenant_code_taken"]);
  const changed = await server.patch(`/v1/tenant/${a}`, { code: "coded" }, { key: pAdm.key });
  assert.deepEqual([changed.status, changed.body.code], [409, "tenant_code_taken"]);
});

test("an unchanged PATCH tells and records nothing; a stale If-Match is 412", async () => {
  const before = await server.get(`/v1/tenant/${b}`, { key: qAdm.key });
  const counts = async () => [(await news(b)).length, (await trail(b, b)).length];
  const had = await counts();
  const same = await server.patch(`/v1/tenant/${b}`, { name: before.body.name, features: {} }, { key: qAdm.key });
  assert.equal(same.text, before.text);
  assert.deepEqual(await counts(), had);
  const headers = { "if-match": before.headers.get("etag")! };
  assert.equal((await server.patch(`/v1/tenant/${b}`, { reference: "B-1" }, { key: qAdm.key, headers })).status, 200);
  const stale = await server.patch(`/v1/tenant/${b}`, { reference: "B-2" }, { key: qAdm.key, headers });
  assert.deepEqual([stale.status, stale.body.code], [412, "stale"]);
  const told = (await news(b)).at(-1);
  assert.deepEqual([told.type, told.data.previous], ["demarc.access.tenant.updated", { reference: null }]);
});

test("a fault of the administrator is shown in its place, and no tenant stays behind", async () => {
  const body = { name: "Half", kind: "customer", administrator: { username: "x", email: "none", fullname: "X" } };
  const answer = await server.post("/v1/tenant", body, { key: qAdm.key });
  assert.deepEqual([answer.status, answer.body.errors[0].pointer], [400, "/administrator/email"]);
  assert.equal((await server.get("/v1/tenant?q=half&count=true", { key: qAdm.key })).body.total, 0);
});

test("who cannot be an administrator does not make one", async () => {
  const maker = await server.key(q, ["tenant.create"]);
  const administrator = { username: "boss", email: "boss@half.example", fullname: "Boss" };
  const refused = await server.post("/v1/tenant", { name: "Half", kind: "customer", administrator }, { key: maker });
  assert.deepEqual([refused.status, refused.body.code], [403, "grant_exceeds_own"]);
  const bare = await server.post("/v1/tenant", { name: "Half", kind: "customer" }, { key: maker });
  assert.deepEqual([bare.status, bare.body.administratorId], [201, null]);
});

test("lists filter, search and page", async () => {
  const parent = await server.tenant(p, "partner", "Lists");
  for (const name of ["Zoë One", "Zoë Two", "50% Off"]) await server.tenant(parent, "customer", name);
  const find = async (search: string) =>
    (await server.get(`/v1/tenant?parentId=${parent}&${search}`, { key: pAdm.key })).body;
  const names = (body: any) => body.items.map((item: any) => item.name);
  assert.deepEqual(names(await find("sort=-name")), ["Zoë Two", "Zoë One", "50% Off"]);
  assert.deepEqual(names(await find(`q=${encodeURIComponent("ZOË")}`)), ["Zoë One", "Zoë Two"]);
  assert.deepEqual(names(await find("q=0%25")), ["50% Off"]);
  const first = await find("limit=2&count=true");
  assert.deepEqual([names(first).length, first.total], [2, 3]);
  const second = (await server.get(first.nextLink, { key: pAdm.key })).body;
  assert.deepEqual([...names(first), ...names(second)], ["Zoë One", "Zoë Two", "50% Off"]);
  const foreign = await server.get(`/v1/tenant?parentId=${parent}`, { key: qAdm.key });
  assert.deepEqual(
    [foreign.status, foreign.body.errors[0].parameter, foreign.body.errors[0].rule],
    [400, "parentId", "not_found"],
  );
  const kind = await server.get(`/v1/tenant?parentId=${parent.replace("tnt", "pln")}`, { key: pAdm.key });
  assert.equal(kind.body.errors[0].rule, "id_kind");
});

test("the policy for log-in is the tenant's own to set, under an If-Match", async () => {
  const path = "/v1/tenant/self/auth-policy";
  const before = await server.get(path, { key: aAdm.key });
  assert.deepEqual(before.body, {
    tenantId: a,
    mfa: "optional",
    sessionIdleMinutes: 30,
    sessionMaxHours: 12,
    selfServiceKeys: false,
  });
  const headers = { "if-match": before.headers.get("etag")! };
  const after = await server.patch(path, { mfa: "required" }, { key: aAdm.key, headers });
  assert.deepEqual([after.status, after.body.mfa, after.body.sessionMaxHours], [200, "required", 12]);
  assert.equal((await server.patch(path, { mfa: "off" }, { key: aAdm.key, headers })).status, 412);
  assert.equal((await server.patch(path, { sessionIdleMinutes: 4 }, { key: aAdm.key })).status, 400);
  assert.equal((await server.patch(path, { mfa: "off" }, { key: aRead.key })).status, 403);
  const [told] = await server.sql("select data from kernel.told where type = 'demarc.access.auth_policy.updated'");
  assert.deepEqual([told.data.changed, told.data.previous], [["mfa"], { mfa: "optional" }]);
});
