import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeJwt } from "jose";
import { startServer } from "../../../../test/harness.ts";
import { makeUser, type TestUser, userTokens } from "../../../../test/tokens.ts";
import { authorizeAddress, createVisitor, logIn, verifier } from "../../../../test/visitor.ts";

const server = await startServer();
const partner = await server.tenant(server.rootId, "partner", "Partner");
const acme = await server.tenant(partner, "customer", "Acme");
const bolt = await server.tenant(partner, "customer", "Bolt");
const person = (name: string, tenantId = acme) => makeUser(server, tenantId, name);
const tokenOf = async (user: TestUser, tenantId = acme) => (await userTokens(server, tenantId, user.id)).token;

async function session(user: TestUser) {
  const visitor = createVisitor(server.url, { "user-agent": "Browser/1" });
  assert.equal((await logIn(visitor, "/oauth/login", user)).title, "Logged in");
  const [row] = await server.sql("select id from access.session where user_id = $1 order by id desc limit 1", [
    user.id,
  ]);
  return {
    visitor,
    id: row.id as string,
    lives: async () => (await visitor.get("/oauth/login")).title === "Logged in",
  };
}
/** A token of the console, gotten in a session. */
async function consoleToken(visitor: Awaited<ReturnType<typeof session>>["visitor"]): Promise<string> {
  const redirectUri = `${server.url}/console`;
  const { url } = await visitor.get(authorizeAddress({ client_id: "demarc-console", redirect_uri: redirectUri }));
  const fields = {
    grant_type: "authorization_code",
    client_id: "demarc-console",
    redirect_uri: redirectUri,
    code_verifier: verifier,
    code: url.searchParams.get("code")!,
  };
  const answer = await server.call("POST", "/oauth/token", { body: fields });
  assert.equal(answer.status, 200, answer.text);
  return answer.body.access_token;
}

test("a user sees its own sessions without any permission, with start, last use, address, agent and second factor", async () => {
  const [ann, ben] = [await person("ann"), await person("ben")];
  const [mine] = [await session(ann), await session(ben)];
  const { body } = await server.get("/v1/session?count=true", { token: await tokenOf(ann) });
  assert.equal(body.total, 1);
  const at = server.clock.now();
  assert.deepEqual(body.items[0], {
    id: mine.id,
    tenantId: acme,
    userId: ann.id,
    mfa: false,
    address: "127.0.0.1",
    userAgent: "Browser/1",
    createdAt: at.toISOString(),
    lastUsedAt: at.toISOString(),
    expiresAt: new Date(at.getTime() + 12 * 3_600_000).toISOString(),
  });
});

test("session.read shows the sessions of its reach alone, session.end ends them", async () => {
  const [ann, zoe] = [await person("ann.read"), await person("zoe", bolt)];
  const [hers, theirs] = [await session(ann), await session(zoe)];
  const reader = await server.key(acme, ["session.read"]);
  const ids = async (key: string, query = "") =>
    (await server.get(`/v1/session?limit=200${query}`, { key })).body.items.map((item: { id: string }) => item.id);
  assert.ok((await ids(reader)).includes(hers.id));
  assert.ok(!(await ids(reader)).includes(theirs.id));
  const above = await server.key(partner, ["session.read"]);
  assert.deepEqual(await ids(above, `&userId=${zoe.id}`), [theirs.id]);
  assert.deepEqual(await ids(above, `&tenantId=${bolt}`), [theirs.id]);
  const nobody = await server.key(acme, []);
  assert.deepEqual(await ids(nobody), []);

  const refused = await server.delete(`/v1/session/${hers.id}`, { key: reader });
  assert.deepEqual([refused.status, refused.body.permission], [403, "session.end"]);
  assert.equal((await server.delete(`/v1/session/${hers.id}`, { key: nobody })).status, 404);
  const ender = await server.key(acme, ["session.end"]);
  assert.equal((await server.delete(`/v1/session/${theirs.id}`, { key: ender })).status, 404);
  assert.equal(
    (await server.delete(`/v1/session/${hers.id}`, { key: ender, headers: { "if-match": '"x"' } })).status,
    412,
  );
  assert.ok(await hers.lives());
  assert.equal((await server.delete(`/v1/session/${hers.id}`, { key: ender })).status, 204);
  assert.ok(!(await hers.lives()));
  assert.equal((await server.delete(`/v1/session/${hers.id}`, { key: ender })).status, 404);
  const told = await server.sql(
    "select type, data->'resource'->>'userId' as user from kernel.told where subject = $1",
    [hers.id],
  );
  assert.deepEqual(told, [{ type: "demarc.access.session.ended", user: ann.id }]);
  const [entry] = await server.sql("select type, action from access.audit where item_id = $1", [hers.id]);
  assert.deepEqual(entry, { type: "session", action: "ended" });
});

test("with a session its console tokens end at once, and programs with a refresh token go on", async () => {
  const ann = await person("ann.console");
  const one = await session(ann);
  const [token, program] = [await consoleToken(one.visitor), await tokenOf(ann)];
  assert.equal((await server.get("/v1/ping", { token })).status, 200);
  assert.equal((await server.delete(`/v1/session/${one.id}`, { token: program })).status, 204);
  assert.equal((await server.get("/v1/ping", { token })).status, 401);
  assert.equal((await server.get("/v1/ping", { token: program })).status, 200);
  const two = await session(ann);
  const next = await consoleToken(two.visitor);
  await two.visitor.submit(await two.visitor.get("/oauth/logout"), {});
  assert.equal((await server.get("/v1/ping", { token: next })).status, 401);
});

test("a user lists and ends its own grants; every token of an ended one is refused from then on", async () => {
  const [ann, ben] = [await person("ann.grants"), await person("ben.grants")];
  const [token, other] = [await tokenOf(ann), await userTokens(server, acme, ann.id, { scopes: ["watch.read"] })];
  const { gid } = decodeJwt(other.token);
  const { body } = await server.get("/v1/grant?sort=-createdAt&clientId=demarc-cli", { token });
  assert.deepEqual(body.items.map((item: { id: string }) => item.id)[0], gid);
  assert.deepEqual([body.items.length, body.items[0].scopes], [2, ["watch.read"]]);
  assert.equal((await server.delete(`/v1/grant/${gid}`, { token: await tokenOf(ben) })).status, 404);
  const reader = await server.key(acme, ["session.read"]);
  assert.equal((await server.delete(`/v1/grant/${gid}`, { key: reader })).status, 403);
  assert.equal((await server.delete(`/v1/grant/${gid}`, { token })).status, 204);
  assert.equal((await server.get("/v1/ping", { token: other.token })).status, 401);
  const renewed = await server.call("POST", "/oauth/token", {
    body: { grant_type: "refresh_token", client_id: "demarc-cli", refresh_token: other.refresh_token },
  });
  assert.equal(renewed.body.error, "invalid_grant");
  const told = await server.sql("select type from kernel.told where subject = $1", [gid]);
  assert.deepEqual(told, [{ type: "demarc.access.grant.revoked" }]);
});

test("a token with a narrower scope neither sees nor ends its user's sessions and grants", async () => {
  const ann = await person("ann.narrow");
  const { id } = await session(ann);
  const { token } = await userTokens(server, acme, ann.id, { scopes: ["watch.read"] });
  for (const [method, path, permission] of [
    ["GET", "/v1/session", "session.read"],
    ["GET", "/v1/grant", "session.read"],
    ["DELETE", `/v1/session/${id}`, "session.end"],
    ["DELETE", `/v1/grant/${decodeJwt(token).gid}`, "session.end"],
  ] as const) {
    const { status, body } = await server.call(method, path, { token });
    assert.deepEqual([status, body.code, body.permission], [403, "scope_missing", permission]);
  }
});

test("a new log-in in a browser ends the one it had before", async () => {
  const [ann, ben] = [await person("ann.first"), await person("ben.second")];
  const one = await session(ann);
  const kept = new Map(one.visitor.jar);
  const page = await one.visitor.get("/oauth/login?again=1");
  assert.match((await one.visitor.submit(page, { username: ben.email, password: ben.password })).text, /ben\.second/);
  one.visitor.jar.clear();
  for (const [name, value] of kept) one.visitor.jar.set(name, value);
  assert.ok(!(await one.lives()));
});
