/** `docs.access`: public, or for whoever shows a credential or has logged in. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../../../test/harness.ts";
import { makeClient, makeUser } from "../../../../test/tokens.ts";
import { createVisitor } from "../../../../test/visitor.ts";

/** Open pages share a bucket per address: each call comes from one of its own. */
const settings = { trustedProxies: ["127.0.0.1"] };
const open = await startServer({ settings });
const server = await startServer({ settings: { ...settings, docsAccess: "signed-in" } });
const tenant = await server.tenant(server.rootId, "customer", "Readers");
const key = await server.key(tenant, []);
const user = await makeUser(server, tenant, "ann", "read_only");
const browser = "text/html,application/xhtml+xml,*/*;q=0.8";
let callers = 0;
const from = () => ({ "x-forwarded-for": `192.0.2.${++callers % 250}` });
const places = [
  "/",
  "/docs/versioning",
  "/docs/directory?version=v1",
  "/docs/error/stale",
  "/docs/no-such-page",
  "/v1/openapi/directory.json",
  "/latest/asyncapi/notifications.json",
];

test("by default everybody may read the index, the pages and the documents", async () => {
  for (const path of places.filter((one) => !one.includes("no-such"))) {
    const { status, headers } = await open.get(path, { headers: from() });
    assert.equal(status, 200, path);
    assert.equal(headers.get("cache-control"), null);
  }
});

test("signed-in asks programs for a credential, and takes a key or a token as everywhere", async () => {
  const { id, secret } = await makeClient(server, tenant, ["user.read"]);
  const granted = await fetch(`${server.url}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  const { access_token: token } = (await granted.json()) as { access_token: string };
  for (const path of places) {
    const refused = await server.get(path, { headers: from() });
    assert.deepEqual([refused.status, refused.body.code], [401, "unauthenticated"], path);
    assert.match(refused.headers.get("www-authenticate")!, /^Bearer /);
    const wrong = await server.get(path, { key: `${key.slice(0, -1)}_`, headers: { ...from(), accept: browser } });
    assert.equal(wrong.status, 401, `${path}: a wrong credential is told so, whoever shows it`);
    const expected = path.includes("no-such") ? 404 : 200;
    for (const credential of [{ key }, { token }]) {
      const { status, headers } = await server.get(path, { ...credential, headers: from() });
      assert.equal(status, expected, path);
      assert.match(headers.get("cache-control") ?? "private", /private/);
    }
  }
  const twice = await server.get("/", { headers: { ...from(), authorization: `Bearer Bearer ${token}` } });
  assert.deepEqual([twice.status, twice.body.hint], [401, "bearer_twice"]);
});

test("signed-in sends a browser to the log-in page, which leads back; then every link of every page works", async () => {
  const visitor = createVisitor(server.url, { accept: browser, ...from() });
  for (const path of places) {
    const sent = await fetch(server.url + path, { headers: { ...from(), accept: browser }, redirect: "manual" });
    assert.equal(sent.status, 303, path);
    assert.equal(sent.headers.get("location"), `/oauth/login?${new URLSearchParams({ to: path })}`);
  }
  const form = await visitor.get("/oauth/login?to=%2Fdocs%2Fdirectory%3Fversion%3Dv1");
  const back = await visitor.submit(form, { username: user.username, password: user.password });
  assert.deepEqual(
    [back.status, back.left, back.url.pathname + back.url.search],
    [303, true, "/docs/directory?version=v1"],
  );

  const seen = new Set<string>();
  const cookie = [...visitor.jar].map(([name, value]) => `${name}=${value}`).join("; ");
  async function follow(path: string): Promise<void> {
    if (seen.has(path)) return;
    seen.add(path);
    const reply = await fetch(server.url + path, {
      headers: { ...from(), cookie, accept: browser },
      redirect: "manual",
    });
    assert.equal(reply.status, 200, path);
    const text = await reply.text();
    if (!/html/.test(reply.headers.get("content-type") ?? "")) return;
    for (const [, to = ""] of text.matchAll(/(?:href|src)="([^"#]+)/g)) if (to.startsWith("/")) await follow(to);
  }
  await follow("/");
  assert.ok(seen.has("/docs/versioning") && seen.has("/v1/openapi/access.json") && seen.size > 40);
});

test("what styles and scripts pages is open, the API asks what it always asked, and a log-in that ended opens nothing", async () => {
  for (const asset of ["page.css", "swagger-ui.css", "oauth2-redirect.html"])
    assert.equal((await server.get(`/docs/asset/${asset}`, { headers: from() })).status, 200, asset);
  assert.equal((await server.get("/v1/version", { headers: from() })).status, 200);
  assert.equal((await server.get("/v1/user", { headers: from() })).status, 401);
  const visitor = createVisitor(server.url, { accept: browser, ...from() });
  const form = await visitor.get("/oauth/login?to=%2F");
  await visitor.submit(form, { username: user.username, password: user.password });
  assert.equal((await visitor.get("/")).status, 200);
  await server.sql("update access.session set ended_at = now() where user_id = $1", [user.id]);
  assert.equal((await visitor.get("/")).left, false);
  assert.match((await visitor.get("/")).text, /type="password"/);
});

test("the log-in page leads to pages of ours and nowhere else", async () => {
  for (const to of [
    "//evil.example",
    "/docs/../oauth/logout",
    "/v1/user",
    "/docs/x?next=//evil",
    "https://evil.example",
  ]) {
    const visitor = createVisitor(server.url, from());
    const form = await visitor.get(`/oauth/login?${new URLSearchParams({ to })}`);
    const page = await visitor.submit(form, { username: user.username, password: user.password });
    assert.equal(page.title, "Logged in", to);
  }
});
