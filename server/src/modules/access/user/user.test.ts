import assert from "node:assert/strict";
import { test } from "node:test";
import { makeUser } from "#modules/directory";
import { eventually, startServer } from "../../../../test/harness.ts";
import { hashPassword } from "../password.ts";
import { setPassword } from "./log-in-row.ts";

const server = await startServer();
const tenantId = await server.tenant(server.rootId, "customer", "Acme", { passwordGrant: true });
const admin = await server.key(tenantId, "tenant_administrator");
await server.sql("update access.tenant set features = features || '{\"passwordGrant\": true}'");
await server.kernel.forget();
const [{ code }] = await server.sql("select code from access.tenant where id = $1", [tenantId]);

const good = "correct horse battery 17";
async function person(name: string, role = "read_only"): Promise<string> {
  const hashed = await hashPassword(good);
  assert.ok(hashed !== "busy");
  const id = await server.as(tenantId, async (ctx) => {
    const made = await makeUser(ctx, { username: name, fullname: name, email: `${name}@acme.example` });
    await setPassword(ctx, made.id, hashed.phc, made.id);
    return made.id;
  });
  await server.sql(
    `insert into access.assignment (tenant_id, id, principal_kind, principal_id, role_id, within_kind, within_id, created_at, created_by)
     values ($1, 'asg_' || $2, 'user', $2, $3, 'tenant', $1, now(), 'test')`,
    [tenantId, id, role],
  );
  return id;
}
async function personalKey(userId: string): Promise<string> {
  const secret = await server.key(tenantId, []);
  await server.sql(
    "update access.key set kind = 'personal', user_id = $1 where id = (select max(id) from access.key where kind = 'standard')",
    [userId],
  );
  await server.kernel.forget();
  return secret;
}
const logIn = (name: string, password: string) =>
  server.call("POST", "/oauth/token", { body: { userName: `${code}/${name}`, password } });
async function tokenOf(name: string, password = good): Promise<string> {
  const answer = await logIn(name, password);
  assert.equal(answer.status, 200, answer.text);
  return answer.body.access_token;
}
const types = async (id: string) =>
  (await server.sql("select type from kernel.told where subject = $1 order by id", [id])).map((row) => row.type);

test("blocked: log-in, token and key are refused from the next call on; unblocked, the key wakes and the token stays dead", async () => {
  const id = await person("blocked.one");
  const [key, token] = [await personalKey(id), await tokenOf("blocked.one")];
  assert.equal((await server.get("/v1/ping", { token })).status, 200);
  assert.equal((await server.call("POST", `/v1/user/${id}/block`, { key: admin })).status, 204);
  assert.equal((await server.call("POST", "/v1/user/blocked.one/block", { key: admin })).status, 204, "repeated");
  assert.equal((await server.get("/v1/ping", { token })).status, 401);
  assert.equal((await server.get("/v1/ping", { key })).status, 401);
  assert.equal((await logIn("blocked.one", good)).body.error, "invalid_grant");
  assert.equal((await server.call("POST", `/v1/user/${id}/unblock`, { key: admin })).status, 204);
  assert.equal((await server.get("/v1/ping", { key })).status, 200);
  assert.equal((await server.get("/v1/ping", { token })).status, 401);
  await tokenOf("blocked.one");
  assert.deepEqual((await types(id)).slice(1), ["demarc.access.user.blocked", "demarc.access.user.unblocked"]);
  const trail = await server.sql(
    "select action from access.audit where item_id = $1 and type = 'user' order by position",
    [id],
  );
  assert.deepEqual(
    trail.map((entry) => entry.action),
    ["created", "blocked", "unblocked"],
  );
});

test("the owner of the log sees why a blocked user's call was refused", async () => {
  const id = await person("blocked.two");
  const key = await personalKey(id);
  await server.call("POST", `/v1/user/${id}/block`, { key: admin });
  const refused = await server.get("/v1/ping", { key });
  assert.equal(refused.body.code, "unauthenticated");
  const line = await eventually(async () => {
    await server.kernel.activity.flush();
    const [row] = await server.sql("select reason, tenant_id from access.activity where request_id = $1", [
      refused.headers.get("x-request-id"),
    ]);
    return row;
  });
  assert.deepEqual(line, { reason: "blocked", tenant_id: tenantId });
});

test("the last administrator cannot be blocked from inside, and can from above", async () => {
  const id = await person("boss", "tenant_administrator");
  const refused = await server.call("POST", `/v1/user/${id}/block`, { key: admin });
  assert.deepEqual([refused.status, refused.body.code], [409, "last_administrator"]);
  const above = await server.key(server.rootId, "provider_administrator");
  assert.equal((await server.call("POST", `/v1/user/${id}/block`, { key: above })).status, 204);
  assert.equal((await server.call("POST", `/v1/user/${id}/unblock`, { key: above })).status, 204);
});

test("a user of another tenant is 404, and without user.write nobody is blocked", async () => {
  const id = await person("walled");
  const other = await server.tenant(server.rootId, "customer", "Other");
  const stranger = await server.key(other, "tenant_administrator");
  assert.equal((await server.call("POST", `/v1/user/${id}/block`, { key: stranger })).status, 404);
  const reader = await server.key(tenantId, ["user.read"]);
  const refused = await server.call("POST", `/v1/user/${id}/block`, { key: reader });
  assert.deepEqual([refused.status, refused.body.permission], [403, "user.write"]);
});

test("unblocking also lifts the lock that wrong passwords have put on a name", async () => {
  const id = await person("locked");
  for (let tries = 0; tries < 5; tries++) assert.equal((await logIn("locked", "wrong")).status, 400);
  assert.equal((await logIn("locked", good)).status, 429);
  assert.equal((await server.call("POST", `/v1/user/${id}/unblock`, { key: admin })).status, 204);
  await tokenOf("locked");
});

test("a changed password ends every token and no personal key; the new one logs in, the old one does not", async () => {
  const id = await person("changer");
  const [key, token] = [await personalKey(id), await tokenOf("changer")];
  const next = "an entirely new secret 9";
  const changed = await server.post("/v1/password/change", { current: good, new: next }, { token });
  assert.equal(changed.status, 204, changed.text);
  assert.equal((await server.get("/v1/ping", { token })).status, 401);
  assert.equal((await server.get("/v1/ping", { key })).status, 200);
  assert.equal((await logIn("changer", good)).body.error, "invalid_grant");
  await tokenOf("changer", next);
  assert.deepEqual((await types(id)).slice(1), ["demarc.access.password.changed"]);
  const [entry] = await server.sql(
    "select changes from access.audit where item_id = $1 and action = 'password_changed'",
    [id],
  );
  assert.deepEqual(entry.changes, [{ field: "password", old: "***", new: "***" }]);
  const dump = JSON.stringify(await server.sql("select data from kernel.told"));
  assert.ok(!dump.includes(next) && !dump.includes("argon2id"));
});

test("a password that breaks a rule is refused with the rule's name, and a wrong current one changes nothing", async () => {
  await person("ruled");
  const token = await tokenOf("ruled");
  const change = (body: object) => server.post("/v1/password/change", body, { token });
  const rules: [string, string][] = [
    ["short", "too_short"],
    ["x".repeat(257), "too_long"],
    ["password1234", "common"],
    ["ruled@acme.example", "equals_email"],
  ];
  for (const [chosen, rule] of rules) {
    const answer = await change({ current: good, new: chosen });
    assert.deepEqual([answer.status, answer.body.errors[0].pointer, answer.body.errors[0].rule], [400, "/new", rule]);
  }
  const wrong = await change({ current: "not the password", new: "an entirely new secret 9" });
  assert.deepEqual([wrong.status, wrong.body.code], [400, "current_password_wrong"]);
  await tokenOf("ruled");
});

test("wrong current passwords count like failed log-ins: the sixth is not even compared", async () => {
  await person("guessed");
  const token = await tokenOf("guessed");
  const change = (current: string) =>
    server.post("/v1/password/change", { current, new: "an entirely new secret 9" }, { token });
  for (let tries = 0; tries < 5; tries++) assert.equal((await change("wrong password")).status, 400);
  const sixth = await change(good);
  assert.deepEqual([sixth.status, sixth.body.code], [429, "login_throttled"]);
  assert.ok(Number(sixth.headers.get("retry-after")) > 0);
});

test("a key that is nobody's has no password to change", async () => {
  const answer = await server.post(
    "/v1/password/change",
    { current: good, new: "an entirely new secret 9" },
    { key: admin },
  );
  assert.deepEqual([answer.status, answer.body.code], [403, "user_needed"]);
});
