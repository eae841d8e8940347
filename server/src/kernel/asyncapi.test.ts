import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { startServer } from "../../test/harness.ts";
import { faults } from "../stomp/faults.ts";

import { knownTypes } from "./event-filter.ts";

const server = await startServer();
const address = (label: string) => `/${label}/asyncapi/notifications.json`;
const answer = await server.get(address("v1"));
const document = JSON.parse(answer.text);

test("the document is served to any origin, with a tag, under each label in its own words", async () => {
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type")!, /^application\/asyncapi\+json/);
  assert.equal(answer.headers.get("access-control-allow-origin"), "*");
  const etag = answer.headers.get("etag")!;
  assert.equal((await server.get(address("v1"), { headers: { "if-none-match": etag } })).status, 304);
  assert.equal((await server.get(address("v2"))).status, 404);
  assert.equal(document.asyncapi, "3.0.0");
  assert.equal(document.channels.events.address, "/topic/v1/event");
  const latest = JSON.parse((await server.get(address("latest"))).text);
  assert.equal(latest.servers.stomp.pathname, "/latest/stomp");
  assert.equal(latest.channels.events.address, "/topic/event");
});

test("every type of event is a message whose payload admits the catalogue's example, and nothing else of another type", () => {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  (addFormats as unknown as (target: Ajv2020) => void)(ajv);
  ajv.addSchema(document, "news");
  const kinds = knownTypes(server.kernel.versions, "v1");
  assert.ok(kinds.length > 40);
  for (const { type } of kinds) {
    const message = document.components.messages[type];
    const validate = ajv.getSchema(`news#/components/messages/${type}/payload`)!;
    const { payload } = message.examples[0];
    assert.ok(validate(payload), `${type}: ${ajv.errorsText(validate.errors)}`);
    assert.equal(validate({ ...payload, type: "another" }), false);
    assert.deepEqual(message.headers, { $ref: "#/components/schemas/MessageHeaders" });
    assert.ok(document.channels.events.messages[type]);
  }
});

test("each form of destination is a channel with its parameters, and each channel has one operation that sends", () => {
  const channels = Object.entries<any>(document.channels);
  assert.deepEqual(
    channels.map(([, { address, parameters = {} }]) => [address, Object.keys(parameters)]),
    [
      ["/topic/v1/event", []],
      ["/topic/v1/event/{service}", ["service"]],
      ["/topic/v1/event/{service}.{noun}", ["service", "noun"]],
      ["/topic/v1/event/{service}.{noun}/{id}", ["service", "noun", "id"]],
      ["/queue/v1/{name}", ["name"]],
      ["/user/queue/v1/operation", []],
      ["/user/queue/session", []],
      [null, []],
    ],
  );
  const operations = Object.values<any>(document.operations);
  assert.ok(operations.every(({ action }) => action === "send"));
  assert.deepEqual(
    operations.map(({ channel }) => channel.$ref),
    channels.map(([name]) => `#/channels/${name}`),
  );
  assert.deepEqual(Object.keys(document.components.securitySchemes), ["passcode", "bearer", "xApiKey"]);
});

test("STOMP is one server, over WebSocket below the label, and the event stream a second one, each with its ways to authenticate", () => {
  const { stomp, eventStream } = document.servers;
  assert.deepEqual(Object.keys(document.servers), ["stomp", "eventStream"]);
  assert.deepEqual([stomp.protocol, stomp.pathname, eventStream.pathname], ["stomp", "/v1/stomp", "/v1/event-stream"]);
  assert.match(stomp.description, /WebSocket/);
  const ways = (server: any) => server.security.map(({ $ref }: { $ref: string }) => $ref.split("/").pop());
  assert.deepEqual(ways(stomp), ["passcode", "bearer", "xApiKey"]);
  assert.deepEqual(ways(eventStream), ["bearer", "xApiKey"]);
  assert.deepEqual(document.channels.eventStream.servers, [{ $ref: "#/servers/eventStream" }]);
  for (const [name, { servers }] of Object.entries<any>(document.channels))
    if (name !== "eventStream") assert.deepEqual(servers, [{ $ref: "#/servers/stomp" }], name);
});

test("the description tells of CONNECT, SUBSCRIBE with every header that it takes, and of going on", () => {
  const { description } = document.info;
  for (const word of [
    "CONNECT",
    "CONNECTED",
    "accept-version",
    "passcode",
    "heart-beat",
    "api-version",
    "deprecation",
    "sunset",
  ])
    assert.ok(description.includes(word), word);
  const subscribe = /SUBSCRIBE takes .*/.exec(description)![0];
  const headers =
    "id destination ack prefetch-count types tenant include-below from last-event-id durable replace receipt".split(
      " ",
    );
  for (const name of headers) assert.match(subscribe, new RegExp(`\`${name}[:\`]`), name);
  for (const word of ["last-event-id", "durable:<name>", "position_expired", "oldest-cursor", "Last-Event-ID"])
    assert.ok(description.includes(word), word);
});

test("the description names every way in which a session can fail, under its close code", () => {
  for (const [name, [code]] of Object.entries(faults))
    assert.match(document.info.description, new RegExp(`- ${code}: .*\`${name}\``));
});

test("the notifications document has a webhook for each type of event, with the same schema", async () => {
  const { webhooks, components } = JSON.parse((await server.get("/v1/openapi/notifications.json")).text);
  const types = knownTypes(server.kernel.versions, "v1").map(({ type }) => type);
  assert.deepEqual(Object.keys(webhooks), types);
  for (const type of types) {
    const { schema } = webhooks[type].post.requestBody.content["application/cloudevents+json"];
    assert.deepEqual(schema, { $ref: `#/components/schemas/${type}` });
    assert.deepEqual(components.schemas[type], document.components.schemas[type]);
  }
});
