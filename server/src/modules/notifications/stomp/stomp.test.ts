/** In a process of its own: ids never step back in time, whatever clock an earlier file had. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkCloudEvent } from "../../../../test/cloud-event.ts";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted, thingCreated } from "../../../../test/planted.ts";
import { connectClient, subscribe } from "../../../../test/stomp-client.ts";
import { modules } from "../../../app.ts";
import { newId } from "../../../kernel/ids.ts";

const server = await startServer({ modules: [...modules, planted] });
const { url } = server;
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const writer = await server.key(tenant, ["export.run"]);
const holds = ["notification.subscribe", "export.run"] as const;
const freshKey = () => server.key(tenant, holds);
let made = 0;
async function makeThing(name = `thing ${++made}`): Promise<string> {
  return (await server.post("/v1/thing", { name }, { key: writer })).body.id;
}

/** Many at one moment. */
async function emitThings(tenantId: string, count: number): Promise<string[]> {
  return server.as(tenantId, async (ctx) =>
    Array.from({ length: count }, (_, n) => {
      const thing = { id: newId("thg"), name: `thing ${n}`, colour: null };
      const place = { tenantId, subject: thing.id, path: `/thing/${thing.id}` };
      ctx.emit(thingCreated, { ...place, resource: thing, previous: null, changed: [] });
      return thing.id;
    }),
  );
}

test("ST-6. what is committed after the RECEIPT arrives, as a CloudEvent with its length in octets", async () => {
  const client = await connectClient(url, await freshKey());
  const receipt = await subscribe(client, "r1");
  assert.match(receipt.headers.cursor!, /^[A-Za-z0-9_-]{32}$/);
  assert.equal(receipt.headers["api-version"], "v1");
  const subject = await makeThing("Grüße ✓");
  const { headers, body } = await client.next("MESSAGE");
  assert.equal(headers["content-type"], "application/cloudevents+json;charset=utf-8");
  assert.equal(Number(headers["content-length"]), body.length);
  const event = JSON.parse(body.toString());
  assert.equal(event.specversion, "1.0");
  assert.equal(event.subject, subject);
  assert.equal(event.data.resource.name, "Grüße ✓");
  assert.equal(headers["event-id"], event.id);
  assert.equal(headers["event-type"], "demarc.export.thing.created");
  assert.ok(headers.cursor && !headers.ack);
  checkCloudEvent(event);
  const another = await server.key(tenant, ["export.run"]);
  const { body: thing } = await server.post("/v1/thing", { name: "by somebody else" }, { key: another });
  await client.next("MESSAGE", 1);
  const [mine, theirs] = client.messages().map((message) => JSON.parse(message.body.toString()));
  assert.equal(theirs.subject, thing.id);
  assert.notEqual(theirs.data.actor.id, mine.data.actor.id);
  client.cut();
});

test("ST-7. two subscriptions are two copies; after UNSUBSCRIBE only the other receives", async () => {
  const client = await connectClient(url, await freshKey());
  await subscribe(client, "a");
  await subscribe(client, "b");
  const one = await makeThing();
  await eventually(() => client.messages().length === 2);
  assert.deepEqual([client.subjects("a"), client.subjects("b")], [[one], [one]]);
  assert.equal(new Set(client.messages().map(({ headers }) => headers["message-id"])).size, 2);
  client.send("UNSUBSCRIBE\nid:a\nreceipt:u\n\n\0");
  await client.receipt("u");
  const two = await makeThing();
  await eventually(() => client.subjects("b").length === 2);
  assert.deepEqual([client.subjects("a"), client.subjects("b")], [[one], [one, two]]);
  client.cut();
});

test("ST-8. a SUBSCRIBE that lacks or bends something faults with its receipt and gets none", async () => {
  const key = await freshKey();
  const faultOf = async (headers: string, version = "1.2") => {
    const client = await connectClient(url, key, version);
    await subscribe(client, "open");
    client.send(`SUBSCRIBE\n${headers}\nreceipt:bad\n\n\0`);
    const fault = await client.fault();
    assert.equal(client.frames.at(-1)!.headers["receipt-id"], "bad");
    assert.equal(client.of("RECEIPT").length, 1);
    return fault;
  };
  assert.equal(await faultOf("destination:/topic/event"), "header_missing 1002");
  assert.equal(await faultOf("id:x"), "header_missing 1002");
  assert.equal(await faultOf("id:x\ndestination:/topic/event\nack:foo"), "header_invalid 1002");
  assert.equal(await faultOf("id:open\ndestination:/topic/event"), "subscription_open 1002");
  assert.equal(await faultOf("id:x\ndestination:/topic/event\nselector:a = 1"), "header_invalid 1002");
  assert.equal(await faultOf("id:x\ndestination:/topic/event\ntypes:demarc.nothing.*"), "header_invalid 1002");
  const never = [
    "/topic/event/nothing",
    "/topic/nothing",
    "/topic/v9/event",
    "/queue/nobody",
    "/topic/event/directory.user",
  ];
  for (const destination of never)
    assert.equal(await faultOf(`id:x\ndestination:${destination}`), "destination_not_available 1008", destination);
  assert.equal(await faultOf("id:x\ndestination:/topic/event\ntenant:elsewhere"), "destination_not_available 1008");
  const old = await connectClient(url, key, "1.0");
  old.send("SUBSCRIBE\ndestination:/topic/event\nreceipt:r\n\n\0");
  await old.receipt("r");
  old.cut();
});

test("ST-13. DISCONNECT is receipted and closed with 1000", async () => {
  const key = await freshKey();
  const client = await connectClient(url, key);
  client.send("DISCONNECT\nreceipt:77\n\n\0");
  await client.receipt("77");
  assert.equal(await client.fault(), "no ERROR, 1000");
});

test("ST-13. heart-beat:1000,1000: an idle server beats at least every second; who falls mute is told so between two and three seconds", async () => {
  const lively = await startServer({
    beside: server,
    settings: { stomp: { ...server.kernel.settings.stomp, heartBeat: [1_000, 1_000] } },
  });
  const key = await freshKey();
  const beats: number[] = [];
  const idle = await connectClient(lively.url, key, "1.2", "heart-beat:1000,1000\n");
  idle.ws.on("message", (data: Buffer) => {
    assert.equal(data.toString(), "\n");
    beats.push(performance.now());
  });
  beats.push(performance.now());
  const beating = setInterval(() => idle.send("\n"), 400);
  const mute = await connectClient(lively.url, key, "1.2", "heart-beat:1000,1000\n");
  const mutedAt = performance.now();
  assert.equal(mute.of("CONNECTED")[0]!.headers["heart-beat"], "1000,1000");
  assert.equal(await mute.fault(), "heart_beat_missed 1002");
  const tookMs = performance.now() - mutedAt;
  assert.ok(tookMs > 1_950 && tookMs < 3_000, `${tookMs} ms`);
  clearInterval(beating);
  assert.equal(idle.closed(), null);
  assert.ok(beats.length >= 3);
  for (const [index, at] of beats.entries())
    assert.ok(at - (beats[index - 1] ?? at) <= 1_000, `${at - beats[index - 1]!} ms between two beats`);
  idle.cut();
  await lively.close();
});

test("ST-14. in the profile of events nobody may SEND, and nobody hears it", async () => {
  const key = await freshKey();
  const other = await connectClient(url, key);
  await subscribe(other, "a");
  const client = await connectClient(url, key);
  const count = async () => (await server.sql("select count(*)::int as count from kernel.event"))[0].count;
  const before = await count();
  client.send('SEND\ndestination:/topic/event\n\n{"x":1}\0');
  assert.equal(await client.fault(), "send_refused 1008");
  const subject = await makeThing();
  await eventually(() => other.messages().length > 0);
  assert.deepEqual(other.subjects(), [subject]);
  assert.equal(await count(), before + 1);
  other.cut();
});

test("ST-18. from the start of the log while it grows: everything once and in order", async () => {
  const own = await server.tenant(server.rootId, "customer", "Long");
  const key = await server.key(own, holds);
  const things = await emitThings(own, 600);
  const client = await connectClient(url, key);
  const writing = (async () => {
    for (let n = 0; n < 10; n++) things.push(...(await emitThings(own, 6)));
  })();
  await subscribe(client, "a", "/topic/event", "from:start\ntypes:demarc.export.*\n");
  await writing;
  await eventually(() => client.messages().length >= things.length);
  assert.deepEqual(client.subjects(), things);
  const [tenth] = client.messages().slice(9);
  client.cut();
  for (const place of [tenth!.headers.cursor!, tenth!.headers["event-id"]!]) {
    const again = await connectClient(url, key);
    await subscribe(again, "a", "/topic/event", `last-event-id:${place}\n`);
    await eventually(() => again.messages().length === things.length - 10);
    assert.deepEqual(again.subjects(), things.slice(10));
    again.cut();
  }
});

test("ST-18. a place that is older than the log is position_expired with the oldest cursor, and going on from that works; an unknown one is not", async () => {
  const own = await server.tenant(server.rootId, "customer", "Old");
  const key = await server.key(own, holds);
  const first = await connectClient(url, key);
  const receipt = await subscribe(first, "a");
  await emitThings(own, 3);
  await eventually(() => first.messages().length === 3);
  const [early] = first.messages();
  first.cut();
  server.clock.advance(31 * 86_400_000);
  await server.sql("select kernel.turn_events($1::date, 30)", [server.clock.now().toISOString().slice(0, 10)]);
  const kept = await emitThings(own, 2);
  const places = [
    `last-event-id:${receipt.headers.cursor}`,
    `last-event-id:${early!.headers["event-id"]}`,
    `from:${receipt.headers.cursor}`,
    "from:2026-11-22T10:00:00Z",
  ];
  for (const place of places) {
    const old = await connectClient(url, key);
    old.send(`SUBSCRIBE\nid:a\ndestination:/topic/event\n${place}\n\n\0`);
    assert.equal(await old.fault(), "position_expired 1008", place);
    const back = await connectClient(url, key);
    await subscribe(back, "a", "/topic/event", `last-event-id:${old.frames.at(-1)!.headers["oldest-cursor"]}\n`);
    await eventually(() => back.messages().length >= 2);
    assert.deepEqual(back.subjects(), kept);
    back.cut();
  }
  const foreign = (await server.get("/v1/event-log?from=now", { key: await freshKey() })).body.nextCursor;
  for (const place of ["nonsense", foreign, newId("evt", server.clock.now().getTime())]) {
    const wrong = await connectClient(url, key);
    wrong.send(`SUBSCRIBE\nid:a\ndestination:/topic/event\nlast-event-id:${place}\n\n\0`);
    assert.equal(await wrong.fault(), "cursor_unknown 1008", place);
  }
});

test("ST-19. an event of one process reaches a subscriber of the other, and a server that stops closes with 1001", async () => {
  const other = await startServer({ modules: [...modules, planted], beside: server });
  const client = await connectClient(other.url, await freshKey());
  await subscribe(client, "a");
  const subject = await makeThing();
  await client.next("MESSAGE");
  assert.deepEqual(client.subjects(), [subject]);
  const began = performance.now();
  const closing = other.close();
  assert.equal(await client.fault(), "no ERROR, 1001");
  await closing;
  assert.ok(performance.now() - began < 10_000);
  assert.equal(
    (await server.sql("select from notifications.stomp_session where process_id = $1", [other.kernel.processes.id]))
      .length,
    0,
  );
});
