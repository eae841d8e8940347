import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeJwt } from "jose";
import { type Answer, eventually, startServer } from "../../../../test/harness.ts";
import { makeClient, makeUser } from "../../../../test/tokens.ts";

const server = await startServer();
const q = await server.tenant(server.rootId, "partner", "Q", { passwordGrant: true });
// The root is born without the switch, and what is off above is off below.
await server.sql(`update access.tenant set features = features || '{"passwordGrant": true}' where id = $1`, [
  server.rootId,
]);
await server.kernel.forget();
const a = await server.tenant(q, "customer", "A", { passwordGrant: true });
const b = await server.tenant(q, "customer", "B", { passwordGrant: true });
const closed = await server.tenant(q, "customer", "Closed");
const codeOf = async (tenantId: string) => (await server.kernel.gate.tenant(tenantId))!.code;

const form = (members: Record<string, string>) =>
  server.call("POST", "/oauth/token", {
    raw: new URLSearchParams({ grant_type: "password", ...members }).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
function refused(answer: Answer, error: string, code = error): void {
  assert.deepEqual([answer.status, answer.body?.error, answer.body?.code], [400, error, code], answer.text);
}
const withoutId = ({ body }: Answer) => ({ ...body, requestId: "" });
/** Failures of one name from one address pile up: the tests' clock lets them go. */
const wait = () => server.clock.advance(3_600_000);

test("35. a JSON body with userName and password logs in, at every address, and base64 is read only when announced", async () => {
  const user = await makeUser(server, a, "json.user", "read_only");
  const asForm = await form({ username: "json.user", password: user.password });
  assert.equal(asForm.status, 200, asForm.text);
  assert.deepEqual(Object.keys(asForm.body), [
    "access_token",
    "token_type",
    "expires_in",
    "scope",
    "token",
    "expiresIn",
    "expiresAt",
  ]);
  const claims = decodeJwt(asForm.body.token);
  assert.equal(claims.sub, user.id);
  assert.equal(claims.client_id, "demarc-password");
  assert.equal(claims.auth_time, claims.iat);
  assert.equal(asForm.body.expires_in, 3_600);
  assert.equal((await server.get("/v1/ping", { token: asForm.body.token })).status, 200);

  const { password } = user;
  const encoded = Buffer.from(password).toString("base64");
  for (const body of [
    { userName: "JSON.User", password },
    { username: user.email.toUpperCase(), password },
    { userName: `${await codeOf(a)}/json.user`, password },
    { userName: "json.user", tenant: await codeOf(a), password },
    { userName: "json.user", password: encoded, passwordEncoding: "base64" },
    { grant_type: "password", username: "json.user", password, scope: "read" },
    { userName: "json.user", password, clientId: "demarc-password" },
  ]) {
    const answer = await server.post("/api/v1/oauth/token/", body);
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(Object.keys(answer.body), Object.keys(asForm.body));
  }
  refused(await server.post("/oauth/token", { userName: "json.user", password: encoded }), "invalid_grant");
  refused(
    await server.post("/oauth/token", { userName: "json.user", password: "%", passwordEncoding: "base64" }),
    "invalid_request",
  );
  refused(
    await server.post("/oauth/token", { userName: "json.user", password, passwordEncoding: "rot13" }),
    "invalid_request",
  );
  refused(await server.post("/oauth/token", { userName: "json.user" }), "invalid_request");
  refused(await server.post("/oauth/token", { userName: "json.user", password: 1 }), "invalid_request");
});

test("36. a wrong password, an unknown user and a name of two tenants are refused in the same words", async () => {
  wait();
  const ofA = await makeUser(server, a, "twin", "read_only");
  await makeUser(server, b, "twin", "read_only");
  const wrong = await form({ username: "json.user", password: "not the password" });
  refused(wrong, "invalid_grant");
  assert.match(wrong.body.error_description, /tenant\/username/);
  const tries: Record<string, string>[] = [
    { username: "nobody", password: "x" },
    { username: "twin", password: ofA.password },
    { username: `${await codeOf(b)}/twin`, password: ofA.password },
    { username: "nowhere/twin", password: ofA.password },
    { username: `${a}/twin`, password: ofA.password },
    { username: `${await codeOf(a)}/twin`, tenant: await codeOf(b), password: ofA.password },
  ];
  for (const members of tries) {
    assert.deepEqual(withoutId(await form(members)), withoutId(wrong), JSON.stringify(members));
  }
  const qualified = await form({ username: `${await codeOf(a)}/twin`, password: ofA.password });
  assert.equal(decodeJwt(qualified.body.token).sub, ofA.id);
});

test("36. a user who is not current, expired, blocked or without a password is refused like a wrong password", async () => {
  for (const [index, change] of [
    `update directory."user" set is_current = false where id = $1`,
    `update directory."user" set expires_at = '${server.clock.now().toISOString()}' where id = $1`,
    `update directory."user" set log_in_method = 'none' where id = $1`,
    "update access.login set blocked_at = now() where user_id = $1",
    "update access.login set password = null where user_id = $1",
    "delete from access.login where user_id = $1",
    `update directory."user" set deleted_at = now() where id = $1`,
  ].entries()) {
    const user = await makeUser(server, a, `gone-${index}`);
    await server.sql(change, [user.id]);
    refused(await form({ username: `gone-${index}`, password: user.password }), "invalid_grant");
  }
});

test("a name that only one live user has logs in, also where others who cannot log in have it too", async () => {
  const live = await makeUser(server, a, "shared");
  const gone = await makeUser(server, b, "shared");
  await server.sql(`update directory."user" set is_current = false where id = $1`, [gone.id]);
  assert.equal((await form({ username: "shared", password: live.password })).status, 200);
});

test("37. with a second factor the right password is told mfa_required, a wrong one nothing", async () => {
  wait();
  const user = await makeUser(server, a, "second.factor");
  await server.sql("update access.login set mfa_enabled = true where user_id = $1", [user.id]);
  const right = await form({ username: "second.factor", password: user.password });
  refused(right, "invalid_grant", "mfa_required");
  for (const way of [/code/, /device/, /personal key/]) assert.match(right.body.message, way);
  refused(await form({ username: "second.factor", password: "wrong" }), "invalid_grant");
  await server.sql("update access.login set mfa_enabled = false where user_id = $1", [user.id]);
  await server.sql(`update access.tenant set auth_policy = auth_policy || '{"mfa":"required"}' where id = $1`, [a]);
  refused(await form({ username: "second.factor", password: user.password }), "invalid_grant", "mfa_required");
  await server.sql(`update access.tenant set auth_policy = auth_policy || '{"mfa":"optional"}' where id = $1`, [a]);
  assert.equal((await form({ username: "second.factor", password: user.password })).status, 200);
});

test("a password that someone else set must be changed first", async () => {
  const user = await makeUser(server, a, "must.change");
  await server.sql("update access.login set must_change = true where user_id = $1", [user.id]);
  refused(
    await form({ username: "must.change", password: user.password }),
    "invalid_grant",
    "password_change_required",
  );
});

test("38. where the tenant's switch is off, the right password is told so and a wrong one is not", async () => {
  const user = await makeUser(server, closed, "closed.user");
  refused(
    await form({ username: "closed.user", password: user.password }),
    "unauthorized_client",
    "password_grant_disabled",
  );
  refused(await form({ username: "closed.user", password: "wrong" }), "invalid_grant");
});

test("an API that is off and a suspended tenant are told after the password only", async () => {
  const off = await server.tenant(q, "customer", "Off", { passwordGrant: true, api: false });
  const user = await makeUser(server, off, "off.user");
  refused(await form({ username: "off.user", password: user.password }), "unauthorized_client", "api_not_enabled");
  await server.sql("update access.tenant set status = 'suspended' where id = $1", [off]);
  await server.kernel.forget();
  refused(await form({ username: "off.user", password: user.password }), "unauthorized_client", "tenant_suspended");
  refused(await form({ username: "off.user", password: "wrong" }), "invalid_grant");
});

test("with the installation's switch off the grant does not exist, in the metadata neither", async () => {
  const { settings } = server.kernel;
  settings.passwordGrant = false;
  try {
    refused(await form({ username: "json.user", password: "x" }), "unsupported_grant_type");
    const { body } = await server.get("/.well-known/oauth-authorization-server");
    assert.ok(!body.grant_types_supported.includes("password"));
  } finally {
    settings.passwordGrant = true;
  }
});

test("an application logs in people of its own tenant and below, and no others", async () => {
  wait();
  const application = await makeClient(server, a, [], { kind: "application" });
  const own = await makeUser(server, a, "own.user");
  const foreign = await makeUser(server, b, "foreign.user");
  const members = { client_id: application.id, client_secret: application.secret };
  const good = await form({ username: "own.user", password: own.password, ...members });
  assert.equal(decodeJwt(good.body.token).client_id, application.id);
  refused(await form({ username: "foreign.user", password: foreign.password, ...members }), "invalid_grant");
});

test("42. the sixth wrong password of a name is 429 before it is looked at, and the right one too", async () => {
  const user = await makeUser(server, a, "guessed");
  for (let count = 0; count < 5; count++)
    refused(await form({ username: "guessed", password: "wrong" }), "invalid_grant");
  for (const password of ["wrong", user.password]) {
    const answer = await form({ username: "GUESSED", password });
    assert.equal(answer.status, 429);
    assert.deepEqual([answer.body.error, answer.body.code], ["temporarily_unavailable", "login_throttled"]);
    assert.equal(answer.headers.get("retry-after"), "60");
  }
  server.clock.advance(60_000);
  assert.equal((await form({ username: "guessed", password: user.password })).status, 200);
});

test("good and bad log-ins of users who exist are entries of type login, and none of names that do not", async () => {
  wait();
  const user = await makeUser(server, a, "audited");
  const entries = () =>
    server.sql(
      "select action, actor, changes, item_id from access.audit where type = 'login' and item_id = $1 order by position",
      [user.id],
    );
  await form({ username: "audited", password: "wrong" });
  await eventually(async () => (await entries()).length === 1);
  await form({ username: "audited", password: user.password });
  const [bad, good] = await eventually(async () => {
    const found = await entries();
    return found.length === 2 && found;
  });
  assert.deepEqual(
    [bad.action, bad.actor.kind, good.action, good.actor.id],
    ["failed", "system", "succeeded", user.id],
  );
  assert.ok(
    good.changes.some(
      (change: { field: string; new: string }) => change.field === "address" && change.new === "127.0.0.1",
    ),
  );
  const [login] = await server.sql("select known_addresses from access.login where user_id = $1", [user.id]);
  assert.deepEqual(login.known_addresses, { "127.0.0.1": server.clock.now().toISOString() });
});
