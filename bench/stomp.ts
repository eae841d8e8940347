/**
 * Fan-out: events to subscribers on as many sockets, beside a bare `ws` server that sends the same octets to as many.
 * Run by itself (`node bench/stomp.ts [subscribers]`) or by bench.ts.
 */
import { fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocketServer } from "ws";
import { call, type Demarc, startDemarc } from "./demarc.ts";
import { median, quantile, rounded } from "./figures.ts";

const events = 20;
const label = (count: number) => `q-${process.pid}-${count}`;

/** A client that counts frames: the load must cost less than what it measures. */
type Ear = { socket: Socket; frames: number; send(text: string): void };

function open({ port, path, key }: Field, heard: (ear: Ear) => void): Promise<Ear> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let isUp = false;
    let rest: Buffer = Buffer.alloc(0);
    const ear: Ear = {
      socket,
      frames: 0,
      send(text) {
        const body = Buffer.from(text);
        const head = body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0xfe, body.length >> 8, body.length & 255];
        // A mask of zeros leaves the octets as they are (RFC 6455, section 5.3).
        socket.write(Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), body]));
      },
    };
    socket.on("error", reject);
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${key === null ? "" : `X-API-Key: ${key}\r\n`}\r\n`,
    );
    socket.on("data", (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      if (!isUp) {
        const end = rest.indexOf("\r\n\r\n");
        if (end < 0) return;
        isUp = true;
        const line = rest.subarray(0, rest.indexOf("\r\n")).toString();
        if (!line.includes(" 101 ")) return reject(new Error(`The handshake answered ${line}`));
        rest = rest.subarray(end + 4);
        resolve(ear);
      }
      for (;;) {
        if (rest.length < 2) return;
        const short = rest[1]! & 127;
        const head = short < 126 ? 2 : 4;
        if (rest.length < head) return;
        const length = short < 126 ? short : rest.readUInt16BE(2);
        if (rest.length < head + length) return;
        const isData = (rest[0]! & 15) < 8 && length > 1;
        rest = rest.subarray(head + length);
        if (!isData) continue;
        ear.frames++;
        heard(ear);
      }
    });
  });
}

type Field = { port: number; pid: number; path: string; key: string | null; subscribe: ((ear: Ear) => void) | null };
export type FanOut = { name: string; perSecond: number; p50Ms: number; p99Ms: number; kilobytesASocket: number };

/** `tell` makes one event; resolves when it is stored, or sent. */
async function measure(name: string, field: Field, subscribers: number, tell: () => Promise<unknown>): Promise<FanOut> {
  let onFrame: () => void = () => {};
  const before = residentKilobytes(field.pid);
  const ears: Ear[] = [];
  while (ears.length < subscribers) {
    const some = Math.min(100, subscribers - ears.length);
    const opened = await Promise.all(Array.from({ length: some }, () => open(field, () => onFrame())));
    for (const ear of opened) field.subscribe?.(ear);
    // CONNECTED and RECEIPT.
    if (field.subscribe) while (opened.some(({ frames }) => frames < 2)) await pause(5);
    ears.push(...opened);
  }
  await pause(500);
  const kilobytesASocket = rounded((residentKilobytes(field.pid) - before) / subscribers, 1);
  const latencies: number[] = [];
  const one = async () => {
    const began = performance.now();
    let left = subscribers;
    const all = new Promise<void>((resolve) => {
      onFrame = () => {
        latencies.push(performance.now() - began);
        if (--left === 0) resolve();
      };
    });
    await tell();
    await all;
  };
  for (let n = 0; n < 5; n++) await one();
  latencies.length = 0;
  for (let n = 0; n < events; n++) await one();
  const sorted = Float64Array.from(latencies).sort();
  const rates: number[] = [];
  for (let round = 0; round < 3; round++) {
    let left = subscribers * events;
    const began = performance.now();
    const all = new Promise<void>((resolve) => {
      onFrame = () => {
        if (--left === 0) resolve();
      };
    });
    await Promise.all([all, ...Array.from({ length: events }, tell)]);
    rates.push((subscribers * events * 1_000) / (performance.now() - began));
  }
  for (const { socket } of ears) socket.destroy();
  await pause(500);
  return {
    name: `${name}, ${subscribers} sockets`,
    perSecond: Math.round(median(rates)),
    p50Ms: rounded(quantile(sorted, 0.5)),
    p99Ms: rounded(quantile(sorted, 0.99)),
    kilobytesASocket,
  };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function residentKilobytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN);
}

let made = 0;
async function measureDemarc(demarc: Demarc, key: string, subscribers: number): Promise<FanOut> {
  const tell = () =>
    call(demarc, key, "POST", "/stomp-queue", { name: label(++made), types: ["demarc.access.tenant.*"] });
  const subscribe = (ear: Ear) => {
    ear.send(`CONNECT\naccept-version:1.2\n\n\0`);
    ear.send("SUBSCRIBE\nid:0\ndestination:/topic/event/notifications.queue\nreceipt:0\n\n\0");
  };
  return measure(
    "Demarc",
    { port: demarc.port, pid: demarc.pid, path: "/v1/stomp", key, subscribe },
    subscribers,
    tell,
  );
}

async function measureBare(subscribers: number, octets: number): Promise<FanOut> {
  const child = fork(new URL(import.meta.url).pathname, ["--bare", String(octets)]);
  const port = await new Promise<number>((resolve) => child.once("message", (at) => resolve(Number(at))));
  const tell = async () => (await fetch(`http://127.0.0.1:${port}/`)).text();
  try {
    return await measure(
      "bare ws",
      { port, pid: child.pid!, path: "/", key: null, subscribe: null },
      subscribers,
      tell,
    );
  } finally {
    child.kill();
  }
}

/** The bare server: every call is one message to all. */
function serveBare(octets: number): void {
  const text = "x".repeat(octets);
  const http = createServer((_request, reply) => {
    for (const client of sockets.clients) client.send(text);
    reply.end();
  });
  const sockets = new WebSocketServer({ server: http, perMessageDeflate: false });
  http.listen(0, "127.0.0.1", () => process.send!((http.address() as AddressInfo).port));
}

/** Fan-out of both, in one run. `ofBare`: Demarc's rate as a share of the bare one. */
export async function measureFanOut(sizes: readonly number[]): Promise<(FanOut & { ofBare: number })[]> {
  const dataDir = mkdtempSync(join(tmpdir(), "demarc-fan-"));
  const demarc = await startDemarc(dataDir, "off", [], { DEMARC_STOMP_SESSIONS: "20000,20000,20000" });
  try {
    const key = demarc.key!;
    const plan = await call(demarc, key, "GET", "/plan");
    const lane = { ratePerSecond: 10_000, burst: 100_000, perDay: null };
    await call(demarc, key, "PATCH", `/plan/${plan.items[0].id}`, { lanes: { api: lane, scim: lane, publish: lane } });
    await call(demarc, key, "POST", "/stomp-queue", { name: label(0), types: ["*"] });
    const [event] = (await call(demarc, key, "GET", "/event-log?types=demarc.notifications.queue.*")).items;
    // The MESSAGE's headers are some 400 octets.
    const octets = JSON.stringify(event).length + 400;
    const rows: (FanOut & { ofBare: number })[] = [];
    for (const size of sizes) {
      const bare = await measureBare(size, octets);
      const own = await measureDemarc(demarc, key, size);
      rows.push({ ...bare, ofBare: 1 }, { ...own, ofBare: rounded(own.perSecond / bare.perSecond) });
    }
    return rows;
  } finally {
    await demarc.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

if (process.argv[2] === "--bare") serveBare(Number(process.argv[3]));
else if (process.argv[1] === new URL(import.meta.url).pathname) {
  console.table(await measureFanOut(process.argv.slice(2).map(Number)));
  process.exit(0);
}
