/** Authorization code with PKCE (access, section 5.3), from the authorize address to the tokens. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeJwt } from "jose";
import { startServer } from "../../../../test/harness.ts";
import { makeClient, makeUser, type TestClient, userTokens } from "../../../../test/tokens.ts";
import { authorizeAddress, createVisitor, logIn, type Page, verifier } from "../../../../test/visitor.ts";

const server = await startServer();
const partner = await server.tenant(server.rootId, "partner", "Partner");
const acme = await server.tenant(partner, "customer", "Acme");
const other = await server.tenant(server.rootId, "customer", "Other");
const callback = "https://app.example/callback?from=demarc";
const application = (more: Parameters<typeof makeClient>[3] = {}) =>
  makeClient(server, partner, [], { kind: "application", redirectUris: [callback], accessTokenSeconds: 600, ...more });
const app = await application();
const user = await makeUser(server, acme, "ann", "read_only");
const browser = () => createVisitor(server.url);
const asked = (client: { id: string }, more: Record<string, string> = {}) =>
  authorizeAddress({ client_id: client.id, redirect_uri: callback, ...more });
const console_ = (more: Record<string, string> = {}) =>
  authorizeAddress({ client_id: "demarc-console", redirect_uri: `${server.url}/console`, ...more });
const answerOf = ({ url, left, text }: Page) => {
  assert.ok(left, text);
  return Object.fromEntries(url.searchParams);
};

type Exchange = { code: string; verifier?: string; redirectUri?: string };
const redeem = (client: TestClient | { id: string }, { code, ...more }: Exchange) =>
  server.call("POST", "/oauth/token", {
    raw: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: client.id,
      ...("secret" in client ? { client_secret: client.secret } : {}),
      code,
      redirect_uri: more.redirectUri ?? callback,
      code_verifier: more.verifier ?? verifier,
    }).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
/** A code for the application, by a log-in and an allowance. */
async function codeFor(client: { id: string }, visitor = browser()): Promise<string> {
  let page = await visitor.get(asked(client));
  if (page.title === "Log in") page = await visitor.submit(page, { username: user.email, password: user.password });
  if (!page.left) page = await visitor.submit(page, {}, "allow");
  return answerOf(page).code!;
}

test("an application is let in by a log-in and an allowance, and gets a code, its state and the issuer; the code becomes tokens", async () => {
  const visitor = browser();
  const consent = await logIn(visitor, asked(app, { scope: "watch.read user.read" }), user);
  assert.match(consent.title, /^Let c-\w+ in\?$/);
  assert.match(consent.text, /<code>app\.example<\/code>.*<strong>ann \(Acme\)<\/strong>/);
  assert.match(consent.headers.get("content-security-policy")!, /form-action 'self' https:\/\/app\.example;/);
  const left = await visitor.submit(consent, {}, "allow");
  const { code, ...rest } = answerOf(left);
  assert.deepEqual(rest, { from: "demarc", state: "xyz", iss: server.url });
  assert.equal(left.url.origin + left.url.pathname, "https://app.example/callback");
  assert.equal(left.headers.get("cache-control"), "no-store");

  const answer = await redeem(app, { code: code! });
  assert.equal(answer.status, 200, answer.text);
  const { access_token: token, refresh_token: refresh, expires_in: lives, scope } = answer.body;
  assert.deepEqual([lives, scope, typeof refresh], [600, "watch.read user.read", "string"]);
  const claims = decodeJwt(token);
  assert.deepEqual([claims.sub, claims.tenant, claims.client_id], [user.id, acme, app.id]);
  assert.equal(claims.auth_time, server.clock.now().getTime() / 1_000);
  assert.equal((await server.get("/v1/user/me", { token })).body.id, user.id);
});

test("50. a code used twice is invalid_grant, and the tokens of its first use are dead", async () => {
  const code = await codeFor(app);
  const first = await redeem(app, { code });
  assert.equal((await server.get("/v1/ping", { token: first.body.access_token })).status, 200);
  const second = await redeem(app, { code });
  assert.deepEqual([second.status, second.body.error], [400, "invalid_grant"]);
  assert.equal((await server.get("/v1/ping", { token: first.body.access_token })).status, 401);
  const renewed = await server.call("POST", "/oauth/token", {
    body: {
      grant_type: "refresh_token",
      client_id: app.id,
      client_secret: app.secret,
      refresh_token: first.body.refresh_token,
    },
  });
  assert.equal(renewed.body.error, "invalid_grant");
  const told = await server.sql(
    "select 1 from kernel.told where type = 'demarc.access.grant.reused' and subject = $1",
    [decodeJwt(first.body.access_token).gid],
  );
  assert.equal(told.length, 1);
});

test("50. of 20 uses of one code at one moment at most one gets tokens, and those are dead afterwards", async () => {
  const code = await codeFor(app);
  const answers = await Promise.all(Array.from({ length: 20 }, () => redeem(app, { code })));
  const won = answers.filter(({ status }) => status === 200);
  assert.equal(won.length, 1);
  assert.equal((await server.get("/v1/ping", { token: won[0]!.body.access_token })).status, 401);
});

test("50. a wrong verifier, another redirect address, another client and a code of 60 seconds ago are invalid_grant", async () => {
  const [client, stranger] = [await application(), await application()];
  const code = await codeFor(client);
  const refused = async (answer: ReturnType<typeof redeem>) => assert.equal((await answer).body.error, "invalid_grant");
  await refused(redeem(client, { code, verifier: verifier.replace("a", "b") }));
  await refused(redeem(client, { code, redirectUri: "https://app.example/callback" }));
  await refused(redeem(stranger, { code }));
  await refused(redeem(client, { code: "dma_nonsense" }));
  assert.equal((await redeem(client, { code })).status, 200, "none of these used it up");
  const late = await codeFor(client);
  server.clock.advance(60_000);
  await refused(redeem(client, { code: late }));
});

test("50. an address that is not registered is never followed, whatever else is right", async () => {
  const wrong = [
    "https://evil.example/callback",
    `${callback}&more=1`,
    "https://app.example/callback",
    "https://app.example.evil.example/callback?from=demarc",
    "https://app.example@evil.example/callback?from=demarc",
    "https://app.example/callback?from=demarc#x",
    "javascript:alert(1)",
    "//evil.example",
    "",
  ];
  for (const redirect of wrong) {
    const page = await browser().get(asked(app, { redirect_uri: redirect }));
    assert.deepEqual([page.status, page.left, page.title], [400, false, "This request cannot be answered"], redirect);
  }
  const unknown = await browser().get(asked({ id: "cli_nobody" }));
  assert.deepEqual([unknown.status, unknown.left], [400, false]);
  const twice = await browser().get(`${asked(app)}&redirect_uri=https://evil.example/`);
  assert.deepEqual([twice.status, twice.left], [400, false]);
});

test("a program of the person's machine may listen at any port of a loopback address, and at no other host", async () => {
  const native = await application({ public: true, redirectUris: ["http://127.0.0.1/done", "https://app.example/x"] });
  const titleAt = async (redirect: string) => (await browser().get(asked(native, { redirect_uri: redirect }))).title;
  for (const good of ["http://127.0.0.1/done", "http://127.0.0.1:49152/done"])
    assert.equal(await titleAt(good), "Log in", good);
  const wrong = [
    "http://localhost:1/done",
    "http://127.0.0.1:1/done/x",
    "http://127.0.0.1:1@evil.example/done",
    "https://app.example:444/x",
    "http://127.0.0.1:1evil/done",
  ];
  for (const bad of wrong) assert.equal(await titleAt(bad), "This request cannot be answered", bad);
  const cli = (redirect: string) =>
    browser().get(authorizeAddress({ client_id: "demarc-cli", redirect_uri: redirect }));
  assert.equal((await cli("http://127.0.0.1:5123/callback")).title, "Log in");
  assert.equal((await cli("http://127.0.0.1:5123/")).status, 400);
});

test("what else is wrong goes to the application as its error, with state and issuer", async () => {
  const faults: [Record<string, string>, string][] = [
    [{ response_type: "token" }, "unsupported_response_type"],
    [{ response_type: "" }, "invalid_request"],
    [{ response_mode: "fragment" }, "invalid_request"],
    [{ code_challenge: "" }, "invalid_request"],
    [{ code_challenge_method: "plain" }, "invalid_request"],
    [{ code_challenge: "short" }, "invalid_request"],
    [{ scope: "openid" }, "invalid_scope"],
    [{ scope: "watch.wriet" }, "invalid_scope"],
    [{ prompt: "select" }, "invalid_request"],
    [{ prompt: "none login" }, "invalid_request"],
    [{ prompt: "none" }, "login_required"],
    [{ max_age: "soon" }, "invalid_request"],
    [{ request: "x.y.z" }, "request_not_supported"],
    [{ request_uri: "https://app.example/r" }, "request_uri_not_supported"],
  ];
  for (const [parameters, error] of faults) {
    const answer = answerOf(await browser().get(asked(app, parameters)));
    assert.deepEqual([answer.error, answer.state, answer.iss], [error, "xyz", server.url], JSON.stringify(parameters));
  }
  const twice = answerOf(await browser().get(`${asked(app)}&state=abc`));
  assert.equal(twice.error, "invalid_request");
  const narrow = await application({ scopes: ["watch.read"] });
  assert.equal(answerOf(await browser().get(asked(narrow, { scope: "watch.write" }))).error, "invalid_scope");
});

test("a person is asked once per scope set, refuses without harm, and is asked again after ending the grant", async () => {
  const client = await application();
  const visitor = browser();
  const first = await logIn(visitor, asked(client, { scope: "watch.read" }), user);
  assert.equal(answerOf(await visitor.submit(first, {}, "deny")).error, "access_denied");
  assert.equal(
    answerOf(await visitor.get(asked(client, { scope: "watch.read", prompt: "none" }))).error,
    "consent_required",
  );
  const allowed = await visitor.submit(await visitor.get(asked(client, { scope: "watch.read" })), {}, "allow");
  const tokens = await redeem(client, { code: answerOf(allowed).code! });
  assert.ok(answerOf(await visitor.get(asked(client, { scope: "watch.read" }))).code);
  assert.match((await visitor.get(asked(client, { scope: "watch.read", prompt: "consent" }))).title, /^Let/);
  assert.match((await visitor.get(asked(client, { scope: "watch.read user.read" }))).title, /^Let/);
  const { gid } = decodeJwt(tokens.body.access_token);
  const { token } = await userTokens(server, acme, user.id);
  assert.equal((await server.delete(`/v1/grant/${gid}`, { token })).status, 204);
  assert.match((await visitor.get(asked(client, { scope: "watch.read" }))).title, /^Let/);
});

test("an application serves people of its own tenant and those below, nobody else", async () => {
  const stranger = await makeUser(server, other, "stranger", "read_only");
  const above = await makeUser(server, server.rootId, "above", "read_only");
  for (const person of [stranger, above])
    assert.equal(answerOf(await logIn(browser(), asked(app), person)).error, "access_denied");
});

test("6. where the API is off applications get unauthorized_client, and the console works on", async () => {
  const quiet = await server.tenant(partner, "customer", "Quiet", { api: false });
  const person = await makeUser(server, quiet, "quiet", "read_only");
  const visitor = browser();
  assert.equal(answerOf(await logIn(visitor, asked(app), person)).error, "unauthorized_client");
  assert.ok(answerOf(await visitor.get(console_())).code);
});

test("the console gets tokens without being asked for and without a refresh token, and renews them without a page", async () => {
  const visitor = browser();
  const redirectUri = `${server.url}/console`;
  const { code } = answerOf(await logIn(visitor, console_(), user));
  const { body } = await redeem({ id: "demarc-console" }, { code: code!, redirectUri });
  assert.deepEqual([body.expires_in, body.scope, body.refresh_token], [600, "*", undefined]);
  const silent = answerOf(await visitor.get(console_({ prompt: "none" })));
  const renewed = await redeem({ id: "demarc-console" }, { code: silent.code!, redirectUri });
  assert.equal(decodeJwt(renewed.body.access_token).auth_time, decodeJwt(body.access_token).auth_time);
  for (const path of ["/console/callback", "/console/a?b=c"])
    assert.ok(answerOf(await visitor.get(console_({ redirect_uri: server.url + path }))).code, path);
  for (const path of ["/consoles", "/console/../v1/ping", "/console/%2e%2e/v1/ping", "/v1/ping"])
    assert.equal((await visitor.get(console_({ redirect_uri: server.url + path }))).status, 400, path);
});

test("a program without a secret on the person's machine, such as the command line, is asked for each time", async () => {
  const visitor = browser();
  const redirectUri = "http://127.0.0.1:5123/callback";
  const address = authorizeAddress({ client_id: "demarc-cli", redirect_uri: redirectUri });
  const { code } = answerOf(await visitor.submit(await logIn(visitor, address, user), {}, "allow"));
  assert.ok((await redeem({ id: "demarc-cli" }, { code: code!, redirectUri })).body.refresh_token);
  assert.equal((await visitor.get(address)).title, "Let Demarc command line in?");

  const local = "http://127.0.0.1/done";
  const program = await application({ public: true, redirectUris: [local] });
  const again = authorizeAddress({ client_id: program.id, redirect_uri: local, scope: "watch.read" });
  assert.ok(answerOf(await visitor.submit(await visitor.get(again), {}, "allow")).code);
  assert.match((await visitor.get(again)).title, /^Let/);
});

test("prompt=login and a log-in older than max_age ask for the password once, and then go on", async () => {
  const visitor = browser();
  await logIn(visitor, console_(), user);
  server.clock.advance(60_000);
  const cases: Record<string, string>[] = [{ prompt: "login" }, { max_age: "0" }, { max_age: "59" }];
  for (const parameters of cases) {
    const page = await visitor.get(console_(parameters));
    assert.equal(page.title, "Log in", JSON.stringify(parameters));
    assert.match(page.text, /needs a log-in of this moment/);
    const { code } = answerOf(await visitor.submit(page, { username: user.email, password: user.password }));
    const { body } = await redeem({ id: "demarc-console" }, { code: code!, redirectUri: `${server.url}/console` });
    assert.equal(decodeJwt(body.access_token).auth_time, server.clock.now().getTime() / 1_000);
    server.clock.advance(60_000);
  }
  assert.ok(answerOf(await visitor.get(console_({ max_age: "61" }))).code);
  assert.equal(answerOf(await visitor.get(console_({ max_age: "59", prompt: "none" }))).error, "login_required");
});

test("an allowance sent without the form's token gives nothing", async () => {
  const visitor = browser();
  const client = await application();
  await logIn(visitor, asked(client), user);
  const request = asked(client).split("?")[1]!;
  const page = await visitor.post("/oauth/consent", { request, decision: "allow" });
  assert.deepEqual([page.status, page.left], [403, false]);
});

test("a code ends with the session it was made in, and a switched-off client gets none", async () => {
  const visitor = browser();
  const code = await codeFor(app, visitor);
  await visitor.submit(await visitor.get("/oauth/logout"), {});
  assert.equal((await redeem(app, { code })).body.error, "invalid_grant");
  const client = await application();
  await server.sql("update access.client set enabled = false where id = $1", [client.id]);
  assert.equal((await browser().get(asked(client))).status, 400);
});

test("codes are stored hashed", async () => {
  const code = await codeFor(app);
  const dump = JSON.stringify(
    await server.sql("select *, encode(digest, 'escape') as d from access.authorization_code"),
  );
  assert.ok(!dump.includes(code) && !dump.includes(code.slice(4)));
});

test("pages of a listed origin may fetch tokens from a browser, and others get no such leave", async () => {
  const page = "https://spa.example";
  const listed = await startServer({ settings: { corsOrigins: [page] } });
  const preflight = (origin: string, path = "/oauth/token") =>
    fetch(listed.url + path, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
    });
  const allowed = await preflight(page);
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get("access-control-allow-origin"), page);
  assert.match(allowed.headers.get("access-control-allow-headers")!, /Authorization/);
  const call = await fetch(`${listed.url}/oauth/token`, {
    method: "POST",
    headers: { origin: page },
    body: new URLSearchParams({}),
  });
  assert.deepEqual([call.status, call.headers.get("access-control-allow-origin")], [400, page]);
  assert.equal((await preflight("https://evil.example")).headers.get("access-control-allow-origin"), null);
});
