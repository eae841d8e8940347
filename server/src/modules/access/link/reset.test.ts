import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { eventually } from "../../../../test/harness.ts";
import { userTokens } from "../../../../test/tokens.ts";
import {
  a,
  aAdm,
  ask,
  codeOf,
  good,
  logIn,
  mailbox,
  minutes,
  person,
  reset,
  resetLink,
  server,
  types,
} from "./link.fixture.ts";

test("54. a reset is answered alike for unknown and known; its link sets one new password, and is then used", async () => {
  const user = await person("forgetful");
  const { token } = await userTokens(server, a, user.id);
  const { key } = aAdm;
  const personal = await server.post("/v1/key", { kind: "personal", title: "mine", userId: user.id }, { key });
  const unknown = await ask("nobody.at.all@example.com");
  const known = await ask(user.email);
  assert.equal(known.status, 202);
  assert.deepEqual([unknown.status, unknown.text], [known.status, known.text]);
  const names = (answer: typeof known) => [...answer.headers.keys()];
  assert.deepEqual(names(unknown), names(known));
  const { link, headers } = await eventually(() => mailbox.to(user.email)[0]);
  assert.equal(headers.get("subject"), "A new password for your log-in at Acme");
  const next = "an entirely new secret 9";
  assert.equal((await reset(link, next)).status, 204);
  const twice = await reset(link, good);
  assert.deepEqual([twice.status, twice.body.code], [400, "link_expired"]);
  const tenant = await codeOf(a);
  assert.equal((await logIn(tenant, "forgetful", user.password)).body.error, "invalid_grant");
  assert.equal((await logIn(tenant, "forgetful", next)).status, 200);
  assert.equal((await server.get("/v1/ping", { token })).status, 401, "its tokens end");
  assert.equal((await server.get("/v1/ping", { key: personal.body.secret })).status, 200, "personal keys stay");
  assert.equal((await types(user.id)).at(-1), "demarc.access.password.changed");
});

test("the answer to a reset waits for nothing that only somebody known has: it comes while the database is locked for links", async () => {
  const user = await person("waits");
  const holder = new pg.Client({ connectionString: server.databaseUrl });
  await holder.connect();
  await holder.query("begin; lock table access.link in access exclusive mode");
  const answer = await ask(user.email);
  assert.equal(answer.status, 202);
  assert.equal(mailbox.to(user.email).length, 0);
  await holder.query("commit");
  await holder.end();
  await eventually(() => mailbox.to(user.email)[0]);
});

test("a reset link is good for an hour to the instant, a name may be given in every way that logs in, and a used link ends the others", async () => {
  const user = await person("hourly");
  const [first, second] = [await resetLink(user), await resetLink(user)];
  const start = server.clock.now();
  server.clock.set(new Date(start.getTime() + 60 * minutes));
  assert.equal((await reset(second)).body.code, "link_expired");
  server.clock.set(start);
  assert.equal((await reset(second)).status, 204);
  assert.equal((await reset(first)).body.code, "link_expired");
  server.clock.advance(2 * 60 * minutes);
  for (const [login, tenant] of [
    [`${await codeOf(a)}/hourly`, undefined],
    ["HOURLY", await codeOf(a)],
  ] as const) {
    const before = mailbox.to(user.email).length;
    assert.equal((await ask(login, tenant)).status, 202);
    await eventually(() => mailbox.to(user.email).length > before);
  }
});

test("nobody's mailbox is filled by strangers: three mails an hour, and five calls at once from one address", async () => {
  const user = await person("bothered");
  server.clock.advance(60 * minutes);
  for (let times = 0; times < 3; times++) await resetLink(user);
  const other = await person("bothered.not");
  assert.equal((await ask(user.email)).status, 202);
  await resetLink(other);
  assert.equal(mailbox.to(user.email).length, 3);
  server.clock.advance(61 * minutes);
  await resetLink(user);
  const answers = await Promise.all(Array.from({ length: 12 }, () => ask("nobody", undefined, "198.51.100.7")));
  const refused = answers.filter(({ status }) => status === 429);
  assert.ok(refused.length >= 6, String(refused.length));
  assert.ok(Number(refused[0]!.headers.get("retry-after")) >= 1);
});

test("a reset also lifts the lock that wrong passwords have put on the names of its user", async () => {
  const user = await person("locked.out");
  const tenant = await codeOf(a);
  for (let tries = 0; tries < 5; tries++) await logIn(tenant, "locked.out", "wrong");
  assert.equal((await logIn(tenant, "locked.out", user.password)).status, 429);
  assert.equal((await reset(await resetLink(user), "an entirely new secret 9")).status, 204);
  assert.equal((await logIn(tenant, "locked.out", "an entirely new secret 9")).status, 200);
});

test("who cannot log in is mailed nothing; a link dies with the log-in, and sleeps while its user is blocked", async () => {
  const user = await person("comes.and.goes");
  const link = await resetLink(user);
  const act = (verb: string) => server.call("POST", `/v1/user/${user.id}/${verb}`, { key: aAdm.key });
  await act("block");
  assert.equal((await reset(link)).body.code, "link_expired");
  assert.equal((await ask(user.email)).status, 202);
  await act("unblock");
  await act("deactivate");
  await act("reactivate");
  assert.equal((await reset(link)).body.code, "link_expired", "coming back revives none");
  const next = await resetLink(user);
  assert.equal(mailbox.to(user.email).length, 2, "none was mailed while it was blocked");
  const { token } = await userTokens(server, a, user.id);
  const body = { current: user.password, new: "an entirely new secret 9" };
  assert.equal((await server.post("/v1/password/change", body, { token })).status, 204);
  assert.equal((await reset(next)).body.code, "link_expired", "a changed password needs no reset");
});

test("a second factor outlives a reset of the password", async () => {
  const user = await person("keeps.factor");
  await server.sql("update access.login set mfa_enabled = true where user_id = $1", [user.id]);
  assert.equal((await reset(await resetLink(user))).status, 204);
  assert.equal((await logIn(await codeOf(a), "keeps.factor", good)).body.code, "mfa_required");
});
