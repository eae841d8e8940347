import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { test } from "node:test";
import { Client } from "@stomp/stompjs";
import { WebSocket } from "ws";
import { eventually, startServer } from "../../../../test/harness.ts";
import { connectClient, openClient, subscribe } from "../../../../test/stomp-client.ts";
import { ConfigError, readConfig } from "../../../config.ts";

const freePort = () =>
  new Promise<number>((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
const tcpPort = await freePort();
const stomp = {
  loginSeconds: 10,
  preLoginBytes: 16_384,
  bufferBytes: 1_048_576,
  heartBeat: [10_000, 10_000] as const,
  maxDeliveries: 10,
  origins: [],
  tcpPort,
  sessions: { principal: 20, tenant: 200, process: 10_000 },
  chat: { patterns: ["/topic/*", "/queue/*"], logins: new Map([["guest", "guest"]]), path: "/ws" },
};
const server = await startServer({ settings: { stomp } });
const { url } = server;
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const key = await server.key(tenant, ["notification.subscribe", "notification.manage"]);

test("ST-11. a transaction is sent whole and in order or not at all, and a body of any octets comes back equal", async () => {
  const hearer = await connectClient(url, key);
  await subscribe(hearer, "a", "/topic/room");
  const sender = await connectClient(url, key);
  const send = (text: string, more = "") => sender.send(`SEND\ndestination:/topic/room\n${more}\n${text}\0`);
  sender.send("BEGIN\ntransaction:t\n\n\0");
  for (const text of ["one", "two", "three"]) send(text, "transaction:t\n");
  sender.send("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
  await sender.receipt("c");
  sender.send("BEGIN\ntransaction:u\n\n\0");
  send("never", "transaction:u\n");
  sender.send("ABORT\ntransaction:u\n\n\0");
  sender.send("BEGIN\ntransaction:v\n\n\0");
  send("nor this", "transaction:v\n");
  const octets = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
  sender.send(
    Buffer.concat([Buffer.from("SEND\ndestination:/topic/room\ncontent-length:256\n\n"), octets, Buffer.from("\0")]),
  );
  send("a\0b\0c", "content-length:5\n");
  await eventually(() => hearer.messages().length === 5);
  // Lost with its transaction open.
  sender.cut();
  const other = await connectClient(url, key);
  other.send("SEND\ndestination:/topic/room\n\nlast\0");
  await eventually(() => hearer.messages().length === 6);
  other.cut();
  const bodies = hearer.messages().map(({ body }) => body);
  assert.deepEqual(bodies.slice(0, 3).map(String), ["one", "two", "three"]);
  assert.ok(octets.equals(bodies[3]!));
  assert.deepEqual(bodies.slice(4).map(String), ["a\0b\0c", "last"]);
  assert.deepEqual(
    hearer.messages().map(({ isBinary }) => isBinary),
    [false, false, false, true, false, false],
  );
  hearer.cut();
});

test("ST-12. header names and values of any characters come back equal, and of a repeated one the first", async () => {
  const client = await connectClient(url, key);
  await subscribe(client, "a", "/topic/room");
  client.send("SEND\ndestination:/topic/room\nna\\cme:a\\cb\\nc\\rd\\\\ne\ncolour:red\ncolour:blue\n\nx\0");
  const { headers } = await client.next("MESSAGE");
  assert.equal(headers["na:me"], "a:b\nc\rd\\ne");
  assert.equal(headers.colour, "red");
  client.cut();
});

test("a chat queue keeps what is sent while nobody listens, and shares it; events stay out of reach of SEND", async () => {
  const sender = await connectClient(url, key);
  for (const text of ["1", "2"]) sender.send(`SEND\ndestination:/queue/jobs\nreceipt:${text}\n\n${text}\0`);
  await sender.receipt("2");
  const taker = await connectClient(url, key);
  await subscribe(taker, "q", "/queue/jobs", "ack:client-individual\n");
  await eventually(() => taker.messages().length === 2);
  taker.send(`ACK\nid:${taker.messages()[0]!.headers.ack}\nreceipt:k\n\n\0`);
  await taker.receipt("k");
  taker.cut();
  const next = await connectClient(url, key);
  await subscribe(next, "q", "/queue/jobs");
  const message = await next.next("MESSAGE");
  assert.equal(message.body.toString(), "2");
  assert.equal(message.headers.redelivered, "true");
  next.cut();
  sender.send("SEND\ndestination:/topic/event\n\nx\0");
  assert.equal(await sender.fault(), "send_refused 1008");
});

test("a login of the settings needs no permission, stays in a space of its own, and hears no event", async () => {
  const guest = await openClient(url, { path: "/ws" });
  guest.send("CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n\0");
  await guest.next("CONNECTED");
  await subscribe(guest, "a", "/topic/room");
  const member = await connectClient(url, key);
  member.send("SEND\ndestination:/topic/room\nreceipt:r\n\nx\0");
  await member.receipt("r");
  guest.send("SEND\ndestination:/topic/room\n\nhello\0");
  await guest.next("MESSAGE");
  assert.deepEqual(
    guest.messages().map(({ body }) => body.toString()),
    ["hello"],
  );
  guest.send("SUBSCRIBE\nid:e\ndestination:/topic/event\n\n\0");
  assert.equal(await guest.fault(), "destination_not_available 1008");
  const wrong = await openClient(url, { path: "/ws" });
  wrong.send("CONNECT\naccept-version:1.2\nlogin:guest\npasscode:other\n\n\0");
  assert.equal(await wrong.fault(), "authentication_failed 1008");
  member.cut();
});

test("production refuses the chat profile", () => {
  const environment = { DEMARC_ENV: "production", DEMARC_STOMP_PROFILE: "chat" };
  assert.throws(
    () => readConfig(environment),
    (error) => error instanceof ConfigError && /chat is not for production/.test(error.message),
  );
});

const makeQueue = async () => {
  const types = ["demarc.notifications.queue.created"];
  const name = `q${Math.random().toString(36).slice(2, 8)}`;
  return (await server.post("/v1/stomp-queue", { name, types }, { key })).body.id as string;
};

test("@stomp/stompjs, unmodified: events with receipts, acknowledgement and DISCONNECT", async () => {
  const got: { subject: string; ack: () => void }[] = [];
  let subscribed = false;
  let disconnected = false;
  const client = new Client({
    webSocketFactory: () =>
      new WebSocket(`${url.replace(/^http/, "ws")}/v1/stomp`, ["v12.stomp", "v11.stomp"]) as never,
    connectHeaders: { Authorization: `Bearer ${key}` },
    reconnectDelay: 0,
    onConnect() {
      client.watchForReceipt("s", () => {
        subscribed = true;
      });
      const headers = { ack: "client-individual", receipt: "s", durable: "stompjs" };
      client.subscribe(
        "/topic/event",
        (m) => got.push({ subject: JSON.parse(m.body).subject, ack: () => m.ack() }),
        headers,
      );
    },
    onDisconnect() {
      disconnected = true;
    },
  });
  client.activate();
  await eventually(() => subscribed);
  const id = await makeQueue();
  await eventually(() => got.some(({ subject }) => subject === id));
  for (const { ack } of got) ack();
  await client.deactivate();
  assert.ok(disconnected);
  const durable = async () => (await server.get("/v1/stomp-durable?name=stompjs", { key })).body.items[0];
  await eventually(async () => (await durable()).sessionId === null);
});

test("webstomp-client, unmodified: connects, hears and leaves", async () => {
  const { over } = createRequire(import.meta.url)("webstomp-client") as {
    over(socket: unknown, options: object): any;
  };
  const client = over(new WebSocket(`${url.replace(/^http/, "ws")}/v1/stomp`, ["v12.stomp"]), { debug: false });
  const subjects: string[] = [];
  let subscribed = false;
  client.onreceipt = () => {
    subscribed = true;
  };
  await new Promise<void>((resolve, reject) => client.connect({ passcode: key }, () => resolve(), reject));
  client.subscribe("/topic/event", (message: any) => subjects.push(JSON.parse(message.body).subject), { receipt: "s" });
  await eventually(() => subscribed);
  const id = await makeQueue();
  await eventually(() => subjects.includes(id));
  await new Promise<void>((resolve) => client.disconnect(resolve));
});

test("stompit, unmodified, over TCP: connects, hears, acknowledges and leaves", async () => {
  const stompit = createRequire(import.meta.url)("stompit") as { connect: any };
  const connectHeaders = { passcode: key, "heart-beat": "5000,5000" };
  const client: any = await new Promise((resolve, reject) =>
    stompit.connect({ host: "127.0.0.1", port: tcpPort, connectHeaders }, (error: Error | null, one: unknown) =>
      error ? reject(error) : resolve(one),
    ),
  );
  const subjects: string[] = [];
  client.subscribe(
    { destination: "/topic/event", ack: "client-individual", from: "start" },
    (_error: unknown, message: any) => {
      message.readString("utf-8", (_failed: unknown, text: string) => {
        subjects.push(JSON.parse(text).subject);
        client.ack(message);
      });
    },
  );
  const id = await makeQueue();
  await eventually(() => subjects.includes(id));
  await new Promise<void>((resolve) => client.disconnect(() => resolve()));
});
