import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../../../../test/harness.ts";
import { thingCreated } from "../../../../test/planted.ts";
import { clientToken, makeClient, makeUser, userTokens } from "../../../../test/tokens.ts";
import { hour, seenBy, startWebhooks } from "./webhook.fixture.ts";

const { server, startReceiver, ours, key, makeThing, register, remove, deliveries, state, untilNext, caughtUp } =
  await startWebhooks();

test("WH-6. patterns choose the events; a type that does not exist is refused with a hint; a webhook never hears of itself", async () => {
  const [users, self] = [await startReceiver(), await startReceiver()];
  const webhook = await register(users.url, { types: ["demarc.directory.*"] });
  const news = await register(self.url, { types: ["demarc.notifications.webhook.*"] });
  await makeThing();
  const person = { username: "ann", fullname: "Ann", email: "ann@x.example", defaultOrgUnitExternalId: "ROOT" };
  const user = await server.post("/v1/user", person, { key });
  await server.patch(`/v1/webhook/${news.id}`, { description: "x" }, { key });
  await server.patch(`/v1/webhook/${webhook.id}`, { description: "y" }, { key });
  await Promise.all([seenBy(users.received, 1), seenBy(self.received, 1)]);
  assert.deepEqual(
    users.received.map(({ body }) => JSON.parse(body).subject),
    [user.body.id],
  );
  assert.deepEqual(
    self.received.map(({ body }) => JSON.parse(body).subject),
    [webhook.id],
  );
  const wrong = await server.post("/v1/webhook", { url: users.url, types: ["demarc.directory.usr.*"] }, { key });
  assert.deepEqual(
    [wrong.status, wrong.body.errors[0].pointer, wrong.body.errors[0].hint],
    [400, "/types/0", "demarc.directory.user.*"],
  );
  for (const { id } of [webhook, news]) await remove(id);
});

test("WH-6. the owner loses the right: what waits is discarded and none is sent; without an owner it is disabled until another takes it", async () => {
  const receiver = await startReceiver((_, response) => void response.writeHead(500).end());
  const owner = await server.key(ours, ["webhook.manage", "export.run", "notification.subscribe"]);
  const webhook = await register(receiver.url, {}, { key: owner });
  await makeThing();
  await eventually(async () => (await deliveries(webhook.id, "&status=retrying")).length === 1);
  await server.sql(
    `update access.role set permissions = '{"webhook.manage":"allow"}' where id = (select role_id from access.assignment where principal_id = $1)`,
    [webhook.ownerId],
  );
  await server.kernel.forget();
  const sent = receiver.received.length;
  await untilNext(webhook.id);
  await makeThing();
  await eventually(async () => (await deliveries(webhook.id, "&status=discarded")).length === 2);
  assert.equal(receiver.received.length, sent);
  const gone = await server.delete(`/v1/key/${webhook.ownerId}`, { key });
  assert.equal(gone.status, 204);
  await makeThing();
  await eventually(async () => (await state(webhook.id)).disabledReason === "owner_gone");
  receiver.answer = (_, response) => void response.writeHead(200).end();
  const adopted = await server.patch(`/v1/webhook/${webhook.id}`, { status: "active" }, { key });
  assert.deepEqual([adopted.body.status, adopted.body.disabledReason], ["active", null]);
  assert.notEqual(adopted.body.ownerId, webhook.ownerId);
  await makeThing();
  await seenBy(receiver.received, sent + 1);
  await remove(webhook.id);
});

const holds = ["webhook.manage", "export.run", "notification.subscribe"] as const;
const asClient = async (id: string, change: object) =>
  assert.equal((await server.patch(`/v1/client/${id}`, change, { key })).status, 200);

test("an owner that may not act for the time being: everything is held and nothing sent, and goes out when it may again", async () => {
  const [client, user, keyOfOwner] = [
    await makeClient(server, ours, holds),
    await makeUser(server, ours, "sleeper", holds),
    await server.key(ours, holds),
  ];
  const inUser = (what: string) => async () =>
    assert.equal((await server.call("POST", `/v1/user/${user.id}/${what}`, { key })).status, 204);
  const inKey = (enabled: boolean) => async () =>
    assert.equal((await server.patch(`/v1/key/${webhooks[0]!.ownerId}`, { enabled }, { key })).status, 200);
  const owners = [
    { by: { key: keyOfOwner }, off: inKey(false), on: inKey(true) },
    {
      by: { token: (await userTokens(server, ours, user.id)).access_token },
      off: inUser("block"),
      on: inUser("unblock"),
    },
    {
      by: { token: await clientToken(server, client) },
      off: () => asClient(client.id, { enabled: false }),
      on: () => asClient(client.id, { enabled: true }),
    },
  ];
  const receivers = await Promise.all(owners.map(() => startReceiver()));
  const webhooks: { id: string; ownerId: string }[] = [];
  for (const [index, { by }] of owners.entries()) webhooks.push(await register(receivers[index]!.url, {}, by));
  for (const { off } of owners) await off();
  const things = [await makeThing(), await makeThing()];
  for (const { id } of webhooks)
    await eventually(async () => (await deliveries(id, "&status=held")).length === things.length);
  for (const [index, { on }] of owners.entries()) {
    assert.deepEqual([receivers[index]!.received.length, (await state(webhooks[index]!.id)).status], [0, "active"]);
    await on();
    await seenBy(receivers[index]!.received, things.length);
    assert.deepEqual(receivers[index]!.received.map(({ body }) => JSON.parse(body).subject).sort(), things.toSorted());
    const [one] = await deliveries(webhooks[index]!.id);
    assert.equal(one.attempts.length, 1);
    await remove(webhooks[index]!.id);
  }
});

test("an owner that is gone for good (deleted, deactivated, expired) leaves its webhook disabled, and nothing is sent", async () => {
  const client = await makeClient(server, ours, holds);
  const user = await makeUser(server, ours, "leaver", holds);
  const expiresAt = new Date(server.clock.now().getTime() + hour);
  const receiver = await startReceiver();
  const webhooks = [
    await register(receiver.url, {}, { token: await clientToken(server, client) }),
    await register(receiver.url, {}, { token: (await userTokens(server, ours, user.id)).access_token }),
    await register(receiver.url, {}, { key: await server.key(ours, holds, { expiresAt }) }),
  ];
  // First off for a while: what is held by then is not stuck.
  await asClient(client.id, { enabled: false });
  await makeThing();
  await eventually(async () => (await deliveries(webhooks[0].id, "&status=held")).length === 1);
  for (const { id } of webhooks.slice(1))
    await eventually(async () => (await deliveries(id, "&status=delivered")).length === 1);
  assert.equal((await server.delete(`/v1/client/${client.id}`, { key })).status, 204);
  const ended = await server.call("POST", `/v1/user/${user.id}/deactivate`, { key });
  assert.ok(ended.status < 300, ended.text);
  server.clock.advance(hour);
  const before = receiver.received.length;
  await makeThing();
  for (const { id } of webhooks) {
    const off = await eventually(async () => {
      const now = await state(id);
      return now.status === "disabled" && now;
    });
    assert.deepEqual([off.disabledReason, off.missedFrom === null], ["owner_gone", false]);
    await remove(id);
  }
  assert.equal(receiver.received.length, before);
});

test("a suspended tenant's deliveries are held, and go on when it is not", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url);
  await server.sql("update access.tenant set status = 'suspended' where id = $1", [ours]);
  await server.kernel.forget();
  const thing = { id: "thg_01jd8w6r7qf0ztb5c2m9x4k3en", name: "x", colour: null };
  const news = { tenantId: ours, subject: thing.id, path: `/thing/${thing.id}`, resource: thing };
  await server.as(ours, async (ctx) => ctx.emit(thingCreated, { ...news, previous: null, changed: [] }));
  await eventually(
    async () =>
      (await server.sql("select 1 from kernel.delivery where target_id = $1 and status = 'held'", [webhook.id]))
        .length === 1,
  );
  assert.equal(receiver.received.length, 0);
  await server.sql("update access.tenant set status = 'active' where id = $1", [ours]);
  await server.kernel.forget();
  await seenBy(receiver.received, 1);
  await remove(webhook.id);
});
test("WH-8. what was held goes out when it is active again; missed is counted dry, then delivered; a test send changes nothing", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url);
  const to = (status: string) => server.patch(`/v1/webhook/${webhook.id}`, { status }, { key });
  await to("paused");
  const held = await makeThing();
  await eventually(async () => (await deliveries(webhook.id, "&status=held")).length === 1);
  const disabled = await to("disabled");
  assert.equal(disabled.body.disabledReason, "by_user");
  const missed = [await makeThing(), await makeThing(), await makeThing()];
  server.clock.advance(48 * hour);
  await caughtUp();
  const replay = (body: object) => server.post(`/v1/webhook/${webhook.id}/replay`, body, { key });
  const off = await replay({ scope: "missed" });
  assert.deepEqual([off.status, off.body.code], [409, "webhook_not_active"]);
  assert.equal(receiver.received.length, 0);
  await to("active");
  await seenBy(receiver.received, 1);
  assert.equal(JSON.parse(receiver.received[0]!.body).subject, held);
  const dry = await replay({ scope: "missed", dryRun: true });
  assert.deepEqual([dry.status, dry.body.count, dry.body.byType], [200, 3, { "demarc.export.thing.created": 3 }]);
  const changed = await replay({ scope: "missed", expectedCount: 4 });
  assert.deepEqual([changed.status, changed.body.code], [409, "count_changed"]);
  const real = await replay({ scope: "missed", expectedCount: 3 });
  assert.equal(real.status, 202);
  await seenBy(receiver.received, 4);
  const again = receiver.received.slice(1);
  assert.deepEqual(again.map(({ body }) => JSON.parse(body).subject).sort(), missed.sort());
  for (const { headers } of again) assert.equal(headers["demarc-replay"], real.body.id);
  await eventually(
    async () => (await server.get(`/v1/operation/${real.body.id}`, { key })).body.status === "succeeded",
  );
  assert.equal((await state(webhook.id)).missedFrom, null);
  assert.equal((await replay({ scope: "missed", dryRun: true })).body.count, 0);
  assert.equal((await replay({ scope: "all", dryRun: true })).body.count, 4);
  const late = await replay({
    scope: "all",
    since: "2020-01-01T00:00:00.000Z",
    types: ["demarc.directory.*"],
    dryRun: true,
  });
  assert.equal(late.body.count, 0);

  await to("disabled");
  receiver.answer = (_, response) => void response.writeHead(403).end("no");
  const log = async () => (await server.sql("select count(*)::int as n from kernel.told"))[0].n;
  const [before, rows] = [await log(), (await deliveries(webhook.id)).length];
  const tested = await server.post(`/v1/webhook/${webhook.id}/test`, {}, { key });
  assert.deepEqual([tested.status, tested.body.attempt.outcome, tested.body.attempt.status], [200, "http_error", 403]);
  const got = receiver.received.at(-1)!;
  assert.match(got.headers["webhook-id"]!, /^test_/);
  assert.equal(JSON.parse(got.body).test, true);
  assert.deepEqual([await log(), (await deliveries(webhook.id)).length], [before, rows]);
  await remove(webhook.id);
});

test("a test send under an Idempotency-Key is sent once, and its reply repeated; with another key it is sent again", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url);
  const send = (name: string) =>
    server.post(`/v1/webhook/${webhook.id}/test`, {}, { key, headers: { "idempotency-key": name } });
  const first = await send("try-1");
  assert.deepEqual([first.status, first.headers.get("idempotency-replayed")], [200, null], first.text);
  const again = await send("try-1");
  assert.deepEqual([again.status, again.headers.get("idempotency-replayed"), again.text], [200, "true", first.text]);
  assert.equal(receiver.received.length, 1);
  assert.equal((await send("try-2")).headers.get("idempotency-replayed"), null);
  assert.equal(receiver.received.length, 2);
  await remove(webhook.id);
});
