import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { checkCloudEvent } from "../../../../test/cloud-event.ts";
import { startServer } from "../../../../test/harness.ts";

type Listed = { type: string; schemaUrl: string; example: Record<string, unknown> };
const server = await startServer();
const list = async (query = ""): Promise<any[]> => (await server.get(`/v1/event-catalogue${query}`)).body.items;

test("the catalogue is open to all, and its every example is a CloudEvent that its published schema admits", async () => {
  const items = await list();
  assert.ok(items.length > 40);
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  (addFormats as unknown as (target: Ajv2020) => void)(ajv);
  for (const { type, schemaUrl, example } of items as Listed[]) {
    const answer = await server.get(schemaUrl);
    assert.match(answer.headers.get("content-type")!, /^application\/schema\+json/);
    const schema = JSON.parse(answer.text);
    assert.equal(schema.$schema, "https://json-schema.org/draft/2020-12/schema");
    assert.equal(schema.$id, server.url + schemaUrl);
    const validate = ajv.compile(schema);
    assert.ok(validate(example), `${type}: ${ajv.errorsText(validate.errors)}`);
    checkCloudEvent(example);
    assert.equal(validate({ ...example, type: "another" }), false);
  }
});

test("types are filtered by service and by text, read by name, and unknown ones are 404", async () => {
  const users = await list("?service=directory&q=USER");
  assert.deepEqual([...new Set(users.map(({ service, noun }) => `${service}.${noun}`))], ["directory.user"]);
  const one = await server.get("/v1/event-catalogue/demarc.directory.user.updated");
  const { verb, permission, schemaUrl } = one.body;
  assert.deepEqual([verb, permission], ["updated", "user.read"]);
  assert.equal(schemaUrl, "/v1/event-catalogue/demarc.directory.user.updated/schema");
  assert.equal((await server.get("/v1/event-catalogue?service=nothing")).status, 400);
  for (const rest of ["demarc.directory.user.flown", "x/schema"])
    assert.equal((await server.get(`/v1/event-catalogue/${rest}`)).status, 404);
});

test("a schema has a tag, and is 304 for who has it", async () => {
  const path = "/v1/event-catalogue/demarc.access.key.created/schema";
  const etag = (await server.get(path)).headers.get("etag")!;
  assert.equal((await server.get(path, { headers: { "if-none-match": etag } })).status, 304);
});
