import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "./harness.ts";
import { plantedVersions } from "./planted-versions.ts";

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
