import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { after, afterEach, mock, test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import type { Settings } from "./contract.ts";
import { type FaultCode, faults } from "./faults.ts";
import { maxBodyBytes, maxHeadBytes, maxHeaders, maxLineBytes } from "./frame.ts";
import { agree, begin, chatSettings, eventsOf, settings, subscribeFrame } from "./session.fixture.ts";
import { ClientSocket, type Connection, serveWebSocket } from "./socket.ts";

/** Real sockets; the clock of the sessions is the test's, so that a minute of silence takes no minute. */
const clock = { ms: 1_000_000 };
mock.method(performance, "now", () => clock.ms);
mock.timers.enable({ apis: ["setTimeout", "setInterval"] });

const maxMessageBytes = maxBodyBytes + 64 * 1024;
const opened: { connection: Connection; socket: Socket; ended: string | null | undefined }[] = [];
const own: { settings: Settings; bufferBytes: number } = { settings, bufferBytes: 1_048_576 };
const http = createServer();
const sockets = new WebSocketServer({
  server: http,
  WebSocket: ClientSocket,
  perMessageDeflate: false,
  maxPayload: maxMessageBytes,
});
sockets.on("connection", (ws, { socket }) => {
  const about: (typeof opened)[number] = { connection: null as never, socket, ended: undefined };
  opened.push(about);
  about.connection = serveWebSocket(ws, socket, {
    ...own,
    preLoginBytes: 16 * 1024,
    failed: (error) => assert.fail(String(error)),
    serve: (connection) => ({
      serve(wish) {
        const answer = agree(wish);
        if (answer) queueMicrotask(() => connection.give(answer));
      },
      ended(fault) {
        about.ended = fault;
      },
    }),
  });
});
http.listen(0, "127.0.0.1");
await once(http, "listening");
const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}`;
const clients: WebSocket[] = [];
afterEach(() => {
  for (const ws of clients.splice(0)) ws.terminate();
  Object.assign(own, { settings, bufferBytes: 1_048_576 });
});
after(() => http.close());

/** What is on its way between the two ends of a socket arrives within a few turns of the event loop. */
async function turns(count = 8): Promise<void> {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve));
}
async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; n < 20_000 && !condition(); n++) await turns(1);
  assert.ok(condition(), "it did not happen");
}
async function elapse(ms: number, stepMs = 50): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    clock.ms += stepMs;
    mock.timers.tick(stepMs);
    await turns();
  }
}

async function openClient(options: { autoPong?: boolean } = {}) {
  const ws = new WebSocket(url, options);
  clients.push(ws);
  const received: { text: string; atMs: number }[] = [];
  const end = { code: null as number | null };
  ws.on("message", (data: Buffer) => received.push({ text: data.toString(), atMs: clock.ms }));
  ws.on("error", () => {});
  ws.on("close", (code) => {
    end.code = code;
  });
  const before = opened.length;
  await once(ws, "open");
  await until(() => opened.length > before);
  const { connection, socket } = opened.at(-1)!;
  return {
    ws,
    received,
    connection,
    socket,
    about: opened.at(-1)!,
    closed: () => end.code,
    send: (data: string | Buffer) => ws.send(data),
    has: (start: string) => received.some(({ text }) => text.startsWith(start)),
    /** The code of the ERROR, which nothing follows, and the close code. */
    async fault(): Promise<string> {
      await until(() => end.code !== null);
      const code = /^code:(\w+)$/m.exec(received.at(-1)?.text ?? "")?.[1];
      return `${code} ${end.code}`;
    },
  };
}
async function connect(headers = "", options: { autoPong?: boolean } = {}) {
  const client = await openClient(options);
  client.send(`CONNECT\naccept-version:1.2\n${headers}\n\0`);
  await until(() => client.has("CONNECTED\n"));
  client.received.length = 0;
  return client;
}

test("ST-13. heart-beat:1000,1000: an idle server sends a message of one octet at least every second", async () => {
  own.settings = { ...settings, heartBeat: [1_000, 1_000] };
  const client = await connect("heart-beat:1000,1000\n");
  let last = clock.ms;
  for (let n = 0; n < 20; n++) {
    client.send("\n");
    await elapse(500);
  }
  assert.equal(client.closed(), null);
  assert.ok(client.received.length >= 10);
  for (const { text, atMs } of client.received) {
    assert.equal(text, "\n");
    assert.ok(atMs - last <= 1_000, `${atMs - last} ms`);
    last = atMs;
  }
  assert.ok(clock.ms - last <= 1_000);
});

test("ST-13. a client that falls mute is told heart_beat_missed after two seconds, and before three", async () => {
  own.settings = { ...settings, heartBeat: [1_000, 1_000] };
  const client = await connect("heart-beat:1000,1000\n");
  await elapse(1_900);
  assert.equal(client.has("ERROR"), false);
  await elapse(1_000);
  assert.equal(await client.fault(), "heart_beat_missed 1002");
});

test("ST-13. with heart-beat:0,0, or without the header, a minute of silence drives nobody away", async () => {
  own.settings = { ...settings, heartBeat: [1_000, 1_000] };
  const silent = [await connect("heart-beat:0,0\n"), await connect(), await openClient()];
  silent[2]!.send("CONNECT\n\n\0");
  await until(() => silent[2]!.has("CONNECTED\n"));
  silent[2]!.received.length = 0;
  await elapse(61_000, 500);
  for (const { received, closed } of silent) assert.deepEqual([received, closed()], [[], null]);
  for (const client of silent) {
    client.send(`SUBSCRIBE\nid:a\ndestination:/topic/event\nreceipt:still\n\n\0`);
    await until(() => client.has("RECEIPT\n"));
  }
});

test("a WebSocket ping comes every 30 s, and who answers none for 60 s is cut; who answers stays", async () => {
  const dead = await connect("", { autoPong: false });
  const alive = await connect();
  let pings = 0;
  dead.ws.on("ping", () => pings++);
  await elapse(58_000, 500);
  assert.equal(pings, 1);
  assert.equal(dead.closed(), null);
  await elapse(12_000, 500);
  assert.equal(dead.closed(), 1006);
  await elapse(60_000, 500);
  assert.equal(alive.closed(), null);
});

test("ST-5. who sends no CONNECT for ten seconds is told login_timeout, and not before", async () => {
  const mute = await openClient();
  await elapse(9_900);
  assert.equal(mute.has("ERROR"), false);
  await elapse(200);
  assert.equal(await mute.fault(), "login_timeout 1008");
});

test("octets that wait and none that leave for 30 s are slow_consumer, and 5 s later the socket is cut; others are not delayed", async () => {
  const stuck = await connect();
  const other = await connect();
  for (const client of [stuck, other]) {
    client.send(subscribeFrame("a"));
    client.send("BEGIN\ntransaction:t\nreceipt:r\n\n\0");
    await until(() => client.has("RECEIPT\n"));
  }
  stuck.ws.pause();
  let position = 0;
  const most = { waiting: 0 };
  // As a feed does: only while there is room.
  for (let full = 0; full < 50; full++) {
    while (stuck.connection.hasRoom()) {
      stuck.connection.give(
        eventsOf(
          1,
          Array.from({ length: 50 }, () => ++position),
        ),
      );
      most.waiting = Math.max(most.waiting, stuck.socket.writableLength);
      await turns(1);
      full = 0;
    }
    await turns(1);
  }
  await elapse(29_000, 500);
  assert.equal(stuck.about.ended, undefined, "too early");
  const heard = other.received.length;
  other.connection.give(eventsOf(1, [1]));
  await turns();
  assert.equal(other.received.length, heard + 1);
  await elapse(6_500, 500);
  assert.equal(stuck.about.ended, "slow_consumer");
  assert.equal(stuck.socket.destroyed, false);
  await elapse(5_500, 500);
  assert.equal(stuck.socket.destroyed, true);
  assert.ok(most.waiting < own.bufferBytes, `${most.waiting} octets waited`);
});

test("a client that asks for receipts and reads none is not read on, so that no more than bufferBytes wait for it", async () => {
  own.bufferBytes = 262_144;
  const client = await connect();
  client.ws.pause();
  const long = "r".repeat(8_000);
  for (let n = 0; n < 3_000; n++)
    client.send(`BEGIN\ntransaction:t${n}\nreceipt:${n}${long}\n\n\0ABORT\ntransaction:t${n}\n\n\0`);
  let most = 0;
  for (let n = 0; n < 600 && client.about.ended === undefined; n++) {
    await elapse(100, 100);
    most = Math.max(most, client.socket.writableLength);
  }
  assert.equal(client.about.ended, "slow_consumer");
  assert.ok(most > 200_000 && most < own.bufferBytes + 2 * long.length, `${most} octets waited`);
});

test("frames above 100 a second, 200 at once, are read later and not refused", async () => {
  const client = await connect();
  for (let n = 0; n < 300; n++) client.send(n % 2 ? "ABORT\ntransaction:t\n\n\0" : `${begin("t")}`);
  client.send("BEGIN\ntransaction:last\nreceipt:last\n\n\0");
  await elapse(800);
  assert.equal(client.has("RECEIPT\n"), false);
  await elapse(400);
  await until(() => client.has("RECEIPT\n"));
});

const send = (headers: string, body = "") => `SEND\n${headers}\n\n${body}\0`;
const to = "destination:/topic/a";
const head = (bytes: number) => {
  const first = `${to}\n`;
  const lines = Math.floor((bytes - first.length - 1_024) / 1_024);
  const rest = bytes - first.length - lines * 1_024;
  return `SEND\n${first}${`${"a:".padEnd(1_023, "x")}\n`.repeat(lines)}${"b:".padEnd(rest - 1, "x")}\n\n\0`;
};
const paddedTo = (bytes: number, frame: string) => "\n".repeat(bytes - frame.length) + frame;
/** What just fits, and the same with one more of it. */
const limits: Record<string, (more: 0 | 1) => string> = {
  "100 headers a frame": (more) => send(`${to}${"\na:b".repeat(maxHeaders - 1 + more)}`),
  "8 KiB a header line": (more) => send(`${to}\n${"a:".padEnd(maxLineBytes + more, "x")}`),
  "64 KiB of all header lines": (more) => head(maxHeadBytes - "SEND\n".length - 1 + more),
  "a body of 1 MiB": (more) => send(to, "x".repeat(maxBodyBytes + more)),
  "a body of 1 MiB by its content-length": (more) =>
    send(`${to}\ncontent-length:${maxBodyBytes + more}`, "x".repeat(maxBodyBytes + more)),
  "a WebSocket message of 1 MiB and 64 KiB": (more) =>
    paddedTo(maxMessageBytes + more, send(to, "x".repeat(maxBodyBytes))),
};
for (const [limit, frame] of Object.entries(limits))
  test(`${limit}: what just fits is taken, one more is limit_exceeded and 1009`, async () => {
    own.settings = chatSettings;
    const client = await connect();
    client.send(frame(0));
    client.send("BEGIN\ntransaction:t\nreceipt:fits\n\n\0");
    await until(() => client.has("RECEIPT\n"));
    client.send(frame(1));
    assert.equal(await client.fault(), "limit_exceeded 1009");
  });

/** `setUp` and then so many of `one` fit. */
const countedLimits: Record<string, [setUp: string, one: (n: number) => string, most: number]> = {
  "100 subscriptions": ["", (n) => subscribeFrame(`s${n}`), 100],
  "10 open transactions": ["", (n) => begin(`t${n}`), 10],
  "1,000 frames of a transaction": [begin("t"), () => send(`${to}\ntransaction:t`, "x"), 1_000],
  "4 MiB of open transactions": [
    [0, 1, 2, 3].map((n) => begin(`t${n}`)).join(""),
    // With its headers, 32 of them are 4 MiB to the octet.
    (n) => send(`${to}\ntransaction:t${n % 4}`, "x".repeat(131_072 - `destination/topic/atransactiont0`.length)),
    32,
  ],
};
for (const [limit, [setUp, one, most]] of Object.entries(countedLimits))
  test(`${limit}: what just fits is taken, one more is limit_exceeded and 1009`, async () => {
    own.settings = chatSettings;
    const client = await connect();
    if (setUp !== "") client.send(setUp);
    for (let n = 0; n < most; n++) client.send(one(n));
    client.send("ABORT\ntransaction:none\n\n\0");
    await elapse(10_000, 250);
    assert.equal(await client.fault(), "transaction_unknown 1002", "all before the ABORT was taken");
    const again = await connect();
    if (setUp !== "") again.send(setUp);
    for (let n = 0; n <= most; n++) again.send(one(n));
    await elapse(10_000, 250);
    assert.equal(await again.fault(), "limit_exceeded 1009");
  });

test("before CONNECTED all octets together may be 16 KiB", async () => {
  const frame = "CONNECT\naccept-version:1.2\n\n\0";
  const fits = await openClient();
  fits.send(paddedTo(16_384, frame));
  await until(() => fits.has("CONNECTED\n"));
  const over = await openClient();
  over.send(paddedTo(16_385, frame));
  assert.equal(await over.fault(), "limit_exceeded 1009");
});

test("every fault is told by one ERROR and closes with the code of its kind; nothing comes after, and nothing that is sent after has an effect", async () => {
  for (const code of Object.keys(faults) as FaultCode[]) {
    const client = await connect();
    client.connection.give({ kind: "end", refusal: { code } });
    client.connection.give(eventsOf(1, [1]));
    client.send(begin("t"));
    assert.equal(await client.fault(), `${code} ${faults[code][0]}`);
    assert.equal(client.received.length, 1);
    const [headers, body] = client.received[0]!.text.slice(0, -1).split("\n\n");
    assert.match(headers!, /^ERROR\nmessage:[^\n]+\n/);
    assert.equal(JSON.parse(body!).code, code);
  }
});

test("a server that goes down closes with 1001 and without ERROR", async () => {
  const client = await connect();
  client.connection.give({ kind: "shutdown" });
  assert.equal(await client.fault(), "undefined 1001");
  assert.deepEqual(client.received, []);
});
