import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../../../../test/harness.ts";
import { hour, seenBy, startWebhooks } from "./webhook.fixture.ts";

const attemptMs = 1_500;
const { server, startReceiver, key, makeThing, register, remove, deliveries, state, untilNext } = await startWebhooks({
  attemptMs,
});

test("WH-2. 500, 302, a reset and a hanging receiver are tried again on schedule with the same id and bytes; ten failures are dead; a retry sends it once more", async () => {
  let calls = 0;
  const receiver = await startReceiver((_, response, request) => {
    calls++;
    if (calls === 4) return;
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
    dead.attempts.slice(0, 4).map((one: any) => [one.outcome, one.status]),
    [
      ["http_error", 500],
      ["redirect", 302],
      ["connection", null],
      ["timeout", null],
    ],
  );
  const tookMs = dead.attempts[3].durationMs;
  assert.ok(tookMs >= attemptMs && tookMs < attemptMs + 5_000, `${tookMs}`);
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

test("WH-2. a receiver that hangs holds up no other, and has five calls at once at most", async () => {
  let [open, most] = [0, 0];
  const hanging = await startReceiver((_, response) => {
    most = Math.max(most, ++open);
    response.once("close", () => open--);
  });
  const quick = await startReceiver();
  const slow = await register(hanging.url);
  const other = await register(quick.url);
  for (let n = 0; n < 12; n++) await makeThing();
  await seenBy(quick.received, 12);
  assert.ok((await deliveries(slow.id)).every((one: any) => one.status !== "delivered"));
  await eventually(async () => (await deliveries(slow.id)).some((one: any) => one.attempts[0]?.outcome === "timeout"));
  assert.equal(most, 5);
  for (const { id } of [slow, other]) await remove(id);
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
