import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import { startServer } from "../../../../test/harness.ts";
import { startKeyHolders } from "../../../../test/key-holders.ts";
import { makeUser } from "../../../../test/tokens.ts";

const server = await startServer();
const { partner, customer, issue, statusOf } = await startKeyHolders(server);

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
