/** Keys that change hands, come from elsewhere, or are another module's; and what a narrow credential can hand out. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Context } from "#kernel/contract";
import { keyCreated, mintBoundKey } from "#modules/access";
import { startServer } from "../../../../test/harness.ts";
import { startKeyHolders } from "../../../../test/key-holders.ts";
import { clientToken, makeClient, makeUser } from "../../../../test/tokens.ts";
import { keysOfEndedUser } from "./ended-user.ts";

const server = await startServer();
const { partner, customer, statusOf } = await startKeyHolders(server);
const provider = await server.key(server.rootId, "provider_administrator");

const types = async (subject: string) =>
  (await server.sql("select type from kernel.told where subject = $1 order by id", [subject])).map(({ type }) =>
    type.replace("demarc.access.", ""),
  );
const trail = (subject: string) =>
  server.sql("select action, changes, comment from access.audit where item_id = $1 order by position", [subject]);
const issue = async (key: string, body: object) => {
  const answer = await server.post("/v1/key", body, { key });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
};

describe("reassigning", () => {
  test("29. a reassigned key keeps its value and all else, acts on behalf of the new user, and the trail has the comment", async () => {
    const a = await customer();
    const [old, next] = [await makeUser(server, a.id, "old"), await makeUser(server, a.id, "next")];
    const made = await issue(a.key, { title: "team", responsibleUserId: old.id });
    const body = { responsibleUserId: next.id, comment: "Old is leaving" };
    const answer = await server.post(`/v1/key/${made.id}/reassign`, body, { key: a.key });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual([answer.body.responsibleUserId, answer.body.secrets], [next.id, made.secrets]);
    const self = await server.get("/v1/principal/self", { key: made.secret });
    assert.equal(self.body.onBehalfOf.id, next.id);
    assert.equal(
      answer.headers.get("etag"),
      (await server.get(`/v1/key/${made.id}`, { key: a.key })).headers.get("etag")!.replace(/-\d+"$/, '-0"'),
    );
    const [entry] = (await trail(made.id)).slice(-1);
    assert.deepEqual(
      [entry.action, entry.comment, entry.changes],
      ["reassigned", "Old is leaving", [{ field: "responsibleUserId", old: old.id, new: next.id }]],
    );
    assert.deepEqual(await types(made.id), ["key.created", "key.reassigned"]);
    await server.post(`/v1/key/${made.id}/reassign`, body, { key: a.key });
    assert.equal((await types(made.id)).length, 2, "repeated: nothing happens");
    const none = await server.post(`/v1/key/${made.id}/reassign`, { responsibleUserId: null }, { key: a.key });
    assert.equal(none.body.responsibleUserId, null);
    assert.equal((await server.get("/v1/principal/self", { key: made.secret })).body.onBehalfOf, null);
  });

  test("a key whose user has gone works again once it is reassigned and enabled, and not before", async () => {
    const a = await customer();
    const [old, next] = [await makeUser(server, a.id, "old"), await makeUser(server, a.id, "next")];
    const made = await issue(a.key, { title: "team", responsibleUserId: old.id });
    await server.sql(`update directory."user" set is_current = false where id = $1`, [old.id]);
    await server.as(a.id, (ctx) => keysOfEndedUser(ctx, old.id));
    const enable = () => server.patch(`/v1/key/${made.id}`, { enabled: true }, { key: a.key });
    assert.equal((await enable()).body.code, "key_owner_gone");
    const gone = await server.post(`/v1/key/${made.id}/reassign`, { responsibleUserId: old.id }, { key: a.key });
    assert.equal(gone.status, 200, "it is his already: nothing changes");
    assert.equal(gone.body.disabledReason, "owner_gone");
    const given = await server.post(`/v1/key/${made.id}/reassign`, { responsibleUserId: next.id }, { key: a.key });
    assert.deepEqual([given.body.enabled, given.body.disabledReason], [false, null]);
    assert.equal(await statusOf(made.secret), 401);
    assert.equal((await enable()).status, 200);
    assert.equal(await statusOf(made.secret), 200);
  });

  test("only a current user of the tenant who logs in takes a key over, only team keys are handed over, by who manages them", async () => {
    const [a, b] = [await customer(), await customer()];
    const made = await issue(a.key, { title: "team" });
    const reassign = (responsibleUserId: unknown, key = a.key, id = made.id) =>
      server.post(`/v1/key/${id}/reassign`, { responsibleUserId }, { key });
    const stranger = await makeUser(server, b.id, "stranger");
    const silent = await makeUser(server, a.id, "silent");
    await server.sql(`update directory."user" set log_in_method = 'none' where id = $1`, [silent.id]);
    const rule = async (id: unknown) => (await reassign(id)).body.errors[0].rule;
    assert.deepEqual(
      [await rule(stranger.id), await rule(a.id), await rule(silent.id), await rule(undefined)],
      ["not_found", "id_kind", "not_supported", "required"],
    );
    const user = await makeUser(server, a.id, "user");
    const personal = await issue(a.key, { kind: "personal", title: "own", userId: user.id });
    const refused = await reassign(user.id, a.key, personal.id);
    assert.deepEqual([refused.status, refused.body.code], [409, "key_not_reassignable"]);
    assert.equal((await reassign(user.id, await server.key(a.id, ["key.read"]))).body.permission, "key.manage");
    assert.equal((await reassign(user.id, b.key)).status, 404);
  });

  test("nobody has a personal key, or answers for one, who does not log in", async () => {
    const a = await customer();
    const silent = await makeUser(server, a.id, "silent");
    await server.sql(`update directory."user" set log_in_method = 'none' where id = $1`, [silent.id]);
    const personal = { kind: "personal", title: "k", userId: silent.id };
    for (const [body, pointer] of [
      [personal, "/userId"],
      [{ title: "k", responsibleUserId: silent.id }, "/responsibleUserId"],
    ] as const) {
      const answer = await server.post("/v1/key", body, { key: a.key });
      assert.deepEqual(
        [answer.status, answer.body.errors[0].pointer, answer.body.errors[0].rule],
        [400, pointer, "not_supported"],
      );
    }
  });
});

describe("importing", () => {
  const inside = (tenantId: string) => ({ key: provider, headers: { "demarc-tenant": tenantId } });

  test("the provider brings keys of other systems along, and they work as they are", async () => {
    const a = await customer();
    const values = [
      "3F2504E0-4F89-11D3-9A0C-0305E82C3301",
      `f47ac10b-58cc-4372-a567-0e02b2c3d479:eu1`,
      "SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbb",
      "x".repeat(200) + "~!@#$%^&*()",
    ];
    for (const [index, value] of values.entries()) {
      const answer = await server.post("/v1/key", { title: `old-${index}`, value }, inside(a.id));
      assert.equal(answer.status, 201, answer.text);
      assert.deepEqual([answer.body.secret, answer.body.tenantId], [value, a.id]);
      assert.equal(answer.body.secrets[0].hint, value.slice(0, 4));
      const self = await server.get("/v1/principal/self", { key: value });
      assert.deepEqual([self.status, self.body.tenant.id], [200, a.id]);
      const rotated = await server.post(`/v1/key/${answer.body.id}/rotate`, {}, { key: a.key });
      assert.equal(rotated.status, 200, rotated.text);
      assert.match(rotated.body.secret, /^dmk_/);
      assert.equal(await statusOf(value), 200, "it overlaps as any other");
      const stored = JSON.stringify([
        await trail(answer.body.id),
        await server.sql("select * from kernel.told where subject = $1", [answer.body.id]),
      ]);
      assert.ok(!stored.includes(value.slice(5)), "neither trail nor news has it");
    }
    assert.equal(await statusOf(`${values[0]} `), 200, "blanks around it are no part of it");
    assert.equal(await statusOf(values[0]!.toLowerCase()), 401, "it is compared whole");
  });

  test("a value that is known, too short, unsendable or ours is refused, and nobody else imports", async () => {
    const [a, b] = [await customer(), await customer()];
    const value = "A".repeat(40);
    const into = (tenantId: string, title: string, given: string) =>
      server.post("/v1/key", { title, value: given }, inside(tenantId));
    const first = await into(a.id, "one", value);
    assert.equal(first.status, 201);
    const twin = await into(b.id, "two", value);
    assert.deepEqual(
      [twin.status, twin.body.errors[0].pointer, twin.body.errors[0].rule],
      [400, "/value", "not_unique"],
    );
    assert.equal((await server.get("/v1/key?title=two", { key: b.key })).body.items.length, 0);
    await server.delete(`/v1/key/${first.body.id}`, { key: a.key });
    assert.equal((await into(b.id, "two", value)).status, 400, "also when its key is deleted");
    for (const bad of [
      "a".repeat(31),
      "a".repeat(257),
      `dmk_${"a".repeat(49)}`,
      `${"a".repeat(40)} b`,
      `${"é".repeat(40)}`,
      `dms_${"a".repeat(49)}`,
    ]) {
      const answer = await into(a.id, "bad", bad);
      assert.deepEqual([answer.status, answer.body.errors?.[0].pointer], [400, "/value"], bad);
    }
    for (const key of [a.key, await server.key(partner, "tenant_administrator")]) {
      const answer = await server.post("/v1/key", { title: "own", value: "B".repeat(40) }, { key });
      assert.deepEqual([answer.status, answer.body.code, answer.body.property], [403, "provider_only", "value"]);
    }
  });

  test("33. an import too is replayed with its value for ten minutes, then without, and no table holds it", async () => {
    const a = await customer();
    const value = "imported-value-that-nobody-else-would-have";
    const again = () =>
      server.post(
        "/v1/key",
        { title: "replayed", value },
        { key: provider, headers: { "demarc-tenant": a.id, "idempotency-key": "import-1" } },
      );
    assert.equal((await again()).body.secret, value);
    server.clock.advance(60_000);
    assert.equal((await again()).body.secret, value);
    const dump = await server.sql("select body, sealed_body from kernel.idempotency");
    assert.ok(!JSON.stringify(dump).includes(value));
    server.clock.advance(600_000);
    const late = await again();
    assert.deepEqual([late.status, late.body.secret], [201, null]);
  });
});

describe("bound keys", () => {
  const mint = (tenantId: string, more: Partial<Parameters<typeof mintBoundKey>[1]> = {}) =>
    server.as(tenantId, (ctx: Context) =>
      mintBoundKey(ctx, { bound: { kind: "endpoint", id: "xep_1" }, title: "Line 1", most: 2, ...more }),
    );

  test("a module mints keys for one thing of its own, up to its own limit, and each is known as that thing's", async () => {
    const a = await customer();
    const { body } = await mint(a.id);
    assert.deepEqual([body.kind, body.title, body.roles], ["bound", "Line 1", []]);
    assert.equal((await server.get("/v1/ping", { key: body.secret! })).status, 200);
    const verdict = await server.kernel.gate.authenticate(body.secret!, "127.0.0.1");
    assert.deepEqual(verdict.ok && verdict.who.bound, { kind: "endpoint", id: "xep_1" });
    assert.equal((await server.get("/v1/watch", { key: body.secret! })).status, 403);
    await assert.rejects(mint(a.id, { title: "LINE 1" }), { message: /title/ });
    await mint(a.id, { title: "Line 2", value: "f47ac10b-58cc-4372-a567-0e02b2c3d480:eu1" });
    assert.equal((await server.get("/v1/ping", { key: "f47ac10b-58cc-4372-a567-0e02b2c3d480:eu1" })).status, 200);
    await assert.rejects(mint(a.id, { title: "Line 3" }), { message: /2 keys/ });
    const other = await mint(a.id, { bound: { kind: "endpoint", id: "xep_2" } });
    assert.equal(other.body.title, "Line 1", "titles and places are each thing's own");
    assert.ok((await types(body.id)).includes(keyCreated.type.replace("demarc.access.", "")));
  });

  test("21. bound keys take no place of the tenant's own, and stand in the one list with them", async () => {
    const a = await customer();
    await server.sql(`update access.tenant set limits = '{"maxKeys": 2, "maxIntegrationKeys": 1}' where id = $1`, [
      a.id,
    ]);
    await mint(a.id);
    await mint(a.id, { title: "Line 2" });
    await issue(a.key, { kind: "integration", title: "Phone tool", roles: [{ roleId: "support_rep" }] });
    const user = await makeUser(server, a.id, "rep");
    await issue(a.key, { kind: "personal", title: "rep", userId: user.id });
    await issue(a.key, { title: "second" });
    const full = await server.post("/v1/key", { title: "third" }, { key: a.key });
    assert.deepEqual([full.status, full.body.code], [409, "key_limit_reached"]);
    const list = await server.get("/v1/key?kind=bound", { key: a.key });
    assert.equal(list.body.items.length, 2);
    const [{ id }] = list.body.items;
    assert.equal(
      (await server.patch(`/v1/key/${id}`, { title: "Line 2" }, { key: a.key })).body.code,
      "key_title_taken",
    );
    assert.equal((await server.patch(`/v1/key/${id}`, { title: "Line 3 (new)" }, { key: a.key })).status, 200);
    assert.equal((await server.delete(`/v1/key/${id}`, { key: a.key })).status, 204);
  });
});

describe("scopes", () => {
  test("a credential hands out nothing that its own scopes shut it out of", async () => {
    const a = await customer();
    const narrow = await server.key(a.id, "tenant_administrator", {
      scopes: ["key.issue", "client.manage", "role.assign"],
    });
    const wide = await server.post("/v1/key", { title: "wide" }, { key: narrow });
    assert.deepEqual([wide.status, wide.body.code], [403, "grant_exceeds_own"]);
    assert.ok(wide.body.permissions.includes("watch.write"));
    const client = await server.post(
      "/v1/client",
      { kind: "service", name: "wide", roles: [{ roleId: "read_only" }] },
      { key: narrow },
    );
    assert.equal(client.body.code, "grant_exceeds_own");
    const user = await makeUser(server, a.id, "user");
    const given = { principal: { kind: "user", id: user.id }, roleId: "read_only" };
    assert.equal((await server.post("/v1/assignment", given, { key: narrow })).body.code, "grant_exceeds_own");
    const own = await server.post(
      "/v1/key",
      { title: "own", roles: [{ roleId: "api_manager" }], scopes: ["key.read"] },
      { key: narrow },
    );
    assert.equal(own.status, 201, own.text);
    const service = await server.key(a.id, "api_manager", { scopes: ["access", "monitoring:read"] });
    const reads = await server.post("/v1/key", { title: "reads", scopes: ["monitoring:read"] }, { key: service });
    assert.equal(reads.status, 201, reads.text);
  });

  test("scopes are closed under implication as roles are: a token for watches sees where they stand", async () => {
    const a = await customer();
    const location = await server.get("/v1/folder", { key: a.key });
    const place = await server.post(
      "/v1/location",
      { name: "Depot", folderId: location.body.items[0].id },
      { key: a.key },
    );
    const made = await server.post(
      "/v1/watch",
      { name: "w", locationId: place.body.id, watchType: "Bearer", accessInKbps: 1, accessOutKbps: 1 },
      { key: a.key },
    );
    const client = await makeClient(server, a.id, "tenant_administrator");
    const token = await clientToken(server, client, "watch.write");
    const seen = await server.get(`/v1/watch/${made.body.id}`, { token });
    assert.equal(seen.status, 200);
    assert.deepEqual(seen.body, (await server.get(`/v1/watch/${made.body.id}`, { key: a.key })).body);
    const readers = await clientToken(server, client, "watch.read");
    assert.equal((await server.get("/v1/folder", { token: readers })).status, 200);
    assert.equal((await server.get("/v1/user", { token: readers })).status, 403);
  });

  test("28. a credential that is scoped to reads changes nothing, also where a route asks for no permission", async () => {
    const a = await customer();
    for (const scopes of [["read"], ["monitoring:read", "key.read"]]) {
      const reader = await server.key(a.id, "tenant_administrator", { scopes });
      const answer = await server.post("/v1/operation/opn_00000000000000000000000000/cancel", undefined, {
        key: reader,
      });
      assert.deepEqual([answer.status, answer.body.code], [403, "scope_missing"]);
    }
    const writer = await server.key(a.id, "tenant_administrator", { scopes: ["watch.write"] });
    assert.equal(
      (await server.post("/v1/operation/opn_00000000000000000000000000/cancel", undefined, { key: writer })).status,
      404,
    );
  });
});
