/** VE-4: a client of v1 works on in v1's shapes while the server speaks v2, over every way in and out. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { documentChecker } from "./check-document.ts";
import { followStream } from "./event-stream.ts";
import { type Answer, eventually, startServer } from "./harness.ts";
import {
  personGetsOneName,
  plantedDeleted,
  plantedGrown,
  plantedRenamed,
  plantedVersions,
  userGetsOneName,
} from "./planted-versions.ts";
import { startReceiver } from "./receiver.ts";
import { connectClient, subscribe } from "./stomp-client.ts";

const server = await startServer(plantedVersions);
const customer = await server.tenant(server.rootId, "customer", "Versions", { beta: true });
const key = await server.key(customer, "tenant_administrator");
const planter = await server.key(customer, ["export.run", "notification.subscribe"]);

const documents = Object.fromEntries(
  await Promise.all(
    ["v1", "v2"].flatMap((label) =>
      ["export", "directory", "notifications"].map(async (service) => {
        const address = `/${label}/openapi/${service}.json`;
        return [address, JSON.parse((await server.get(address)).text)] as const;
      }),
    ),
  ),
);
const check = documentChecker(documents);
/** Calls, and holds the reply against the document of its version. */
async function ask(method: string, path: string, body?: object, more: { key?: string; headers?: object } = {}) {
  const answer = await server.call(method, path, { key, body, ...more } as never);
  check(method, path, answer);
  return answer;
}
const plantedAsk = (method: string, path: string, body?: object, headers = {}): Promise<Answer> =>
  ask(method, path, body, { key: planter, headers });
const ada = { username: "ada", email: "ada@x.example", defaultOrgUnitExternalId: "ROOT" };

test("VE-4. an old request arrives in the newest shape; what only the newest knows is refused in the old one, and the other way round", async () => {
  const made = await ask("POST", "/v1/user", { ...ada, firstName: "Ada", lastName: "Lovelace" });
  assert.deepEqual(
    [made.status, made.body.firstName, made.body.lastName, "fullname" in made.body],
    [200, "Ada", "Lovelace", false],
  );
  assert.equal((await ask("GET", "/v2/user/ada")).body.fullname, "Ada Lovelace");
  const mixed = await ask("POST", "/v1/user", { ...ada, firstName: "A", lastName: "B", fullname: "A B" });
  assert.deepEqual([mixed.status, mixed.body.errors[0].pointer], [400, "/fullname"]);
  const ahead = await ask("PATCH", "/v1/user/ada", { fullname: "A B" });
  assert.deepEqual([ahead.status, ahead.body.errors[0].pointer], [400, "/fullname"]);
  const behind = await ask("POST", "/v2/user", { ...ada, firstName: "A", lastName: "B" });
  assert.deepEqual(behind.body.errors.map(({ pointer }: { pointer: string }) => pointer).sort(), [
    "/firstName",
    "/fullname",
    "/lastName",
  ]);
});

test("VE-4. a patch of lastName through v1 arrives in v2 as the right name, also beside other changes at the same moment", async () => {
  const patched = await ask("PATCH", "/v1/user/ada", { lastName: "King" });
  assert.deepEqual([patched.status, patched.body.firstName, patched.body.lastName], [200, "Ada", "King"]);
  assert.equal((await ask("GET", "/v2/user/ada")).body.fullname, "Ada King");
  const other = await ask("PATCH", "/v1/user/ada", { dateFormat: "YYYY-MM-DD" });
  assert.deepEqual([other.body.dateFormat, other.body.lastName], ["YYYY-MM-DD", "King"]);
  const both = await Promise.all([
    ask("PATCH", "/v1/user/ada", { firstName: "Augusta" }),
    ask("PATCH", "/v1/user/ada", { lastName: "Byron" }),
    ask("PATCH", "/v2/user/ada", { timezone: "Europe/London" }),
  ]);
  assert.deepEqual(
    both.map(({ status }) => status),
    [200, 200, 200],
  );
  assert.equal((await ask("GET", "/v2/user/ada")).body.fullname, "Augusta Byron");
  assert.equal((await ask("PATCH", "/v1/user/nobody", { lastName: "X" })).status, 404);
});

test("VE-4. a tag that was read through one version matches in the other, and a stale one is refused in both", async () => {
  const v1 = await ask("GET", "/v1/user/ada");
  const v2 = await ask("GET", "/v2/user/ada");
  const tag = v1.headers.get("etag")!;
  assert.equal(tag, v2.headers.get("etag"));
  const headers = { "if-match": tag };
  assert.equal((await ask("PATCH", "/v1/user/ada", { lastName: "King" }, { headers })).status, 200);
  for (const label of ["v1", "v2"])
    assert.equal(
      (await ask("PATCH", `/${label}/user/ada`, { dateFormat: "DD.MM.YYYY" }, { headers })).status,
      412,
      label,
    );
  assert.equal((await ask("PATCH", "/v1/user/ada", { lastName: "Byron" }, { headers })).status, 412);
  const any = await ask("PATCH", "/v1/user/ada", { lastName: "Byron" }, { headers: { "if-match": "*" } });
  assert.equal(any.body.lastName, "Byron");
});

test("VE-4. lists come back in v1's shape, also where items have one of several, and are asked for in v1's words", async () => {
  await plantedAsk("POST", "/v1/planted", { firstName: "Grace", lastName: "Hopper" });
  const { items } = (await plantedAsk("GET", "/v1/planted")).body;
  assert.ok(items.length > 0 && items.every((item: object) => "firstName" in item && !("name" in item)));
  const named = (await plantedAsk("GET", "/v1/planted?lastName=Hop&fields=lastName,firstName")).body.items;
  assert.deepEqual(named, [{ lastName: "Hopper", firstName: "Grace" }]);
  assert.equal((await plantedAsk("GET", "/v1/planted?fields=name")).status, 400);
  assert.equal((await plantedAsk("GET", "/v1/planted?q=x")).body.errors[0].parameter, "q");
  assert.equal((await plantedAsk("GET", "/v2/planted?fields=name")).status, 200);
  const users = (await ask("GET", "/v1/user?fields=username,lastName")).body.items;
  assert.ok(users.some(({ lastName }: { lastName: string }) => lastName === "Byron"));
  assert.equal((await ask("GET", "/v1/user?fields=fullname")).status, 400);
  const count = (await plantedAsk("GET", "/v2/planted/count")).body;
  assert.deepEqual((await plantedAsk("GET", "/v1/planted/count")).body, { total: count.count });
});

test("VE-4. bulk results come back in v1's shape, and an item that v1 does not know fails by itself, in v1's words", async () => {
  const good = { person: { firstName: "Mary", lastName: "Somerville" } };
  const bad = { person: { firstName: "Emmy", lastName: "Noether", name: "Emmy Noether" } };
  const items = [good, bad, good];
  const { body } = await plantedAsk("POST", "/v1/planted/bulk", { mode: "each", items });
  const [first, second, third] = body.results;
  assert.deepEqual([first.person.lastName, third.person.firstName], ["Somerville", "Mary"]);
  assert.deepEqual(
    [second.status, second.person, second.problem.errors[0].pointer],
    [400, null, "/items/1/person/name"],
  );
  const atomic = await plantedAsk("POST", "/v1/planted/bulk", { items });
  assert.deepEqual([atomic.status, atomic.body.errors[0].pointer], [400, "/items/1/person/name"]);
});

test("VE-4. the result of an operation is in v1's shape: in the reply that waited, in the operation and in its events", async () => {
  const names = { firstName: "Sofia", lastName: "Kovalevskaya" };
  const waited = await plantedAsk("POST", "/v1/planted/grow", names, { prefer: "wait=10" });
  assert.equal(waited.status, 400, "growPlanted itself was not changed: v1 asks as v2 does");
  const reply = await plantedAsk("POST", "/v1/planted/grow", { name: "Sofia Kovalevskaya" }, { prefer: "wait=10" });
  const { id, ...shown } = reply.body;
  assert.deepEqual([reply.status, shown], [200, names]);
  const [old, now] = await Promise.all(
    ["v1", "v2"].map(async (label) => {
      const { items } = (await plantedAsk("GET", `/${label}/operation?kind=export.grow`)).body;
      return items[0];
    }),
  );
  assert.deepEqual(old.result, { url: `/v1/planted/${id}`, data: { id, ...names } });
  assert.deepEqual(now.result, { url: `/v2/planted/${id}`, data: { id, name: "Sofia Kovalevskaya" } });
  const told = async (label: string) => {
    const types = "demarc.notifications.operation.succeeded";
    return (await plantedAsk("GET", `/${label}/event-log?types=${types}`)).body.items[0]?.data.resource.result;
  };
  assert.deepEqual(await eventually(() => told("v1")), old.result);
  assert.deepEqual(await told("v2"), now.result);
});

const subject = "pln_00000000000000000000000009";
const resource = { id: subject, name: "Ada King" };
const place = { tenantId: customer, subject, path: `/planted/${subject}` };
const renamed = { ...place, resource, previous: { name: "Ada Lovelace" }, changed: ["name"], adds: { reason: null } };

test("VE-4. one event leaves in the shape of the version that each of its readers reads: feed, stream, STOMP, webhook, replay", async () => {
  const manager = await server.key(customer, [
    "export.run",
    "notification.subscribe",
    "webhook.manage",
    "webhook.replay",
    "webhook.read",
  ]);
  const receivers = { v1: await startReceiver(), v2: await startReceiver() };
  const hooks: Record<string, string> = {};
  for (const [apiVersion, { url }] of Object.entries(receivers)) {
    const body = { url, types: ["demarc.export.*"], apiVersion };
    hooks[apiVersion] = (await server.post("/v2/webhook", body, { key: manager })).body.id;
  }
  const news = "?from=now&types=demarc.export.*";
  const streams = {
    v1: followStream(server.url, { "x-api-key": manager }, news, "v1"),
    v2: followStream(server.url, { "x-api-key": manager }, news, "v2"),
  };
  await Promise.all([streams.v1.opened, streams.v2.opened]);
  const session = await connectClient(server.url, manager, "1.2", "", { path: "/v2/stomp" });
  await subscribe(session, "v1", "/topic/v1/event/export");
  await subscribe(session, "v2", "/topic/event/export");

  await server.as(customer, async (ctx) => {
    ctx.emit(plantedRenamed, { ...renamed, adds: { reason: "wed" } });
    ctx.emit(plantedGrown, { ...renamed, changed: [], previous: null });
    ctx.emit(plantedDeleted, { ...renamed, resource: null, previous: resource, changed: [] });
  });
  const feed = async (label: string) =>
    (await server.get(`/${label}/event-log?types=demarc.export.*`, { key: manager })).body.items;
  await eventually(async () => (await feed("v2")).length === 3);
  const [now, grown, gone] = await feed("v2");
  const [old, oldGone, ...more] = await feed("v1");
  assert.equal(grown.type, plantedGrown.type);
  assert.deepEqual(more, [], "a type of v2 is not told to v1");
  assert.deepEqual([now.apiversion, now.data.url], ["v2", `/v2/planted/${subject}`]);
  assert.deepEqual(
    [now.data.resource, now.data.previous, now.data.reason],
    [resource, { name: "Ada Lovelace" }, "wed"],
  );
  assert.deepEqual([old.id, old.sequence, old.apiversion], [now.id, now.sequence, "v1"]);
  assert.deepEqual(old.data.resource, { id: subject, firstName: "Ada", lastName: "King" });
  assert.deepEqual([old.data.previous, old.data.changed], [{ lastName: "Lovelace" }, ["lastName"]]);
  assert.deepEqual([old.data.why, "reason" in old.data], ["wed", false]);
  assert.deepEqual(oldGone.data.previous, { id: subject, firstName: "Ada", lastName: "King" });
  assert.deepEqual([oldGone.id, oldGone.data.why], [gone.id, ""]);
  assert.deepEqual(await feed("latest"), await feed("v2"));
  assert.deepEqual((await server.get(`/v1/event-log/${old.id}`, { key: manager })).body, old);

  const wanted = { v1: [old, oldGone], v2: [now, grown, gone] };
  const byId = (events: any[]) => events.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const label of ["v1", "v2"] as const) {
    const count = wanted[label].length;
    const streamed = await eventually(() => streams[label].messages.length === count && streams[label].messages);
    assert.deepEqual(
      streamed.map(({ data }) => JSON.parse(data!)),
      wanted[label],
    );
    streams[label].cut();
    const heard = await eventually(() => {
      const own = session.messages().filter(({ headers }) => headers.subscription === label);
      return own.length === count && own;
    });
    assert.deepEqual(
      heard.map(({ body }) => JSON.parse(body.toString())),
      wanted[label],
    );
    const { received } = receivers[label];
    await eventually(() => received.length === count);
    assert.deepEqual(byId(received.map(({ body }) => JSON.parse(body))), byId(wanted[label]));
    const delivered = `/v2/webhook-delivery?webhookId=${hooks[label]}&status=delivered`;
    await eventually(async () => (await server.get(delivered, { key: manager })).body.items.length === count);
    const replay = await server.post(`/v2/webhook/${hooks[label]}/replay`, { scope: "all" }, { key: manager });
    assert.equal(replay.status, 202, replay.text);
    await eventually(() => received.length === 2 * count);
    assert.deepEqual(byId(received.slice(count).map(({ body }) => JSON.parse(body))), byId(wanted[label]));
  }
  session.cut();
});

test("VE-4. catalogue, schemas, AsyncAPI and the webhooks of OpenAPI state the shape of their version, and what was told fits them", async () => {
  const ajv = () => {
    const made = new Ajv2020({ strict: false, allErrors: true });
    (addFormats as unknown as (target: Ajv2020) => void)(made);
    return made;
  };
  for (const [label, other] of [
    ["v1", "v2"],
    ["v2", "v1"],
  ]) {
    const [event] = (await server.get(`/${label}/event-log?types=demarc.export.*`, { key: planter })).body.items;
    const [foreign] = (await server.get(`/${other}/event-log?types=demarc.export.*`, { key: planter })).body.items;
    const posing = { ...foreign, apiversion: label };
    const entry = (await server.get(`/${label}/event-catalogue/${event.type}`)).body;
    const schema = JSON.parse((await server.get(entry.schemaUrl)).text);
    const asyncapi = JSON.parse((await server.get(`/${label}/asyncapi/notifications.json`)).text);
    const openapi = documents[`/${label}/openapi/notifications.json`]!;
    const validators = [
      ajv().compile(schema),
      ajv().addSchema(asyncapi, "a").getSchema(`a#/components/messages/${event.type}/payload`)!,
      ajv().addSchema(openapi, "o").getSchema(`o#/components/schemas/${event.type}`)!,
    ];
    for (const validate of validators) {
      assert.ok(validate(event), JSON.stringify(validate.errors));
      assert.ok(validate(entry.example), JSON.stringify(validate.errors));
      assert.equal(validate(posing), false);
    }
    assert.equal(plantedGrown.type in asyncapi.components.messages, label === "v2");
    const types = (await server.get(`/${label}/event-catalogue?service=export`)).body.items;
    assert.equal(
      types.some(({ type }: { type: string }) => type === plantedGrown.type),
      label === "v2",
    );
  }
  assert.equal((await server.get(`/v1/event-log?types=${plantedGrown.type}`, { key: planter })).status, 400);
});

/** What goes into a change module and what comes out: golden pairs. */
const pairs: [what: string, made: unknown, wanted: unknown][] = [
  [
    "a new user",
    userGetsOneName.operations!.upsertUser!.request!({ username: "a", firstName: "Ada", lastName: "King" }, undefined),
    { username: "a", fullname: "Ada King" },
  ],
  [
    "a patch of one name",
    userGetsOneName.operations!.updateUser!.request!({ lastName: "King" }, { firstName: "Ada", lastName: "Byron" }),
    { fullname: "Ada King" },
  ],
  [
    "a patch of none",
    userGetsOneName.operations!.updateUser!.request!({ language: "de" }, { firstName: "Ada", lastName: "Byron" }),
    { language: "de" },
  ],
  [
    "a user",
    userGetsOneName.resources!.User!.reply({ id: "usr_1", fullname: "Ada King Byron" }),
    { id: "usr_1", firstName: "Ada", lastName: "King Byron" },
  ],
  [
    "a user of one name",
    userGetsOneName.resources!.User!.reply({ fullname: "Ada" }),
    { firstName: "Ada", lastName: "" },
  ],
  [
    "members of an event",
    personGetsOneName.events!["demarc.export.planted.*"]!.data({ changed: [], reason: null }),
    { changed: [], why: "" },
  ],
];

test("golden pairs: what goes into a change module is what comes out, and nothing is changed in place", () => {
  for (const [what, made, wanted] of pairs) assert.deepEqual(made, wanted, what);
  const old = Object.freeze({ firstName: "Ada", lastName: "King" });
  userGetsOneName.operations!.upsertUser!.request!(old, undefined);
});
