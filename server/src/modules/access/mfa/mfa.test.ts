import assert from "node:assert/strict";
import { test } from "node:test";
import { Secret, TOTP } from "otpauth";
import { eventually, startServer } from "../../../../test/harness.ts";
import { makeUser, type TestUser, userTokens } from "../../../../test/tokens.ts";
import { beginSecondFactor, checkSecondFactor, confirmSecondFactor, totpPicture } from "./second-factor.ts";

const server = await startServer();
const a = await server.tenant(server.rootId, "customer", "A", { passwordGrant: true });
const b = await server.tenant(server.rootId, "customer", "B");
await server.sql("update access.tenant set features = features || '{\"passwordGrant\": true}' where parent_id is null");
await server.kernel.forget();
const code = (await server.kernel.gate.tenant(a))!.code;
const stepMs = 30_000;

const codeOf = (secret: string, atMs = server.clock.now().getTime()) =>
  new TOTP({ secret: Secret.fromBase32(secret), algorithm: "SHA1", digits: 6, period: 30 }).generate({
    timestamp: atMs,
  });
const tokenOf = async (user: { id: string }, options = {}, tenantId = a) =>
  (await userTokens(server, tenantId, user.id, options)).token;
const owner = ({ id }: { id: string }) => ({ id, tenantId: a });

/** A user with a second factor, set up as a person does it. */
async function withFactor(name: string, role = "read_only") {
  const user = await makeUser(server, a, name, role);
  const token = await tokenOf(user);
  const begun = await server.call("POST", "/v1/mfa/totp", { token });
  assert.equal(begun.status, 200, begun.text);
  const { secret } = begun.body as { secret: string };
  const confirmed = await server.post("/v1/mfa/totp/confirm", { code: codeOf(secret) }, { token });
  assert.equal(confirmed.status, 200, confirmed.text);
  // The code that confirmed is used.
  server.clock.advance(3 * stepMs);
  return { ...user, secret, recoveryCodes: confirmed.body.recoveryCodes as string[] };
}
const logIn = ({ username }: TestUser, password: string) =>
  server.call("POST", "/oauth/token", { body: { userName: `${code}/${username}`, password } });
const types = async (id: string) =>
  (await server.sql("select type from kernel.told where subject = $1 order by id", [id])).map((row) => row.type);

test("37. with a second factor set up a right password is mfa_required, a wrong one the plain refusal", async () => {
  const user = await makeUser(server, a, "factor.37", "read_only");
  assert.equal((await logIn(user, user.password)).status, 200);
  const token = await tokenOf(user);
  const { body } = await server.call("POST", "/v1/mfa/totp", { token });
  assert.equal(Secret.fromBase32(body.secret).bytes.length, 20, "160 bits");
  const uri = new URL(body.uri);
  assert.deepEqual(
    [uri.protocol, uri.host, decodeURIComponent(uri.pathname)],
    ["otpauth:", "totp", `/Demarc:${code}/factor.37`],
  );
  assert.equal(uri.searchParams.get("secret"), body.secret);
  assert.equal((await logIn(user, user.password)).status, 200, "a secret that is not confirmed asks nobody");
  const confirmed = await server.post("/v1/mfa/totp/confirm", { code: codeOf(body.secret) }, { token });
  assert.equal(new Set(confirmed.body.recoveryCodes).size, 10);
  const right = await logIn(user, user.password);
  assert.deepEqual([right.status, right.body.error, right.body.code], [400, "invalid_grant", "mfa_required"]);
  const wrong = await logIn(user, "not the password");
  assert.deepEqual([wrong.status, wrong.body.error, wrong.body.code], [400, "invalid_grant", "invalid_grant"]);
  assert.deepEqual(await types(user.id), ["demarc.access.mfa.enabled"]);
  const [entry] = await server.sql(
    "select type, action, actor from access.audit where item_id = $1 and type = 'authentication'",
    [user.id],
  );
  assert.deepEqual([entry.action, entry.actor.id], ["mfa_enabled", user.id]);
});

test("51. a code is right once in its step, and so are those of the step before and the step after; none beyond", async () => {
  const user = await withFactor("steps");
  const now = server.clock.now().getTime();
  const check = (steps: number) =>
    checkSecondFactor(server.kernel, owner(user), codeOf(user.secret, now + steps * stepMs));
  assert.equal(await check(0), "right");
  assert.equal(await check(0), "wrong", "the same code again");
  assert.equal(await check(1), "right");
  assert.equal(await check(-1), "right");
  for (const steps of [1, -1, 2, -2]) assert.equal(await check(steps), "wrong", `${steps} steps away`);
  server.clock.advance(stepMs);
  assert.equal(await check(0), "wrong", "still counts, and was used");
  assert.equal(await check(2), "right");
  assert.equal(await checkSecondFactor(server.kernel, owner(user), "000000 or so"), "wrong");
});

test("the codes are those of RFC 6238: its secret and its instants give its figures", async () => {
  const user = await withFactor("rfc");
  const place = { table: "access.totp", column: "secret_sealed", rowId: user.id };
  const sealed = await server.kernel.secrets.seal(a, place, "12345678901234567890");
  await server.sql("update access.totp set secret_sealed = $1, steps = '{}' where user_id = $2", [sealed, user.id]);
  const before = server.clock.now();
  // Appendix B, the last six of eight digits.
  for (const [seconds, figure] of [
    [1_111_111_109, "081804"],
    [1_234_567_890, "005924"],
    [2_000_000_000, "279037"],
  ] as const) {
    server.clock.set(new Date(seconds * 1_000));
    assert.equal(await checkSecondFactor(server.kernel, owner(user), figure), "right", String(seconds));
  }
  server.clock.set(before);
});

test("51. of many who bring one code at the same time, to two processes, one is right", async () => {
  const other = await startServer({ beside: server, startsAt: server.clock.now().toISOString() });
  const user = await withFactor("race");
  other.clock.set(server.clock.now());
  for (const one of [codeOf(user.secret), user.recoveryCodes[0]!]) {
    const verdicts = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        checkSecondFactor((index % 2 ? other : server).kernel, owner(user), one),
      ),
    );
    assert.equal(verdicts.filter((verdict) => verdict === "right").length, 1);
  }
  await other.close();
});

test("a recovery code works once, however it is typed, and only for its user", async () => {
  const user = await withFactor("paper");
  const stranger = await withFactor("stranger");
  const [first, second] = user.recoveryCodes as [string, string];
  assert.equal(await checkSecondFactor(server.kernel, owner(stranger), first), "wrong");
  const typed = first.toUpperCase().replaceAll("-", " ").replaceAll("0", "O").replaceAll("1", "l");
  assert.equal(await checkSecondFactor(server.kernel, owner(user), typed), "right");
  assert.equal(await checkSecondFactor(server.kernel, owner(user), first), "wrong");
  assert.equal(await checkSecondFactor(server.kernel, owner(user), second), "right");
  const trail = await server.sql(
    "select action from access.audit where item_id = $1 and type = 'authentication' order by position",
    [user.id],
  );
  assert.deepEqual(
    trail.map((entry) => entry.action),
    ["mfa_enabled", "recovery_code_used", "recovery_code_used"],
  );
});

test("neither the secret nor a recovery code stands in the database, nor in news or records", async () => {
  const user = await withFactor("hidden");
  const tables = ["access.totp", "access.recovery_code", "access.audit", "kernel.told", "kernel.idempotency"];
  const dump = JSON.stringify(await Promise.all(tables.map((table) => server.sql(`select t::text from ${table} t`))));
  const octets = Buffer.from(Secret.fromBase32(user.secret).bytes);
  for (const told of [user.secret, octets.toString("hex"), octets.toString("base64"), ...user.recoveryCodes])
    assert.ok(!dump.includes(told));
});

test("a repeated call shows the same secret for ten minutes, and then none", async () => {
  const user = await makeUser(server, a, "replayed");
  const token = await tokenOf(user);
  const ask = (more: string) =>
    server.call("POST", "/v1/mfa/totp", { token: more, headers: { "idempotency-key": "totp-1" } });
  const first = await ask(token);
  assert.deepEqual((await ask(token)).body, first.body);
  const [row] = await server.sql(
    "select body, sealed_body from kernel.idempotency where status = 200 order by completed_at desc limit 1",
  );
  assert.deepEqual(JSON.parse(row.body), { secret: null, uri: null });
  assert.ok(!row.sealed_body.includes(first.body.secret));
  server.clock.advance(11 * 60_000);
  assert.deepEqual((await ask(await tokenOf(user))).body, { secret: null, uri: null });
});

test("a wrong code confirms nothing, and neither does one without a set-up of the last hour", async () => {
  const user = await makeUser(server, a, "unsure");
  const token = await tokenOf(user);
  const confirm = (code: unknown, more = token) => server.post("/v1/mfa/totp/confirm", { code }, { token: more });
  const none = await confirm("123456");
  assert.deepEqual([none.status, none.body.code], [409, "mfa_not_begun"]);
  const { secret } = (await server.call("POST", "/v1/mfa/totp", { token })).body;
  const good = codeOf(secret);
  const wrong = await confirm(good === "123456" ? "654321" : "123456");
  assert.deepEqual([wrong.status, wrong.body.code, wrong.body.errors[0].pointer], [400, "code_wrong", "/code"]);
  server.clock.advance(3_600_000);
  const late = await tokenOf(user);
  assert.equal((await confirm(codeOf(secret), late)).body.code, "mfa_not_begun");
  const again = (await server.call("POST", "/v1/mfa/totp", { token: late })).body.secret;
  assert.notEqual(again, secret);
  assert.equal((await confirm(codeOf(secret), late)).body.code, "code_wrong", "begun again, it is another secret");
  assert.equal((await confirm(codeOf(again), late)).status, 200);
  for (const path of ["/v1/mfa/totp", "/v1/mfa/totp/confirm"]) {
    const body = path.endsWith("confirm") ? { code: "123456" } : undefined;
    const twice = await server.call("POST", path, { token: late, body });
    assert.deepEqual([twice.status, twice.body.code], [409, "mfa_enabled"]);
  }
});

test("where the tenant's rules have it off, no second factor is set up", async () => {
  const off = await server.tenant(server.rootId, "customer", "Off");
  await server.sql('update access.tenant set auth_policy = auth_policy || \'{"mfa": "off"}\' where id = $1', [off]);
  const user = await makeUser(server, off, "off");
  const refused = await server.call("POST", "/v1/mfa/totp", { token: await tokenOf(user, {}, off) });
  assert.deepEqual([refused.status, refused.body.code], [409, "mfa_off"]);
});

test("a second factor needs a person, lately logged in, with a credential that is narrowed by nothing", async () => {
  const user = await makeUser(server, a, "careful", "read_only");
  const begin = (ask: object) => server.call("POST", "/v1/mfa/totp", ask);
  assert.equal((await begin({})).status, 401);
  assert.equal((await begin({ key: await server.key(a, "tenant_administrator") })).body.code, "user_needed");
  const old = await tokenOf(user, { authTime: new Date(server.clock.now().getTime() - 900_000) });
  const confirmOld = await server.post("/v1/mfa/totp/confirm", { code: "123456" }, { token: old });
  const removeOld = await server.call("DELETE", "/v1/mfa/totp", { token: old, body: { code: "123456" } });
  for (const refused of [await begin({ token: old }), confirmOld, removeOld])
    assert.deepEqual([refused.status, refused.body.code], [403, "reauthentication_required"]);
  const narrow = await begin({ token: await tokenOf(user, { scopes: ["watch.read"] }) });
  assert.deepEqual([narrow.status, narrow.body.code, narrow.body.permission], [403, "scope_missing", "*"]);
});

test("a code of it, or a recovery code, removes a second factor; then the password alone is enough", async () => {
  for (const by of ["code", "paper"]) {
    const user = await withFactor(`removes.${by}`);
    const token = await tokenOf(user);
    const given = by === "code" ? codeOf(user.secret) : user.recoveryCodes[3];
    const removed = await server.call("DELETE", "/v1/mfa/totp", { token, body: { code: given } });
    assert.equal(removed.status, 204, removed.text);
    assert.equal((await logIn(user, user.password)).status, 200);
    assert.equal(await checkSecondFactor(server.kernel, owner(user), user.recoveryCodes[4]!), "wrong");
    assert.equal((await types(user.id)).at(-1), "demarc.access.mfa.disabled");
    const twice = await server.call("DELETE", "/v1/mfa/totp", { token, body: { code: given } });
    assert.deepEqual([twice.status, twice.body.code], [409, "mfa_not_enabled"]);
  }
});

test("wrong codes count like failed log-ins: after five the right one is not even looked at", async () => {
  const user = await withFactor("guessed");
  const token = await tokenOf(user);
  const remove = (given: string) => server.call("DELETE", "/v1/mfa/totp", { token, body: { code: given } });
  for (let tries = 0; tries < 5; tries++) assert.equal((await remove("nonsense")).body.code, "code_wrong");
  const sixth = await remove(codeOf(user.secret));
  assert.deepEqual([sixth.status, sixth.body.code], [429, "login_throttled"]);
  assert.ok(Number(sixth.headers.get("retry-after")) > 0);
  assert.equal((await logIn(user, user.password)).status, 429);
});

test("mfa.reset takes somebody's factor away, from those who hold no more than the caller, and not one's own", async () => {
  const boss = await withFactor("the.boss", "tenant_administrator");
  const user = await withFactor("lost.phone");
  const weak = await server.key(a, ["mfa.reset", "user.read"]);
  const refused = await server.delete(`/v1/user/${boss.id}/mfa`, { key: weak });
  assert.deepEqual([refused.status, refused.body.code], [403, "grant_exceeds_own"]);
  const own = await server.delete(`/v1/user/${boss.id}/mfa`, { token: await tokenOf(boss) });
  assert.deepEqual([own.status, own.body.code], [409, "own_factor"]);
  const lacking = await server.delete(`/v1/user/${user.id}/mfa`, {
    key: await server.key(a, ["user.read", "user.write"]),
  });
  assert.deepEqual([lacking.status, lacking.body.permission], [403, "mfa.reset"]);
  const foreign = await server.delete(`/v1/user/${user.id}/mfa`, { key: await server.key(b, "tenant_administrator") });
  assert.equal(foreign.status, 404);
  const stale = await tokenOf(boss, { authTime: new Date(server.clock.now().getTime() - 900_000) });
  assert.equal(
    (await server.delete(`/v1/user/${user.id}/mfa`, { token: stale })).body.code,
    "reauthentication_required",
  );
  assert.equal((await logIn(user, user.password)).body.code, "mfa_required");
  const token = await tokenOf(boss);
  for (let times = 0; times < 2; times++)
    assert.equal((await server.delete("/v1/user/lost.phone/mfa", { token })).status, 204);
  assert.equal((await logIn(user, user.password)).status, 200);
  assert.deepEqual(
    (await types(user.id)).filter((type) => type.endsWith("reset")),
    ["demarc.access.mfa.reset"],
  );
  const [entry] = await server.sql("select actor from access.audit where item_id = $1 and action = 'mfa_reset'", [
    user.id,
  ]);
  assert.equal(entry.actor.id, boss.id);
});

test("the log-in page sets a factor up for somebody who has no token yet, and shows it as a picture", async () => {
  const user = await makeUser(server, a, "at.the.door");
  const begun = await beginSecondFactor(server.kernel, owner(user));
  assert.match(totpPicture(begun.uri!).html, /^<svg class="code" role="img".*<path/);
  assert.equal(await confirmSecondFactor(server.kernel, owner(user), "wrong"), "wrong");
  const done = await confirmSecondFactor(server.kernel, owner(user), codeOf(begun.secret!));
  assert.ok(done !== "wrong" && done.recoveryCodes.length === 10);
  assert.equal(await checkSecondFactor(server.kernel, owner(user), done.recoveryCodes[9]!), "right");
  await eventually(async () => (await types(user.id)).includes("demarc.access.mfa.enabled"));
});

test("nothing of a second factor outlives its user", async () => {
  const user = await withFactor("leaves");
  assert.equal(
    (await server.delete(`/v1/user/${user.id}`, { key: await server.key(a, "tenant_administrator") })).status,
    204,
  );
  for (const table of ["access.totp", "access.recovery_code", "access.login"])
    assert.deepEqual(await server.sql(`select 1 from ${table} where user_id = $1`, [user.id]), []);
});
