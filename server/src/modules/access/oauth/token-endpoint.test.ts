import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { test } from "node:test";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { mintCredential } from "#kernel/credential";
import { type Answer, eventually, startServer } from "../../../../test/harness.ts";
import { addSecret, clientToken, makeClient, type TestClient } from "../../../../test/tokens.ts";

const server = await startServer();
const tenant = await server.tenant(server.rootId, "customer", "A");
const service = () => makeClient(server, tenant, "read_only");
const form = (members: Record<string, string> | string, headers: Record<string, string> = {}, path = "/oauth/token") =>
  server.call("POST", path, {
    raw: typeof members === "string" ? members : new URLSearchParams(members).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
  });
const basic = ({ id, secret }: TestClient) =>
  `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString("base64")}`;
const inBody = ({ id, secret }: TestClient) => ({ client_id: id, client_secret: secret });

function refused(answer: Answer, status: number, error: string, code = error): void {
  assert.deepEqual([answer.status, answer.body?.error, answer.body?.code], [status, error, code], answer.text);
  assert.deepEqual(Object.keys(answer.body), ["error", "error_description", "code", "message", "requestId"]);
  assert.equal(answer.body.message, answer.body.error_description);
  assert.match(answer.body.error_description, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/);
  assert.match(answer.headers.get("content-type") ?? "", /^application\/json/);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  assert.equal(answer.headers.get("pragma"), "no-cache");
}

test("34. client credentials by Basic and in the body give an access token with both sets of members, and no refresh token", async () => {
  const client = await service();
  const answers = [
    await form({ grant_type: "client_credentials" }, { authorization: basic(client) }),
    await form({ grant_type: "client_credentials", ...inBody(client) }),
    await server.post("/oauth/token", { grant_type: "client_credentials", ...inBody(client) }),
  ];
  for (const { status, headers, body } of answers) {
    assert.equal(status, 200);
    assert.equal(headers.get("cache-control"), "no-store");
    assert.equal(headers.get("pragma"), "no-cache");
    const { access_token, token, ...rest } = body;
    assert.equal(access_token, token);
    const exp = Math.floor(server.clock.now().getTime() / 1_000) + 3_600;
    assert.deepEqual(rest, {
      token_type: "Bearer",
      expires_in: 3_600,
      scope: "*",
      expiresIn: 3_600,
      expiresAt: exp,
    });
    const { jti, ...claims } = decodeJwt(access_token);
    assert.match(jti ?? "", /^[\w-]{20,}$/);
    assert.deepEqual(claims, {
      iss: server.url,
      aud: server.url,
      sub: client.id,
      client_id: client.id,
      iat: exp - 3_600,
      exp,
      scope: "*",
      tenant,
    });
    const { typ, alg } = decodeProtectedHeader(access_token);
    assert.deepEqual([typ, alg], ["at+jwt", "RS256"]);
    assert.equal((await server.get("/v1/ping", { token: access_token })).status, 200);
  }
  assert.equal(new Set(answers.map(({ body }) => decodeJwt(body.token).jti)).size, 3);
});

test("34. the key that signed a token stands in the JWKS, without its private members", async () => {
  const token = await clientToken(server, await service());
  for (const path of ["/oauth/jwks", "/.well-known/jwks.json"]) {
    const { status, headers, body } = await server.get(path);
    assert.equal(status, 200);
    assert.match(headers.get("cache-control") ?? "", /max-age=300/);
    const key = body.keys.find(({ kid }: { kid: string }) => kid === decodeProtectedHeader(token).kid);
    assert.deepEqual(Object.keys(key).sort(), ["alg", "e", "kid", "kty", "n", "use"]);
    // The next one stands there, too.
    assert.equal(body.keys.length, 2);
    for (const one of body.keys)
      for (const secret of ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]) assert.ok(!(secret in one), secret);
  }
});

test("a client's own time of life of its tokens is kept", async () => {
  const client = await makeClient(server, tenant, "read_only", { accessTokenSeconds: 60 });
  const answer = await form({ grant_type: "client_credentials", ...inBody(client) });
  assert.equal(answer.body.expires_in, 60);
});

test("35. every address of the token endpoint answers alike, and an unknown label does not", async () => {
  const client = await service();
  for (const base of ["", "/v1", "/latest", "/api", "/api/v1"]) {
    for (const slash of ["", "/"]) {
      const members = { grant_type: "client_credentials", ...inBody(client) };
      assert.equal((await form(members, {}, `${base}/oauth/token${slash}`)).status, 200, base + slash);
    }
  }
  const unknown = await form({ grant_type: "client_credentials", ...inBody(client) }, {}, "/v77/oauth/token");
  refused(unknown, 404, "invalid_request", "version_unknown");
});

test("39. a missing, unknown or unregistered grant type is told from the others, after the client was proved", async () => {
  const client = await service();
  refused(await form(inBody(client)), 400, "invalid_request");
  refused(await form({ grant_type: "", ...inBody(client) }), 400, "invalid_request");
  refused(await form({ grant_type: "foo", ...inBody(client) }), 400, "unsupported_grant_type");
  const asked = { username: "a", password: "b", scope: "no such scope" };
  refused(await form({ grant_type: "password", ...inBody(client), ...asked }), 400, "unauthorized_client");
  const application = await makeClient(server, tenant, "read_only", { kind: "application" });
  refused(await form({ grant_type: "client_credentials", ...inBody(application) }), 400, "unauthorized_client");
  refused(await form({ grant_type: "foo", client_id: client.id, client_secret: "dms_x" }), 401, "invalid_client");
});

test("40. a wrong secret is invalid_client, challenged where the header was tried, and says no more than an unknown client", async () => {
  const client = await service();
  const other = mintCredential("dms").secret;
  const members = { grant_type: "client_credentials" };
  const byHeader = await form(members, { authorization: basic({ id: client.id, secret: other }) });
  refused(byHeader, 401, "invalid_client");
  assert.match(byHeader.headers.get("www-authenticate") ?? "", /^Basic /);
  const wrong = await form({ ...members, client_id: client.id, client_secret: other });
  refused(wrong, 401, "invalid_client");
  assert.equal(wrong.headers.get("www-authenticate"), null);
  const unknown = await form({ ...members, client_id: "cli_nobody", client_secret: other });
  const bare = await form({ ...members, client_id: client.id });
  const builtIn = await form({ ...members, client_id: "demarc-cli", client_secret: other });
  for (const answer of [unknown, bare, builtIn]) {
    refused(answer, 401, "invalid_client");
    assert.equal(answer.body.message, wrong.body.message);
  }
  refused(await form(members), 401, "invalid_client");
  for (const header of ["Digest x", "Basic", "Basic ???", `Basic ${Buffer.from("nocolon").toString("base64")}`]) {
    refused(await form(members, { authorization: header }), 401, "invalid_client");
  }
});

test("a disabled or deleted client is invalid_client, and of its secrets those that have not expired work", async () => {
  const client = await service();
  const second = mintCredential("dms");
  const expiresAt = new Date(server.clock.now().getTime() + 60_000);
  await addSecret(server, tenant, client.id, second.secret, second.hint, expiresAt);
  const members = { grant_type: "client_credentials", client_id: client.id };
  assert.equal((await form({ ...members, client_secret: second.secret })).status, 200);
  server.clock.set(expiresAt);
  refused(await form({ ...members, client_secret: second.secret }), 401, "invalid_client");
  assert.equal((await form({ ...members, client_secret: client.secret })).status, 200);
  const key = await server.key(tenant, "tenant_administrator");
  const set = async (enabled: boolean) =>
    assert.equal((await server.patch(`/v1/client/${client.id}`, { enabled }, { key })).status, 200);
  await set(false);
  refused(await form({ ...members, client_secret: client.secret }), 401, "invalid_client");
  await set(true);
  assert.equal((await form({ ...members, client_secret: client.secret })).status, 200);
  assert.equal((await server.delete(`/v1/client/${client.id}`, { key })).status, 204);
  refused(await form({ ...members, client_secret: client.secret }), 401, "invalid_client");
});

test("the parts of Basic are form-encoded, so a secret may hold any character", async () => {
  const client = await service();
  const secret = "a:b %/+é";
  await addSecret(server, tenant, client.id, secret, "x");
  const answer = await form({ grant_type: "client_credentials" }, { authorization: basic({ id: client.id, secret }) });
  assert.equal(answer.status, 200);
});

test("what is no proper form is invalid_request before the client is looked at", async () => {
  const client = await service();
  const good = new URLSearchParams({ grant_type: "client_credentials", ...inBody(client) }).toString();
  refused(await form(`${good}&scope=read&scope=read`), 400, "invalid_request");
  refused(await form(`${good}&scope=%zz`), 400, "invalid_request");
  refused(await form(`${good}&scope=%ff`), 400, "invalid_request");
  refused(await form(good, { authorization: basic(client) }), 400, "invalid_request");
  refused(await form(good, { authorization: "Bearer x" }), 400, "invalid_request");
  const named = `grant_type=client_credentials&client_id=${client.id}`;
  assert.equal((await form(named, { authorization: basic(client) })).status, 200);
  refused(
    await form("grant_type=client_credentials&client_id=other", { authorization: basic(client) }),
    400,
    "invalid_request",
  );
  for (const type of [
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded; charset=utf-16",
  ]) {
    refused(await form(good, { "content-type": type }), 400, "invalid_request");
  }
  for (const raw of ["[]", "null", "{", `{"grant_type":1}`, `{"grant_type":"a","grant_type":"b"}`]) {
    refused(await form(raw, { "content-type": "application/json" }), 400, "invalid_request");
  }
  const more = { grant_type: "client_credentials", ...inBody(client), unknown: { any: ["thing"] } };
  assert.equal((await server.post("/oauth/token", more)).status, 200);
  refused(await form(`${good}&x=${"y".repeat(70_000)}`), 413, "invalid_request");
  refused(await form(`grant_type=a"%0d%0a\\é&${new URLSearchParams(inBody(client))}`), 400, "unsupported_grant_type");
});

test("two Authorization header lines are two ways of client authentication", async () => {
  const client = await service();
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const call = httpRequest(`${server.url}/oauth/token`, {
      method: "POST",
      headers: [
        ["host", new URL(server.url).host],
        ["content-type", "application/x-www-form-urlencoded"],
        ["authorization", basic(client)],
        ["authorization", basic(client)],
      ].flat(),
    });
    call.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    call.on("error", reject);
    call.end("grant_type=client_credentials");
  });
  assert.equal(status, 400);
});

test("43. another verb at the token endpoint is a JSON 404 that allows POST, whatever the caller accepts", async () => {
  for (const method of ["GET", "PUT", "PATCH", "DELETE"]) {
    const answer = await server.call(method, "/oauth/token", { headers: { accept: "text/html" } });
    assert.equal(answer.status, 404);
    assert.equal(answer.headers.get("allow"), "POST");
    assert.equal(answer.body.error, "invalid_request");
    assert.equal(answer.body.code, "not_found");
  }
  const html = await form({ grant_type: "foo" }, { accept: "text/html" });
  refused(html, 401, "invalid_client");
});

test("scope: what was granted is always stated; unknown names and more than the client has are invalid_scope", async () => {
  const all = await service();
  const narrow = await makeClient(server, tenant, "read_only", { scopes: ["monitoring:read", "desk"] });
  const ask = (client: TestClient, scope?: string) =>
    form({ grant_type: "client_credentials", ...inBody(client), ...(scope === undefined ? {} : { scope }) });
  assert.equal((await ask(all, "read  watch.read read")).body.scope, "read watch.read");
  assert.equal((await ask(narrow)).body.scope, "monitoring:read desk");
  assert.equal((await ask(narrow, "")).body.scope, "monitoring:read desk");
  assert.equal(
    (await ask(narrow, "watch.read desk:read request.create")).body.scope,
    "watch.read desk:read request.create",
  );
  for (const scope of ["openid", "watch.wriet", "*", "read", "watch.write", "monitoring", "directory:read"]) {
    refused(await ask(narrow, scope), 400, "invalid_scope");
  }
});

test("a client of a tenant whose API is off or that is suspended is told so, once it has proved right", async () => {
  const off = await server.tenant(server.rootId, "customer", "Z", { api: false });
  const silent = await makeClient(server, off, "read_only");
  const members = { grant_type: "client_credentials" };
  refused(await form({ ...members, ...inBody(silent) }), 400, "unauthorized_client", "api_not_enabled");
  refused(await form({ ...members, client_id: silent.id, client_secret: "dms_no" }), 401, "invalid_client");
  const asleep = await server.tenant(server.rootId, "customer", "S");
  const client = await makeClient(server, asleep, "read_only");
  const token = await clientToken(server, client);
  assert.equal((await server.get("/v1/ping", { token })).status, 200);
  await server.sql("update access.tenant set status = 'suspended' where id = $1", [asleep]);
  await server.kernel.forget();
  refused(await form({ ...members, ...inBody(client) }), 400, "unauthorized_client", "tenant_suspended");
  assert.equal((await server.get("/v1/ping", { token })).status, 401);
});

test("a client's 21st call at once is 429 with Retry-After; another client's is not", async () => {
  const [busy, other] = [await service(), await service()];
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => form({ grant_type: "client_credentials", ...inBody(busy) })),
  );
  const throttled = answers.filter(({ status }) => status === 429);
  assert.ok(throttled.length > 0);
  refused(throttled[0]!, 429, "temporarily_unavailable", "rate_limited");
  assert.match(throttled[0]!.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
  assert.ok(answers.filter(({ status }) => status === 200).length >= 20);
  assert.equal((await form({ grant_type: "client_credentials", ...inBody(other) })).status, 200);
});

test("clients without a secret share the 100 calls of their address, whatever they bring; who proves a secret does not feel it", async (t) => {
  const client = await service();
  let nowMs = performance.now();
  t.mock.method(performance, "now", () => nowMs);
  nowMs += 10_000;
  const garbage = (grant: Record<string, string>) => form({ client_id: "demarc-cli", ...grant });
  for (let call = 0; call < 50; call++) {
    refused(await garbage({ grant_type: "refresh_token", refresh_token: "dmr_x" }), 400, "invalid_grant");
    const code = { code: "dma_x", redirect_uri: "http://127.0.0.1/callback", code_verifier: "x".repeat(43) };
    refused(await garbage({ grant_type: "authorization_code", ...code }), 400, "invalid_grant");
  }
  const over = await garbage({ grant_type: "refresh_token", refresh_token: "dmr_x" });
  refused(over, 429, "temporarily_unavailable", "rate_limited");
  assert.equal(over.headers.get("retry-after"), "1");
  assert.equal((await form({ grant_type: "client_credentials", ...inBody(client) })).status, 200);
});

test("past 60 wrong secrets a minute from one address more are 429, and right ones are not", async () => {
  const client = await service();
  const wrong = () => form({ grant_type: "client_credentials", client_id: client.id, client_secret: "dms_no" });
  server.clock.advance(60_000);
  for (let count = 0; count < 60; count++) assert.equal((await wrong()).status, 401);
  refused(await wrong(), 429, "temporarily_unavailable", "credential_throttled");
  assert.equal((await form({ grant_type: "client_credentials", ...inBody(client) })).status, 200);
  server.clock.advance(60_000);
  refused(await wrong(), 401, "invalid_client");
});

test("every call has its line in the activity log: route, tenant, client and error, never a secret", async () => {
  const client = await service();
  const good = await form({ grant_type: "client_credentials", ...inBody(client) }, {}, "/v1/oauth/token");
  const bad = await form({ grant_type: "foo", ...inBody(client) });
  const line = (answer: Answer) =>
    eventually(async () => {
      const [found] = await server.sql("select * from access.activity where request_id = $1", [
        answer.headers.get("x-request-id"),
      ]);
      return found;
    });
  const written = await line(good);
  assert.deepEqual([written.tenant_id, written.method, written.status, written.version], [tenant, "POST", 200, "v1"]);
  assert.match(written.route, /oauth\/token$/);
  assert.equal(written.actor.id, client.id);
  assert.equal((await line(bad)).code, "unsupported_grant_type");
  assert.ok(!JSON.stringify(written).includes(client.secret));
  const [{ last_used_at }] = await eventually(async () => {
    const rows = await server.sql("select last_used_at from access.client where id = $1", [client.id]);
    return rows[0].last_used_at && rows;
  });
  assert.deepEqual(last_used_at, server.clock.now());
});
