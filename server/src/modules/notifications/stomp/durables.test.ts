import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted } from "../../../../test/planted.ts";
import { connectClient, type StompClient, subscribe } from "../../../../test/stomp-client.ts";
import { modules } from "../../../app.ts";
import { stompJobs } from "./jobs.ts";

const server = await startServer({ modules: [...modules, planted] });
const { url } = server;
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const holds = ["notification.subscribe", "export.run"] as const;
const hourMs = 3_600_000;

const typesOf = (client: StompClient) =>
  client.messages().map(({ headers }) => headers["event-type"]!.replace("demarc.notifications.", ""));
async function later(ms: number): Promise<void> {
  server.clock.advance(ms);
  await server.sql("select kernel.turn_events($1::date, 400)", [server.clock.now().toISOString().slice(0, 10)]);
  await stompJobs.find(({ name }) => name === "expire_durables")!.run(server.kernel);
}
async function use(key: string, name: string): Promise<StompClient> {
  const client = await connectClient(url, key);
  await subscribe(client, name, "/topic/event", `ack:client\ndurable:${name}\n`);
  return client;
}
async function leave(client: StompClient): Promise<void> {
  client.send("DISCONNECT\nreceipt:left\n\n\0");
  await client.receipt("left");
  assert.equal(await client.fault(), "no ERROR, 1000");
}

test("a durable that nobody uses for events.retentionDays goes, and its principal is told 24 hours before; one that is used stays", async () => {
  const key = await server.key(tenant, holds);
  const own = await connectClient(url, key);
  const stranger = await connectClient(url, await server.key(tenant, holds));
  const manager = await connectClient(url, await server.key(tenant, ["notification.subscribe", "notification.manage"]));
  for (const client of [own, stranger, manager])
    await subscribe(client, "n", "/topic/event", "types:demarc.notifications.*\n");
  await leave(await use(key, "idle"));
  await leave(await use(key, "taken-up"));
  const held = await use(key, "held");
  const all = async () => (await server.get("/v1/stomp-durable?sort=name", { key })).body.items;
  await eventually(async () => (await all()).filter(({ sessionId }: any) => sessionId === null).length === 2);
  const [, idle] = await all();
  assert.equal(idle.name, "idle");

  await later(29 * 24 * hourMs - 1);
  assert.equal((await server.sql("select from notifications.durable where warned_at is not null")).length, 0);
  await later(1);
  await eventually(() => typesOf(own).length === 2);
  assert.deepEqual(typesOf(own), ["durable.warned", "durable.warned"]);
  const warned = own.messages().map(({ body }) => JSON.parse(body.toString()));
  assert.deepEqual(warned.map(({ data }) => data.resource.name).sort(), ["idle", "taken-up"]);
  assert.equal(warned.find(({ subject }) => subject === idle.id).data.url, `/v1/stomp-durable/${idle.id}`);

  await leave(await use(key, "taken-up"));
  await eventually(async () => (await all()).filter(({ sessionId }: any) => sessionId === null).length === 2);
  await later(24 * hourMs - 1);
  assert.equal((await all()).length, 3);
  await later(1);
  await eventually(() => typesOf(own).length === 3);
  const expired = JSON.parse(own.messages()[2]!.body.toString());
  assert.equal(typesOf(own)[2], "durable.expired");
  assert.deepEqual([expired.subject, expired.data.resource, expired.data.previous.name], [idle.id, null, "idle"]);
  assert.deepEqual(
    (await all()).map(({ name }: any) => name),
    ["held", "taken-up"],
  );
  assert.equal((await server.get(`/v1/stomp-durable/${idle.id}`, { key })).status, 404);
  await eventually(() => typesOf(manager).length === 3);
  assert.deepEqual(typesOf(stranger), []);
  assert.equal(held.closed(), null);

  // One that was not looked at for long is warned first all the same.
  await later(40 * 24 * hourMs);
  await eventually(() => typesOf(own).length === 4);
  assert.equal(typesOf(own)[3], "durable.warned");
  await later(24 * hourMs);
  await eventually(() => typesOf(own).length === 5);
  assert.equal(typesOf(own)[4], "durable.expired");
  for (const client of [own, stranger, manager, held]) client.cut();
});

test("what is parked and unparked of queues and durables is told, to who may hear of it", async () => {
  const key = await server.key(tenant, [...holds, "notification.manage"]);
  const hearer = await connectClient(url, await server.key(tenant, ["notification.subscribe"]));
  await subscribe(hearer, "n", "/topic/event/notifications.queue");
  const queue = (await server.post("/v1/stomp-queue", { name: "work", types: ["demarc.export.*"] }, { key })).body;
  const durableOwner = await server.key(tenant, holds);
  const own = await connectClient(url, durableOwner);
  await subscribe(own, "n", "/topic/event", "types:demarc.notifications.durable.*\n");
  const client = await connectClient(url, durableOwner);
  const single = "ack:client-individual\n";
  await subscribe(client, "q", "/queue/work", single);
  await subscribe(client, "d", "/topic/event", `${single}durable:d\ntypes:demarc.export.*\n`);
  const { body: thing } = await server.post("/v1/thing", { name: "thing" }, { key });
  await eventually(() => client.messages().length === 2);
  for (const { headers } of client.messages())
    client.send(`NACK\nid:${headers.ack}\nrequeue:false\nreceipt:${headers.ack}\n\n\0`);
  await eventually(() => client.of("RECEIPT").length === 4);
  await eventually(() => typesOf(hearer).length === 2);
  await leave(client);
  const { items } = (await server.get(`/v1/stomp-queue/${queue.id}/parked`, { key })).body;
  assert.deepEqual(
    items.map(({ subject }: any) => subject),
    [thing.id],
  );
  await server.post(`/v1/stomp-queue/${queue.id}/unpark`, { all: true }, { key });
  await eventually(() => typesOf(hearer).length === 3);
  assert.deepEqual(typesOf(hearer), ["queue.created", "queue.parked", "queue.unparked"]);
  const told = hearer.messages().map(({ body }) => JSON.parse(body.toString()).data.resource);
  assert.deepEqual(
    told.map(({ readyCount, parkedCount }) => [readyCount, parkedCount]),
    [
      [0, 0],
      [0, 1],
      [1, 0],
    ],
  );
  const [durable] = (await server.get("/v1/stomp-durable?name=d", { key: durableOwner })).body.items;
  await eventually(async () => (await server.get(`/v1/stomp-durable/${durable.id}`, { key })).body.sessionId === null);
  await server.post(`/v1/stomp-durable/${durable.id}/unpark`, { all: true }, { key: durableOwner });
  await eventually(() => typesOf(own).length === 1);
  assert.deepEqual(typesOf(own), ["durable.unparked"]);
  hearer.cut();
  own.cut();
});
