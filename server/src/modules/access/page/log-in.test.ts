/** Log-in by page (access, section 5.2), seen from a browser without a window. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Secret, TOTP } from "otpauth";
import { eventually, startServer } from "../../../../test/harness.ts";
import { makeUser, type TestUser, userTokens } from "../../../../test/tokens.ts";
import { createVisitor, type Page, type Visitor } from "../../../../test/visitor.ts";
import { beginSecondFactor, confirmSecondFactor } from "../mfa/second-factor.ts";

const server = await startServer();
const acme = await server.tenant(server.rootId, "customer", "Acme");
const { code } = (await server.kernel.gate.tenant(acme))!;
const cookieName = "demarc_session";
const person = (name: string) => makeUser(server, acme, name, "read_only");
const browser = () => createVisitor(server.url);
const tomorrow = () => server.clock.advance(86_400_000);

async function logIn(visitor: Visitor, user: TestUser, password = user.password, to?: string): Promise<Page> {
  const page = await visitor.get(`/oauth/login${to === undefined ? "" : `?${new URLSearchParams({ to })}`}`);
  return visitor.submit(page, { username: `${code}/${user.username}`, password });
}
const policy = (change: Record<string, unknown>) =>
  server.sql("update access.tenant set auth_policy = auth_policy || $2 where id = $1", [acme, change]);
const digits = (secret: string) =>
  new TOTP({ secret: Secret.fromBase32(secret), algorithm: "SHA1", digits: 6, period: 30 }).generate({
    timestamp: server.clock.now().getTime(),
  });
async function withFactor(name: string) {
  const user = await person(name);
  const owner = { id: user.id, tenantId: acme };
  const { secret } = await beginSecondFactor(server.kernel, owner);
  const confirmed = await confirmSecondFactor(server.kernel, owner, digits(secret!));
  assert.ok(confirmed !== "wrong");
  server.clock.advance(90_000);
  return { ...user, secret: secret!, recoveryCodes: confirmed.recoveryCodes };
}
const entries = (id: string) =>
  server.sql("select action, changes from access.audit where item_id = $1 and type = 'login' order by position", [id]);

test("a name and a password log in, the cookie is new with it, and a stranger's value is worth nothing", async () => {
  const user = await person("plain");
  const visitor = browser();
  const page = await visitor.get("/oauth/login");
  assert.equal(
    page.headers.get("set-cookie")?.replace(/=[\w-]{43};/, "=*;"),
    `${cookieName}=*; Path=/; HttpOnly; SameSite=Lax`,
  );
  const before = visitor.jar.get(cookieName);
  const arrived = await visitor.submit(page, { username: user.email, password: user.password });
  assert.deepEqual([arrived.status, arrived.title], [200, "Logged in"]);
  assert.match(arrived.text, /<strong>plain<\/strong> of Acme/);
  const value = visitor.jar.get(cookieName)!;
  assert.notEqual(value, before);
  assert.equal(Buffer.from(value, "base64url").length, 32, "256 bits");
  const dump = JSON.stringify(await server.sql("select *, encode(digest, 'base64') as d from access.session"));
  assert.ok(!dump.includes(value) && !dump.includes(before!));
  assert.deepEqual(
    (await entries(user.id)).map((entry) => entry.action),
    ["succeeded"],
  );
  assert.equal((await server.get("/v1/ping", { headers: { cookie: `${cookieName}=${value}` } })).status, 401);
});

test("over https the cookie is one that no neighbour can set: __Host- and Secure", async () => {
  const https = await startServer({ settings: { publicUrl: "https://api.example" } });
  const answer = await fetch(`${https.url}/oauth/login`);
  assert.match(
    answer.headers.get("set-cookie")!,
    /^__Host-demarc_session=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
  );
});

test("a page is shown in no frame, kept by no cache, and runs no script", async () => {
  const { headers } = await browser().get("/oauth/login");
  assert.match(
    headers.get("content-security-policy")!,
    /default-src 'none'.*form-action 'self'; frame-ancestors 'none'/,
  );
  assert.deepEqual([headers.get("cache-control"), headers.get("referrer-policy")], ["no-store", "no-referrer"]);
});

test("a page has the icon of the documents, which is there for everybody", async () => {
  const page = await (await fetch(`${server.url}/oauth/login`)).text();
  const [, icon] = /<link rel="icon" [^>]*href="([^"]+)"/.exec(page)!;
  const answer = await fetch(new URL(icon!, server.url));
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "image/svg+xml"]);
});

test("a wrong password, an unknown name and a blank field are refused with 400, the first two alike", async () => {
  const user = await person("refused");
  const texts: string[] = [];
  for (const name of [user.username, "refusee"]) {
    const visitor = browser();
    const page = await visitor.submit(await visitor.get("/oauth/login"), {
      username: name,
      password: "not the password",
    });
    assert.equal(page.status, 400);
    texts.push(page.text.replaceAll(/value="[^"]*"/g, ""));
  }
  assert.equal(texts[0], texts[1]);
  assert.match(texts[0]!, /role="alert"/);
  const visitor = browser();
  const blank = await visitor.submit(await visitor.get("/oauth/login"), { username: "", password: "" });
  assert.equal(blank.status, 400);
  assert.match(blank.text, /aria-describedby="password-fault" aria-invalid="true"/);
});

test("what was typed comes back as text, never as markup", async () => {
  const visitor = browser();
  const evil = '"><script>alert(1)</script>';
  const page = await visitor.submit(await visitor.get("/oauth/login"), { username: evil, password: "x" });
  assert.ok(!page.text.includes("<script>"));
});

test("a form without its token, or with that of another browser, is refused with 403 and changes nothing", async () => {
  const user = await person("forged");
  const fields = { step: "password", username: user.email, password: user.password };
  assert.equal((await browser().post("/oauth/login", fields)).status, 403);
  const [one, other] = [browser(), browser()];
  const token = /name="form_token" value="([^"]+)"/.exec((await one.get("/oauth/login")).text)![1]!;
  await other.get("/oauth/login");
  assert.equal((await other.post("/oauth/login", { ...fields, form_token: token })).status, 403);
  assert.equal((await server.sql("select 1 from access.session where user_id = $1", [user.id])).length, 0);
  assert.equal((await one.post("/oauth/login", { ...fields, form_token: token })).title, "Logged in");
});

test("a log-in leads to this server's own pages alone", async () => {
  const user = await person("led");
  for (const to of [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "/v1/ping",
    "/oauth/device@evil.example",
  ]) {
    const page = await logIn(browser(), user, user.password, to);
    assert.deepEqual([page.title, page.left], ["Logged in", false], to);
  }
  const page = await logIn(browser(), user, user.password, "/oauth/device?user_code=BCDF-GHJK");
  assert.equal(page.title, "Let a device in");
  assert.match(page.text, /value="BCDF-GHJK"/);
});

test("42. the sixth wrong password is a 429 page with Retry-After, and the right one too", async () => {
  const user = await person("guessed");
  for (let tries = 0; tries < 5; tries++) assert.equal((await logIn(browser(), user, "wrong")).status, 400);
  const page = await logIn(browser(), user);
  assert.deepEqual([page.status, page.headers.get("retry-after")], [429, "60"]);
  server.clock.advance(60_000);
  assert.equal((await logIn(browser(), user)).title, "Logged in");
});

test("with a second factor there is no session before its code; each step has a new cookie", async () => {
  const user = await withFactor("two.steps");
  const visitor = browser();
  const step = await logIn(visitor, user);
  assert.equal(step.title, "Second factor");
  const between = visitor.jar.get(cookieName);
  const authorize = `/oauth/authorize?${new URLSearchParams({ client_id: "demarc-console", redirect_uri: `${server.url}/console`, response_type: "code", prompt: "none", code_challenge_method: "S256", code_challenge: "x".repeat(43) })}`;
  assert.equal((await visitor.get(authorize)).url.searchParams.get("error"), "login_required");
  const wrong = await visitor.submit(step, { code: "000000" });
  assert.deepEqual([wrong.status, wrong.title], [400, "Second factor"]);
  const arrived = await visitor.submit(wrong, { code: digits(user.secret) });
  assert.equal(arrived.title, "Logged in");
  assert.notEqual(visitor.jar.get(cookieName), between);
  const [row] = await server.sql("select mfa, stage from access.session where user_id = $1 and ended_at is null", [
    user.id,
  ]);
  assert.deepEqual(row, { mfa: true, stage: "full" });
  const trail = await eventually(async () => {
    const all = await entries(user.id);
    return all.length === 2 && all;
  });
  assert.deepEqual(
    trail.map((entry) => entry.action),
    ["failed", "succeeded"],
  );
  assert.ok(trail[0].changes.some((change: { new: string }) => change.new === "second_factor"));
});

test("51. one code twice in its step: the second log-in by it is refused", async () => {
  const user = await withFactor("once");
  const used = digits(user.secret);
  const first = browser();
  assert.equal((await first.submit(await logIn(first, user), { code: used })).title, "Logged in");
  const second = browser();
  const page = await second.submit(await logIn(second, user), { code: used });
  assert.deepEqual([page.status, page.title], [400, "Second factor"]);
});

test("a recovery code does in place of the app, once", async () => {
  const user = await withFactor("phone.lost");
  const [recovery] = user.recoveryCodes;
  for (const title of ["Logged in", "Second factor"]) {
    const visitor = browser();
    assert.equal((await visitor.submit(await logIn(visitor, user), { code: recovery! })).title, title);
  }
});

test("wrong codes count like failed log-ins, whatever name the password was given with", async () => {
  const user = await withFactor("code.guessed");
  const visitor = browser();
  let page = await logIn(visitor, user);
  for (let tries = 0; tries < 5; tries++) page = await visitor.submit(page, { code: "000000" });
  const again = browser();
  const step = await again.submit(await again.get("/oauth/login"), { username: user.email, password: user.password });
  assert.equal(step.title, "Second factor");
  const refused = await again.submit(step, { code: digits(user.secret) });
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get("retry-after")) > 0);
});

test("where the tenant requires a second factor and none is set up, the log-in sets it up first", async (t) => {
  await policy({ mfa: "required" });
  t.after(() => policy({ mfa: "optional" }));
  const user = await person("enrolled");
  const visitor = browser();
  const step = await logIn(visitor, user);
  assert.equal(step.title, "Set up a second factor");
  assert.match(step.text, /<svg class="code" role="img" aria-label="QR code"/);
  const secret = /<code>([A-Z2-7]{32})<\/code>/.exec(step.text)![1]!;
  const wrong = await visitor.submit(step, { code: "000000" });
  assert.deepEqual([wrong.status, wrong.text.includes(secret)], [400, false]);
  const codes = await visitor.submit(wrong, { code: digits(secret) });
  assert.equal(codes.title, "Your recovery codes");
  assert.equal(codes.text.match(/<li><code>/g)?.length, 10);
  assert.equal((await visitor.get("/oauth/login")).title, "Logged in");
  assert.deepEqual(
    (await entries(user.id)).map((entry) => entry.action),
    ["succeeded"],
  );
});

test("a password that somebody else chose is changed before there is a session", async () => {
  const user = await person("newcomer");
  await server.sql("update access.login set must_change = true where user_id = $1", [user.id]);
  const visitor = browser();
  let page = await logIn(visitor, user);
  assert.equal(page.title, "Choose a new password");
  const faults: [string, string, RegExp][] = [
    ["short", "short", /at least 12 characters/],
    ["quite another horse 9", "quite another house 9", /not the same/],
    [user.password, user.password, /that you were given/],
  ];
  for (const [chosen, again, words] of faults) {
    page = await visitor.submit(page, { new: chosen, again });
    assert.equal(page.status, 400);
    assert.match(page.text, words);
  }
  assert.equal((await visitor.get("/oauth/login")).title, "Choose a new password");
  page = await visitor.submit(page, { new: "quite another horse 9", again: "quite another horse 9" });
  assert.equal(page.title, "Logged in");
  assert.equal((await logIn(browser(), user)).status, 400, "the old one is no more");
  assert.equal((await logIn(browser(), user, "quite another horse 9")).title, "Logged in");
});

test("a session ends unused after the idle time and at the latest after the longest, by the policy as it is now", async (t) => {
  t.after(() => policy({ sessionIdleMinutes: 30, sessionMaxHours: 12 }));
  const user = await person("idle");
  const visitor = browser();
  await logIn(visitor, user);
  for (let uses = 0; uses < 3; uses++) {
    server.clock.advance(29 * 60_000);
    assert.equal((await visitor.get("/oauth/login")).title, "Logged in");
  }
  server.clock.advance(30 * 60_000);
  assert.equal((await visitor.get("/oauth/login")).title, "Log in");
  await logIn(visitor, user);
  await policy({ sessionIdleMinutes: 1440, sessionMaxHours: 2 });
  server.clock.advance(2 * 3_600_000 - 1);
  assert.equal((await visitor.get("/oauth/login")).title, "Logged in");
  server.clock.advance(1);
  assert.equal((await visitor.get("/oauth/login")).title, "Log in");
});

test("a password changed by the API and a deactivation end sessions, and the activity log names who was at the pages", async () => {
  const admin = await server.key(acme, "tenant_administrator");
  const user = await person("changed");
  const { token } = await userTokens(server, acme, user.id);
  const visitor = browser();
  await logIn(visitor, user);
  const body = { current: user.password, new: "quite another horse 9" };
  assert.equal((await server.post("/v1/password/change", body, { token })).status, 204);
  assert.equal((await visitor.get("/oauth/login")).title, "Log in");
  assert.equal((await logIn(visitor, user, body.new)).title, "Logged in");
  assert.equal((await server.post(`/v1/user/${user.id}/deactivate`, {}, { key: admin })).status, 200);
  assert.equal((await visitor.get("/oauth/login")).title, "Log in");
  const lines = await eventually(async () => {
    await server.kernel.activity.flush();
    const query =
      "select method, route, status, via->>'kind' as via from access.activity where actor->>'id' = $1 and route like '/oauth/%' order by at";
    const found = await server.sql(query, [user.id]);
    return found.length >= 3 && found;
  });
  const seen = new Set(lines.map((line) => JSON.stringify(line)));
  const line = { route: "/oauth/login", via: "session" };
  for (const [method, status] of [
    ["POST", 303],
    ["GET", 200],
  ] as const)
    assert.ok(seen.has(JSON.stringify({ method, route: line.route, status, via: line.via })), [...seen].join());
});

test("a block and a suspension end sessions from the next request on, and resuming brings none back", async () => {
  const admin = await server.key(server.rootId, "provider_administrator");
  const user = await person("ended");
  const visitor = browser();
  const isIn = async () => (await visitor.get("/oauth/login")).title === "Logged in";
  const did = async (path: string, body?: object) =>
    assert.ok((await server.call("POST", path, { key: admin, body })).status < 300, path);
  await logIn(visitor, user);
  assert.ok(await isIn());
  await did(`/v1/user/${user.id}/block`);
  assert.ok(!(await isIn()));
  await did(`/v1/user/${user.id}/unblock`);
  assert.ok(!(await isIn()));
  await logIn(visitor, user);
  assert.ok(await isIn());
  await did(`/v1/tenant/${acme}/suspend`, {});
  assert.ok(!(await isIn()));
  const refused = await logIn(browser(), user);
  assert.deepEqual([refused.status, refused.title], [403, "Your organisation is suspended"]);
  await did(`/v1/tenant/${acme}/resume`);
  assert.ok(!(await isIn()));
});

test("logging out is asked for, ends the session, and takes the cookie away", async () => {
  const user = await person("leaver");
  const visitor = browser();
  await logIn(visitor, user);
  const kept = visitor.jar.get(cookieName)!;
  const out = await visitor.submit(await visitor.get("/oauth/logout"), {});
  assert.equal(out.title, "Logged out");
  assert.equal(visitor.jar.size, 0);
  visitor.jar.set(cookieName, kept);
  assert.equal((await visitor.get("/oauth/login")).title, "Log in");
});

test("an unfinished log-in is over after ten minutes", async () => {
  const user = await withFactor("slow");
  const visitor = browser();
  const step = await logIn(visitor, user);
  server.clock.advance(10 * 60_000);
  assert.equal((await visitor.submit(step, { code: digits(user.secret) })).title, "Log in");
});

test("a fault of ours is a page with the request's id and nothing else", async () => {
  tomorrow();
  const answer = await fetch(`${server.url}/oauth/login`, {
    method: "POST",
    body: "x",
    headers: { "content-type": "text/plain" },
  });
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [400, "text/html; charset=utf-8"]);
  assert.match(await answer.text(), new RegExp(answer.headers.get("x-request-id")!));
});
