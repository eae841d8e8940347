/** EV-9: what leaves of an event too large to be sent whole, and of one whose person was erased, by every way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { event } from "#kernel/events";
import { id, object } from "#kernel/schema";
import { followStream } from "../../../../test/event-stream.ts";
import { eventually, startServer } from "../../../../test/harness.ts";
import { startReceiver } from "../../../../test/receiver.ts";
import { connectClient, subscribe } from "../../../../test/stomp-client.ts";

const Letter = object({ id: id("let"), text: Type.String() }, { title: "Letter" });
const letterWritten = event("export", "letter.written", {
  permission: "export.run",
  summary: "Something long was written.",
  resource: Letter,
});
const server = await startServer();
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const key = await server.key(tenant, "tenant_administrator");
const watcher = await server.key(tenant, ["export.run", "notification.subscribe", "user.read"]);

async function listen(types: string) {
  const receiver = await startReceiver();
  const made = await server.post("/v1/webhook", { url: receiver.url, types: [types] }, { key });
  const session = await connectClient(server.url, watcher);
  await subscribe(session, "s", "/topic/event", `types:${types}\n`);
  const stream = followStream(server.url, { "x-api-key": watcher }, `?from=now&types=${types}`);
  await stream.opened;
  return { receiver, webhook: made.body.id as string, session, stream };
}
const feed = async (types: string, path = "/v1/event-log") =>
  (await server.get(`${path}?types=${types}`, { key: watcher })).body.items;

test("EV-9. a resource of 200 KiB is told by an event below 16 KiB that says so and where the rest is, by every way", async () => {
  const types = letterWritten.type;
  const { receiver, session, stream } = await listen(types);
  // Beside it one that just fits and one that just does not, in octets, not in characters.
  const texts = ["n".repeat(200 * 1_024), "n".repeat(14_500), "\u00e9".repeat(7_700)];
  await server.as(tenant, async (ctx) => {
    for (const [index, text] of texts.entries()) {
      const resource = { id: `let_${String(index).padStart(26, "0")}`, text };
      const place = { tenantId: tenant, subject: resource.id, path: `/letter/${resource.id}` };
      ctx.emit(letterWritten, { ...place, resource, previous: null, changed: [] });
    }
  });
  const told = await eventually(async () => {
    const items = await feed(types);
    return items.length === texts.length && items;
  });
  const [large, fitting, dense] = told;
  for (const { subject, data } of [large, dense]) {
    assert.deepEqual([data.trimmed, data.url], [true, `/v1/letter/${subject}`]);
    assert.ok(!("resource" in data) && !("previous" in data));
  }
  assert.deepEqual([fitting.data.trimmed, fitting.data.resource.text.length], [undefined, 14_500]);
  const seen = [
    (await server.get(`/v1/event-log/${large.id}`, { key: watcher })).text,
    ...(await eventually(() => stream.messages.length === 3 && stream.messages.map(({ data }) => data!))),
    ...(await eventually(() => session.messages().length === 3 && session.messages().map(({ body }) => `${body}`))),
    ...(await eventually(() => receiver.received.length === 3 && receiver.received.map(({ body }) => body))),
  ];
  for (const text of seen) {
    assert.ok(Buffer.byteLength(text) <= 16 * 1_024, `${Buffer.byteLength(text)}`);
    assert.deepEqual(
      JSON.parse(text),
      told.find(({ id }: { id: string }) => id === JSON.parse(text).id),
    );
  }
  stream.cut();
  session.cut();
});

test("EV-9. erasing a user leaves nothing of it in the feed, in what is told again from the start, and in a webhook's replay", async () => {
  const types = "demarc.directory.user.*";
  const { receiver, webhook, session, stream } = await listen(types);
  const ann = { username: "ann", fullname: "Ann Erased", email: "ann@x.example", defaultOrgUnitExternalId: "ROOT" };
  const { id } = (await server.post("/v1/user", ann, { key })).body;
  await server.patch("/v1/user/ann", { fullname: "Ann Other" }, { key });
  await eventually(() => receiver.received.length === 2);
  assert.ok(receiver.received.every(({ body }) => body.includes("Ann")));
  assert.equal((await server.delete("/v1/user/ann", { key })).status, 204);
  await eventually(() => receiver.received.length === 3);
  const delivered = `/v1/webhook-delivery?webhookId=${webhook}&status=delivered`;
  await eventually(async () => (await server.get(delivered, { key })).body.items.length === 3);

  const replay = await server.post(`/v1/webhook/${webhook}/replay`, { scope: "all" }, { key });
  assert.equal(replay.status, 202, replay.text);
  await eventually(() => receiver.received.length === 6);
  const late = await connectClient(server.url, watcher);
  await subscribe(late, "again", "/topic/event", `types:${types}\nfrom:start\n`);
  const again = followStream(server.url, { "x-api-key": watcher }, `?from=start&types=${types}`);
  const repeats = [
    ...(await feed(types)),
    ...(await eventually(
      () => late.messages().length === 3 && late.messages().map(({ body }) => JSON.parse(`${body}`)),
    )),
    ...(await eventually(() => again.messages.length === 3 && again.messages.map(({ data }) => JSON.parse(data!)))),
    ...receiver.received.slice(3).map(({ body }) => JSON.parse(body)),
  ];
  assert.equal(repeats.length, 12);
  for (const { subject, data } of repeats) assert.deepEqual([subject, data], [id, { redacted: true }]);
  for (const follower of [stream, again]) follower.cut();
  for (const one of [session, late]) one.cut();
});
