import assert from "node:assert/strict";
import { test } from "node:test";
import { followStream, type Message } from "../../../../test/event-stream.ts";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted } from "../../../../test/planted.ts";
import { makeClient } from "../../../../test/tokens.ts";
import { modules } from "../../../app.ts";

const server = await startServer({ modules: [...modules, planted] });
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const writer = await server.key(tenant, ["export.run"]);
const holds = ["notification.subscribe", "export.run"] as const;

const follow = (headers: Record<string, string>, query?: string, url = server.url) => followStream(url, headers, query);
let made = 0;
async function makeThing(): Promise<string> {
  return (await server.post("/v1/thing", { name: `thing ${++made}` }, { key: writer })).body.id;
}
const subjects = (messages: Message[]) => messages.map(({ data }) => JSON.parse(data!).subject);
const fresh = async () => ({ "x-api-key": await server.key(tenant, holds) });

test("EV-8. a stream that was cut after the fifth event goes on with the sixth by Last-Event-ID", async () => {
  const headers = await fresh();
  const first = follow(headers);
  const reply = await first.opened;
  assert.equal(reply.status, 200);
  assert.match(reply.headers.get("content-type")!, /^text\/event-stream/);
  assert.equal(reply.headers.get("cache-control"), "no-store");
  const things: string[] = [];
  for (let n = 0; n < 5; n++) things.push(await makeThing());
  await eventually(() => first.messages.length === 5);
  first.cut();
  for (let n = 0; n < 3; n++) things.push(await makeThing());
  assert.deepEqual(subjects(first.messages), things.slice(0, 5));
  const fifth = first.messages[4]!;
  assert.equal(fifth.event, "demarc.export.thing.created");
  const second = follow({ ...headers, "last-event-id": fifth.id! });
  await eventually(() => second.messages.length === 3);
  assert.deepEqual(subjects(second.messages), things.slice(5));
  second.cut();
  const byId = follow({ ...headers, "last-event-id": JSON.parse(fifth.data!).id });
  await eventually(() => byId.messages.length === 3);
  byId.cut();
  const feed = await server.get(`/v1/event-log?cursor=${fifth.id}`, { key: headers["x-api-key"] });
  assert.deepEqual(
    feed.body.items.map((event: any) => event.subject),
    things.slice(5),
  );
});

test("EV-8. sixteen seconds of silence contain a comment", async () => {
  const stream = follow(await fresh());
  await stream.opened;
  const until = performance.now() + 17_000;
  while (stream.comments.length === 0 && performance.now() < until) await new Promise((done) => setTimeout(done, 250));
  assert.ok(stream.comments.length > 0);
  assert.deepEqual(stream.messages, []);
  stream.cut();
});

test("EV-8. when its token expires the stream says so and ends", async () => {
  const client = await makeClient(server, tenant, holds, { accessTokenSeconds: 600 });
  const token = await fetch(`${server.url}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${client.id}:${client.secret}`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  }).then((reply) => reply.json() as Promise<{ access_token: string }>);
  const stream = follow({ authorization: `Bearer ${token.access_token}` });
  assert.equal((await stream.opened).status, 200);
  server.clock.advance(599_000);
  const thing = await makeThing();
  await eventually(() => stream.messages.length === 1);
  assert.deepEqual(subjects(stream.messages), [thing]);
  server.clock.advance(1_000);
  await eventually(() => stream.isEnded());
  assert.deepEqual(stream.messages.at(-1), { event: "end", data: '{"code":"unauthenticated"}' });
});

test("a key that is deleted ends its stream, and nothing that is told afterwards is sent", async () => {
  const issuer = await server.key(tenant, "tenant_administrator");
  const { body } = await server.post("/v1/key", { title: "listener" }, { key: issuer });
  const given = { principal: { kind: "key", id: body.id }, roleId: "read_only" };
  await server.post("/v1/assignment", given, { key: issuer });
  const stream = follow({ "x-api-key": body.secret });
  assert.equal((await stream.opened).status, 200);
  await server.delete(`/v1/key/${body.id}`, { key: issuer });
  const thing = await makeThing();
  await eventually(() => stream.isEnded());
  assert.equal(stream.messages.at(-1)!.event, "end");
  assert.equal(
    stream.messages.some(({ data }) => data!.includes(thing)),
    false,
  );
});

test("the loss of notification.subscribe ends a stream, naming it", async () => {
  const client = await makeClient(server, tenant, holds);
  const token = await fetch(`${server.url}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${client.id}:${client.secret}`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  }).then((reply) => reply.json() as Promise<{ access_token: string }>);
  const stream = follow({ authorization: `Bearer ${token.access_token}` });
  assert.equal((await stream.opened).status, 200);
  await server.sql("delete from access.assignment where principal_id = $1", [client.id]);
  await server.kernel.forget();
  await eventually(() => stream.isEnded());
  assert.deepEqual(stream.messages.at(-1), { event: "end", data: '{"code":"permission_missing"}' });
});

test("what a stream cannot be opened with is refused before it begins: 400, 401, 403, 404, 410", async () => {
  const headers = await fresh();
  const ask = (query: string, more: Record<string, string> = headers) =>
    server.get(`/v1/event-stream${query}`, { headers: more });
  const code = async (query: string, more?: Record<string, string>) => {
    const { status, body } = await ask(query, more);
    return [status, body.code];
  };
  assert.deepEqual(await code("?types=nothing"), [400, "validation_failed"]);
  assert.deepEqual(await code("?cursor=x"), [400, "cursor_unknown"]);
  assert.deepEqual(await code("", { ...headers, "last-event-id": "x" }), [400, "cursor_unknown"]);
  assert.deepEqual(await code("", {}), [401, "unauthenticated"]);
  assert.deepEqual(await code(`?access_token=${headers["x-api-key"]}`, {}), [401, "unauthenticated"]);
  assert.deepEqual(await code("", { "x-api-key": writer }), [403, "permission_missing"]);
  assert.deepEqual(await code("", { ...headers, "demarc-tenant": server.rootId }), [404, "not_found"]);
});

test("a caller has five streams at a time, and a place again when one ends; HEAD takes none", async () => {
  const headers = await fresh();
  for (let n = 0; n < 7; n++) {
    const head = await server.call("HEAD", "/v1/event-stream", { headers });
    assert.equal(head.status, 200);
  }
  const streams = Array.from({ length: 5 }, () => follow(headers));
  for (const { opened } of streams) assert.equal((await opened).status, 200);
  const sixth = await server.get("/v1/event-stream", { headers });
  assert.deepEqual([sixth.status, sixth.body.code], [429, "streams_full"]);
  assert.ok(Number(sixth.headers.get("retry-after")) > 0);
  assert.equal(
    (await server.get("/v1/event-stream?until=2000-01-01T00:00:00Z", { headers: await fresh() })).status,
    200,
  );
  streams[0]!.cut();
  await eventually(async () => {
    const next = follow(headers);
    const { status } = await next.opened;
    if (status === 200) streams[0] = next;
    return status === 200;
  });
  for (const { cut } of streams) cut();
});

test("with until in the past a stream gives what there is and ends", async () => {
  const key = await server.key(tenant, holds);
  const thing = await makeThing();
  await eventually(async () => (await server.get(`/v1/event-log?subject=${thing}`, { key })).body.items.length === 1);
  const until = server.clock.now().toISOString();
  server.clock.advance(1_000);
  const stream = follow({ "x-api-key": key }, `?from=start&until=${new Date(Date.parse(until) + 1).toISOString()}`);
  await stream.done;
  assert.ok(stream.messages.length > 0);
});

test("what is told in one moment comes in order, each once, beyond the border of a batch", async () => {
  const stream = follow(await fresh());
  assert.equal((await stream.opened).status, 200);
  const things = await Promise.all(Array.from({ length: 150 }, makeThing));
  await eventually(() => stream.messages.length >= 150);
  assert.deepEqual(subjects(stream.messages).sort(), things.sort());
  const sequences = stream.messages.map(({ data }) => JSON.parse(data!).sequence);
  assert.deepEqual(sequences, [...sequences].sort());
  stream.cut();
});

test("a server that stops ends its streams and its waiting calls, and is not held up by them", async () => {
  const beside = await startServer({ modules: [...modules, planted], beside: server });
  const headers = await fresh();
  const stream = follow(headers, "?from=now", beside.url);
  assert.equal((await stream.opened).status, 200);
  const { nextCursor } = (await beside.get("/v1/event-log?from=now", { headers })).body;
  const waiting = beside.get(`/v1/event-log?cursor=${nextCursor}`, { headers: { ...headers, prefer: "wait=30" } });
  await eventually(async () => (await beside.get("/v1/ping", { headers })).status === 200);
  await beside.close();
  await eventually(() => stream.isEnded());
  assert.equal(
    stream.messages.some(({ event }) => event === "end"),
    false,
  );
  assert.equal((await waiting).status, 200);
});
