import assert from "node:assert/strict";
import type { IncomingHttpHeaders } from "node:http";
import { test } from "node:test";
import { createVersions, type Version } from "../src/kernel/versions.ts";
import { type Answer, startServer } from "./harness.ts";
import { plantedVersions } from "./planted-versions.ts";
import { connectClient, openClient, refusedHandshake, type StompClient, subscribe } from "./stomp-client.ts";

const server = await startServer(plantedVersions);
const customer = await server.tenant(server.rootId, "customer", "Versions", { beta: true });
const key = await server.key(customer, ["export.run"]);

test("VE-1. every label names what served it; links keep the label called; latest is v2 but for links and request id", async () => {
  const made = await server.post("/latest/planted", { name: "Ada Lovelace" }, { key });
  assert.deepEqual([made.status, made.headers.get("api-version")], [201, "v2"]);
  const address = made.headers.get("location")!;
  assert.match(address, /^\/latest\/planted\//);
  for (const [label, served] of [
    ["v1", "v1"],
    ["v2", "v2"],
    ["latest", "v2"],
    ["beta", "v2"],
  ]) {
    const answer = await server.get(address.replace("latest", label!), { key });
    assert.deepEqual([answer.status, answer.headers.get("api-version")], [200, served], label);
    const list = await server.get(`/${label}/planted`, { key });
    assert.equal(list.body.nextLink, `/${label}/planted?cursor=more`);
  }
  const [v2, latest] = [await server.get(address.replace("latest", "v2"), { key }), await server.get(address, { key })];
  assert.equal(latest.text, v2.text);
});

test("a stored reply is repeated as it was sent, in the shape of its version", async () => {
  const ask = { key, headers: { "idempotency-key": "one-person" } };
  const names = { firstName: "Mary", lastName: "Somerville" };
  const made = await server.post("/v1/planted", names, ask);
  const again = await server.post("/v1/planted", names, ask);
  assert.deepEqual([again.status, again.text, again.headers.get("idempotency-replayed")], [201, made.text, "true"]);
  assert.equal(again.body.firstName, "Mary");
});

test("a route lives only in the versions it states, a preview only under beta", async () => {
  assert.equal((await server.get("/v1/planted-new", { key })).status, 404);
  assert.equal((await server.get("/v2/planted-new", { key })).status, 200);
  assert.equal((await server.get("/v2/planted-preview", { key })).status, 404);
  assert.equal((await server.get("/beta/planted-preview", { key })).status, 200);
});

test("VE-2. without the tenant's switch beta is an unknown label, on the next call after it is taken away", async () => {
  await server.sql("update access.tenant set features = features || '{\"beta\": false}' where id = $1", [customer]);
  await server.kernel.forget();
  const off = await server.get("/beta/planted", { key });
  assert.deepEqual([off.status, off.body.code], [404, "version_unknown"]);
  assert.equal(off.headers.get("api-version"), null);
  await server.sql("update access.tenant set features = features || '{\"beta\": true}' where id = $1", [customer]);
  await server.kernel.forget();
  assert.equal((await server.get("/beta/planted", { key })).status, 200);
});

test("VE-2. the provider's switch opens beta on the next call and shuts it on the next; an open session of it ends", async () => {
  const provider = await server.key(server.rootId, "provider_administrator");
  const other = await server.tenant(server.rootId, "customer", "Switched");
  const own = await server.key(other, ["notification.subscribe", "webhook.manage", "export.run"]);
  const turn = (beta: boolean) => server.patch(`/v2/tenant/${other}`, { features: { beta } }, { key: provider });
  const unknown = await server.get("/gamma/planted", { key: own });
  const hidden = await server.get("/beta/planted", { key: own });
  const words = ({ status, body }: Answer) => ({ ...body, status, instance: "", requestId: "" });
  assert.deepEqual(words(hidden), words(unknown));
  const webhook = { url: "http://127.0.0.1:9/hook", types: ["demarc.export.*"], apiVersion: "beta" };
  const refused = await server.post("/v2/webhook", webhook, { key: own });
  assert.deepEqual([refused.status, refused.body.errors[0].pointer], [400, "/apiVersion"]);
  const shut = await openClient(server.url, { path: "/beta/stomp" });
  shut.send(`CONNECT\naccept-version:1.2\npasscode:${own}\n\n\0`);
  assert.match(await shut.fault(), /^version_unknown /);

  assert.equal((await turn(true)).status, 200);
  assert.equal((await server.get("/beta/planted", { key: own })).status, 200);
  assert.equal((await server.post("/v2/webhook", webhook, { key: own })).body.apiVersion, "v2");
  const session = await connectClient(server.url, own, "1.2", "", { path: "/beta/stomp" });
  assert.equal((await session.next("CONNECTED")).headers["api-version"], "v2");
  await subscribe(session, "s");
  assert.equal((await turn(false)).status, 200);
  assert.deepEqual(words(await server.get("/beta/planted", { key: own })), words(unknown));
  assert.match(await session.fault(), /^session_ended /);
});

test("VE-2. with the installation's switch off beta is an unknown label also for a tenant that has it", async () => {
  const without = await startServer({ ...plantedVersions, betaEnabled: false, beside: server });
  const [off, unknown] = await Promise.all(
    ["beta", "gamma"].map(async (label) => (await without.get(`/${label}/planted`, { key })).body),
  );
  assert.deepEqual({ ...off, instance: "", requestId: "" }, { ...unknown, instance: "", requestId: "" });
  const handshakes = await Promise.all(
    ["beta", "gamma"].map((label) => refusedHandshake(without.url, { path: `/${label}/stomp` })),
  );
  assert.deepEqual(
    handshakes.map(({ status, body, headers }) => [status, body.code, headers["api-version"]]),
    [404, 404].map((status) => [status, "version_unknown", undefined]),
  );
});

test("VE-3. the handshake and CONNECTED of a deprecated version say so, and a session of it is told; v2's do not", async () => {
  const own = await server.key(customer, ["notification.subscribe", "export.run"]);
  const sessions: Record<string, StompClient> = {};
  const shaken: Record<string, IncomingHttpHeaders> = {};
  for (const label of ["v1", "v2"]) {
    const opened = await openClient(server.url, {
      path: `/${label}/stomp`,
      onUpgrade: (headers) => (shaken[label] = headers),
    });
    opened.send(`CONNECT\naccept-version:1.2\npasscode:${own}\n\n\0`);
    sessions[label] = opened;
  }
  const [old, now] = await Promise.all(
    ["v1", "v2"].map(async (label) => (await sessions[label]!.next("CONNECTED")).headers),
  );
  assert.deepEqual([old!.deprecation, old!.sunset], [`${Date.parse("2026-06-01T00:00:00Z") / 1000}`, "2027-06-01"]);
  assert.deepEqual([now!.deprecation, now!.sunset], [undefined, undefined]);
  assert.equal(shaken.v1!.deprecation, `@${Date.parse("2026-06-01T00:00:00Z") / 1000}`);
  assert.equal(shaken.v1!.sunset, "Tue, 01 Jun 2027 00:00:00 GMT");
  assert.match(String(shaken.v1!.link), /<\/v2\/stomp>; rel="successor-version"/);
  assert.equal(shaken.v2!.deprecation, undefined);
  await subscribe(sessions.v1!, "notices", "/user/queue/session");
  const notice = await sessions.v1!.next("MESSAGE");
  assert.equal(JSON.parse(notice.body.toString()).type, "version.deprecated");
  for (const session of Object.values(sessions)) session.cut();
});

test("a version cannot be deprecated without a successor, nor end sooner than 12 months after", () => {
  const [v1, v2] = plantedVersions.versions as [Version, Version];
  const build =
    (...list: Version[]) =>
    () =>
      createVersions(list, [], true);
  assert.throws(build({ ...v2, deprecatedAt: "2026-06-01T00:00:00Z" }), /no successor/);
  assert.throws(build({ ...v1, sunsetAt: "2027-05-31T23:59:59Z" }, v2), /sooner than 12 months/);
  assert.throws(build({ label: "v1", releasedAt: "2026-01-01", sunsetAt: "2029-01-01T00:00:00Z" }, v2), /12 months/);
  build(v1, v2)();
});

test("VE-3. a deprecated version says so on 200, 404 and 429 alike; the newest says nothing", async () => {
  for (const path of ["/v1/planted", `/v1/operation/opn_${"0".repeat(26)}`, "/v1/no/such/{place}?q=1"]) {
    const { headers } = await server.get(path, { key });
    assert.equal(headers.get("api-version"), "v1");
    const address = path.slice(3).split("?")[0]!.replace("{place}", "%7Bplace%7D");
    assert.ok(headers.get("link")!.includes(`</v2${address}>; rel="successor-version"`), headers.get("link")!);
    assert.equal(headers.get("deprecation"), `@${Date.parse("2026-06-01T00:00:00Z") / 1000}`);
    assert.equal(headers.get("sunset"), "Tue, 01 Jun 2027 00:00:00 GMT");
    for (const rel of ["deprecation", "sunset", "successor-version"])
      assert.match(headers.get("link")!, new RegExp(`rel="${rel}"`));
  }
  const answers = await Promise.all(Array.from({ length: 8 }, () => server.get("/v1/ping", { key })));
  const refused = answers.find(({ status }) => status === 429)!;
  assert.ok(refused.headers.get("deprecation") && refused.headers.get("sunset") && refused.headers.get("link"));
  for (const path of ["/v2/planted", "/v2/no/such/place", "/v2/ping"])
    assert.equal((await server.get(path, { key })).headers.get("deprecation"), null);
});

test("VE-3. a deprecated route says so in every version, and its document too", async () => {
  const { headers } = await server.get("/v2/planted-old", { key });
  assert.equal(headers.get("deprecation"), `@${Date.parse("2026-07-01T00:00:00Z") / 1000}`);
  assert.equal(headers.get("sunset"), "Thu, 01 Jul 2027 00:00:00 GMT");
  assert.match(headers.get("link")!, /<\/v2\/planted-new>; rel="successor-version"/);
  const { paths } = JSON.parse((await server.get("/v2/openapi/export.json")).text);
  const { deprecated, responses } = paths["/v2/planted-old"].get;
  assert.equal(deprecated, true);
  for (const name of ["Deprecation", "Sunset", "Link"]) assert.ok(name in responses[200].headers, name);
  // In a deprecated version the version's own dates count.
  const old = await server.get("/v1/planted-old", { key });
  assert.equal(old.headers.get("sunset"), "Tue, 01 Jun 2027 00:00:00 GMT");
});

test("VE-3. after its sunset a version answers 410 with its successor, but not before the credential is checked", async () => {
  server.clock.set("2027-06-01T00:00:00Z");
  const over = await server.get("/v1/planted", { key });
  assert.deepEqual([over.status, over.body.code], [410, "version_retired"]);
  assert.match(over.headers.get("link")!, /<\/v2\/planted>; rel="successor-version"/);
  assert.equal((await server.get("/v1/planted")).status, 401);
  assert.ok(over.headers.get("deprecation") && over.headers.get("sunset"));
  assert.equal((await server.get("/v2/planted", { key })).status, 200);
  const handshake = await refusedHandshake(server.url, { path: "/v1/stomp" });
  assert.deepEqual([handshake.status, handshake.body.code], [410, "version_retired"]);
  assert.match(String(handshake.headers.link), /<\/v2\/stomp>; rel="successor-version"/);
  const listener = await server.key(customer, ["notification.subscribe", "webhook.manage", "export.run"]);
  const session = await connectClient(server.url, listener, "1.2", "", { path: "/v2/stomp" });
  session.send("SUBSCRIBE\nid:s\ndestination:/topic/v1/event\n\n\0");
  assert.match(await session.fault(), /^destination_not_available /);
  const webhook = { url: "http://127.0.0.1:9/hook", types: ["demarc.export.*"], apiVersion: "v1" };
  assert.equal((await server.post("/v2/webhook", webhook, { key: listener })).status, 400);
  const { items } = (await server.get("/v2/version")).body;
  assert.deepEqual([items[0].status, items[0].documents], ["retired", []]);
  const index = (await server.get("/")).body;
  assert.ok(index.services.every(({ documents }: any) => documents.every(({ version }: any) => version !== "v1")));
  const { versions: labels } = (await server.get("/v7/planted", { key })).body;
  assert.deepEqual(labels, ["v2", "latest"]);
  server.clock.set("2026-11-22T10:00:00Z");
});

test("each version has its own OpenAPI document, in its own shapes", async () => {
  const [v1, v2] = await Promise.all(
    ["v1", "v2"].map(async (label) => (await server.get(`/${label}/openapi/export.json`)).text),
  );
  assert.ok(JSON.parse(v1!).components.schemas.PlantedPerson.properties.firstName);
  assert.ok(JSON.parse(v2!).components.schemas.PlantedPerson.properties.name);
  assert.ok(!("/v1/planted-new" in JSON.parse(v1!).paths) && "/v2/planted-new" in JSON.parse(v2!).paths);
  const { body } = await server.get("/v2/version");
  assert.deepEqual(
    body.items.map((item: any) => [item.label, item.status, item.servedBy, item.successor]),
    [
      ["v1", "deprecated", "v1", "v2"],
      ["v2", "ga", "v2", null],
      ["latest", "alias", "v2", null],
      ["beta", "alias", "v2", null],
    ],
  );
});
