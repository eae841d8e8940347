/** Every difference of both lists of docs/versioning.md, planted in a small document of each kind. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { asked, asyncapi, B, type Document, G, list, make, openapi, P, type Plant, pear } from "./breaking.fixture.ts";
import { compareOpenapi } from "./breaking.ts";
import { compareAsyncapi } from "./breaking-asyncapi.ts";
import { breaking } from "./breaking-plants.fixture.ts";
import { breakingRules, compatibleRules, type Difference, isBreaking, type Rule } from "./breaking-rules.ts";
import { committed, committedDocuments, differencesOf } from "./frozen.ts";

/** The first list, row by row. Pointers of what is new are those of the newer document. */
const compatible: Plant[] = [
  ["a new path", "path-added", "/paths/~1v1~1plum", (d) => (d.paths["/v1/plum"] = {})],
  ["a new verb", "verb-added", "/paths/~1v1~1pear/put", (d) => (d.paths["/v1/pear"].put = {})],
  [
    "a new optional query parameter",
    "parameter-added",
    `${G}/parameters/2`,
    (d) => list(d).parameters.push({ name: "q", in: "query", schema: { type: "string" } }),
  ],
  [
    "a new optional property",
    "request-property-added",
    `${B}/properties/kind`,
    (d) => (asked(d).properties.kind = { type: "string" }),
  ],
  ["a required one made optional", "request-widened", `${B}/properties/colour`, (d) => (asked(d).required = [])],
  [
    "more values",
    "request-widened",
    `${B}/properties/colour/enum`,
    (d) => asked(d).properties.colour.enum.push("blue"),
  ],
  [
    "longer texts",
    "request-widened",
    `${B}/properties/colour/maxLength`,
    (d) => (asked(d).properties.colour.maxLength = 20),
  ],
  [
    "a raised limit",
    "request-widened",
    `${G}/parameters/0/schema/maximum`,
    (d) => (list(d).parameters[0].schema.maximum = 500),
  ],
  [
    "null accepted",
    "request-widened",
    `${B}/properties/note/type`,
    (d) => (asked(d).properties.note.type = ["string", "null"]),
  ],
  [
    "a new reply property",
    "reply-property-added",
    `${P}/taste`,
    (d) => (pear(d).properties.taste = { type: "string" }),
  ],
  ["always present at last", "reply-narrowed", `${P}/code`, (d) => pear(d).required.push("code")],
  [
    "null no more",
    "reply-narrowed",
    `${P}/weightInGrams/type`,
    (d) => (pear(d).properties.weightInGrams.type = "integer"),
  ],
  [
    "an open enumeration that grows",
    "open-enumeration",
    `${P}/colour/enum`,
    (d) => pear(d).properties.colour.enum.push("yellow"),
  ],
  ["a new type of event", "event-added", "/webhooks/pear.eaten", (d) => (d.webhooks["pear.eaten"] = {})],
  [
    "a new header of a webhook",
    "header-added",
    "/webhooks/pear.created/post/parameters/1",
    (d) => d.webhooks["pear.created"].post.parameters.push({ name: "more", in: "header", required: true }),
  ],
  [
    "a new header of a reply",
    "header-added",
    `${G}/responses/200/headers/Age`,
    (d) => (list(d).responses[200].headers.Age = { schema: { type: "string" } }),
  ],
  [
    "a new code with the same status",
    "code-added",
    `${G}/responses/409`,
    (d) => list(d).responses[409]["x-codes"].push("locked"),
  ],
  [
    "a new media type",
    "media-type-added",
    `${G}/responses/200/content/text~1csv`,
    (d) => (list(d).responses[200].content["text/csv"] = {}),
  ],
  [
    "a permission less",
    "permission-dropped",
    "/paths/~1v1~1pear/post/x-permission",
    (d) => (make(d)["x-permission"] = "any"),
  ],
  [
    "a new way to authenticate",
    "authentication-added",
    "/components/securitySchemes/mutual",
    (d) => (d.components.securitySchemes.mutual = { type: "mutualTLS" }),
  ],
];

/** What is no difference at all: words, order, form of opaque ids. */
const unnoticed: Plant[] = [
  [
    "wording",
    null,
    "",
    (d) => {
      pear(d).description = "Another fruit.";
      list(d).summary = "All of them";
      list(d).responses[409].description = "Somebody has it.";
      d.info.description = "New words.";
    },
  ],
  [
    "the order of properties",
    null,
    "",
    (d) => (pear(d).properties = Object.fromEntries(Object.entries(pear(d).properties).reverse())),
  ],
  ["the form of ids", null, "", (d) => Object.assign(pear(d).properties.id, { pattern: "^pr_", maxLength: 90 })],
  [
    "a renamed schema",
    null,
    "",
    (d) => {
      d.components.schemas.Fruit = { ...pear(d), title: "Fruit" };
      list(d).responses[200].content["application/json"].schema.$ref = "#/components/schemas/Fruit";
    },
  ],
];

const asyncPlants: Plant[] = [
  ["a server", "path-removed", "/servers/stomp", (d) => delete d.servers.stomp],
  [
    "another address of a server",
    "path-removed",
    "/servers/stomp/pathname",
    (d) => (d.servers.stomp.pathname = "/v1/ws"),
  ],
  ["another protocol", "path-removed", "/servers/stomp/protocol", (d) => (d.servers.stomp.protocol = "mqtt")],
  [
    "another media type of a message",
    "media-type-removed",
    "/components/messages/created/contentType",
    (d) => (d.components.messages.created.contentType = "text/plain"),
  ],
  [
    "what is sent becomes what is asked for",
    "type-changed",
    "/operations/sendAll/action",
    (d) => (d.operations.sendAll.action = "receive"),
  ],
  ["a way into a server", "authentication-ended", "/servers/stomp/security", (d) => (d.servers.stomp.security = [])],
  ["a channel", "path-removed", "/channels/all", (d) => delete d.channels.all],
  ["another destination", "path-removed", "/channels/all/address", (d) => (d.channels.all.address = "/topic/x")],
  [
    "a value of a parameter",
    "value-removed",
    "/channels/all/parameters/service/enum",
    (d) => d.channels.all.parameters.service.enum.pop(),
  ],
  ["an operation", "verb-removed", "/operations/sendAll", (d) => delete d.operations.sendAll],
  ["a message of a channel", "event-moved", "/channels/all/messages/created", (d) => (d.channels.all.messages = {})],
  ["a type of event", "event-removed", "/components/messages/created", (d) => delete d.components.messages.created],
  [
    "a header of a message",
    "header-removed",
    "/components/messages/created/headers/properties/cursor",
    (d) => (d.components.messages.created.headers.properties = {}),
  ],
  [
    "a header that may be absent",
    "header-removed",
    "/components/messages/created/headers/required",
    (d) => (d.components.messages.created.headers.required = []),
  ],
  [
    "a constant",
    "value-removed",
    "/components/messages/created/payload/properties/kind/const",
    (d) => (d.components.messages.created.payload.properties.kind.const = "b"),
  ],
  [
    "a property of an event that may be absent",
    "reply-property-optional",
    "/components/messages/created/payload/properties/id",
    (d) => (d.components.messages.created.payload.required = []),
  ],
  [
    "a way to authenticate",
    "authentication-ended",
    "/components/securitySchemes/passcode",
    (d) => (d.components.securitySchemes = {}),
  ],
  ["a new type of event", "event-added", "/components/messages/gone", (d) => (d.components.messages.gone = {})],
  [
    "a new header",
    "header-added",
    "/components/messages/created/headers/properties/more",
    (d) => (d.components.messages.created.headers.properties.more = { type: "string" }),
  ],
  ["a new channel", "path-added", "/channels/more", (d) => (d.channels.more = {})],
];

function plantIn(base: Document, edit: Plant[3], compare: (before: Document, after: Document) => Difference[]) {
  const after = structuredClone(base);
  edit(after);
  return compare(base, after);
}

test("VE-5. every difference of the second list is found, by its rule and its place", () => {
  for (const [what, rule, pointer, edit] of breaking) {
    const found = plantIn(openapi(), edit, compareOpenapi);
    assert.ok(
      found.some((one) => one.rule === rule && one.pointer === pointer),
      `${what}: ${JSON.stringify(found)}`,
    );
    assert.ok(found.some(isBreaking), what);
  }
});

test("VE-5. a difference of the first list is told and breaks nothing", () => {
  for (const [what, rule, pointer, edit] of compatible)
    assert.deepEqual(plantIn(openapi(), edit, compareOpenapi), [{ rule, pointer }], what);
});

test("words, order, names of schemas and the form of ids are no difference", () => {
  for (const [what, , , edit] of unnoticed) assert.deepEqual(plantIn(openapi(), edit, compareOpenapi), [], what);
});

test("VE-5. what is promised of servers, destinations, messages and their headers is held too", () => {
  for (const [what, rule, pointer, edit] of asyncPlants) {
    const found = plantIn(asyncapi(), edit, compareAsyncapi);
    assert.ok(
      found.some((one) => one.rule === rule && one.pointer === pointer),
      `${what}: ${JSON.stringify(found)}`,
    );
  }
});

test("every rule is planted at least once", () => {
  const planted = new Set([...breaking, ...compatible, ...asyncPlants].map(([, rule]) => rule));
  const rules = Object.keys({ ...breakingRules, ...compatibleRules }) as Rule[];
  assert.deepEqual(
    rules.filter((rule) => !planted.has(rule)),
    ["service-removed"],
  );
  assert.deepEqual(differencesOf("openapi/v1/pears.json", openapi(), null), [{ rule: "service-removed", pointer: "" }]);
});

test("a document has no difference to itself, and the committed ones are read to their ends", () => {
  const names = committedDocuments("v1");
  assert.ok(names.length >= 4);
  for (const name of names) {
    const document = JSON.parse(committed(name)!);
    assert.deepEqual(differencesOf(name, document, structuredClone(document)), []);
  }
});
