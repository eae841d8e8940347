import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import { Type } from "typebox";
import { route } from "#kernel/contract";
import { mintCredential } from "#kernel/credential";
import { object } from "#kernel/schema";
import { eventually, startServer } from "../../../../test/harness.ts";
import { makeUser } from "../../../../test/tokens.ts";
import { modules } from "../../../app.ts";

/** A POST that only reads, as dry runs do. */
const dryRun = route({
  method: "POST",
  path: "/test-dry-run",
  versions: "v1+",
  id: "testDryRun",
  summary: "Only reads",
  permission: "any",
  effect: "read",
  emits: { none: "It only reads." },
  replies: { 200: object({ ok: Type.Boolean() }) },
  run: () => ({ ok: true }),
});
const server = await startServer({
  modules: [...modules, { name: "export", about: "A route for tests.", routes: [dryRun] }],
  settings: { trustedProxies: [] },
});
const partner = await server.tenant(server.rootId, "partner", "Q");

let tenants = 0;
/** A customer of its own with an administrator's key, so that no test counts the keys of another. */
async function customer() {
  const id = await server.tenant(partner, "customer", `Customer ${++tenants}`);
  return { id, key: await server.key(id, "tenant_administrator") };
}
const issue = (key: string, body: object, headers: Record<string, string> = {}) =>
  server.post("/v1/key", body, { key, headers });
/** The status of a call that any credential may make, and that has no bucket of its own. */
const statusOf = async (key: string) => (await server.get("/v1/operation", { key })).status;
const news = (type: string, subject: string) =>
  server.sql("select * from kernel.told where type = $1 and subject = $2 order by id", [
    `demarc.access.${type}`,
    subject,
  ]);
const trail = (subject: string) =>
  server.sql("select action, changes, actor from access.audit where item_id = $1 order by position", [subject]);

describe("issuing", () => {
  test("18. a key is issued with a secret of the form whose checksum recomputes, which is shown this once", async () => {
    const a = await customer();
    const answer = await issue(a.key, { title: "HR_Sync-01" });
    assert.equal(answer.status, 201, answer.text);
    const { secret, ...key } = answer.body;
    assert.equal(answer.headers.get("location"), `/v1/key/${key.id}`);
    assert.match(secret, /^dmk_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}$/);
    const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const sum = [...secret.slice(-6)].reduce((value, digit) => value * 62 + digits.indexOf(digit), 0);
    assert.equal(sum, crc32(secret.slice(0, 47)));
    assert.equal(key.secrets.length, 1);
    assert.equal(key.secrets[0].hint, secret.slice(0, 14));
    assert.deepEqual(key.roles, [{ roleId: "integrator", within: { kind: "tenant", id: a.id } }]);
    assert.equal(await statusOf(secret), 200);
    const read = await server.get(`/v1/key/${key.id}`, { key: a.key });
    const list = await server.get("/v1/key?q=hr_sync", { key: a.key });
    assert.equal(list.body.items.length, 1);
    assert.ok(!read.text.includes(secret) && !list.text.includes(secret) && !("secret" in read.body));
    assert.equal((await news("key.created", key.id))[0].data.resource.title, "HR_Sync-01");
    assert.equal((await trail(key.id))[0].action, "created");
  });

  test("18. no table of the database holds a secret, whether it was issued, rotated or kept for a replay", async () => {
    const a = await customer();
    const secrets: string[] = [];
    const made = await issue(a.key, { title: "dump" }, { "idempotency-key": "dump-1" });
    secrets.push(made.body.secret);
    const rotated = await server.post(`/v1/key/${made.body.id}/rotate`, {}, { key: a.key });
    secrets.push(rotated.body.secret);
    const client = await server.post(
      "/v1/client",
      { kind: "service", name: "dump" },
      { key: a.key, headers: { "idempotency-key": "dump-2" } },
    );
    secrets.push(client.body.secret);
    assert.equal(secrets.filter((secret) => /^dm[ks]_\w{49}$/.test(secret)).length, 3);
    await statusOf(secrets[1]!);
    await server.kernel.activity.flush();
    const columns = await server.sql(
      `select table_schema as s, table_name as t, column_name as c from information_schema.columns join information_schema.tables using (table_schema, table_name)
       where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema') and (data_type in ('text', 'bytea', 'jsonb', 'json', 'ARRAY', 'character varying'))`,
    );
    assert.ok(columns.length > 100);
    for (const secret of secrets) {
      const random = secret.slice(15);
      const hex = Buffer.from(random).toString("hex");
      for (const { s, t, c } of columns) {
        const found = await server.sql(
          `select 1 from "${s}"."${t}" where strpos("${c}"::text, $1) > 0 or strpos("${c}"::text, $2) > 0 limit 1`,
          [random, hex],
        );
        assert.equal(found.length, 0, `${s}.${t}.${c} holds a secret`);
      }
    }
    const [kept] = await server.sql("select count(*)::int as n from kernel.idempotency where sealed_body is not null");
    assert.ok(kept.n >= 2, "the replies are kept sealed");
  });

  test("20. titles of 1 to 32 letters, digits, _ and - are taken, others are refused on /title", async () => {
    const a = await customer();
    assert.equal((await issue(a.key, { title: "x".repeat(32) })).status, 201);
    for (const title of ["x".repeat(33), "", "HR Sync", "hr.sync", "Clé"]) {
      const answer = await issue(a.key, { title });
      assert.equal(answer.status, 400, title);
      assert.equal(answer.body.errors[0].pointer, "/title");
    }
  });

  test("a title is taken whatever its case, until its key is deleted", async () => {
    const a = await customer();
    const first = await issue(a.key, { title: "Sync" });
    const second = await issue(a.key, { title: "SYNC" });
    assert.equal(second.status, 409);
    assert.equal(second.body.code, "key_title_taken");
    assert.equal(second.body.existingId, first.body.id);
    await server.delete(`/v1/key/${first.body.id}`, { key: a.key });
    const third = await issue(a.key, { title: "SYNC" });
    assert.equal(third.status, 201);
    const other = await issue(a.key, { title: "other" });
    const renamed = await server.patch(`/v1/key/${other.body.id}`, { title: "sync" }, { key: a.key });
    assert.equal(renamed.body.code, "key_title_taken");
    assert.equal(renamed.body.existingId, third.body.id);
  });

  test("all faults of a key are reported at once, each with its pointer and hint", async () => {
    const a = await customer();
    const answer = await issue(a.key, {
      title: "a b",
      scopes: ["desk:reed", "watch.wriet"],
      roles: [{ roleId: "integratr" }, { roleId: "read_only", within: { kind: "tenant", id: partner } }],
      expiresAt: "2026-11-22T10:00:00Z",
      allowedAddresses: ["192.0.2.0/33", "0x7f.1"],
      responsibleUserId: "usr_01jd8w6r7qf0ztb5c2m9x4k3en",
    });
    assert.equal(answer.status, 400);
    const found = answer.body.errors.map((fault: any) => [fault.pointer, fault.rule, fault.hint].join(" ").trim());
    assert.deepEqual(found.sort(), [
      "/allowedAddresses/0 format",
      "/allowedAddresses/1 format",
      "/expiresAt minimum",
      "/responsibleUserId not_found",
      "/roles/0/roleId not_found integrator",
      "/roles/1/within/id not_found",
      "/scopes/0 enum desk:read",
      "/scopes/1 enum watch.write",
      "/title pattern",
    ]);
    const unknown = await issue(a.key, { title: "x", volume: "y", secrets: [] });
    assert.deepEqual(
      unknown.body.errors.map((fault: any) => `${fault.pointer} ${fault.rule}`),
      ["/volume additionalProperties", "/secrets read_only"],
    );
  });

  test("addresses and ranges are kept in one spelling", async () => {
    const a = await customer();
    const allowedAddresses = ["192.0.2.77/24", "::ffff:198.51.100.7", "2001:DB8:0::1/64", "192.0.2.0/24", "::1/128"];
    const answer = await issue(a.key, { title: "net", allowedAddresses });
    assert.deepEqual(answer.body.allowedAddresses, ["192.0.2.0/24", "198.51.100.7", "2001:db8::/64", "::1"]);
  });

  test("21. the 31st standard key is refused; a deleted one makes room, a disabled one does not", async () => {
    const a = await customer();
    await server.sql("update access.tenant set limits = limits || '{\"maxKeys\": 4}' where id = $1", [a.id]);
    const user = await makeUser(server, a.id, "rep");
    const made: string[] = [];
    // The administrator's own key is the first.
    for (let n = 2; n <= 4; n++) made.push((await issue(a.key, { title: `k${n}` })).body.id);
    const integration = { kind: "integration", title: "Desk tool", roles: [{ roleId: "support_rep" }] };
    assert.equal((await issue(a.key, integration)).status, 201);
    assert.equal((await issue(a.key, { kind: "personal", title: "mine", userId: user.id })).status, 201);
    const full = await issue(a.key, { title: "one-more" });
    assert.equal(full.status, 409);
    assert.equal(full.body.code, "key_limit_reached");
    await server.patch(`/v1/key/${made[0]}`, { enabled: false }, { key: a.key });
    assert.equal((await issue(a.key, { title: "one-more" })).status, 409);
    await server.delete(`/v1/key/${made[0]}`, { key: a.key });
    assert.equal((await issue(a.key, { title: "one-more" })).status, 201);
    assert.equal((await issue(a.key, { title: "and-more" })).status, 409);
  });

  test("21. of 50 parallel creates for one place exactly one succeeds", async () => {
    const a = await customer();
    await server.sql("update access.tenant set limits = limits || '{\"maxKeys\": 2}' where id = $1", [a.id]);
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => issue(a.key, { title: `k${n}` })));
    const count = (status: number) => answers.filter((answer) => answer.status === status).length;
    assert.deepEqual([count(201), count(409)], [1, 49]);
    const [{ n }] = await server.sql("select count(*)::int as n from access.key where tenant_id = $1", [a.id]);
    assert.equal(n, 2);
  });

  test("33. a repeat with the same Idempotency-Key has the secret for ten minutes, then null", async () => {
    const a = await customer();
    const headers = { "idempotency-key": "once" };
    const first = await issue(a.key, { title: "once" }, headers);
    server.clock.advance(60_000);
    const again = await issue(a.key, { title: "once" }, headers);
    assert.equal(again.headers.get("idempotency-replayed"), "true");
    assert.equal(again.body.secret, first.body.secret);
    server.clock.advance(600_000);
    const late = await issue(a.key, { title: "once" }, headers);
    assert.equal(late.status, 201);
    assert.equal(late.body.secret, null);
    assert.equal(late.body.id, first.body.id);
  });

  test("27. who lacks key.issue issues nothing", async () => {
    const a = await customer();
    const rep = await server.key(a.id, "support_rep");
    const answer = await issue(rep, { title: "mine" });
    assert.equal(answer.status, 403);
    assert.equal(answer.body.permission, "key.issue");
  });
});

describe("nobody hands out more than they hold", () => {
  test("15. an api_manager issues an integrator key and a rep's personal key, but not an administrator's", async () => {
    const a = await customer();
    const manager = await server.key(a.id, "api_manager");
    assert.equal((await issue(manager, { title: "sync" })).status, 201);
    const powerful = await issue(manager, { title: "boss", roles: [{ roleId: "tenant_administrator" }] });
    assert.equal(powerful.status, 403);
    assert.equal(powerful.body.code, "grant_exceeds_own");
    assert.ok(powerful.body.permissions.includes("tenant.manage"));
    const narrow = { title: "narrow", roles: [{ roleId: "tenant_administrator" }], scopes: ["watch.read"] };
    assert.equal((await issue(manager, narrow)).status, 201, "only what the scopes open is handed out");
    const boss = await makeUser(server, a.id, "boss", "tenant_administrator");
    const rep = await makeUser(server, a.id, "rep", "read_only");
    const personal = (userId: string) => issue(manager, { kind: "personal", title: "mine", userId });
    assert.equal((await personal(boss.id)).body.code, "grant_exceeds_own");
    assert.equal((await personal(rep.id)).status, 201);
  });

  test("scopes and roles cannot be widened, nor a secret renewed, beyond one's own; narrowing is open", async () => {
    const a = await customer();
    const manager = await server.key(a.id, "api_manager");
    const roles = [{ roleId: "tenant_administrator" }];
    const boss = (await issue(a.key, { title: "boss", roles, scopes: ["watch.read", "tenant.manage"] })).body;
    const change = (body: object) => server.patch(`/v1/key/${boss.id}`, body, { key: manager });
    assert.equal((await change({ scopes: ["*"] })).body.code, "grant_exceeds_own");
    const rotated = await server.post(`/v1/key/${boss.id}/rotate`, {}, { key: manager });
    assert.equal(rotated.body.code, "grant_exceeds_own");
    assert.equal((await change({ scopes: ["watch.read"] })).status, 200);
    const more = { roles: [...roles, { roleId: "auditor" }], scopes: ["watch.read", "audit.read"] };
    assert.equal((await change(more)).body.code, "grant_exceeds_own");
    assert.equal((await change({ roles: [{ roleId: "read_only" }] })).status, 200);
    assert.equal((await server.post(`/v1/key/${boss.id}/rotate`, {}, { key: manager })).status, 200);
  });

  test("a desk administrator issues, sees and changes integration keys alone", async () => {
    const a = await customer();
    const desk = await server.key(a.id, "desk_administrator");
    const standard = (await issue(a.key, { title: "std" })).body;
    const refused = await issue(desk, { title: "std2" });
    assert.equal(refused.body.permission, "key.issue");
    const tool = { kind: "integration", title: "Phone tool", roles: [{ roleId: "support_rep" }] };
    const made = await issue(desk, tool);
    assert.equal(made.status, 201, made.text);
    assert.deepEqual(made.body.roles[0].within.kind, "groups");
    assert.equal((await server.get(`/v1/key/${standard.id}`, { key: desk })).status, 404);
    const list = await server.get("/v1/key", { key: desk });
    assert.deepEqual(
      list.body.items.map((key: any) => key.id),
      [made.body.id],
    );
    const foreign = await issue(a.key, { ...tool, title: "Other", roles: [{ roleId: "integrator" }] });
    assert.equal(foreign.body.errors[0].rule, "not_supported");
    assert.equal((await server.delete(`/v1/key/${made.body.id}`, { key: desk })).status, 204);
  });
});

describe("presenting", () => {
  test("19. a key with a wrong checksum costs no look-up and earns the hint, a right form that is unknown does not", async () => {
    const example = "dmk_AbCdEf0123_0123456789abcdefghijklmnopqrstuv3SAiBe";
    const known = await server.get("/v1/ping", { key: example });
    assert.equal(known.status, 401);
    assert.equal("hint" in known.body, false);
    const typo = await server.get("/v1/ping", { key: `${example.slice(0, -1)}f` });
    assert.equal(typo.status, 401);
    assert.equal(typo.body.hint, "key_checksum");
  });

  test("22. a key works as X-API-KEY and as Bearer", async () => {
    const a = await customer();
    const { secret } = (await issue(a.key, { title: "both" })).body;
    assert.equal((await server.get("/v1/operation", { headers: { "X-API-KEY": secret } })).status, 200);
    assert.equal((await server.get("/v1/operation", { headers: { Authorization: `Bearer ${secret}` } })).status, 200);
  });

  test("23. unknown or of another installation, expired, disabled, deleted, or from a wrong address: one 401 body, and the reason only in the log", async () => {
    const a = await customer();
    const make = async (body: object) => (await issue(a.key, body)).body;
    const expired = await make({ title: "expired", expiresAt: new Date(server.clock.now().getTime() + 60_000) });
    const disabled = await make({ title: "disabled" });
    const deleted = await make({ title: "deleted" });
    const elsewhere = await make({ title: "elsewhere", allowedAddresses: ["203.0.113.9"] });
    for (const key of [disabled, deleted]) assert.equal(await statusOf(key.secret), 200);
    await server.patch(`/v1/key/${disabled.id}`, { enabled: false }, { key: a.key });
    await server.delete(`/v1/key/${deleted.id}`, { key: a.key });
    server.clock.advance(120_000);
    // Of another installation, or of none: this one cannot tell.
    const foreign = mintCredential("dmk").secret;
    const bodies = new Set<string>();
    const secrets = [expired.secret, disabled.secret, deleted.secret, elsewhere.secret, foreign];
    for (const [index, key] of secrets.entries()) {
      const headers = { "x-request-id": `case23-${index}` };
      const answer = await server.get("/v1/operation", { key, headers });
      assert.equal(answer.status, 401);
      bodies.add(`${answer.headers.get("www-authenticate")} ${answer.text.replace(/case23-\d/, "")}`);
    }
    assert.equal(bodies.size, 1);
    await server.kernel.activity.flush();
    const reasons = await server.sql(
      "select reason, tenant_id from access.activity where request_id like 'case23-%' order by request_id",
    );
    assert.deepEqual(
      reasons.map(({ reason }) => reason),
      ["expired", "disabled", "revoked", "address", "unknown"],
    );
    assert.deepEqual(new Set(reasons.slice(0, 4).map(({ tenant_id }) => tenant_id)), new Set([a.id]));
    assert.equal((await server.patch(`/v1/key/${disabled.id}`, { enabled: true }, { key: a.key })).body.enabled, true);
    assert.equal(await statusOf(disabled.secret), 200, "enabled counts on the next call too");
  });

  test("24. the address is the peer's, mapped IPv4 read as IPv4; an untrusted peer cannot forge one", async () => {
    const a = await customer();
    const networks = (list: string[]) => ({
      title: `n${list.length}-${list[0]!.replaceAll(/\W/g, "")}`,
      allowedAddresses: list,
    });
    const inside = (await issue(a.key, networks(["127.0.0.0/8"]))).body.secret;
    const outside = (await issue(a.key, networks(["192.0.2.0/24"]))).body.secret;
    const gate = server.kernel.gate;
    assert.equal((await gate.authenticate(outside, "192.0.2.9")).ok, true);
    assert.equal(await statusOf(inside), 200);
    const forged = await server.get("/v1/operation", { key: outside, headers: { "x-forwarded-for": "192.0.2.9" } });
    assert.equal(forged.status, 401);
    const behind = await startServer({
      beside: server,
      settings: { trustedProxies: ["127.0.0.0/8"] },
      startsAt: server.clock.now().toISOString(),
    });
    const mapped = { key: outside, headers: { "x-forwarded-for": "203.0.113.1, ::ffff:192.0.2.9" } };
    assert.equal((await behind.get("/v1/operation", mapped)).status, 200);
    const wrong = { key: outside, headers: { "x-forwarded-for": "192.0.2.9, 203.0.113.1" } };
    assert.equal((await behind.get("/v1/operation", wrong)).status, 401);
    await behind.close();
  });

  test("a key shown from a foreign address is told of once an hour and address, in any number of processes", async () => {
    const a = await customer();
    const { id, secret } = (await issue(a.key, { title: "far", allowedAddresses: ["203.0.113.9"] })).body;
    const told = () => news("key.address_refused", id);
    for (let n = 0; n < 3; n++) assert.equal(await statusOf(secret), 401);
    await eventually(async () => (await told()).length === 1);
    const beside = await startServer({ beside: server, startsAt: server.clock.now().toISOString() });
    assert.equal((await beside.get("/v1/operation", { key: secret })).status, 401);
    await beside.close();
    assert.equal((await told()).length, 1);
    assert.equal((await told())[0].data.address, "127.0.0.1");
    server.clock.advance(3_600_000);
    assert.equal(await statusOf(secret), 401);
    await eventually(async () => (await told()).length === 2);
  });

  test("28. a read-only key opens reads, whatever their verb, and no write", async () => {
    const a = await customer();
    const roles = [{ roleId: "tenant_administrator" }];
    const { id, secret } = (await issue(a.key, { title: "reader", readOnly: true, roles })).body;
    assert.equal((await server.get("/v1/key", { key: secret })).status, 200);
    const write = await server.patch(`/v1/key/${id}`, { description: "x" }, { key: secret });
    assert.equal(write.status, 403);
    assert.equal(write.body.code, "key_read_only");
    assert.equal((await server.post("/v1/test-dry-run", {}, { key: secret })).status, 200);
  });

  test("after 60 wrong credentials in a minute an address gets 429, while a right key goes through", async () => {
    const own = await startServer({ beside: server, startsAt: server.clock.now().toISOString() });
    // The wrong ones of other tests are counted with these, for a minute.
    own.clock.advance(60_000);
    const good = await server.key(partner, "read_only");
    for (let n = 0; n < 60; n++) assert.equal((await own.get("/v1/ping", { key: `wrong-${n}` })).status, 401);
    const refused = await own.get("/v1/ping", { key: "wrong-again" });
    assert.equal(refused.status, 429);
    assert.equal(refused.body.code, "credential_throttled");
    assert.equal(refused.headers.get("retry-after"), "60");
    assert.equal((await own.get("/v1/operation", { key: good })).status, 200);
    own.clock.advance(60_000);
    assert.equal((await own.get("/v1/ping", { key: "wrong-again" })).status, 401);
    await own.close();
  });
});
