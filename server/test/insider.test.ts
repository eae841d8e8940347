/** What an attack from inside once found, by people with rights of their own: each test is one hole that was open. */
import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { kernelJobs } from "../src/kernel/jobs.ts";
import { type Answer, eventually, startServer } from "./harness.ts";
import { buildHouse } from "./house.ts";
import { makeClient, makeUser } from "./tokens.ts";
import { authorizeAddress, createVisitor, type Page, verifier } from "./visitor.ts";

const server = await startServer();
const house = await buildHouse(server);
const { p, q, pAdm, qAdm, aAdm } = house;

let names = 0;
const customer = (parentId = q) => server.tenant(parentId, "customer", `Customer ${++names}`);
const partner = (parentId = p) => server.tenant(parentId, "partner", `Partner ${++names}`);
const move = (id: string, parentId: string) => server.patch(`/v1/tenant/${id}`, { parentId }, { key: pAdm.key });

/** Holds something of the database until it is let go, so that whoever wants it stands still in the middle. */
async function held(text: string, values: unknown[]): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: server.databaseUrl });
  await client.connect();
  await client.query("begin");
  await client.query(text, values);
  return async () => {
    await client.query("commit");
    await client.end();
  };
}
const waiting = async () =>
  (
    await server.sql(
      "select from pg_locks l join pg_stat_activity b on b.pid = l.pid where not l.granted and b.datname = current_database()",
    )
  ).length;

/** Begins one call, which stands still in its middle, then a move of the tenant; both go on together. */
async function besideMove(
  begin: () => Promise<Answer>,
  letGo: () => Promise<void>,
  tenantId: string,
  parentId: string,
): Promise<[Answer, Answer]> {
  const first = begin();
  await eventually(async () => (await waiting()) === 1);
  let isMoved = false;
  const second = move(tenantId, parentId).finally(() => {
    isMoved = true;
  });
  await eventually(async () => isMoved || (await waiting()) > 1);
  await letGo();
  return Promise.all([first, second]);
}

test("a role that is given within a tenant while that one is moved away does not stay there asleep", async () => {
  const [c, r] = [await customer(), await partner()];
  const letGo = await held("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`assignments ${qAdm.id}`]);
  const body = {
    principal: { kind: "user", id: qAdm.id },
    roleId: "read_only",
    within: { kind: "tenant", id: c },
  };
  const [given, moved] = await besideMove(() => server.post("/v1/assignment", body, { key: qAdm.key }), letGo, c, r);
  assert.ok([201, 400].includes(given.status), given.text);
  assert.equal(moved.status, 200, moved.text);
  assert.deepEqual(
    await server.sql("select 1 from access.assignment where within_id = $1 and tenant_id = $2", [c, q]),
    [],
  );
});

test("a plan that is given to a tenant while that one is moved away from the plan's owner does not go along", async () => {
  const [c, r] = [await customer(), await partner()];
  const plan = (await server.post("/v1/plan", { name: "Of Quest" }, { key: qAdm.key })).body;
  const letGo = await held("select from access.plan where id = $1 for update", [plan.id]);
  const give = () => server.patch(`/v1/tenant/${c}`, { planId: plan.id }, { key: pAdm.key });
  const [given, moved] = await besideMove(give, letGo, c, r);
  assert.ok([200, 400].includes(given.status), given.text);
  assert.equal(moved.status, 200, moved.text);
  assert.deepEqual(await server.sql("select plan_id from access.tenant where id = $1", [c]), [{ plan_id: null }]);
});

test("a call whose tenant is moved away in its middle is refused as if it had come later, and leaves nothing", async () => {
  const [c, r] = [await customer(), await partner()];
  const inside = { key: qAdm.key, headers: { "demarc-tenant": c } };
  const { id } = (await server.post("/v1/key", { title: "moving" }, inside)).body;
  const letGo = await held("select from access.key where id = $1 for update", [id]);
  const change = () => server.patch(`/v1/key/${id}`, { description: "late" }, { key: qAdm.key });
  const [late, moved] = await besideMove(change, letGo, c, r);
  assert.deepEqual([late.status, moved.status], [404, 200], late.text);
  assert.deepEqual(await server.sql("select description from access.key where id = $1", [id]), [{ description: null }]);
  const actions = await server.sql("select action from access.audit where item_id = $1", [id]);
  assert.deepEqual(actions, [{ action: "created" }]);
});

test("who may issue keys no more does not get the secret of one again by repeating the call", async () => {
  const leaver = await house.person(house.a, "leaver", "tenant_administrator");
  const issue = () =>
    server.post("/v1/key", { title: "left" }, { key: leaver.key, headers: { "idempotency-key": "left" } });
  const first = await issue();
  assert.equal((await issue()).body.secret, first.body.secret);
  assert.equal((await server.delete(`/v1/assignment/${leaver.assignmentId}`, { key: aAdm.key })).status, 204);
  const late = await issue();
  assert.deepEqual([late.status, late.body.permission], [403, "key.issue"]);
});

test("a name of a tenant, plan or application holds nothing that nobody sees, so that none looks like another", async () => {
  const wrong = [
    "   ",
    " Acme",
    "Acme ",
    "Ac\u200bme",
    "\u200b",
    "\ufeffAcme",
    "Ac\u2060me",
    "moc.elpmaxe\u202e",
    "a\u2066b",
    "a\u0085b",
  ];
  const right = ["Zo\u0065\u0301", "שלום", "می\u200cخواهم", "👩\u200d🔧 GmbH", "A  B"];
  const makes: [string, object][] = [
    ["/v1/tenant", { kind: "customer" }],
    ["/v1/plan", {}],
    ["/v1/client", { kind: "service" }],
  ];
  for (const [path, more] of makes) {
    const make = async (name: string) => {
      const answer = await server.post(path, { ...more, name }, { key: qAdm.key });
      return [answer.status, answer.body.errors?.[0].pointer];
    };
    for (const name of wrong) assert.deepEqual(await make(name), [400, "/name"], `${path} ${JSON.stringify(name)}`);
    for (const name of right) assert.deepEqual(await make(name), [201, undefined], `${path} ${JSON.stringify(name)}`);
  }
});

test("a data key of a tenant that was never made, or is gone, does not stay", async () => {
  const keys = async () =>
    (await server.sql("select tenant_id from kernel.data_key order by 1")).map((row) => row.tenant_id);
  await server.kernel.secrets.seal(house.a, { table: "x", column: "x", rowId: "x" }, "x");
  const before = await keys();
  await server.sql(
    "insert into kernel.data_key select 'tnt_gone', 'gone', purpose, active, master_kid, wrapped, seals_reserved, created_at from kernel.data_key limit 1",
  );
  const sweep = kernelJobs.find(({ name }) => name === "sweep_data_keys")!;
  await sweep.run(server.kernel);
  assert.ok((await keys()).includes("tnt_gone"), "its tenant may be about to be made");
  server.clock.advance(86_400_000);
  await sweep.run(server.kernel);
  const after = await keys();
  assert.equal(after.includes("tnt_gone"), false);
  assert.deepEqual(
    before.filter((id) => !after.includes(id)),
    [],
  );
});

const callback = "https://app.example/callback";
const redeem = (client: { id: string; secret: string }, code: string) =>
  server.call("POST", "/oauth/token", {
    raw: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: client.id,
      client_secret: client.secret,
      code,
      redirect_uri: callback,
      code_verifier: verifier,
    }).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
const application = (tenantId: string) =>
  makeClient(server, tenantId, [], { kind: "application", redirectUris: [callback] });
const codeOf = ({ url, left, text }: Page) => {
  assert.ok(left, text);
  return url.searchParams.get("code")!;
};
/** Logs somebody in and lets the application in; the browser and the code. */
async function letIn(client: { id: string }, tenantId: string) {
  const user = await makeUser(server, tenantId, `user${++names}`, "read_only");
  const visitor = createVisitor(server.url);
  const asks = (redirectUri = callback) => authorizeAddress({ client_id: client.id, redirect_uri: redirectUri });
  const page = await visitor.get(asks());
  const consent = await visitor.submit(page, { username: user.email, password: user.password });
  return { visitor, asks, code: codeOf(await visitor.submit(consent, {}, "allow")) };
}

test("a code of an application above is worth nothing once the user's tenant was moved away, and consents do not come back with it", async () => {
  const [r, s] = [await partner(), await partner()];
  const c = await customer(r);
  const client = await application(r);
  const { code, visitor, asks } = await letIn(client, c);
  assert.equal((await move(c, s)).status, 200);
  const late = await redeem(client, code);
  assert.deepEqual([late.status, late.body.error], [400, "invalid_grant"], late.text);
  assert.equal((await move(c, r)).status, 200);
  assert.match((await visitor.get(asks())).title, /^Let/, "asked anew");
});

test("who adds an address to an application does not get the codes of people who let it in: they are asked again", async () => {
  const client = await application(q);
  const { visitor, asks, code } = await letIn(client, house.a);
  assert.equal((await redeem(client, code)).status, 200);
  assert.ok(codeOf(await visitor.get(asks())), "once is enough");
  const manager = await server.key(q, "api_manager");
  const evil = "https://evil.example/callback";
  const added = await server.patch(`/v1/client/${client.id}`, { redirectUris: [callback, evil] }, { key: manager });
  assert.equal(added.status, 200, added.text);
  assert.match((await visitor.get(asks(evil))).title, /^Let/);
  const fewer = await server.patch(`/v1/client/${client.id}`, { redirectUris: [callback] }, { key: manager });
  assert.equal(fewer.status, 200, fewer.text);
});

test("who holds less than a read-only key does not make it one that writes; narrowing needs no more than key.manage", async () => {
  const manager = await server.key(house.a, "api_manager");
  const body = { title: "report", roles: [{ roleId: "tenant_administrator" }], readOnly: true };
  const { id } = (await server.post("/v1/key", body, { key: aAdm.key })).body;
  const change = (given: object, key: string) => server.patch(`/v1/key/${id}`, given, { key });
  const lifted = await change({ readOnly: false }, manager);
  assert.deepEqual([lifted.status, lifted.body.code], [403, "grant_exceeds_own"]);
  assert.equal((await change({ scopes: ["monitoring", "desk"] }, manager)).status, 200);
  assert.equal((await change({ scopes: ["desk"] }, manager)).status, 200);
  assert.equal((await change({ scopes: ["monitoring"] }, manager)).status, 200, "which an api_manager hands out");
  assert.equal((await change({ scopes: ["access"] }, manager)).body.code, "grant_exceeds_own");
  assert.equal((await change({ scopes: ["*"] }, aAdm.key)).status, 200);
  assert.equal((await change({ readOnly: false }, aAdm.key)).status, 200);
  assert.equal((await change({ readOnly: true }, manager)).status, 200);
});
