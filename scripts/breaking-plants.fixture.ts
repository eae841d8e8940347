import { asked, B, G, list, make, P, type Plant, pear } from "./breaking.fixture.ts";

/** The second list, row by row. */
export const breaking: Plant[] = [
  ["a path", "path-removed", "/paths/~1v1~1ping", (d) => delete d.paths["/v1/ping"]],
  [
    "a renamed path",
    "path-removed",
    "/paths/~1v1~1ping",
    (d) => {
      d.paths["/v1/pong"] = d.paths["/v1/ping"];
      delete d.paths["/v1/ping"];
    },
  ],
  ["another base", "path-removed", "/servers", (d) => (d.servers[0].url = "/api")],
  ["a verb", "verb-removed", G, (d) => delete d.paths["/v1/pear"].get],
  ["an operation id", "operation-id-changed", `${G}/operationId`, (d) => (list(d).operationId = "allPears")],
  [
    "a new required parameter",
    "parameter-required",
    `${G}/parameters/2`,
    (d) => list(d).parameters.push({ name: "q", in: "query", required: true, schema: { type: "string" } }),
  ],
  [
    "an optional parameter made required",
    "parameter-required",
    `${G}/parameters/1`,
    (d) => (list(d).parameters[1].required = true),
  ],
  ["a parameter less", "parameter-removed", `${G}/parameters/0`, (d) => list(d).parameters.shift()],
  [
    "a parameter in another form",
    "type-changed",
    `${G}/parameters/0/explode`,
    (d) => (list(d).parameters[0].explode = true),
  ],
  [
    "a new required property",
    "property-required",
    `${B}/properties/kind`,
    (d) => {
      asked(d).properties.kind = { type: "string" };
      asked(d).required.push("kind");
    },
  ],
  [
    "an optional property made required",
    "property-required",
    `${B}/properties/size`,
    (d) => asked(d).required.push("size"),
  ],
  [
    "a body where none was",
    "property-required",
    `${G}/requestBody`,
    (d) => (list(d).requestBody = { required: true, content: {} }),
  ],
  [
    "a request property less",
    "request-property-removed",
    `${B}/properties/note`,
    (d) => delete asked(d).properties.note,
  ],
  ["a narrower type", "request-narrowed", `${B}/properties/size/type`, (d) => (asked(d).properties.size.type = "null")],
  [
    "a new pattern",
    "request-narrowed",
    `${B}/properties/colour/pattern`,
    (d) => (asked(d).properties.colour.pattern = "^g"),
  ],
  [
    "another format asked for",
    "request-narrowed",
    `${B}/properties/note/format`,
    (d) => (asked(d).properties.note.format = "uri"),
  ],
  [
    "a narrower range",
    "request-narrowed",
    `${B}/properties/size/minimum`,
    (d) => (asked(d).properties.size.minimum = 2),
  ],
  [
    "a shorter text",
    "request-narrowed",
    `${B}/properties/colour/maxLength`,
    (d) => (asked(d).properties.colour.maxLength = 5),
  ],
  [
    "a lowered published limit",
    "request-narrowed",
    `${G}/parameters/0/schema/maximum`,
    (d) => (list(d).parameters[0].schema.maximum = 100),
  ],
  [
    "a list of values where all were accepted",
    "request-narrowed",
    `${G}/parameters/1/schema/enum`,
    (d) => (list(d).parameters[1].schema.enum = ["wait=1"]),
  ],
  [
    "a value that was accepted",
    "value-removed",
    `${B}/properties/colour/enum`,
    (d) => asked(d).properties.colour.enum.pop(),
  ],
  ["a value that was sent", "value-removed", `${P}/colour/enum`, (d) => pear(d).properties.colour.enum.pop()],
  ["a reply property less", "reply-property-removed", `${P}/code`, (d) => delete pear(d).properties.code],
  [
    "a map less",
    "reply-property-removed",
    `${P}/extra/additionalProperties`,
    (d) => (pear(d).properties.extra.additionalProperties = false),
  ],
  ["always present to absent", "reply-property-optional", `${P}/colour`, (d) => pear(d).required.pop()],
  ["never null to null", "reply-null", `${P}/code/type`, (d) => (pear(d).properties.code.type = ["string", "null"])],
  [
    "null as an alternative",
    "reply-null",
    `${P}/owner/anyOf`,
    (d) => pear(d).properties.owner.anyOf.push({ type: "null" }),
  ],
  [
    "a closed enumeration that grows",
    "closed-enumeration",
    `${P}/state/enum`,
    (d) => pear(d).properties.state.enum.push("rotten"),
  ],
  [
    "a closed enumeration that opens",
    "closed-enumeration",
    `${P}/state/enum`,
    (d) => delete pear(d).properties.state["x-closed"],
  ],
  ["a type of event", "event-removed", "/webhooks/pear.created", (d) => delete d.webhooks["pear.created"]],
  [
    "a renamed type of event",
    "event-removed",
    "/webhooks/pear.created",
    (d) => {
      d.webhooks["pear.made"] = d.webhooks["pear.created"];
      delete d.webhooks["pear.created"];
    },
  ],
  [
    "object to array",
    "type-changed",
    `${P}/extra/type`,
    (d) => (pear(d).properties.extra = { type: "array", items: { type: "string" } }),
  ],
  ["an event that is told no more", "event-moved", "/paths/~1v1~1pear/post/x-emits", (d) => (make(d)["x-emits"] = [])],
  [
    "an event told on another occasion",
    "event-moved",
    "/paths/~1v1~1pear/post/x-emits",
    (d) => make(d)["x-emits"].push("pear.deleted"),
  ],
  [
    "a header of a webhook",
    "header-removed",
    "/webhooks/pear.created/post/parameters/0",
    (d) => d.webhooks["pear.created"].post.parameters.pop(),
  ],
  [
    "a property of an event",
    "reply-property-removed",
    "/webhooks/pear.created/post/requestBody/content/application~1cloudevents+json/schema/properties/tags",
    (d) =>
      delete d.webhooks["pear.created"].post.requestBody.content["application/cloudevents+json"].schema.properties.tags,
  ],
  [
    "a header of a reply",
    "header-removed",
    `${G}/responses/200/headers/ETag`,
    (d) => (list(d).responses[200].headers = {}),
  ],
  [
    "another status for the same case",
    "status-changed",
    `${G}/responses/409`,
    (d) => {
      list(d).responses[412] = list(d).responses[409];
      delete list(d).responses[409];
    },
  ],
  [
    "a success status less",
    "success-changed",
    "/paths/~1v1~1pear/post/responses/202",
    (d) => delete make(d).responses[202],
  ],
  ["a success status more", "success-changed", `${G}/responses/202`, (d) => (list(d).responses[202] = {})],
  ["a code", "code-removed", `${G}/responses/409`, (d) => (list(d).responses[409]["x-codes"] = ["other"])],
  ["another type", "type-changed", `${P}/code/type`, (d) => (pear(d).properties.code.type = "integer")],
  ["array to single value", "type-changed", `${P}/tags/type`, (d) => (pear(d).properties.tags = { type: "string" })],
  [
    "one alternative more",
    "type-changed",
    `${P}/owner/anyOf/2`,
    (d) => pear(d).properties.owner.anyOf.push({ type: "integer" }),
  ],
  ["another format", "format-changed", `${P}/pickedAt/format`, (d) => (pear(d).properties.pickedAt.format = "date")],
  ["another pattern", "format-changed", `${P}/code/pattern`, (d) => (pear(d).properties.code.pattern = "^[0-9]+$")],
  [
    "another unit, which is another name",
    "reply-property-removed",
    `${P}/weightInGrams`,
    (d) => {
      pear(d).properties.weightInOunces = pear(d).properties.weightInGrams;
      delete pear(d).properties.weightInGrams;
    },
  ],
  ["another default", "default-changed", `${B}/properties/size/default`, (d) => (asked(d).properties.size.default = 4)],
  [
    "another page size",
    "default-changed",
    `${G}/parameters/0/schema/default`,
    (d) => (list(d).parameters[0].schema.default = 20),
  ],
  [
    "a media type",
    "media-type-removed",
    `${G}/responses/200/content/application~1json`,
    (d) => (list(d).responses[200].content = { "application/xml": {} }),
  ],
  ["a new permission", "permission-required", `${G}/x-permission`, (d) => (list(d)["x-permission"] = "pear.read")],
  [
    "another permission",
    "permission-required",
    "/paths/~1v1~1pear/post/x-permission",
    (d) => (make(d)["x-permission"] = "pear.manage"),
  ],
  [
    "access that needed no credential",
    "permission-required",
    "/paths/~1v1~1ping/get/security",
    (d) => delete d.paths["/v1/ping"].get.security,
  ],
  [
    "a scope",
    "permission-required",
    "/components/securitySchemes/oauth/flows/clientCredentials/scopes/pear.read",
    (d) => (d.components.securitySchemes.oauth.flows.clientCredentials.scopes = {}),
  ],
  [
    "a way to authenticate",
    "authentication-ended",
    "/components/securitySchemes/key",
    (d) => delete d.components.securitySchemes.key,
  ],
  [
    "a way to authenticate, of one operation",
    "authentication-ended",
    `${G}/security`,
    (d) => (list(d).security = [{ oauth: [] }]),
  ],
  [
    "another header for the key",
    "authentication-ended",
    "/components/securitySchemes/key/name",
    (d) => (d.components.securitySchemes.key.name = "x-key"),
  ],
  [
    "what neither list names",
    "not-listed",
    `${P}/tags/contains`,
    (d) => (pear(d).properties.tags.contains = { type: "string" }),
  ],
];
