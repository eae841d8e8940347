import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { modules } from "../src/app.ts";
import { type Module, Reply, route } from "../src/kernel/contract.ts";
import { event } from "../src/kernel/events.ts";
import { listOf } from "../src/kernel/page.ts";
import { id, object, text } from "../src/kernel/schema.ts";
import type { Change, Version } from "../src/kernel/versions.ts";
import { eventually, startServer } from "./harness.ts";

/** A planted pair of versions: v1 had firstName and lastName, v2 has one name. */
const Person = object({ id: id("pln"), name: text(100) }, { title: "PlantedPerson" });
const OldPerson = object(
  { id: id("pln"), firstName: Type.String(), lastName: Type.String() },
  { title: "PlantedPerson" },
);
const about = { permission: "export.run", resource: Person } as const;
const plantedRenamed = event("export", "planted.renamed", { ...about, summary: "A name was changed." });
const plantedDeleted = event("export", "planted.deleted", { ...about, summary: "One was removed." });
const plantedGrown = event("export", "planted.grown", { ...about, since: "v2", summary: "News of v2 alone." });
const people = new Map<string, { id: string; name: string }>();
const personGetsOneName: Change = {
  in: "v2",
  about: "firstName and lastName became name",
  operations: {
    createPlanted: {
      body: object({ firstName: text(50), lastName: text(50) }),
      request: (old) => {
        const { firstName, lastName } = old as { firstName: string; lastName: string };
        return { name: `${firstName} ${lastName}` };
      },
    },
  },
  resources: {
    PlantedPerson: {
      schema: OldPerson,
      reply: ({ id, name }) => {
        const [firstName, ...rest] = String(name).split(" ");
        return { id, firstName, lastName: rest.join(" ") };
      },
    },
  },
};
const service: Module = {
  name: "export",
  about: "A planted service.",
  events: [plantedRenamed, plantedDeleted, plantedGrown],
  routes: [
    route({
      method: "POST",
      path: "/planted",
      versions: "v1+",
      id: "createPlanted",
      summary: "Plant",
      permission: "export.run",
      body: object({ name: text(100) }),
      replies: { 201: Person },
      emits: { none: "Planted." },
      run: (_ctx, { body }) => {
        const person = { id: `pln_${String(people.size).padStart(26, "0")}`, name: body.name };
        people.set(person.id, person);
        return new Reply(201, person, { location: `/planted/${person.id}` });
      },
    }),
    route({
      method: "GET",
      path: "/planted",
      versions: "v1+",
      id: "listPlanted",
      summary: "List",
      permission: "export.run",
      replies: { 200: listOf(Person) },
      run: () => ({ items: Array.from(people.values()), nextCursor: "more", nextLink: "/planted?cursor=more" }),
    }),
    route({
      method: "GET",
      path: "/planted/{id}",
      versions: "v1+",
      id: "getPlanted",
      summary: "Read",
      permission: "export.run",
      replies: { 200: Person },
      run: (_ctx, { params }) => people.get(params.id)!,
    }),
    route({
      method: "GET",
      path: "/planted-new",
      versions: "v2+",
      id: "getPlantedNew",
      summary: "Only in v2",
      permission: "export.run",
      replies: { 200: object({ new: Type.Boolean() }) },
      run: () => ({ new: true }),
    }),
    route({
      method: "GET",
      path: "/planted-old",
      versions: "v1+",
      id: "getPlantedOld",
      summary: "A deprecated route",
      permission: "export.run",
      deprecated: { at: "2026-07-01T00:00:00Z", sunset: "2027-07-01T00:00:00Z", successor: "/planted-new" },
      replies: { 200: object({ old: Type.Boolean() }) },
      run: () => ({ old: true }),
    }),
    route({
      method: "GET",
      path: "/planted-preview",
      versions: "v2+",
      id: "getPlantedPreview",
      summary: "Only in beta",
      permission: "export.run",
      preview: true,
      replies: { 200: object({ preview: Type.Boolean() }) },
      run: () => ({ preview: true }),
    }),
  ],
};
const versions: Version[] = [
  {
    label: "v1",
    releasedAt: "2026-01-01",
    deprecatedAt: "2026-06-01T00:00:00Z",
    sunsetAt: "2027-06-01T00:00:00Z",
  },
  { label: "v2", releasedAt: "2026-05-01" },
];
const server = await startServer({ modules: [...modules, service], versions, changes: [personGetsOneName] });
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

test("VE-4. an old request arrives in the newest shape, and the resource leaves in the old one wherever it stands", async () => {
  const made = await server.post("/v1/planted", { firstName: "Grace", lastName: "Hopper" }, { key });
  assert.deepEqual(
    [made.status, made.body.firstName, made.body.lastName, made.body.name],
    [201, "Grace", "Hopper", undefined],
  );
  assert.equal((await server.get(`/v2/planted/${made.body.id}`, { key })).body.name, "Grace Hopper");
  const list = await server.get("/v1/planted", { key });
  assert.ok(list.body.items.every((item: any) => "firstName" in item && !("name" in item)));
  const newer = await server.post("/v1/planted", { firstName: "x", lastName: "y", name: "z" }, { key });
  assert.deepEqual([newer.status, newer.body.errors[0].pointer], [400, "/name"]);
  assert.equal((await server.post("/v2/planted", { firstName: "x", lastName: "y" }, { key })).status, 400);
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
  await server.sql("update access.tenant set features = features || '{\"beta\": true}' where id = $1", [customer]);
  await server.kernel.forget();
  assert.equal((await server.get("/beta/planted", { key })).status, 200);
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

test("an event leaves in the shape of the version that it is read through, wherever its type is known", async () => {
  const listener = await server.key(customer, ["export.run", "notification.subscribe"]);
  const [id, name] = ["pln_00000000000000000000000009", "Ada King"];
  await server.as(customer, async (ctx) => {
    const place = { tenantId: customer, subject: id, path: `/planted/${id}` };
    const resource = { id, name };
    ctx.emit(plantedRenamed, { ...place, resource, previous: { name: "Ada Lovelace" }, changed: ["name"] });
    ctx.emit(plantedGrown, { ...place, resource, previous: null, changed: [] });
    ctx.emit(plantedDeleted, { ...place, resource: null, previous: resource, changed: [] });
  });
  const read = async (label: string) => (await server.get(`/${label}/event-log`, { key: listener })).body.items;
  await eventually(async () => (await read("v2")).length === 3);
  const [renamed, grown, deleted] = await read("v2");
  assert.equal(renamed.apiversion, "v2");
  assert.equal(renamed.data.url, `/v2/planted/${id}`);
  assert.deepEqual(renamed.data.previous, { name: "Ada Lovelace" });
  assert.equal(grown.type, plantedGrown.type);
  const [old, oldDeleted, ...more] = await read("v1");
  assert.deepEqual(more, []);
  assert.deepEqual([old.id, old.sequence, old.apiversion], [renamed.id, renamed.sequence, "v1"]);
  assert.match(old.dataschema, /\/v1\/event-catalogue\//);
  assert.deepEqual(old.data.resource, { id, firstName: "Ada", lastName: "King" });
  assert.deepEqual([old.data.previous, old.data.changed], [{ lastName: "Lovelace" }, ["lastName"]]);
  assert.deepEqual(oldDeleted.data.previous, { id, firstName: "Ada", lastName: "King" });
  assert.equal(oldDeleted.id, deleted.id);
  assert.deepEqual(await read("latest"), await read("v2"));
  const types = async (label: string) =>
    (await server.get(`/${label}/event-catalogue?service=export`)).body.items.map(({ type }: any) => type);
  assert.equal((await types("v1")).includes(plantedGrown.type), false);
  assert.equal((await types("v2")).includes(plantedGrown.type), true);
  assert.equal((await server.get(`/v1/event-log?types=${plantedGrown.type}`, { key: listener })).status, 400);
});
