import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeJwt } from "jose";
import { startServer } from "../../../../test/harness.ts";
import { connectClient, subscribe } from "../../../../test/stomp-client.ts";
import { clientToken, makeClient, makeUser, type TestClient, userTokens } from "../../../../test/tokens.ts";

const server = await startServer();
const q = await server.tenant(server.rootId, "partner", "Q");
const a = await server.tenant(q, "customer", "A");
const b = await server.tenant(q, "customer", "B");
const user = await makeUser(server, a, "ann", "read_only");

const post = (endpoint: string, client: TestClient | string | null, members: Record<string, string>) => {
  const named: Record<string, string> =
    client === null ? {} : typeof client === "string" ? { client_id: client } : credentials(client);
  return server.call("POST", `/oauth/${endpoint}`, {
    raw: new URLSearchParams({ ...named, ...members }).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
};
const credentials = ({ id, secret }: TestClient) => ({ client_id: id, client_secret: secret });
/** Whether a credential is good; what it may do is another matter. */
const isGood = async (token: string) => (await server.get("/v1/signing-key", { token })).status !== 401;

test("44. revoking what is no token, or not one's own, is 200 and empty and changes nothing", async () => {
  const [client, other] = [await makeClient(server, a, "read_only"), await makeClient(server, a, "read_only")];
  const token = await clientToken(server, other);
  const { refresh_token } = await userTokens(server, a, user.id);
  for (const presented of ["garbage", "a.b.c", token, refresh_token!, `${token}x`]) {
    const answer = await post("revoke", client, { token: presented });
    assert.deepEqual([answer.status, answer.text], [200, ""]);
  }
  assert.equal(await isGood(token), true);
  assert.equal((await post("revoke", client, {})).body.error, "invalid_request");
});

test("44. a wrong client secret cannot revoke, and neither can nobody", async () => {
  const client = await makeClient(server, a, "read_only");
  const token = await clientToken(server, client);
  for (const caller of [{ ...client, secret: "dms_wrong" }, null]) {
    const answer = await post("revoke", caller, { token });
    assert.deepEqual([answer.status, answer.body.error], [401, "invalid_client"]);
  }
  const json = await server.post("/oauth/revoke", { ...credentials(client), token });
  assert.deepEqual([json.status, json.body.error], [400, "invalid_request"]);
  assert.equal(await isGood(token), true);
});

test("44. an own access token that was revoked is refused by the API and inactive, and its sisters live on", async () => {
  const client = await makeClient(server, a, ["token.introspect"]);
  const [token, sister] = [await clientToken(server, client), await clientToken(server, client)];
  assert.deepEqual([await isGood(token), await isGood(sister)], [true, true]);
  const answer = await post("revoke", client, { token, token_type_hint: "refresh_token" });
  assert.deepEqual([answer.status, answer.text], [200, ""]);
  assert.deepEqual([await isGood(token), await isGood(sister)], [false, true]);
  assert.deepEqual((await post("introspect", client, { token })).body, { active: false });
  assert.equal((await post("revoke", client, { token })).status, 200);
});

test("44. the STOMP session of a revoked token is closed, and that of its sister is not", async () => {
  const client = await makeClient(server, a, ["notification.subscribe"]);
  const [token, sister] = [await clientToken(server, client), await clientToken(server, client)];
  const [session, other] = [await connectClient(server.url, token), await connectClient(server.url, sister)];
  assert.equal((await post("revoke", client, { token })).status, 200);
  assert.equal(await session.fault(), "session_ended 1008");
  await subscribe(other, "still");
  assert.equal(other.closed(), null);
  other.cut();
});

test("44. revoking a refresh token ends its whole grant, for a public client by its id alone", async () => {
  const tokens = await userTokens(server, a, user.id);
  const other = await userTokens(server, a, user.id);
  assert.equal((await post("revoke", "demarc-console", { token: tokens.refresh_token! })).status, 200);
  assert.equal(await isGood(tokens.token), true);
  assert.equal((await post("revoke", "demarc-cli", { token: tokens.refresh_token! })).status, 200);
  assert.deepEqual([await isGood(tokens.token), await isGood(other.token)], [false, true]);
  const refresh = { grant_type: "refresh_token", refresh_token: tokens.refresh_token! };
  assert.equal((await post("token", "demarc-cli", refresh)).body.error, "invalid_grant");
  const { gid } = decodeJwt(tokens.token) as { gid: string };
  const news = await server.sql("select type from kernel.told where subject = $1", [gid]);
  assert.deepEqual(news, [{ type: "demarc.access.grant.revoked" }]);
});

test("45. introspection needs an authenticated client, with token.introspect", async () => {
  const token = await clientToken(server, await makeClient(server, a, "read_only"));
  const nobody = await post("introspect", null, { token });
  assert.deepEqual([nobody.status, nobody.body.error], [401, "invalid_client"]);
  for (const client of [
    await makeClient(server, a, "read_only"),
    await makeClient(server, a, ["token.introspect"], { scopes: ["desk"] }),
    "demarc-cli",
  ]) {
    const answer = await post("introspect", client, { token });
    assert.deepEqual(
      [answer.status, answer.body.error, answer.body.code],
      [403, "unauthorized_client", "permission_missing"],
    );
  }
});

test("45. a live token of the client's tenant or below is described; anything else is inactive and no more", async () => {
  const [ofA, ofQ] = [
    await makeClient(server, a, ["token.introspect"]),
    await makeClient(server, q, ["token.introspect"]),
  ];
  const service = await makeClient(server, b, "read_only");
  const ofB = await clientToken(server, service);
  const { body } = await post("introspect", ofQ, { token: ofB });
  const { iss, aud, iat, exp, jti } = decodeJwt(ofB);
  assert.deepEqual(body, {
    active: true,
    scope: "*",
    client_id: service.id,
    token_type: "Bearer",
    exp,
    iat,
    sub: service.id,
    aud,
    iss,
    jti,
    tenant: b,
  });
  const ofAnn = (await userTokens(server, a, user.id, { scopes: ["read"] })).token;
  const described = (await post("introspect", ofA, { token: ofAnn })).body;
  assert.deepEqual([described.username, described.sub, described.scope], ["ann", user.id, "read"]);

  const provider = await makeClient(server, server.rootId, "read_only");
  const expired = await clientToken(server, await makeClient(server, a, [], { accessTokenSeconds: 60 }));
  const key = await server.key(a, "read_only");
  server.clock.advance(60_000);
  for (const token of ["garbage", "a.b.c", ofB, expired, key, await clientToken(server, provider)]) {
    const answer = await post("introspect", ofA, { token });
    assert.deepEqual([answer.status, answer.body], [200, { active: false }]);
  }
  await server.sql("update access.login set blocked_at = now() where user_id = $1", [user.id]);
  assert.deepEqual((await post("introspect", ofA, { token: ofAnn })).body, { active: false });
  await server.sql("update access.login set blocked_at = null where user_id = $1", [user.id]);
});

test("introspection tells the scope that a token has by now, not what its client has lost since", async () => {
  const [asker, narrowed] = [
    await makeClient(server, a, ["token.introspect"]),
    await makeClient(server, a, "read_only"),
  ];
  const token = await clientToken(server, narrowed, "read desk");
  const scope = async () => (await post("introspect", asker, { token })).body.scope;
  assert.equal(await scope(), "read desk");
  const key = await server.key(a, "tenant_administrator");
  await server.patch(`/v1/client/${narrowed.id}`, { scopes: ["watch.read"] }, { key });
  assert.equal(await scope(), "watch.read folder.read", "with what it implies");
});

test("other verbs at revocation and introspection are a JSON 404 that allows POST", async () => {
  for (const path of ["/oauth/revoke", "/v1/oauth/introspect", "/api/v1/oauth/revoke/"]) {
    const answer = await server.get(path);
    assert.deepEqual([answer.status, answer.headers.get("allow"), answer.body.code], [404, "POST", "not_found"]);
  }
});
