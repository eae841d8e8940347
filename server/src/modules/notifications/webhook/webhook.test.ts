import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { Webhook as Verifier } from "standardwebhooks";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted } from "../../../../test/planted.ts";
import { type Received, signedHeaders, startReceiver } from "../../../../test/receiver.ts";
import { modules } from "../../../app.ts";

// The independent verifier looks at the machine's clock.
const server = await startServer({ modules: [...modules, planted], startsAt: new Date().toISOString() });
const ours = await server.tenant(server.rootId, "customer", "Ours");
const theirs = await server.tenant(server.rootId, "customer", "Theirs");
const key = await server.key(ours, "tenant_administrator");
const writer = await server.key(ours, ["export.run"]);
const foreign = await server.key(theirs, "tenant_administrator");

const hour = 3_600_000;
const makeThing = async (name = "thing") =>
  (await server.post("/v1/thing", { name }, { key: writer })).body.id as string;
async function register(url: string, more: object = {}, by = key) {
  const answer = await server.post("/v1/webhook", { url, types: ["demarc.export.*"], ...more }, { key: by });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}
const remove = (id: string) => server.delete(`/v1/webhook/${id}`, { key });
const deliveries = async (webhookId: string, more = "") =>
  (await server.get(`/v1/webhook-delivery?webhookId=${webhookId}&limit=200${more}`, { key })).body.items;
const state = async (id: string) => (await server.get(`/v1/webhook/${id}`, { key })).body;
/** Moves the clock to just after the next attempt is due. */
async function untilNext(webhookId: string): Promise<void> {
  const [first] = await server.sql(
    "select least(min(d.next_attempt_at), max(t.paused_until)) as at, max(t.paused_until) as paused from kernel.delivery d join kernel.delivery_target t on t.id = d.target_id where d.target_id = $1 and d.status in ('pending','retrying')",
    [webhookId],
  );
  const [next] = await server.sql(
    "select max(next_attempt_at) as at from kernel.delivery where target_id = $1 and status in ('pending','retrying')",
    [webhookId],
  );
  assert.ok(first);
  server.clock.set(new Date(next.at.getTime() + 1));
}
const seenBy = (received: Received[], count: number) => eventually(() => received.length >= count);

test("WH-1. a public verifier accepts real deliveries, and v1a verifies by whpk_ in node:crypto", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url, { signatures: ["v1", "v1a"] });
  const thing = await makeThing();
  await seenBy(receiver.received, 1);
  const [got] = receiver.received;
  const event = new Verifier(webhook.secret).verify(got!.body, signedHeaders(got!)) as any;
  assert.equal(event.subject, thing);
  assert.equal(got!.headers["webhook-id"], event.id);
  assert.equal(got!.headers["content-type"], "application/cloudevents+json; charset=utf-8");
  assert.equal(got!.headers["user-agent"], "Demarc/0.0.0-test");
  assert.equal(got!.headers["demarc-attempt"], "1");
  const x = Buffer.from(webhook.publicKey.slice(5), "base64").toString("base64url");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const own = got!.headers["webhook-signature"]!.split(" ").find((part) => part.startsWith("v1a,"))!;
  const signed = `${event.id}.${got!.headers["webhook-timestamp"]}.${got!.body}`;
  assert.ok(verify(null, Buffer.from(signed), publicKey, Buffer.from(own.slice(4), "base64")));
  const [delivery] = await eventually(async () => {
    const all = await deliveries(webhook.id, "&status=delivered");
    return all.length === 1 && all;
  });
  assert.equal(delivery.eventId, event.id);
  assert.deepEqual(
    [delivery.attempts[0].number, delivery.attempts[0].outcome, delivery.attempts[0].status],
    [1, "delivered", 204],
  );
  await remove(webhook.id);
});

test("WH-2. 500, 302 and a reset are tried again on schedule with the same id and bytes; ten failures are dead; a retry sends it once more", async () => {
  let calls = 0;
  const receiver = await startReceiver((_, response, request) => {
    calls++;
    if (calls % 3 === 1) response.writeHead(500).end("broken");
    else if (calls % 3 === 2) response.writeHead(302, { location: "http://127.0.0.1:1/" }).end();
    else request.socket.destroy();
  });
  const webhook = await register(receiver.url);
  await makeThing();
  const waits: number[] = [];
  for (let tries = 1; tries <= 10; tries++) {
    await seenBy(receiver.received, tries);
    const [delivery] = await eventually(async () => {
      const [one] = await deliveries(webhook.id);
      return one?.attempts.length === tries && [one];
    });
    if (tries === 10) assert.equal(delivery.status, "dead");
    else {
      waits.push((Date.parse(delivery.nextAttemptAt) - Date.parse(delivery.attempts.at(-1).at)) / 1_000);
      await untilNext(webhook.id);
    }
  }
  for (const [index, wait] of [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].entries())
    assert.ok(waits[index]! >= wait * 0.8 && waits[index]! <= wait * 1.2, `${index}: ${waits[index]}`);
  const ids = new Set(receiver.received.map(({ headers }) => headers["webhook-id"]));
  const bodies = new Set(receiver.received.map(({ body }) => body));
  const signatures = new Set(receiver.received.map(({ headers }) => headers["webhook-signature"]));
  assert.deepEqual([ids.size, bodies.size, signatures.size], [1, 1, 10]);
  const [dead] = await deliveries(webhook.id);
  assert.deepEqual(
    dead.attempts.slice(0, 3).map((one: any) => [one.outcome, one.status]),
    [
      ["http_error", 500],
      ["redirect", 302],
      ["connection", null],
    ],
  );
  assert.equal(dead.attempts[0].replyBody, "broken");
  const told = await eventually(async () => {
    const types = "types=demarc.notifications.webhook_delivery.dead_lettered";
    return (await server.get(`/v1/event-log?${types}`, { key })).body.items.find(
      ({ subject }: any) => subject === dead.id,
    );
  });
  assert.equal(told.data.resource.webhookId, webhook.id);
  receiver.answer = (_, response) => void response.writeHead(200).end();
  const retried = await server.post(`/v1/webhook-delivery/${dead.id}/retry`, undefined, { key });
  assert.deepEqual([retried.status, retried.body.status, retried.body.replayCount], [202, "pending", 1]);
  await seenBy(receiver.received, 11);
  const last = receiver.received.at(-1)!;
  assert.ok(ids.has(last.headers["webhook-id"]));
  assert.deepEqual(
    [last.headers["demarc-replay"], last.headers["demarc-attempt"], last.body],
    [dead.id, "11", receiver.received[0]!.body],
  );
  assert.equal(
    (await server.post("/v1/webhook-delivery/dlv_01jd8w6r7qf0ztb5c2m9x4k3en/retry", undefined, { key })).status,
    404,
  );
  await remove(webhook.id);
});

test("WH-2. a receiver that hangs ends an attempt at 15 s, and holds up no other", async () => {
  const hanging = await startReceiver(() => {});
  const quick = await startReceiver();
  const slow = await register(hanging.url);
  const other = await register(quick.url);
  for (let n = 0; n < 12; n++) await makeThing();
  await seenBy(quick.received, 12);
  assert.ok(hanging.received.length <= 5, "at most five at once");
  for (const { id } of [slow, other]) await remove(id);
});

test("WH-3. while a rotation overlaps both secrets sign, newest first; afterwards one; with 0 at once", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url);
  const rotate = (body: object) => server.post(`/v1/webhook/${webhook.id}/rotate`, body, { key });
  const rotated = await rotate({});
  assert.equal(rotated.status, 200);
  assert.equal(Date.parse(rotated.body.previousEndsAt) - server.clock.now().getTime(), 24 * hour);
  const again = await rotate({});
  assert.deepEqual([again.status, again.body.code], [409, "rotation_in_progress"]);
  const signers = async () => {
    const before = receiver.received.length;
    await makeThing();
    await seenBy(receiver.received, before + 1);
    return receiver.received.at(-1)!;
  };
  const accepted = (got: Received, secret: string) => {
    // The clock of the installation may be ahead of the machine's by now: the signature alone is looked at.
    const at = new Date(Number(got.headers["webhook-timestamp"]) * 1_000);
    return got.headers["webhook-signature"]!.split(" ").indexOf(
      new Verifier(secret).sign(got.headers["webhook-id"]!, at, got.body),
    );
  };
  const both = await signers();
  assert.deepEqual([accepted(both, rotated.body.secret), accepted(both, webhook.secret)], [0, 1]);
  server.clock.advance(24 * hour + 1);
  const one = await signers();
  assert.deepEqual([accepted(one, rotated.body.secret), accepted(one, webhook.secret)], [0, -1]);
  const third = await rotate({ overlapHours: 0 });
  assert.equal(third.body.previousEndsAt, null);
  const last = await signers();
  assert.deepEqual([accepted(last, third.body.secret), accepted(last, rotated.body.secret)], [0, -1]);
  assert.ok(!third.text.includes(rotated.body.secret.slice(6)));
  await rotate({});
  assert.equal((await rotate({ force: true })).status, 200);
  const forced = await signers();
  assert.equal(forced.headers["webhook-signature"]!.split(" ").length, 2);
  await remove(webhook.id);
});

test("WH-4. a verifier refuses a changed body, an old or early timestamp, a missing header, another webhook's signature", async () => {
  server.clock.set(new Date());
  const receiver = await startReceiver();
  const [webhook, other] = [await register(receiver.url), await register((await startReceiver()).url)];
  await makeThing();
  await seenBy(receiver.received, 1);
  const [got] = receiver.received;
  const verifier = new Verifier(webhook.secret);
  const headers = signedHeaders(got!);
  verifier.verify(got!.body, headers);
  const refused = (body: string, more: Record<string, string>, by = verifier) =>
    assert.throws(() => by.verify(body, { ...headers, ...more }), JSON.stringify(more));
  refused(`${got!.body} `, {});
  refused(got!.body, {}, new Verifier(other.secret));
  for (const minutes of [-6, 6])
    refused(got!.body, { "webhook-timestamp": String(Number(headers["webhook-timestamp"]) + minutes * 60) });
  for (const name of Object.keys(headers)) refused(got!.body, { [name]: "" });
  for (const { id } of [webhook, other]) await remove(id);
});

test("WH-5. secrets and headers are in no reply but the first, and in no row", async () => {
  const receiver = await startReceiver();
  const given = `whsec_${Buffer.alloc(24, 5).toString("base64")}`;
  const webhook = await register(receiver.url, { secret: given, headers: { "X-Token": "fixed-value-1" } });
  assert.equal(webhook.secret, given);
  await makeThing();
  await seenBy(receiver.received, 1);
  assert.equal(receiver.received[0]!.headers["x-token"], "fixed-value-1");
  await eventually(async () => (await deliveries(webhook.id, "&status=delivered")).length === 1);
  const read = await server.get(`/v1/webhook/${webhook.id}`, { key });
  assert.equal(read.body.secretHint, given.slice(-4));
  assert.deepEqual(read.body.headers, { "X-Token": "***" });
  const changed = await server.patch(
    `/v1/webhook/${webhook.id}`,
    { headers: { "x-token": "***", "X-More": "fixed-value-2" } },
    { key },
  );
  assert.deepEqual(changed.body.headers, { "X-Token": "***", "X-More": "***" });
  for (const name of [
    "notifications.webhook",
    "notifications.webhook_secret",
    "kernel.delivery",
    "kernel.delivery_attempt",
    "access.audit",
    "kernel.told",
    "kernel.idempotency",
  ]) {
    const rows = JSON.stringify(await server.sql(`select * from ${name}`));
    for (const value of ["fixed-value", given, given.slice(6)])
      assert.ok(!rows.includes(value), `${name} holds ${value}`);
  }
  for (const [pointer, body] of Object.entries({
    "/secret": { secret: `whsec_${Buffer.alloc(23).toString("base64")}` },
    "/headers/Host": { headers: { Host: "x" } },
    "/headers/Webhook-Id": { headers: { "Webhook-Id": "x" } },
    "/headers/X-A": { headers: { "X-A": "a\nb" } },
    "/apiVersion": { apiVersion: "v9" },
  })) {
    const refused = await server.post("/v1/webhook", { url: receiver.url, types: ["*"], ...body }, { key });
    assert.deepEqual([refused.status, refused.body.errors[0].pointer], [400, pointer]);
  }
  const masked = await server.patch(`/v1/webhook/${webhook.id}`, { headers: { "X-None": "***" } }, { key });
  assert.deepEqual([masked.status, masked.body.errors[0].rule], [400, "masked_value"]);
  await remove(webhook.id);
});

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
  const webhook = await register(receiver.url, {}, owner);
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

test("410 disables at once; 429 makes the whole target wait without using up tries", async () => {
  const [gone, busy] = [
    await startReceiver((_, response) => void response.writeHead(410).end()),
    await startReceiver((_, response) => void response.writeHead(429, { "retry-after": "120" }).end()),
  ];
  const [one, two] = [await register(gone.url), await register(busy.url)];
  await makeThing();
  const off = await eventually(async () => {
    const now = await state(one.id);
    return now.status === "disabled" && now;
  });
  assert.deepEqual([off.disabledReason, (await deliveries(one.id))[0].status], ["gone", "dead"]);
  assert.ok(off.missedFrom);
  await eventually(async () => (await deliveries(two.id, "&status=retrying")).length === 1);
  await makeThing();
  await eventually(async () => (await deliveries(two.id)).length === 2);
  server.clock.advance(110_000);
  const [first, second] = await deliveries(two.id);
  assert.deepEqual([first.attempts[0].outcome, second.attempts.length, busy.received.length], ["throttled", 0, 1]);
  busy.answer = (_, response) => void response.writeHead(200).end();
  server.clock.advance(11_000);
  await seenBy(busy.received, 3);
  for (const { id } of [one, two]) await remove(id);
});

test("only failures: a warning after 24 h and 96 h, off after 120 h with 20 failures", async () => {
  const receiver = await startReceiver((_, response) => void response.writeHead(500).end());
  const webhook = await register(receiver.url);
  for (let n = 0; n < 4; n++) await makeThing();
  await eventually(async () => (await deliveries(webhook.id, "&status=retrying")).length === 4);
  const since = server.clock.now().getTime();
  const warned = async () =>
    (await server.get(`/v1/event-log?types=demarc.notifications.webhook.warned&subject=${webhook.id}`, { key })).body
      .items.length;
  const marks: [number, number][] = [
    [25, 1],
    [97, 2],
  ];
  for (const [hours, count] of marks) {
    server.clock.set(new Date(since + hours * hour));
    await eventually(async () => (await warned()) === count);
    assert.ok((await state(webhook.id)).failingSince);
  }
  for (let hours = 121; (await state(webhook.id)).status === "active"; hours += 1) {
    assert.ok(hours < 200);
    if (hours % 10 === 1) await makeThing();
    const before = receiver.received.length;
    server.clock.set(new Date(since + hours * hour));
    await eventually(async () => receiver.received.length > before || (await state(webhook.id)).status !== "active");
  }
  assert.equal((await state(webhook.id)).disabledReason, "failing");
  assert.ok(receiver.received.length >= 20);
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
  await eventually(
    async () =>
      (
        await server.sql(
          "select 1 from notifications.webhook_place p, kernel.log_state s where p.position = s.head_position and not exists (select from kernel.outbox)",
        )
      ).length === 1,
  );
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

test("a suspended tenant's deliveries are held, and go on when it is not", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url);
  await server.sql("update access.tenant set status = 'suspended' where id = $1", [ours]);
  await server.kernel.forget();
  await server.as(ours, async (ctx) => ctx.emit(...(await thingNews())));
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
async function thingNews() {
  const { thingCreated } = await import("../../../../test/planted.ts");
  const thing = { id: "thg_01jd8w6r7qf0ztb5c2m9x4k3en", name: "x", colour: null };
  return [
    thingCreated as never,
    {
      tenantId: ours,
      subject: thing.id,
      path: `/thing/${thing.id}`,
      resource: thing,
      previous: null,
      changed: [],
    } as never,
  ] as const;
}

test("ratePerSecond spaces the calls", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url, { ratePerSecond: 5 });
  for (let n = 0; n < 3; n++) await makeThing();
  await seenBy(receiver.received, 1);
  await eventually(async () => (await deliveries(webhook.id)).length === 3);
  assert.equal(receiver.received.length, 1);
  for (let n = 2; n <= 3; n++) {
    server.clock.advance(200);
    await seenBy(receiver.received, n);
  }
  await remove(webhook.id);
});

test("401 without a key, 403 without the right, 404 for another tenant's, 409 for the 101st, 412 when stale", async () => {
  const receiver = await startReceiver();
  const webhook = await register(receiver.url);
  assert.equal((await server.get(`/v1/webhook/${webhook.id}`)).status, 401);
  const reader = await server.key(ours, ["webhook.read"]);
  const refused = await server.patch(`/v1/webhook/${webhook.id}`, { description: "x" }, { key: reader });
  assert.deepEqual([refused.status, refused.body.permission], [403, "webhook.manage"]);
  assert.equal((await server.get(`/v1/webhook/${webhook.id}`, { key: foreign })).status, 404);
  await server.sql(
    `insert into notifications.webhook select tenant_id, 'whk_' || n, url, description, types, include_below, api_version, 'disabled', 'by_user', signatures, header_names, headers_sealed, rate_per_second, owner, missed_from, from_position, created_at, updated_at
     from notifications.webhook, generate_series(1, 100 - (select count(*)::int from notifications.webhook where tenant_id = $2)) n where id = $1`,
    [webhook.id, ours],
  );
  const full = await server.post("/v1/webhook", { url: receiver.url, types: ["*"] }, { key });
  assert.deepEqual([full.status, full.body.code], [409, "webhook_limit_reached"]);
  await server.sql("delete from notifications.webhook where disabled_reason = 'by_user'");
  const stale = await server.patch(
    `/v1/webhook/${webhook.id}`,
    { description: "x" },
    { key, headers: { "if-match": '"old"' } },
  );
  assert.equal(stale.status, 412);
  await remove(webhook.id);
});
