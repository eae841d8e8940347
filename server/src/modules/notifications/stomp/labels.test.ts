import assert from "node:assert/strict";
import { test } from "node:test";
import type { Version } from "#kernel/versions";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted } from "../../../../test/planted.ts";
import { connectClient, openClient, refusedHandshake, subscribe } from "../../../../test/stomp-client.ts";
import { modules } from "../../../app.ts";

const versions: Version[] = [
  {
    label: "v1",
    releasedAt: "2026-01-01",
    deprecatedAt: "2026-06-01T00:00:00Z",
    sunsetAt: "2027-06-01T00:00:00Z",
  },
  { label: "v2", releasedAt: "2026-05-01" },
];
const server = await startServer({ modules: [...modules, planted], versions });
const { url } = server;
const provider = await server.key(server.rootId, "provider_administrator");
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const key = await server.key(tenant, ["notification.subscribe", "export.run"]);
const headers = { "x-api-key": key };
const makeThing = async (): Promise<string> => (await server.post("/v2/thing", { name: "thing" }, { key })).body.id;
const plain = ({ instance: _, requestId: __, ...body }: any) => body;

test("VE-2. /beta/stomp is an unknown label without the tenant's switch, is served on the next call with it, and its sessions end when it is taken away", async () => {
  const unknown = await refusedHandshake(url, { path: "/v0/stomp", headers });
  const refused = await refusedHandshake(url, { path: "/beta/stomp", headers });
  assert.equal(refused.status, 404);
  assert.deepEqual(plain(refused.body), plain(unknown.body));
  const nobody = await openClient(url, { path: "/beta/stomp" });
  nobody.send(`CONNECT\naccept-version:1.2\npasscode:${key}\n\n\0`);
  assert.equal(await nobody.fault(), "version_unknown 1008");

  const beta = (on: boolean) => server.patch(`/v2/tenant/${tenant}`, { features: { beta: on } }, { key: provider });
  assert.equal((await beta(true)).status, 200);
  const session = await connectClient(url, key, "1.2", "", { path: "/beta/stomp", headers });
  assert.equal(session.of("CONNECTED")[0]!.headers["api-version"], "v2");
  const other = await connectClient(url, key);
  const beganAt = performance.now();
  assert.equal((await beta(false)).status, 200);
  assert.equal(await session.fault(), "session_ended 1008");
  assert.ok(performance.now() - beganAt < 2_000);
  assert.deepEqual(plain((await refusedHandshake(url, { path: "/beta/stomp", headers })).body), plain(unknown.body));
  await makeThing();
  assert.equal(other.closed(), null, "a session of a version goes on");
  other.cut();
});

test("VE-2. with the installation's switch off /beta/stomp is an unknown label for everybody", async () => {
  const off = await startServer({ beside: server, modules: [...modules, planted], versions, betaEnabled: false });
  const refused = await refusedHandshake(off.url, { path: "/beta/stomp" });
  assert.deepEqual([refused.status, refused.body.code], [404, "version_unknown"]);
  await off.close();
});

test("VE-3. the 101 and CONNECTED of a deprecated label say until when it lives, as does a notice; the newest says nothing", async () => {
  const old = await connectClient(url, key, "1.2", "", { path: "/v1/stomp", headers });
  const { "api-version": version, deprecation, sunset, link } = old.upgrade;
  assert.deepEqual([version, deprecation], ["v1", `@${Date.parse("2026-06-01T00:00:00Z") / 1_000}`]);
  assert.equal(sunset, "Tue, 01 Jun 2027 00:00:00 GMT");
  for (const rel of [`rel="deprecation"`, `rel="sunset"`, `</v2/stomp>; rel="successor-version"`])
    assert.ok(String(link).includes(rel), String(link));
  const { headers: connected } = old.of("CONNECTED")[0]!;
  assert.deepEqual(
    [connected.deprecation, connected.sunset],
    [String(Date.parse("2026-06-01T00:00:00Z") / 1_000), "2027-06-01"],
  );
  await subscribe(old, "n", "/user/queue/session");
  const notice = await old.next("MESSAGE");
  assert.equal(notice.headers["event-type"], "version.deprecated");
  assert.equal(JSON.parse(notice.body.toString()).data.sunsetAt, "2027-06-01T00:00:00Z");
  old.cut();
  const refused = await refusedHandshake(url, { path: "/v1/stomp", origin: "https://evil.example" });
  assert.ok(refused.headers.deprecation && refused.headers.sunset && refused.headers.link, "its refusals too");

  const fresh = await connectClient(url, key, "1.2", "", { path: "/v2/stomp", headers });
  assert.equal(fresh.upgrade.deprecation, undefined);
  assert.equal(fresh.of("CONNECTED")[0]!.headers.deprecation, undefined);
  await subscribe(fresh, "n", "/user/queue/session");
  await subscribe(fresh, "o", "/topic/v1/event");
  await makeThing();
  await eventually(() => fresh.messages().length > 0);
  const [message] = fresh.messages();
  assert.equal(message!.headers.subscription, "o", "no notice");
  assert.equal(JSON.parse(message!.body.toString()).apiversion, "v1", "the destination's label counts");
  fresh.cut();
});

test("VE-3. after its sunset a label's handshake is 410 with its successor, and what is subscribed in it is refused and ends", async () => {
  const manager = await server.key(tenant, ["notification.subscribe", "notification.manage"]);
  await server.post("/v2/stomp-queue", { name: "work", types: ["demarc.export.*"] }, { key: manager });
  const open = (path: string) => connectClient(url, key, "1.2", "", { path });
  const [idle, hears, consumes, newest] = [
    await open("/v1/stomp"),
    await open("/v1/stomp"),
    await open("/v1/stomp"),
    await open("/v2/stomp"),
  ];
  await subscribe(hears, "a");
  await subscribe(consumes, "q", "/queue/work");
  await subscribe(newest, "b");
  server.clock.set("2027-06-01T00:00:00Z");
  const over = await refusedHandshake(url, { path: "/v1/stomp", headers });
  assert.deepEqual([over.status, over.body.code], [410, "version_retired"]);
  assert.match(String(over.headers.link), /<\/v2\/stomp>; rel="successor-version"/);
  assert.equal((await refusedHandshake(url, { path: "/v1/stomp", headers: { "x-api-key": "x" } })).status, 401);
  const told = await server.get("/v1/stomp");
  assert.equal(told.status, 410);

  idle.send("SUBSCRIBE\nid:a\ndestination:/topic/event\n\n\0");
  assert.equal(await idle.fault(), "destination_not_available 1008");
  const thing = await makeThing();
  await newest.next("MESSAGE");
  assert.deepEqual(newest.subjects(), [thing]);
  for (const client of [hears, consumes]) {
    assert.equal(await client.fault(), "destination_not_available 1008");
    assert.deepEqual(client.messages(), []);
  }
  newest.send("SUBSCRIBE\nid:c\ndestination:/topic/v1/event\n\n\0");
  assert.equal(await newest.fault(), "destination_not_available 1008");
  const { body } = await server.get("/v2/stomp-queue?name=work", { key: manager });
  assert.deepEqual([body.items[0].readyCount, body.items[0].takenCount], [1, 0], "nothing was taken by it");
});
