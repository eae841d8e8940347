import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { modules } from "../../server/src/app.ts";
import { eventually, startServer } from "../../server/test/harness.ts";
import { emptyFolder, endListeners, startListener } from "../../server/test/listener.ts";
import { planted } from "../../server/test/planted.ts";
import { makeClient } from "../../server/test/tokens.ts";

const server = await startServer({ modules: [...modules, planted] });
const parent = await server.tenant(server.rootId, "partner", "Parent");
const tenant = await server.tenant(parent, "customer", "Ours");
const holds = ["notification.subscribe", "notification.manage", "export.run"] as const;
const key = await server.key(tenant, holds);
const parentKey = await server.key(parent, holds);
after(endListeners);

const transports = ["stomp", "stream", "poll"] as const;
let made = 0;
async function makeThings(count: number, by = key): Promise<string[]> {
  const subjects: string[] = [];
  for (let n = 0; n < count; n++)
    subjects.push((await server.post("/v1/thing", { name: `n ${++made}` }, { key: by })).body.id);
  return subjects;
}
const listen = (args: string[], cwd: string, env: Record<string, string> = { DEMARC_API_KEY: key }) =>
  startListener(args, { cwd, env: { DEMARC_URL: server.url, ...env } });
type Listener = ReturnType<typeof listen>;
const subjects = (listener: Listener): string[] => listener.events().map(({ subject }) => subject);
const hears = (listener: Listener, wanted: string[]) =>
  eventually(() => listener.lines().length >= wanted.length).then(() => assert.deepEqual(subjects(listener), wanted));
const things = ["--types", "demarc.export.*"];

test("every transport prints the event octet for octet as GET has it, and any of them goes on where another stopped", async () => {
  const wanted = await makeThings(4);
  const folder = emptyFolder();
  const first = transports.map((transport) =>
    listen(
      [...things, "--transport", transport, "--from", "start", "--count", "3", "--cursor-file", transport],
      folder,
    ),
  );
  for (const listener of first) {
    assert.equal(await listener.exited, 0, listener.said());
    assert.deepEqual(subjects(listener), wanted.slice(0, 3));
    for (const line of listener.lines()) {
      const { text } = await server.get(`/v1/event-log/${JSON.parse(line).id}`, { key });
      assert.equal(line, text);
    }
  }
  // As after a crash between the work and the keeping of its place: what was printed and comes again is not.
  const { nextCursor } = (await server.get("/v1/event-log?limit=1", { key })).body;
  writeFileSync(join(folder, "poll"), nextCursor);
  const second = transports.map((transport, at) =>
    listen([...things, "--transport", transports[(at + 1) % 3]!, "--count", "1", "--cursor-file", transport], folder),
  );
  for (const listener of second) {
    assert.equal(await listener.exited, 0, listener.said());
    assert.deepEqual(subjects(listener), wanted.slice(3));
  }
});

test("the place is fixed before the first event: killed between the two, no transport misses it", async () => {
  const folder = emptyFolder();
  const start = () =>
    transports.map((transport) => listen([...things, "--transport", transport, "--cursor-file", transport], folder));
  const first = start();
  await eventually(() => transports.every((file) => existsSync(join(folder, file))));
  for (const listener of first) assert.equal(await listener.end("SIGKILL"), null);
  const wanted = await makeThings(2);
  for (const listener of start()) {
    await hears(listener, wanted);
    assert.equal(await listener.end("SIGTERM"), 0);
  }
});

test("a narrower destination, a tenant and those below it are heard alike by every transport", async () => {
  const folder = emptyFolder();
  const env = { DEMARC_API_KEY: parentKey };
  const own = await makeThings(1, parentKey);
  const [{ count }] = await server.sql(
    "select count(*)::int as count from kernel.event where tenant_id = $1 and type like 'demarc.export.%'",
    [tenant],
  );
  const args = ["--destination", "/topic/v1/event/export.thing", "--from", "start"];
  const asked = transports.map((transport) => {
    const more = ["--below", "--transport", transport, "--count", String(count + 1), "--cursor-file", transport];
    return { wanted: count + 1, withOwn: true, listener: listen([...args, ...more], folder, env) };
  });
  for (const transport of ["stomp", "poll"]) {
    const more = ["--tenant", tenant, "--transport", transport, "--count", String(count)];
    asked.push({ wanted: count, withOwn: false, listener: listen([...args, ...more], emptyFolder(), env) });
  }
  for (const { wanted, withOwn, listener } of asked) {
    assert.equal(await listener.exited, 0, listener.said());
    assert.equal(new Set(subjects(listener)).size, wanted);
    assert.equal(subjects(listener).includes(own[0]!), withOwn);
  }
});

test("--format pretty is a line an event for people, and --quiet says nothing", async () => {
  await makeThings(1);
  const args = [...things, "--from", "start", "--count", "1", "--format", "pretty", "--quiet"];
  const listener = listen(args, emptyFolder());
  assert.equal(await listener.exited, 0);
  const line = /^2026-11-22T10:00:00\.000Z #\d+ demarc\.export\.thing\.created thg_\w+ by key key_\w+$/;
  assert.equal(listener.lines().length, 1);
  assert.match(listener.lines()[0]!, line);
  assert.equal(listener.said(), "");
});

test("a durable keeps the place on the server: killed, the next run goes on, and there is no file", async () => {
  const folder = emptyFolder();
  const start = () => listen([...things, "--durable", "billing"], folder);
  const first = start();
  await eventually(async () => (await server.get("/v1/stomp-durable", { key })).body.items.length === 1);
  const before = await makeThings(3);
  await hears(first, before);
  const settled = async () => (await server.get("/v1/stomp-durable", { key })).body.items[0].lag === 0;
  await eventually(settled);
  await first.end("SIGKILL");
  const later = await makeThings(2);
  const second = start();
  await hears(second, later);
  const third = start();
  assert.equal(await second.exited, 2, "who takes the durable over ends the other");
  assert.match(second.said(), /taken_over/);
  const last = await makeThings(1);
  await eventually(() => subjects(third).includes(last[0]!));
  assert.equal(await third.end("SIGINT"), 0);
  await eventually(settled);
  assert.deepEqual(readdirSync(folder), []);
});

test("two receivers of a queue share it: each event is printed by one of them", async () => {
  const name = "shared";
  await server.post("/v1/stomp-queue", { name, types: ["demarc.export.*"] }, { key });
  const folder = emptyFolder();
  const both = [0, 1].map(() => listen(["--destination", `/queue/${name}`], folder));
  await eventually(() => both.every((listener) => listener.said().includes("Listening")));
  const wanted = await makeThings(20);
  await eventually(() => both.flatMap(subjects).length === wanted.length);
  assert.deepEqual(both.flatMap(subjects).sort(), [...wanted].sort());
  for (const listener of both) assert.ok(listener.lines().length > 0);
  for (const listener of both) assert.equal(await listener.end("SIGTERM"), 0);
  assert.deepEqual(readdirSync(folder), []);
});

test("RC-2. tokens expire under it again and again, on every transport: it fetches new ones and misses nothing", async () => {
  const { id, secret } = await makeClient(server, tenant, holds, { accessTokenSeconds: 5 });
  const folder = emptyFolder();
  const env = { DEMARC_CLIENT_ID: id, DEMARC_CLIENT_SECRET: secret };
  const listeners = transports.map((transport) =>
    listen([...things, "--transport", transport, "--cursor-file", transport], folder, env),
  );
  await eventually(() => transports.every((file) => existsSync(join(folder, file))));
  const wanted: string[] = [];
  for (let round = 0; round < 2; round++) {
    wanted.push(...(await makeThings(2)));
    for (const listener of listeners) await hears(listener, wanted);
    server.clock.advance(6_000);
    wanted.push(...(await makeThings(2)));
    const times = round + 2;
    await eventually(() => listeners.every((one) => one.said().split("Listening to").length - 1 === times));
  }
  for (const listener of listeners) {
    await hears(listener, wanted);
    assert.equal(await listener.end("SIGTERM"), 0);
  }
});

test("forwarded to the example program, an event is verified there by verifyWebhook and printed; a forged one is refused", async () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const program = fileURLToPath(new URL("../../examples/webhook-receiver.mjs", import.meta.url));
  const example = startListener([], { program: [program], cwd: emptyFolder(), env: { SECRET: secret, PORT: "0" } });
  const port = await eventually(() => /listening on (\d+)/.exec(example.said())?.[1]);
  const url = `http://127.0.0.1:${port}/`;
  const args = ["--from", "start", "--count", "1", "--forward", url, "--secret", secret];
  const listener = listen([...things, ...args], emptyFolder());
  assert.equal(await listener.exited, 0, listener.said());
  const [{ sequence, type, subject }] = listener.events();
  await eventually(() => example.lines().includes(`${sequence} ${type} ${subject}`));
  const forged = { "webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,abc" };
  assert.equal((await fetch(url, { method: "POST", headers: forged, body: "{}" })).status, 400);
  assert.equal(example.lines().length, 1);
});

test("a server that is busy is left alone for as long as it asks, one that is gone is asked again, by every transport", async () => {
  const busy = createServer((_, response) => {
    const problem = JSON.stringify({ code: "rate_limited", detail: "Too many." });
    response.writeHead(429, { "retry-after": "7" }).end(problem);
  });
  busy.on("upgrade", (_, socket) => socket.end("HTTP/1.1 503 Busy\r\nretry-after: 7\r\nconnection: close\r\n\r\n"));
  await new Promise<void>((resolve) => busy.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(busy.address() as AddressInfo).port}`;
  for (const listener of transports.map((one) => listen(["--transport", one, "--url", url], emptyFolder()))) {
    await eventually(() => /(rate_limited: Too many\.|status 503: .*) Again in 7\.0 s\./.test(listener.said()));
    assert.equal(await listener.end("SIGTERM"), 0);
  }
  await new Promise((resolve) => busy.close(resolve));
  for (const listener of transports.map((one) => listen(["--transport", one, "--url", url], emptyFolder()))) {
    await eventually(() => /does not answer: .*ECONNREFUSED.* Again in 1\.\d s\.\n/.test(listener.said()));
    assert.equal(await listener.end("SIGTERM"), 0);
  }
});

test("the single file that the server hands out runs with Node alone, in an empty folder", async () => {
  await makeThings(1);
  const { text, headers } = await server.get("/docs/asset/demarc-listen.mjs");
  assert.match(headers.get("content-type")!, /javascript/);
  assert.match(headers.get("content-disposition")!, /^attachment;/);
  const folder = emptyFolder();
  writeFileSync(join(folder, "demarc-listen.mjs"), text);
  const listener = startListener(["--url", server.url, "--from", "start", "--count", "1", ...things], {
    cwd: folder,
    env: { DEMARC_API_KEY: key },
    program: ["demarc-listen.mjs"],
  });
  assert.equal(await listener.exited, 0, listener.said());
  assert.equal(listener.events()[0].type, "demarc.export.thing.created");
  assert.match(readFileSync(join(folder, ".demarc-cursor"), "utf8"), /^[\w-]{1,64}\n$/);
  const guide = await server.get("/docs/receiver", { headers: { accept: "text/html" } });
  assert.match(guide.text, /href="\/docs\/asset\/demarc-listen\.mjs"/);
});
