import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted } from "../../../../test/planted.ts";
import { connectClient, type StompClient, subscribe } from "../../../../test/stomp-client.ts";
import { makeUser, userTokens } from "../../../../test/tokens.ts";
import { modules } from "../../../app.ts";

const server = await startServer({ modules: [...modules, planted] });
const { url } = server;
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const writer = await server.key(tenant, ["export.run"]);
const holds = ["notification.subscribe", "export.run"] as const;
const manager = await server.key(tenant, ["notification.subscribe", "notification.manage"]);
const freshKey = () => server.key(tenant, holds);
let made = 0;
async function makeThings(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++)
    ids.push((await server.post("/v1/thing", { name: `thing ${++made}` }, { key: writer })).body.id);
  return ids;
}
const types = "types:demarc.export.*\n";
const ackOf = ({ headers }: { headers: Record<string, string> }) => headers.ack!;
const settle = (client: StompClient, verb: string, ack: string, more = "") =>
  client.send(`${verb}\nid:${ack}\nreceipt:${ack}\n${more}\n\0`);

test("ST-9. a durable goes on with what was not settled, in order and marked as repeats", async () => {
  const key = await freshKey();
  const first = await connectClient(url, key);
  await subscribe(first, "a", "/topic/event", `ack:client\ndurable:nine\n${types}`);
  const things = await makeThings(3);
  await eventually(() => first.messages().length === 3);
  settle(first, "ACK", ackOf(first.messages()[2]!));
  await first.receipt(ackOf(first.messages()[2]!));
  first.cut();
  const [fourth] = await makeThings(1);
  const second = await connectClient(url, key);
  await subscribe(second, "a", "/topic/event", `ack:client\ndurable:nine\n${types}`);
  await second.next("MESSAGE");
  assert.deepEqual(second.subjects(), [fourth]);
  assert.equal(second.messages()[0]!.headers.redelivered, undefined);
  second.cut();

  const single = `ack:client-individual\ndurable:each\n${types}`;
  const third = await connectClient(url, key);
  await subscribe(third, "a", "/topic/event", single);
  const more = await makeThings(3);
  await eventually(() => third.messages().length === 3);
  settle(third, "ACK", ackOf(third.messages()[2]!));
  await third.receipt(ackOf(third.messages()[2]!));
  third.cut();
  const last = await connectClient(url, key);
  await subscribe(last, "a", "/topic/event", single);
  const [next] = await makeThings(1);
  await eventually(() => last.messages().length === 3);
  assert.deepEqual(last.subjects(), [more[0], more[1], next]);
  assert.deepEqual(
    last.messages().map(({ headers }) => headers.redelivered),
    ["true", "true", undefined],
  );
  assert.equal(things.length, 3);
  last.cut();
});

test("ST-9. in the client modes of 1.2 a MESSAGE has an ack header, otherwise none", async () => {
  const key = await freshKey();
  const client = await connectClient(url, key);
  const modes = ["auto", "client", "client-individual"];
  for (const mode of modes) await subscribe(client, mode, "/topic/event", `ack:${mode}\n`);
  const older = await connectClient(url, key, "1.1");
  for (const mode of modes) await subscribe(older, mode, "/topic/event", `ack:${mode}\n`);
  await makeThings(1);
  await eventually(() => client.messages().length === 3 && older.messages().length === 3);
  for (const { headers } of client.messages())
    assert.equal(headers.ack, headers.subscription === "auto" ? undefined : headers["message-id"]);
  for (const { headers } of older.messages()) assert.equal(headers.ack, undefined);
  client.cut();
  older.cut();
});

test("ST-10. a queue gives each event to one consumer; what one refuses or loses the other gets; ten refusals park", async () => {
  const made201 = await server.post("/v1/stomp-queue", { name: "work", types: ["demarc.export.*"] }, { key: manager });
  assert.equal(made201.status, 201);
  const queue = made201.body;
  const [one, two] = [await connectClient(url, await freshKey()), await connectClient(url, await freshKey())];
  for (const client of [one, two])
    await subscribe(client, "q", "/queue/work", "ack:client-individual\nprefetch-count:20\n");
  const acked = new Set<string>();
  const acknowledge = (client: StompClient) => {
    for (const message of client.messages()) {
      const ack = ackOf(message);
      if (acked.has(ack)) continue;
      acked.add(ack);
      settle(client, "ACK", ack);
    }
  };
  const things = await makeThings(100);
  await eventually(() => {
    acknowledge(one);
    acknowledge(two);
    return one.messages().length + two.messages().length >= 100;
  });
  assert.deepEqual([...one.subjects(), ...two.subjects()].sort(), [...things].sort());
  assert.ok(one.messages().length > 0 && two.messages().length > 0);
  await eventually(() => one.of("RECEIPT").length + two.of("RECEIPT").length === 102);

  const [refused] = await makeThings(1);
  const holder = await eventually(() => [one, two].find((client) => client.subjects().at(-1) === refused));
  const other = holder === one ? two : one;
  settle(holder, "NACK", ackOf(holder.messages().at(-1)!));
  await eventually(() => other.subjects().at(-1) === refused);
  assert.equal(other.messages().at(-1)!.headers["delivery-count"], "2");
  settle(other, "ACK", ackOf(other.messages().at(-1)!));

  const before = [one.messages().length, two.messages().length];
  const ten = await makeThings(10);
  await eventually(() => one.messages().length + two.messages().length === before[0]! + before[1]! + 10);
  const ofTwo = two.subjects().slice(before[1]);
  assert.ok(ofTwo.length > 0 && ofTwo.length < 10);
  const cutAt = performance.now();
  two.cut();
  await eventually(() => one.messages().length === before[0]! + 10);
  assert.ok(performance.now() - cutAt < 1_000, "what a lost consumer held is the other's within a second");
  assert.deepEqual(one.subjects().slice(before[0]).sort(), [...ten].sort());
  for (const message of one.messages().slice(before[0])) settle(one, "ACK", ackOf(message));

  const count = one.messages().length;
  const [bad] = await makeThings(1);
  for (let n = 0; n < 10; n++) {
    const message = await eventually(() => one.messages()[count + n]);
    settle(one, "NACK", ackOf(message));
  }
  const parked = await eventually(async () => {
    const page = await server.get(`/v1/stomp-queue/${queue.id}/parked`, { key: manager });
    return page.body.items.length === 1 && page.body.items;
  });
  assert.equal(parked[0].subject, bad);
  const unparked = await server.post(
    `/v1/stomp-queue/${queue.id}/unpark`,
    { events: [parked[0].id] },
    { key: manager },
  );
  assert.deepEqual(unparked.body, { count: 1 });
  const again = await eventually(() => one.messages()[count + 10]);
  settle(one, "ACK", ackOf(again));
  await one.receipt(ackOf(again));
  const { body } = await server.get(`/v1/stomp-queue/${queue.id}`, { key: manager });
  assert.deepEqual([body.readyCount, body.takenCount, body.parkedCount], [0, 0, 0]);
  assert.equal((await server.delete(`/v1/stomp-queue/${queue.id}`, { key: manager })).status, 204);
  assert.equal(await one.fault(), "destination_not_available 1008");
});

test("ST-15. a queue needs every permission that its types need", async () => {
  await server.post("/v1/stomp-queue", { name: "all", types: ["*"] }, { key: manager });
  const client = await connectClient(url, await freshKey());
  client.send("SUBSCRIBE\nid:q\ndestination:/queue/all\n\n\0");
  assert.equal(await client.fault(), "destination_not_available 1008");
});

test("ST-17. a durable is taken over by whoever comes last; it needs a client mode, and says when filters differ", async () => {
  const key = await freshKey();
  const more = `ack:client\ndurable:true\n${types}`;
  const first = await connectClient(url, key);
  await subscribe(first, "mine", "/topic/event", more);
  const [one] = await makeThings(1);
  const message = await first.next("MESSAGE");
  settle(first, "ACK", ackOf(message));
  await first.receipt(ackOf(message));
  const second = await connectClient(url, key);
  const receipt = await subscribe(second, "mine", "/topic/v1/event", more);
  assert.equal(receipt.headers.durable, "mine");
  assert.equal(await first.fault(), "taken_over 1008");
  const [two] = await makeThings(1);
  await second.next("MESSAGE");
  assert.deepEqual(second.subjects(), [two]);
  assert.notEqual(one, two);
  const list = await server.get("/v1/stomp-durable", { key });
  assert.equal(list.body.items.length, 1);
  const [durable] = list.body.items;
  assert.equal(durable.name, "mine");
  assert.equal((await server.delete(`/v1/stomp-durable/${durable.id}`, { key })).status, 409);
  second.send("UNSUBSCRIBE\nid:mine\nreceipt:u\n\n\0");
  await second.receipt("u");
  second.send(`SUBSCRIBE\nid:mine\ndestination:/topic/event\n${more.replace("export", "access")}\n\0`);
  assert.equal(await second.fault(), "durable_differs 1008");
  const third = await connectClient(url, key);
  await subscribe(third, "mine", "/topic/event", `${more.replace("export", "access")}replace:true\n`);
  third.send("SUBSCRIBE\nid:x\ndestination:/topic/event\ndurable:x\n\n\0");
  assert.equal(await third.fault(), "ack_mode_required 1008");
  await eventually(async () => (await server.get(`/v1/stomp-durable/${durable.id}`, { key })).body.sessionId === null);
  const stranger = await freshKey();
  assert.equal((await server.get(`/v1/stomp-durable/${durable.id}`, { key: stranger })).status, 404);
  assert.equal((await server.delete(`/v1/stomp-durable/${durable.id}`, { key })).status, 204);
  assert.equal((await server.get(`/v1/stomp-durable/${durable.id}`, { key })).status, 404);
});

test("a durable parks what is refused for good, and delivers it again once it is unparked", async () => {
  const key = await freshKey();
  const more = `ack:client-individual\ndurable:parks\n${types}`;
  const client = await connectClient(url, key);
  await subscribe(client, "a", "/topic/event", more);
  const [bad, good] = await makeThings(2);
  await eventually(() => client.messages().length === 2);
  settle(client, "NACK", ackOf(client.messages()[0]!), "requeue:false\n");
  settle(client, "ACK", ackOf(client.messages()[1]!));
  await client.receipt(ackOf(client.messages()[1]!));
  const [{ id }] = (await server.get("/v1/stomp-durable?name=parks", { key })).body.items;
  const { items } = (await server.get(`/v1/stomp-durable/${id}/parked`, { key })).body;
  assert.deepEqual(
    items.map((item: { subject: string }) => item.subject),
    [bad],
  );
  assert.equal((await server.post(`/v1/stomp-durable/${id}/unpark`, { all: true }, { key })).status, 409);
  client.send("DISCONNECT\nreceipt:d\n\n\0");
  await client.receipt("d");
  await eventually(async () => (await server.get(`/v1/stomp-durable/${id}`, { key })).body.sessionId === null);
  assert.deepEqual((await server.post(`/v1/stomp-durable/${id}/unpark`, { all: true }, { key })).body, { count: 1 });
  const back = await connectClient(url, key);
  await subscribe(back, "a", "/topic/event", more);
  const [next] = await makeThings(1);
  await eventually(() => back.messages().length === 2);
  assert.deepEqual(back.subjects(), [bad, next]);
  assert.ok(!back.subjects().includes(good!));
  back.cut();
});

test("sessions are listed, and ended over REST by their owner or who manages them, in every process", async () => {
  const other = await startServer({ modules: [...modules, planted], beside: server });
  const key = await freshKey();
  const client = await connectClient(other.url, key);
  const { items } = (await server.get("/v1/stomp-session", { key })).body;
  assert.equal(items.length, 1);
  assert.equal(items[0].stompVersion, "1.2");
  assert.equal(items[0].label, "v1");
  assert.equal((await server.delete(`/v1/stomp-session/${items[0].id}`, { key: await freshKey() })).status, 404);
  const found = (await server.get(`/v1/stomp-session?principal=${items[0].principal.id}`, { key: manager })).body.items;
  assert.equal(found.length, 1);
  assert.equal((await server.delete(`/v1/stomp-session/${items[0].id}`, { key: manager })).status, 204);
  assert.equal(await client.fault(), "session_ended 1008");
  await other.close();
});

test("queues are refused for faults in words of their own", async () => {
  const wrong = await server.post("/v1/stomp-queue", { name: "x", types: ["demarc.nothing"] }, { key: manager });
  assert.equal(wrong.status, 400);
  assert.equal(wrong.body.errors[0].pointer, "/types/0");
  assert.equal((await server.post("/v1/stomp-queue", { name: "x", types: ["*"] }, { key: writer })).status, 403);
  const first = await server.post("/v1/stomp-queue", { name: "x", types: ["*"] }, { key: manager });
  assert.equal((await server.post("/v1/stomp-queue", { name: "x", types: ["*"] }, { key: manager })).status, 409);
  const path = `/v1/stomp-queue/${first.body.id}`;
  const stale = { key: manager, headers: { "if-match": '"0"' } };
  assert.equal((await server.patch(path, { includeBelow: true }, stale)).status, 412);
  const changed = await server.patch(path, { includeBelow: true }, { key: manager, headers: { "if-match": '"1"' } });
  assert.equal(changed.body.includeBelow, true);
  assert.equal(changed.headers.get("etag"), '"2"');
  assert.equal((await server.get("/v1/stomp-queue?name=x", { key: manager })).body.items.length, 1);
});

test("ST-19. when a user's operation finishes both of its sessions hear it, and nobody else's", async () => {
  const [ann, bob] = [
    await makeUser(server, tenant, "ann", "tenant_administrator"),
    await makeUser(server, tenant, "bob", "tenant_administrator"),
  ];
  const tokenOf = async (id: string) => (await userTokens(server, tenant, id)).token;
  const tokens = [await tokenOf(ann.id), await tokenOf(ann.id), await tokenOf(bob.id)];
  const clients = await Promise.all(tokens.map((token) => connectClient(url, token)));
  for (const client of clients) await subscribe(client, "o", "/user/queue/operation");
  const administrator = await server.key(tenant, "tenant_administrator");
  const webhook = { url: "http://127.0.0.1:1/", types: ["demarc.export.*"] };
  const { body } = await server.post("/v1/webhook", webhook, { key: administrator });
  const [token] = tokens;
  const replay = await server.post(`/v1/webhook/${body.id}/replay`, { scope: "missed" }, { token });
  assert.equal(replay.status, 202, replay.text);
  const typesOf = (client: StompClient) =>
    client.messages().map(({ headers }) => headers["event-type"]!.split(".").at(-1));
  for (const client of clients.slice(0, 2)) {
    await eventually(() => typesOf(client).includes("succeeded"));
    assert.equal(typesOf(client)[0], "queued");
    assert.deepEqual(new Set(client.subjects()), new Set([replay.body.id]));
  }
  assert.equal(clients[2]!.messages().length, 0);
  await server.delete(`/v1/webhook/${body.id}`, { key: administrator });
  for (const client of clients) client.cut();
});
