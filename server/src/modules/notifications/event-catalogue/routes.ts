import { Type } from "typebox";
import { tagOf } from "#kernel/answer";
import { Reply, route } from "#kernel/contract";
import { listOf } from "#kernel/page";
import { services } from "#kernel/permissions";
import { anyOf, object, oneOf, text } from "#kernel/schema";
import { getCatalogueSchema, getCatalogueType, listCatalogueTypes } from "./operations.ts";
import { EventType } from "./schema.ts";

const Schema = Type.Unsafe<string>({
  type: "object",
  description: "JSON Schema 2020-12 of the whole event, in the version of the call.",
  additionalProperties: true,
  "x-media-type": "application/schema+json",
  "x-etag": true,
});

export const eventCatalogueRoutes = [
  route({
    method: "GET",
    path: "/event-catalogue",
    versions: "v1+",
    id: "listCatalogueTypes",
    summary: "List the types of events",
    description: "All types at once, by name, each with an example.",
    permission: "open",
    query: object({
      service: Type.Optional(anyOf(oneOf(services))),
      q: Type.Optional(text(100, { description: "Text in the name or the summary." })),
    }),
    replies: { 200: listOf(EventType) },
    run: (ctx, { query }) => listCatalogueTypes(ctx, query),
  }),
  route({
    method: "GET",
    path: "/event-catalogue/{type}",
    versions: "v1+",
    id: "getCatalogueType",
    summary: "Read a type of event",
    permission: "open",
    replies: { 200: EventType },
    run: (ctx, { params }) => getCatalogueType(ctx, params.type),
  }),
  route({
    method: "GET",
    path: "/event-catalogue/{type}/schema",
    versions: "v1+",
    id: "getCatalogueSchema",
    summary: "Read the JSON Schema of a type of event",
    permission: "open",
    replies: { 200: Schema },
    run: (ctx, { params }) => {
      const schema = getCatalogueSchema(ctx, params.type);
      return new Reply(200, schema, { etag: tagOf(schema), headers: { "access-control-allow-origin": "*" } });
    },
  }),
];
