/** Small documents to plant differences in. */
import type { Rule } from "./breaking-rules.ts";

/** Cut up at will by those who plant in it. */
// biome-ignore lint/suspicious/noExplicitAny: its shape is what the plants change
export type Document = any;

export function openapi(): Document {
  // Without shared parts: an edit is to be felt in one place.
  const Pear = {
    title: "Pear",
    type: "object",
    required: ["id", "colour"],
    properties: {
      id: { type: "string", "x-id": "pea", pattern: "^pea_", maxLength: 30 },
      colour: { type: "string", enum: ["green", "red"] },
      state: { type: "string", enum: ["ripe", "raw"], "x-closed": true },
      weightInGrams: { type: ["integer", "null"] },
      pickedAt: { type: "string", format: "date-time" },
      code: { type: "string", pattern: "^[A-Z]+$" },
      tags: { type: "array", items: { type: "string" } },
      owner: { anyOf: [{ $ref: "#/components/schemas/Person" }, { type: "string" }] },
      extra: { type: "object", additionalProperties: { type: "string" } },
    },
  };
  const body = {
    type: "object",
    required: ["colour"],
    additionalProperties: false,
    properties: {
      colour: { type: "string", enum: ["green", "red"], maxLength: 10 },
      size: { type: "integer", minimum: 1, default: 3 },
      note: { type: "string", pattern: "^[a-z]*$", format: "email" },
    },
  };
  const refusal = (code: string) => ({ description: code, "x-codes": [code] });
  const ok = {
    description: "Success.",
    headers: { ETag: { schema: { type: "string" } } },
    content: { "application/json": { schema: { $ref: "#/components/schemas/Pear" } } },
  };
  return JSON.parse(
    JSON.stringify({
      openapi: "3.1.0",
      info: { title: "Pears", version: "v1" },
      servers: [{ url: "/" }],
      security: [{ key: [] }, { oauth: [] }],
      paths: {
        "/v1/pear": {
          get: {
            operationId: "listPears",
            "x-permission": "any",
            parameters: [
              { name: "limit", in: "query", schema: { type: "integer", maximum: 200, default: 50 } },
              { name: "Prefer", in: "header", schema: { type: "string" } },
            ],
            responses: { 200: ok, 404: refusal("not_found"), 409: refusal("taken") },
          },
          post: {
            operationId: "createPear",
            "x-permission": "pear.write",
            "x-emits": ["pear.created"],
            requestBody: { required: true, content: { "application/json": { schema: body } } },
            responses: { 201: ok, 202: { description: "Later." } },
          },
        },
        "/v1/ping": { get: { operationId: "ping", "x-permission": "open", security: [], responses: { 200: ok } } },
        "/v1/pear/{id}": {
          delete: {
            operationId: "deletePear",
            "x-permission": "pear.write",
            "x-emits": ["pear.deleted"],
            responses: { 204: {} },
          },
        },
      },
      webhooks: {
        "pear.created": {
          post: {
            parameters: [{ name: "webhook-id", in: "header", required: true, schema: { type: "string" } }],
            requestBody: { content: { "application/cloudevents+json": { schema: structuredClone(Pear) } } },
          },
        },
      },
      components: {
        schemas: { Pear, Person: { title: "Person", type: "object", properties: { name: { type: "string" } } } },
        securitySchemes: {
          key: { type: "apiKey", in: "header", name: "x-api-key" },
          oauth: {
            type: "oauth2",
            flows: { clientCredentials: { tokenUrl: "/oauth/token", scopes: { "pear.read": "" } } },
          },
        },
      },
    }),
  );
}

export function asyncapi(): Document {
  const payload = { type: "object", required: ["id"], properties: { id: { type: "string" }, kind: { const: "a" } } };
  return {
    asyncapi: "3.0.0",
    info: { title: "Pears", version: "v1" },
    servers: { stomp: { host: "h", pathname: "/v1/stomp", protocol: "stomp", security: [{ $ref: "#/x" }] } },
    channels: {
      all: {
        address: "/topic/v1/event/{service}",
        parameters: { service: { enum: ["a", "b"] } },
        messages: { created: { $ref: "#/components/messages/created" } },
      },
    },
    operations: { sendAll: { action: "send", channel: { $ref: "#/channels/all" } } },
    components: {
      messages: {
        created: {
          contentType: "application/json",
          headers: { type: "object", required: ["cursor"], properties: { cursor: { type: "string" } } },
          payload,
        },
      },
      securitySchemes: { passcode: { type: "userPassword" } },
    },
  };
}

export type Plant = [what: string, rule: Rule | null, pointer: string, edit: (document: Document) => void];
export const pear = (document: Document) => document.components.schemas.Pear;
export const list = (document: Document) => document.paths["/v1/pear"].get;
export const make = (document: Document) => document.paths["/v1/pear"].post;
export const asked = (document: Document) => make(document).requestBody.content["application/json"].schema;
export const P = "/components/schemas/Pear/properties";
export const G = "/paths/~1v1~1pear/get";
export const B = "/paths/~1v1~1pear/post/requestBody/content/application~1json/schema";
