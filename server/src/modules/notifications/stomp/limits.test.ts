import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted, thingCreated } from "../../../../test/planted.ts";
import { connectClient, openClient, type StompClient, subscribe } from "../../../../test/stomp-client.ts";
import { modules } from "../../../app.ts";
import { newId } from "../../../kernel/ids.ts";

const server = await startServer({ modules: [...modules, planted] });
const { url } = server;
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const holds = ["notification.subscribe", "export.run"] as const;
const freshKey = () => server.key(tenant, holds);
const beside = (sessions: Partial<typeof server.kernel.settings.stomp.sessions>) => {
  const { stomp } = server.kernel.settings;
  return startServer({
    modules: [...modules, planted],
    beside: server,
    settings: { stomp: { ...stomp, sessions: { ...stomp.sessions, ...sessions } } },
  });
};

test("a principal has as many sessions as it may have, and one more when one has gone", async () => {
  const key = await freshKey();
  const clients = await Promise.all(Array.from({ length: 20 }, () => connectClient(url, key)));
  const more = await openClient(url);
  more.send(`CONNECT\naccept-version:1.2\npasscode:${key}\n\n\0`);
  assert.equal(await more.fault(), "sessions_full 1013");
  clients.pop()!.cut();
  await eventually(async () => {
    const rows = await server.sql(
      "select from notifications.stomp_session where principal_id = (select key_id from access.key_secret where hint = $1)",
      [key.slice(0, 14)],
    );
    return rows.length === 19;
  });
  (await connectClient(url, key)).cut();
  for (const client of clients) client.cut();
});

test("a tenant has as many sessions as it may have, over all servers and principals; another tenant has its own", async () => {
  const small = await beside({ tenant: 3 });
  const own = await server.tenant(server.rootId, "customer", "Small");
  const keys = await Promise.all([1, 2, 3, 4].map(() => server.key(own, holds)));
  const clients = [await connectClient(url, keys[0]!), await connectClient(small.url, keys[1]!)];
  clients.push(await connectClient(small.url, keys[2]!));
  const more = await openClient(small.url);
  more.send(`CONNECT\naccept-version:1.2\npasscode:${keys[3]}\n\n\0`);
  assert.equal(await more.fault(), "sessions_full 1013");
  clients.push(await connectClient(small.url, await freshKey()));
  for (const client of clients) client.cut();
  await small.close();
});

test("a server has as many sessions as it may have, also when many come at one moment, and one more when one has gone", async () => {
  const small = await beside({ process: 4 });
  const keys = await Promise.all(Array.from({ length: 12 }, freshKey));
  const clients = await Promise.all(
    keys.map(async (key) => {
      const client = await openClient(small.url);
      client.send(`CONNECT\naccept-version:1.2\npasscode:${key}\n\n\0`);
      await eventually(() => client.frames.length > 0);
      return client;
    }),
  );
  const got = Map.groupBy(clients, (client) => client.frames[0]!.command);
  assert.deepEqual([got.get("CONNECTED")!.length, got.get("ERROR")!.length], [4, 8]);
  for (const client of got.get("ERROR")!) assert.equal(await client.fault(), "sessions_full 1013");
  (await connectClient(url, keys[0]!)).cut();
  const [first] = got.get("CONNECTED")!;
  first!.send("DISCONNECT\n\n\0");
  assert.equal(await first!.fault(), "no ERROR, 1000");
  (await connectClient(small.url, keys[0]!)).cut();
  for (const client of clients) client.cut();
  await small.close();
});

test("a principal has 50 durables, and one more when one was removed", async () => {
  const key = await freshKey();
  const client = await connectClient(url, key);
  const durable = (n: number) =>
    `SUBSCRIBE\nid:${n}\ndestination:/topic/event\nack:client\ndurable:d${n}\nreceipt:${n}\n\n\0`;
  for (let n = 1; n <= 50; n++) client.send(durable(n));
  await client.receipt("50");
  client.send(durable(51));
  assert.equal(await client.fault(), "limit_exceeded 1009");
  const { items } = (await server.get("/v1/stomp-durable?limit=200", { key })).body;
  assert.equal(items.length, 50);
  await eventually(async () => (await server.delete(`/v1/stomp-durable/${items[0].id}`, { key })).status === 204);
  const again = await connectClient(url, key);
  again.send(durable(51));
  await again.receipt("51");
  again.cut();
});

/** Waits until the server has no more room for a client, and nothing changes any more; gives the most that waited. */
async function filled(socket: Socket): Promise<number> {
  const until = performance.now() + 40_000;
  let most = 0;
  for (let still = 0, last = -1; still < 20; last = socket.writableLength) {
    assert.ok(performance.now() < until, `${socket.writableLength} octets wait: the client's buffers are not full`);
    most = Math.max(most, socket.writableLength);
    still = socket.writableLength > 65_536 && socket.writableLength === last ? still + 1 : 0;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return most;
}

test("lag costs no memory: whatever a session subscribes to, no more than bufferBytes wait for a client that does not read, and others are not delayed", async () => {
  const sockets: Socket[] = [];
  server.app.http.server.on("upgrade", (_request, socket: Socket) => void sockets.push(socket));
  const own = await server.tenant(server.rootId, "customer", "Lagging");
  const key = await server.key(own, [...holds, "notification.manage"]);
  await server.as(own, async (ctx) => {
    for (let n = 0; n < 60; n++) {
      const thing = { id: newId("thg"), name: `thing ${n}`, colour: null };
      const place = { tenantId: own, subject: thing.id, path: `/thing/${thing.id}` };
      ctx.emit(thingCreated, { ...place, resource: thing, previous: null, changed: [] });
    }
  });
  const filledWith =
    "update kernel.event set data = jsonb_set(data, '{changed}', jsonb_build_array($2::text)) where tenant_id = $1";
  await eventually(
    async () => (await server.sql("select from kernel.event where tenant_id = $1", [own])).length === 60,
  );
  await server.sql(filledWith, [own, "x".repeat(15_000)]);

  const stuck: StompClient[] = [];
  const most: number[] = [];
  const fill = async (frames: string) => {
    const client = await connectClient(url, key);
    const socket = sockets.at(-1)!;
    stuck.push(client);
    client.ws.pause();
    client.send(frames);
    most.push(await filled(socket));
  };
  await fill(
    Array.from({ length: 100 }, (_, n) => `SUBSCRIBE\nid:${n}\ndestination:/topic/event\nfrom:start\n\n\0`).join(""),
  );
  const names = Array.from({ length: 20 }, (_, n) => `q${n}`);
  const made = names.map((name) =>
    server.post("/v1/stomp-queue", { name, types: ["demarc.export.*"], from: "start" }, { key }),
  );
  for (const { status } of await Promise.all(made)) assert.equal(status, 201);
  await fill(names.map((name) => `SUBSCRIBE\nid:${name}\ndestination:/queue/${name}\nack:client\n\n\0`).join(""));

  const reader = await connectClient(url, key);
  await subscribe(reader, "a", "/topic/event", "from:start\ntypes:demarc.export.*\n");
  await eventually(() => reader.messages().length === 60);
  reader.cut();
  const { bufferBytes } = server.kernel.settings.stomp;
  for (const octets of most) assert.ok(octets < bufferBytes / 2, `${most} octets waited`);
  // What was not read was not lost either.
  stuck[0]!.ws.resume();
  await eventually(() => stuck[0]!.messages().length > 500);
  for (const client of stuck) client.cut();
  await server.sql(filledWith, [own, "x"]);
});
