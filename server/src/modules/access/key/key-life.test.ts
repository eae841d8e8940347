import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { startKeyHolders } from "../../../../test/key-holders.ts";
import { makeUser, userTokens } from "../../../../test/tokens.ts";
import { keysOfEndedUser } from "./ended-user.ts";
import { keyJobs } from "./jobs.ts";

const server = await startServer();
const { partner, customer, statusOf } = await startKeyHolders(server);
const minuteMs = 60_000;
const dayMs = 86_400_000;

let issuedCount = 0;
async function issued(a: { key: string }, body: object = {}) {
  const answer = await server.post("/v1/key", { title: `k${++issuedCount}`, ...body }, { key: a.key });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}
const rotate = (a: { key: string }, id: string, overlapMinutes?: number) =>
  server.post(`/v1/key/${id}/rotate`, { overlapMinutes }, { key: a.key });
const news = (subject: string) =>
  server.sql(
    "select replace(type, 'demarc.access.', '') as type, data from kernel.told where subject = $1 order by id",
    [subject],
  );
const types = async (subject: string) => (await news(subject)).map(({ type }) => type);

describe("rotation", () => {
  test("25. both secrets work in the overlap, the old one ends with it; rotated again meanwhile, the first is dead at once", async () => {
    const a = await customer();
    const { id, secret: first, title } = await issued(a);
    assert.equal(await statusOf(first), 200);
    const answer = await rotate(a, id, 60);
    assert.equal(answer.status, 200);
    const { secret: second, ...key } = answer.body;
    assert.deepEqual([key.id, key.title, key.secrets.length], [id, title, 2]);
    assert.deepEqual([await statusOf(first), await statusOf(second)], [200, 200]);
    server.clock.advance(60 * minuteMs - 1);
    assert.equal(await statusOf(first), 200);
    server.clock.advance(1);
    assert.deepEqual([await statusOf(first), await statusOf(second)], [401, 200]);
    const third = (await rotate(a, id, 60)).body.secret;
    const fourth = (await rotate(a, id, 60)).body;
    assert.deepEqual([await statusOf(second), await statusOf(third), await statusOf(fourth.secret)], [401, 200, 200]);
    assert.equal(fourth.secrets.length, 2);
    assert.equal(fourth.secrets[1].expiresAt, null);
    assert.deepEqual(await types(id), ["key.created", "key.rotated", "key.rotated", "key.rotated"]);
    const trail = await server.sql("select changes from access.audit where item_id = $1 and action = 'rotated'", [id]);
    assert.ok(trail[0].changes.some((change: any) => change.field === "secret" && change.new === "***"));
  });

  test("26. rotated with 0 the old secret is dead on the next call, as is one that still overlapped", async () => {
    const a = await customer();
    const { id, secret: first } = await issued(a);
    const second = (await rotate(a, id)).body.secret;
    assert.deepEqual([await statusOf(first), await statusOf(second)], [200, 200]);
    const third = (await rotate(a, id, 0)).body;
    assert.deepEqual([await statusOf(first), await statusOf(second), await statusOf(third.secret)], [401, 401, 200]);
    assert.equal(third.secrets.length, 1);
  });

  test("rotation needs no free place, and 10,081 minutes are too many", async () => {
    const a = await customer();
    const { id } = await issued(a);
    await server.sql("update access.tenant set limits = limits || '{\"maxKeys\": 2}' where id = $1", [a.id]);
    assert.equal((await rotate(a, id, 10_080)).status, 200);
    assert.equal((await rotate(a, id, 10_081)).status, 400);
    assert.equal((await server.call("POST", `/v1/key/${id}/rotate`, { key: a.key })).status, 200);
  });

  test("of two rotations at the same time both secrets work and none older", async () => {
    const a = await customer();
    const { id, secret } = await issued(a);
    const answers = await Promise.all([rotate(a, id, 60), rotate(a, id, 60)]);
    assert.deepEqual(await Promise.all(answers.map(({ body }) => statusOf(body.secret))), [200, 200]);
    assert.equal(await statusOf(secret), 401);
  });
});

describe("changing", () => {
  test("30. an edit with an If-Match taken before the key was used goes through, one taken before an edit does not", async () => {
    const a = await customer();
    const { id, secret } = await issued(a);
    const read = await server.get(`/v1/key/${id}`, { key: a.key });
    const etag = read.headers.get("etag")!;
    assert.match(etag, /^"\d+-0"$/);
    const cached = () => server.get(`/v1/key/${id}`, { key: a.key, headers: { "if-none-match": etag } });
    assert.equal((await cached()).status, 304);
    assert.equal(await statusOf(secret), 200);
    const used = await eventually(async () => {
      const answer = await cached();
      return answer.status === 200 && answer;
    });
    assert.equal(used.body.lastUsedAt, server.clock.now().toISOString());
    assert.equal(used.body.lastUsedAddress, "127.0.0.1");
    assert.equal(used.headers.get("etag"), etag.replace("-0", "-1"));
    const edit = (description: string, tag: string) =>
      server.patch(`/v1/key/${id}`, { description }, { key: a.key, headers: { "if-match": tag } });
    assert.equal((await edit("one", etag)).status, 200);
    const stale = await edit("two", etag);
    assert.equal(stale.status, 412);
    const removed = await server.delete(`/v1/key/${id}`, { key: a.key, headers: { "if-match": etag } });
    assert.equal(removed.status, 412);
  });

  test("last use is written at most once a minute, also of what is noted by two processes", async () => {
    const a = await customer();
    const { id, secret } = await issued(a);
    const uses = async () => (await server.sql("select uses, last_used_at from access.key where id = $1", [id]))[0];
    assert.equal(await statusOf(secret), 200);
    await eventually(async () => (await uses()).uses === 1);
    const beside = await startServer({ beside: server, startsAt: server.clock.now().toISOString() });
    server.clock.advance(minuteMs - 1);
    assert.equal(await statusOf(secret), 200);
    assert.equal((await beside.get("/v1/operation", { key: secret })).status, 200);
    // What is noted is written when a server ends.
    await beside.close();
    assert.equal((await uses()).uses, 1);
    server.clock.advance(1);
    assert.equal(await statusOf(secret), 200);
    await eventually(async () => (await uses()).uses === 2);
    assert.deepEqual((await uses()).last_used_at, server.clock.now());
  });

  test("narrowed scopes, roles, addresses and switches count on the next call", async () => {
    const a = await customer();
    const { id, secret } = await issued(a, { roles: [{ roleId: "tenant_administrator" }] });
    const change = (body: object) => server.patch(`/v1/key/${id}`, body, { key: a.key });
    const list = () => server.get("/v1/key", { key: secret });
    assert.equal((await list()).status, 200);
    await change({ scopes: ["desk"] });
    assert.equal((await list()).body.code, "scope_missing");
    await change({ scopes: ["*"] });
    assert.equal((await list()).status, 200, "what was widened counts at once too");
    await change({ roles: [{ roleId: "read_only" }] });
    assert.equal((await list()).body.code, "permission_missing");
    await change({ allowedAddresses: ["203.0.113.1"] });
    assert.equal(await statusOf(secret), 401);
    await change({ allowedAddresses: [] });
    assert.equal(await statusOf(secret), 200);
    await change({ enabled: false });
    assert.equal(await statusOf(secret), 401);
    const told = (await types(id)).filter((type) => type !== "key.address_refused");
    assert.deepEqual(told, ["key.created", ...Array(5).fill("key.updated"), "key.disabled"]);
    const [, second] = await news(id);
    assert.deepEqual([second.data.changed, second.data.previous], [["scopes"], { scopes: ["*"] }]);
  });

  test("a change to what is there already changes nothing and is told to nobody", async () => {
    const a = await customer();
    const { id, title } = await issued(a, { scopes: ["read"] });
    const before = await server.get(`/v1/key/${id}`, { key: a.key });
    for (const body of [{}, { title, scopes: ["read"], expiresAt: null, enabled: true }]) {
      const answer = await server.patch(`/v1/key/${id}`, body, { key: a.key });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("etag"), before.headers.get("etag"));
    }
    assert.deepEqual(await types(id), ["key.created"]);
    const trail = await server.sql("select action from access.audit where item_id = $1", [id]);
    assert.equal(trail.length, 1);
  });

  test("roles taken at their own address make a copy of the key old", async () => {
    const a = await customer();
    const { id } = await issued(a);
    const before = (await server.get(`/v1/key/${id}`, { key: a.key })).headers.get("etag");
    const [assignment] = (await server.get(`/v1/assignment?principalId=${id}`, { key: a.key })).body.items;
    assert.equal((await server.delete(`/v1/assignment/${assignment.id}`, { key: a.key })).status, 204);
    const after = await server.get(`/v1/key/${id}`, { key: a.key, headers: { "if-none-match": before! } });
    assert.equal(after.status, 200);
    assert.deepEqual(after.body.roles, []);
  });

  test("who reads a key but may not change it gets 403, who may not read it 404, as for nonsense", async () => {
    const a = await customer();
    const b = await customer();
    const { id } = await issued(a);
    const reader = await server.key(a.id, ["key.read", "audit.read"]);
    // A permission held in another tenant only: the door lets it in, the target is out of reach.
    for (const path of [`/v1/key/${id}`, "/v1/key/key_01jd8w6r7qf0ztb5c2m9x4k3en", "/v1/key/nonsense"]) {
      assert.equal((await server.get(path, { key: b.key })).status, 404);
      assert.equal((await server.patch(path, {}, { key: b.key })).status, 404);
      assert.equal((await server.delete(path, { key: b.key })).status, 404);
    }
    const refused = await server.patch(`/v1/key/${id}`, {}, { key: reader });
    assert.equal(refused.body.permission, "key.manage");
    const mixed = await server.key(partner, ["key.read"]);
    const [{ id: mixedId }] = await server.sql(
      "select id from access.key where tenant_id = $1 order by id desc limit 1",
      [partner],
    );
    await server.sql(
      `insert into access.assignment (tenant_id, id, principal_kind, principal_id, role_id, within_kind, within_id, created_at, created_by)
       values ($1, 'asg_test', 'key', $2, 'api_manager', 'tenant', $3, now(), 'test')`,
      [partner, mixedId, b.id],
    );
    const seen = await server.delete(`/v1/key/${id}`, { key: mixed });
    assert.equal(seen.status, 403, "held below B alone, read everywhere");
  });

  test("keys are filtered by every stated parameter", async () => {
    const a = await customer();
    const at = (ms: number) => new Date(server.clock.now().getTime() + ms).toISOString();
    const soon = await issued(a, { title: "soon", expiresAt: at(dayMs), description: "Zoë's export" });
    const tool = await issued(a, { kind: "integration", title: "tool", roles: [{ roleId: "support_rep" }] });
    await server.patch(`/v1/key/${tool.id}`, { enabled: false }, { key: a.key });
    const list = async (search: string) => {
      const answer = await server.get(`/v1/key?${search}`, { key: a.key });
      assert.equal(answer.status, 200, answer.text);
      return answer.body.items.map((key: any) => key.id);
    };
    assert.deepEqual(await list("kind=integration,personal"), [tool.id]);
    assert.deepEqual(await list("enabled=false"), [tool.id]);
    assert.deepEqual(await list("title=soon"), [soon.id]);
    assert.deepEqual(await list(`expiresBefore=${at(2 * dayMs)}`), [soon.id]);
    assert.deepEqual(await list("q=ZO%C3%8B"), [soon.id]);
    assert.deepEqual(await list(`q=${soon.secrets[0].hint}`), [soon.id]);
    assert.deepEqual(await list("sort=-title&limit=1"), [tool.id]);
    assert.equal((await list(`tenantId=${a.id}`)).length, 3);
    for (const [search, rule] of [
      [`tenantId=${partner}`, "not_found"],
      [`tenantId=${tool.id}`, "id_kind"],
      ["userId=usr_01jd8w6r7qf0ztb5c2m9x4k3en", "not_found"],
    ]) {
      const answer = await server.get(`/v1/key?${search}`, { key: a.key });
      assert.deepEqual([answer.status, answer.body.errors?.[0].rule], [400, rule]);
    }
    server.clock.advance(dayMs / 2);
    const fresh = await issued(a, { title: "fresh" });
    assert.equal(await statusOf(soon.secret), 200);
    const unused = await eventually(async () => {
      const ids = await list(`unusedSince=${at(0)}`);
      return !ids.includes(soon.id) && ids;
    });
    assert.ok(unused.includes(tool.id));
    assert.ok(!unused.includes(fresh.id), "a key just made is not an unused one");
  });
});

describe("ending", () => {
  test("31. DELETE /v1/key/self ends the key without any permission, also a read-only one's, and then it is 401", async () => {
    const a = await customer();
    const { id, secret } = await issued(a, { roles: [], readOnly: true, scopes: ["desk"] });
    assert.equal((await server.delete("/v1/key/self", { key: secret })).status, 204);
    assert.equal((await server.delete("/v1/key/self", { key: secret })).status, 401);
    assert.equal((await server.get(`/v1/key/${id}`, { key: a.key })).status, 404);
    assert.deepEqual(await types(id), ["key.created", "key.deleted"]);
    const user = await makeUser(server, a.id, "somebody", "read_only");
    const { access_token } = await userTokens(server, a.id, user.id);
    assert.equal((await server.delete("/v1/key/self", { token: access_token })).status, 404);
  });

  test("a deleted key is 404, deleted again 204, and leaves no role behind", async () => {
    const a = await customer();
    const { id, secret } = await issued(a);
    assert.equal(await statusOf(secret), 200);
    for (let n = 0; n < 2; n++) assert.equal((await server.delete(`/v1/key/${id}`, { key: a.key })).status, 204);
    assert.equal(await statusOf(secret), 401);
    assert.equal((await server.get(`/v1/key/${id}`, { key: a.key })).status, 404);
    assert.equal((await rotate(a, id)).status, 404);
    assert.deepEqual(await server.sql("select 1 from access.assignment where principal_id = $1", [id]), []);
    assert.deepEqual(await types(id), ["key.created", "key.deleted"]);
  });

  test("32. of 100 keys deleted under load no call is admitted after the reply", async () => {
    const a = await customer();
    let admittedBefore = 0;
    const lateStatuses: number[] = [];
    async function deleteUnderLoad(secret: string): Promise<void> {
      // Look-ups under way while the key is deleted are what could leave it in a cache.
      const load = Array.from({ length: 3 }, async () => {
        if ((await statusOf(secret)) === 200) admittedBefore++;
      });
      const answer = await server.delete("/v1/key/self", { key: secret });
      assert.equal(answer.status, 204);
      lateStatuses.push(await statusOf(secret));
      await Promise.all(load);
      lateStatuses.push(await statusOf(secret));
    }
    for (let round = 0; round < 10; round++) {
      // Too many wrong credentials in a minute would be answered without a look at them.
      server.clock.advance(minuteMs);
      const secrets = await Promise.all(Array.from({ length: 10 }, () => server.key(a.id, "read_only")));
      await Promise.all(secrets.map(deleteUnderLoad));
    }
    assert.equal(lateStatuses.length, 200);
    assert.deepEqual(new Set(lateStatuses), new Set([401]));
    assert.ok(admittedBefore > 0, "there was a load");
  });

  test("a key is warned of seven days before its end and told of at it, once each, and anew for a later end", async () => {
    const a = await customer();
    const tell = keyJobs.find((job) => job.name === "tell_key_expiry")!;
    const at = (days: number) => new Date(server.clock.now().getTime() + days * dayMs).toISOString();
    const { id, secret } = await issued(a, { expiresAt: at(8) });
    const run = async () => {
      await tell.run(server.kernel);
      await tell.run(server.kernel);
      return (await types(id)).filter((type) => type.includes("expir"));
    };
    assert.deepEqual(await run(), []);
    server.clock.advance(dayMs);
    assert.deepEqual(await run(), ["key.expiry_warned"]);
    await server.patch(`/v1/key/${id}`, { expiresAt: at(8) }, { key: a.key });
    assert.equal((await run()).length, 1);
    server.clock.advance(8 * dayMs);
    assert.equal(await statusOf(secret), 401);
    assert.deepEqual(await run(), ["key.expiry_warned", "key.expired"], "a warning after the end is left out");
  });

  test("the end of a user's log-in deletes its personal keys and disables those that act on its behalf", async () => {
    const a = await customer();
    const user = await makeUser(server, a.id, "leaver", "read_only");
    const own = await issued(a, { kind: "personal", userId: user.id });
    const team = await issued(a, { responsibleUserId: user.id });
    const machine = await issued(a);
    for (const key of [own, team, machine]) assert.equal(await statusOf(key.secret), 200);
    await server.sql(`update directory."user" set is_current = false where id = $1`, [user.id]);
    await server.as(a.id, (ctx) => keysOfEndedUser(ctx, user.id));
    assert.deepEqual(
      [await statusOf(own.secret), await statusOf(team.secret), await statusOf(machine.secret)],
      [401, 401, 200],
    );
    assert.equal((await server.get(`/v1/key/${own.id}`, { key: a.key })).status, 404);
    const { body } = await server.get(`/v1/key/${team.id}`, { key: a.key });
    assert.deepEqual([body.enabled, body.disabledReason], [false, "owner_gone"]);
    const revived = await server.patch(`/v1/key/${team.id}`, { enabled: true }, { key: a.key });
    assert.equal(revived.body.code, "key_owner_gone");
    const refused = await server.post("/v1/key", { title: "late", responsibleUserId: user.id }, { key: a.key });
    assert.equal(refused.body.errors[0].rule, "not_found");
    assert.deepEqual(await types(team.id), ["key.created", "key.disabled"]);
    await server.sql(`update directory."user" set is_current = true where id = $1`, [user.id]);
    assert.equal(await statusOf(own.secret), 401, "coming back revives none");
  });
});

describe("people", () => {
  test("a person's token needs a log-in of the last 15 minutes to issue, rotate or give roles; a key does not", async () => {
    const a = await customer();
    const user = await makeUser(server, a.id, "admin", "tenant_administrator");
    const { id } = await issued(a);
    const tokenOf = async (minutes: number) =>
      (
        await userTokens(server, a.id, user.id, {
          authTime: new Date(server.clock.now().getTime() - minutes * minuteMs),
        })
      ).access_token;
    const old = await tokenOf(15);
    for (const answer of [
      await server.post("/v1/key", { title: "x" }, { token: old }),
      await server.post(`/v1/key/${id}/rotate`, {}, { token: old }),
      await server.patch(`/v1/key/${id}`, { roles: [] }, { token: old }),
      await server.post("/v1/client", { kind: "service", name: "x" }, { token: old }),
    ]) {
      assert.equal(answer.status, 403);
      assert.equal(answer.body.code, "reauthentication_required");
    }
    assert.equal((await server.patch(`/v1/key/${id}`, { description: "x" }, { token: old })).status, 200);
    assert.equal((await server.post("/v1/key", { title: "x" }, { token: await tokenOf(14) })).status, 201);
  });

  test("a user issues its own personal keys where the tenant allows it, five at most, and nobody else's", async () => {
    const a = await customer();
    const user = await makeUser(server, a.id, "self", "read_only");
    const other = await makeUser(server, a.id, "other", "read_only");
    const { access_token: token } = await userTokens(server, a.id, user.id);
    const own = (title: string, more: object = {}) =>
      server.post("/v1/key", { kind: "personal", title, userId: user.id, ...more }, { token });
    assert.equal((await own("k0")).body.permission, "key.issue");
    await server.sql(
      `update access.tenant set auth_policy = auth_policy || '{"selfServiceKeys": true}' where id = $1`,
      [a.id],
    );
    const made = await own("k0");
    assert.equal(made.status, 201, made.text);
    assert.equal(await statusOf(made.body.secret), 200);
    assert.equal((await own("other", { userId: other.id })).body.permission, "key.issue");
    assert.equal((await own("std", { kind: "standard", userId: undefined })).body.permission, "key.issue");
    for (let n = 1; n < 5; n++) assert.equal((await own(`k${n}`)).status, 201);
    assert.equal((await own("k5")).body.code, "key_limit_reached");
    const narrow = await userTokens(server, a.id, user.id, { scopes: ["watch.read"] });
    const widened = await server.post(
      "/v1/key",
      { kind: "personal", title: "wide", userId: user.id },
      { token: narrow.access_token },
    );
    assert.equal(widened.status, 403, "a narrow token makes no wide key");
  });
});
