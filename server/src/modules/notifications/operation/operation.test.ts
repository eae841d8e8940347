import assert from "node:assert/strict";
import { test } from "node:test";
import { brewery, gates, held, starts } from "../../../../test/brewery.ts";
import { eventually, startServer } from "../../../../test/harness.ts";
import { connectClient, subscribe } from "../../../../test/stomp-client.ts";
import { modules } from "../../../app.ts";

const planted = { modules: [...modules, brewery] };
const server = await startServer(planted);
const beside = await startServer({ ...planted, beside: server });
const customer = await server.tenant(server.rootId, "customer", "Brewers");
const key = await server.key(customer, ["export.run", "notification.subscribe"]);
const other = await server.key(customer, ["export.run"]);
const overseer = await server.key(customer, ["operation.cancel"]);

const brew = (name: string, ends: string, headers: Record<string, string> = {}, more: object = {}) =>
  server.post("/v1/brew", { name, ends, ...more }, { key, headers });
const read = async (location: string) => (await server.get(location, { key })).body;
const final = (location: string) =>
  eventually(async () => {
    const operation = await read(location);
    return operation.finishedAt && operation;
  });
const toldOf = async (id: string): Promise<string[]> =>
  (await server.sql("select type from kernel.told where subject = $1 order by id", [id])).map(({ type }) =>
    type.split(".").pop(),
  );
async function begun(name: string): Promise<() => void> {
  return eventually(() => gates.get(name));
}

test("OP-1. accepted work answers 202 with its address in the caller's label, and its queue has one MESSAGE per state", async () => {
  const client = await connectClient(server.url, key);
  await subscribe(client, "own", "/user/queue/operation");
  const headers = { "correlation-id": "order-66" };
  const answer = await server.post("/latest/brew", { name: "ale", ends: "in steps" }, { key, headers });
  assert.equal(answer.status, 202);
  assert.match(answer.headers.get("location")!, /^\/latest\/operation\/opn_/);
  assert.equal(answer.headers.get("retry-after"), "1");
  assert.equal(answer.body.status, "queued");
  (await begun("ale"))();
  const running = await server.get(answer.headers.get("location")!, { key });
  assert.deepEqual([running.body.status, running.headers.get("retry-after")], ["running", "1"]);
  assert.equal(running.headers.get("vary")?.includes("Prefer"), true);
  for (const step of [2, 3]) {
    await eventually(async () => (await read(`/v1/operation/${answer.body.id}`)).progress.done === step);
    gates.get("ale")!();
  }
  const operation = await final(answer.headers.get("location")!);
  assert.equal(operation.status, "succeeded");
  assert.deepEqual(operation.result, { url: "/latest/brew/ale", data: { name: "ale" } });
  await eventually(() => client.messages().at(-1)?.headers["event-type"]?.endsWith("succeeded"));
  const events = client.messages().map(({ body }) => JSON.parse(body.toString()));
  assert.deepEqual(
    events.map(({ type }) => type.split(".").pop()),
    ["queued", "started", "progressed", "succeeded"],
  );
  for (const { subject, data } of events) assert.deepEqual([subject, data.correlationId], [operation.id, "order-66"]);
  assert.deepEqual(events.at(-1).data.resource, await read(`/v1/operation/${operation.id}`), "polling sees the same");
  client.cut();
});

test("OP-2. Prefer: wait gives the finished work's own reply, respond-async a 202 even for fast work", async () => {
  const waiting = brew("stout", "when told", { prefer: "wait=10" });
  (await begun("stout"))();
  const waited = await waiting;
  assert.equal(waited.status, 201);
  assert.equal(waited.headers.get("preference-applied"), "wait=10");
  assert.equal(waited.headers.get("location"), "/v1/brew/stout");
  assert.deepEqual(waited.body, { name: "stout" });
  const asked = await brew("porter", "at once", { prefer: "respond-async" });
  assert.equal(asked.status, 202);
  assert.equal(asked.headers.get("preference-applied"), "respond-async");
  const late = await brew("slow", "when told", { prefer: "wait=1" });
  assert.deepEqual([late.status, late.headers.get("preference-applied")], [202, "wait=1"]);
  gates.get("slow")!();
});

test("OP-2. an unknown or malformed preference is ignored, and routes that answer at once heed none", async () => {
  const ignored = [
    "wait",
    "wait=",
    "wait=soon, teapot",
    "wait=0",
    "wait=31",
    "wait=-1",
    "wait=1.5",
    "wait=5s",
    ";;;=",
    "",
  ];
  for (const [index, prefer] of ignored.entries()) {
    const answer = await brew(`mild ${index}`, "at once", { prefer });
    assert.deepEqual([answer.status, answer.headers.get("preference-applied")], [202, null], prefer);
    const monitor = await server.get(answer.headers.get("location")!, { key, headers: { prefer } });
    assert.deepEqual([monitor.status, monitor.headers.get("preference-applied")], [200, null], prefer);
  }
  const direct = await server.get("/v1/ping", { key, headers: { prefer: "wait=5, respond-async" } });
  assert.deepEqual([direct.status, direct.headers.get("preference-applied")], [200, null]);
});

test("OP-3. what can be checked is refused at once without operation or event; work that fails later is a failed operation with its problem", async () => {
  const count =
    "select (select count(*) from kernel.operation)::int as made, (select count(*) from kernel.told)::int as told";
  // What the tests before this one began tells of its end.
  await eventually(
    async () => (await server.sql("select from kernel.operation where finished_at is null")).length === 0,
  );
  const before = await server.sql(count);
  assert.equal((await server.post("/v1/brew", { name: "x" }, { key })).status, 400);
  assert.equal((await brew("x", "at once", {}, { spilt: true })).status, 400, "it was refused after it was started");
  assert.deepEqual(await server.sql(count), before);
  const answer = await brew("sour", "badly");
  const operation = await final(answer.headers.get("location")!);
  assert.equal((await server.get(answer.headers.get("location")!, { key })).status, 200);
  assert.equal(operation.status, "failed");
  assert.deepEqual([operation.error.status, operation.error.code], [400, "validation_failed"]);
  assert.equal(operation.error.detail, "It boiled over.");
  assert.deepEqual(await toldOf(operation.id), ["queued", "started", "failed"]);
  const waited = await brew("sour", "badly", { prefer: "wait=10" });
  assert.equal(waited.status, 400);
  assert.equal(waited.body.detail, "It boiled over.");
});

test("OP-4. who was away when it ended gets the event by its cursor, and without one the monitor is right", async () => {
  const client = await connectClient(server.url, key);
  await subscribe(client, "own", "/user/queue/operation");
  const answer = await brew("lambic", "when told");
  const started = await eventually(() => client.messages()[1]);
  client.cut();
  await eventually(() => client.closed() !== null);
  (await begun("lambic"))();
  await final(answer.headers.get("location")!);
  const again = await connectClient(beside.url, key);
  await subscribe(again, "own", "/user/queue/operation", `last-event-id:${started.headers.cursor}\n`);
  const message = await again.next("MESSAGE");
  assert.equal(message.headers["event-type"], "demarc.notifications.operation.succeeded");
  assert.equal(JSON.parse(message.body.toString()).subject, answer.body.id);
  again.cut();
  assert.equal((await beside.get(answer.headers.get("location")!, { key })).body.status, "succeeded");
});

test("no event precedes its state: whoever hears of one reads that state or a later one, also at the other server", async () => {
  const order = ["queued", "running", "succeeded"];
  const client = await connectClient(server.url, key);
  await subscribe(client, "own", "/user/queue/operation");
  const reads: Promise<void>[] = [];
  client.ws.on("message", (data: Buffer) => {
    const [, body] = data.toString().split("\n\n");
    if (!body?.startsWith("{")) return;
    const { data: told } = JSON.parse(body.slice(0, -1));
    for (const one of [server, beside])
      reads.push(
        one.get(told.url, { key }).then((monitor) => {
          assert.equal(monitor.status, 200);
          assert.ok(order.indexOf(monitor.body.status) >= order.indexOf(told.resource.status), monitor.text);
        }),
      );
  });
  const total = 24;
  for (let n = 0; n < total; n += 8)
    await Promise.all(
      Array.from({ length: 8 }, (_, m) =>
        (m % 2 ? server : beside).post("/v1/brew", { name: `row ${n + m}`, ends: "at once" }, { key }),
      ),
    );
  await eventually(() => reads.length === total * order.length * 2);
  await Promise.all(reads);
  client.cut();
});

test("OP-6. a queued operation cancels at once and nothing runs; a running one is asked to stop; a final one refuses", async () => {
  held.add("dark");
  const waiting = await brew("dark", "at once");
  const cancelled = await server.post(`${waiting.headers.get("location")}/cancel`, undefined, { key });
  assert.deepEqual([cancelled.status, cancelled.body.status], [200, "cancelled"]);
  held.delete("dark");
  const answer = await brew("lager", "when told");
  const location = answer.headers.get("location")!;
  await begun("lager");
  const asked = await server.post(`${location}/cancel`, undefined, { key });
  assert.equal(asked.status, 202);
  assert.equal((await final(location)).status, "cancelled");
  for (const one of [location, waiting.headers.get("location")]) {
    const again = await server.post(`${one}/cancel`, undefined, { key });
    assert.deepEqual([again.status, again.body.code], [409, "operation_not_cancellable"]);
  }
  assert.ok(!starts.includes("dark"));
  assert.deepEqual(await toldOf(waiting.body.id), ["queued", "cancelled"]);
  assert.deepEqual(await toldOf(answer.body.id), ["queued", "started", "cancelled"]);
});

test("OP-6. a second start of an exclusive kind on one subject is refused, naming the first", async () => {
  const first = await brew("wheat", "when told");
  const second = await brew("wheat", "when told");
  assert.deepEqual([second.status, second.body.code], [409, "operation_running"]);
  assert.equal(second.body.operation, `/v1/operation/${first.body.id}`);
  (await begun("wheat"))();
  assert.equal((await final(first.headers.get("location")!)).status, "succeeded");
});

test("the same Idempotency-Key again gives the same operation", async () => {
  const headers = { "idempotency-key": "one-brew" };
  const first = await brew("dubbel", "at once", headers);
  const again = await brew("dubbel", "at once", headers);
  assert.deepEqual([again.status, again.body.id], [202, first.body.id]);
  assert.equal(again.headers.get("idempotency-replayed"), "true");
  await final(first.headers.get("location")!);
});

test("others' operations are 404 without operation.read, and visible and cancellable with the permission", async () => {
  const answer = await brew("bitter", "when told");
  const location = answer.headers.get("location")!;
  assert.equal((await server.get(location, { key: other })).status, 404);
  assert.equal((await server.post(`${location}/cancel`, undefined, { key: other })).status, 404);
  assert.equal((await server.get("/v1/operation", { key: other })).body.items.length, 0);
  assert.equal((await server.get(location, { key: overseer })).status, 200);
  const list = await server.get("/v1/operation?status=queued,running&subject=bitter&count=true", { key: overseer });
  assert.deepEqual([list.body.total, list.body.items[0].id], [1, answer.body.id]);
  const stranger = await server.key(await server.tenant(server.rootId, "customer", "Strangers"), ["operation.cancel"]);
  assert.equal((await server.get(location, { key: stranger })).status, 404);
  await server.post(`${location}/cancel`, undefined, { key: overseer });
  assert.equal((await final(location)).status, "cancelled");
});

test("waiting on GET answers as soon as the work ends", async () => {
  const answer = await brew("kolsch", "when told");
  const end = await begun("kolsch");
  const waiting = server.get(answer.headers.get("location")!, { key, headers: { prefer: "wait=20" } });
  end();
  const ended = await waiting;
  assert.equal(ended.body.status, "succeeded");
  assert.equal(ended.headers.get("preference-applied"), "wait=20");
  assert.equal(ended.headers.get("retry-after"), null);
});
