/** Device codes (RFC 8628; access, section 5.3). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeJwt } from "jose";
import { startServer } from "../../../../test/harness.ts";
import { makeUser } from "../../../../test/tokens.ts";
import { createVisitor, logIn } from "../../../../test/visitor.ts";

const server = await startServer();
const acme = await server.tenant(server.rootId, "customer", "Acme");
const user = await makeUser(server, acme, "ann", "read_only");
const grantType = "urn:ietf:params:oauth:grant-type:device_code";

const form = (path: string, fields: Record<string, string>) =>
  server.call("POST", path, {
    raw: new URLSearchParams(fields).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded", "user-agent": "demarc-cli/1.0 <x>" },
  });
type Begun = { device_code: string; user_code: string; verification_uri: string; verification_uri_complete: string };
async function begin(scope = ""): Promise<Begun> {
  const answer = await form("/oauth/device_authorization", { client_id: "demarc-cli", ...(scope ? { scope } : {}) });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
const poll = (deviceCode: string, clientId = "demarc-cli") =>
  form("/oauth/token", { grant_type: grantType, client_id: clientId, device_code: deviceCode });
const errorOf = async (deviceCode: string) => (await poll(deviceCode)).body.error;

test("a device gets a code to show: eight letters that make no words, ten minutes, every five seconds", async () => {
  const answer = await form("/oauth/device_authorization", { client_id: "demarc-cli" });
  assert.match(answer.body.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
  assert.deepEqual([answer.body.expires_in, answer.body.interval], [600, 5]);
  assert.equal(answer.body.verification_uri, `${server.url}/oauth/device`);
  assert.equal(answer.body.verification_uri_complete, `${server.url}/oauth/device?user_code=${answer.body.user_code}`);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const dump = JSON.stringify(await server.sql("select *, encode(digest, 'escape') as d from access.device_code"));
  assert.ok(!dump.includes(answer.body.device_code) && !dump.includes(answer.body.user_code.replace("-", "")));
});

test("a client that is not registered for it, an unknown one and an unknown scope get no device code", async () => {
  const ask = async (fields: Record<string, string>) => (await form("/oauth/device_authorization", fields)).body.error;
  assert.equal(await ask({ client_id: "demarc-console" }), "unauthorized_client");
  assert.equal(await ask({ client_id: "nobody" }), "invalid_client");
  assert.equal(await ask({ client_id: "demarc-cli", scope: "openid" }), "invalid_scope");
});

test("49. pending at once, slow_down after a second, then ten seconds are needed; approved, it becomes tokens once", async () => {
  const begun = await begin("watch.read");
  assert.equal(await errorOf(begun.device_code), "authorization_pending");
  server.clock.advance(1_000);
  assert.equal(await errorOf(begun.device_code), "slow_down");
  server.clock.advance(10_000);
  assert.equal(await errorOf(begun.device_code), "authorization_pending");
  server.clock.advance(9_999);
  assert.equal(await errorOf(begun.device_code), "slow_down");
  server.clock.advance(15_000);
  assert.equal(await errorOf(begun.device_code), "authorization_pending");

  const visitor = createVisitor(server.url);
  const entry = await logIn(visitor, begun.verification_uri_complete, user);
  assert.equal(entry.title, "Let a device in");
  const confirm = await visitor.submit(entry, {});
  assert.match(confirm.text, /Demarc command line.*use the permission watch\.read.*<code>127\.0\.0\.1<\/code>/s);
  assert.match(confirm.text, /demarc-cli\/1\.0 &#60;x&#62;/);
  assert.equal((await visitor.submit(confirm, {}, "allow")).title, "The device is in");

  const answer = await poll(begun.device_code);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual([answer.body.expires_in, answer.body.scope], [600, "watch.read"]);
  assert.ok(answer.body.refresh_token);
  assert.equal(decodeJwt(answer.body.access_token).sub, user.id);
  assert.equal((await server.get("/v1/watch", { token: answer.body.access_token })).status, 200);
  assert.equal(await errorOf(begun.device_code), "invalid_grant");
});

test("49. a device code of eleven minutes ago is expired_token", async () => {
  const begun = await begin();
  server.clock.advance(11 * 60_000);
  assert.equal(await errorOf(begun.device_code), "expired_token");
});

test("of 20 polls at the moment of approval one gets tokens", async () => {
  const begun = await begin();
  const visitor = createVisitor(server.url);
  const confirm = await visitor.submit(await logIn(visitor, begun.verification_uri_complete, user), {});
  await visitor.submit(confirm, {}, "allow");
  const answers = await Promise.all(Array.from({ length: 20 }, () => poll(begun.device_code)));
  assert.equal(answers.filter(({ status }) => status === 200).length, 1);
});

test("a refused device is told access_denied, another client and nonsense invalid_grant", async () => {
  const begun = await begin();
  const visitor = createVisitor(server.url);
  const confirm = await visitor.submit(await logIn(visitor, begun.verification_uri_complete, user), {});
  assert.equal((await visitor.submit(confirm, {}, "deny")).title, "Refused");
  assert.equal(await errorOf(begun.device_code), "access_denied");
  assert.equal(await errorOf("dmd_nonsense"), "invalid_grant");
  assert.equal((await poll(begun.device_code, "demarc-console")).body.error, "unauthorized_client");
});

test("the code may be typed with other case and blanks; a log-in from before the device asked is not enough", async () => {
  const visitor = createVisitor(server.url);
  await logIn(visitor, "/oauth/login", user);
  server.clock.advance(1_000);
  const begun = await begin();
  const entry = await visitor.get("/oauth/device");
  const again = await visitor.submit(entry, { user_code: ` ${begun.user_code.toLowerCase().replace("-", " ")} ` });
  assert.equal(again.title, "Log in");
  const filled = await visitor.submit(again, { username: user.email, password: user.password });
  assert.equal(filled.title, "Let a device in");
  assert.equal((await visitor.submit(filled, { user_code: begun.user_code })).title, "Let this device in?");
});

test("five wrong codes in fifteen minutes lock the session out of the page, and no other session", async () => {
  const begun = await begin();
  const visitor = createVisitor(server.url);
  let page = await logIn(visitor, "/oauth/device", user);
  for (let tries = 0; tries < 5; tries++) {
    page = await visitor.submit(page, { user_code: "BBBB-BBBB" });
    assert.equal(page.status, 400);
    server.clock.advance(60_000);
  }
  const locked = await visitor.submit(page, { user_code: begun.user_code });
  assert.deepEqual([locked.status, locked.headers.get("retry-after")], [429, String(10 * 60)]);
  assert.equal((await visitor.get("/oauth/device")).status, 429);
  const other = createVisitor(server.url);
  assert.equal((await logIn(other, "/oauth/device", user)).title, "Let a device in");
  server.clock.advance(10 * 60_000);
  assert.equal((await visitor.get("/oauth/device")).title, "Let a device in");
});

test("of thirty wrong codes sent at once five are looked up, and right ones in between take no wrong one back", async () => {
  const begun = await begin();
  const visitor = createVisitor(server.url);
  const page = await logIn(visitor, "/oauth/device", user);
  for (let tries = 0; tries < 6; tries++)
    assert.equal((await visitor.submit(page, { user_code: begun.user_code })).title, "Let this device in?");
  for (let tries = 0; tries < 4; tries++) await visitor.submit(page, { user_code: "BBBB-BBBB" });
  assert.equal((await visitor.submit(page, { user_code: begun.user_code })).title, "Let this device in?");
  await visitor.submit(page, { user_code: "BBBB-BBBB" });
  assert.equal((await visitor.submit(page, { user_code: begun.user_code })).status, 429);

  const hasty = createVisitor(server.url);
  const entry = await logIn(hasty, "/oauth/device", user);
  const answers = await Promise.all(Array.from({ length: 30 }, () => hasty.submit(entry, { user_code: "BBBB-BBBB" })));
  assert.deepEqual(
    [400, 429].map((status) => answers.filter((answer) => answer.status === status).length),
    [5, 25],
  );
});

test("a device that was let in loses its way in with the session that let it, until its tokens are fetched", async () => {
  const begun = await begin();
  const visitor = createVisitor(server.url);
  const confirm = await visitor.submit(await logIn(visitor, begun.verification_uri_complete, user), {});
  await visitor.submit(confirm, {}, "allow");
  await visitor.submit(await visitor.get("/oauth/logout"), {});
  assert.equal(await errorOf(begun.device_code), "invalid_grant");
});

test("device codes of one address are limited: asking costs a row, and nobody has proved anything", async () => {
  const limited = await startServer();
  const ask = () =>
    fetch(`${limited.url}/oauth/device_authorization`, {
      method: "POST",
      body: new URLSearchParams({ client_id: "demarc-cli" }),
    });
  const statuses: number[] = [];
  for (let tries = 0; tries < 30; tries++) statuses.push((await ask()).status);
  assert.equal(statuses[0], 200);
  assert.ok(statuses.includes(429));
});
