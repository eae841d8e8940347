import { Type } from "typebox";
import { Reply, route } from "#kernel/contract";
import { notFound, refuse } from "#kernel/problem";

const documentOf = (description: string, mediaType: string) =>
  Type.Unsafe<string>({
    type: "object",
    description,
    additionalProperties: true,
    "x-media-type": mediaType,
    "x-etag": true,
  });

/** A document for tools, which may run anywhere. */
function shown(document: { text: string; etag: string } | null): Reply<string> {
  if (!document) throw refuse(notFound, { detail: "There is no such document in this version." });
  return new Reply(200, document.text, { etag: document.etag, headers: { "access-control-allow-origin": "*" } });
}

export const documentRoutes = [
  route({
    method: "GET",
    path: "/openapi/{service}.json",
    versions: "v1+",
    id: "getOpenapi",
    summary: "Read the OpenAPI document of a service",
    permission: "open",
    isDocument: true,
    replies: { 200: documentOf("An OpenAPI 3.1 document.", "application/openapi+json") },
    run: (ctx, { params }) => shown(ctx.documents.openapi(params.service, ctx.call.label)),
  }),
  route({
    method: "GET",
    path: "/asyncapi/notifications.json",
    versions: "v1+",
    id: "getAsyncapi",
    summary: "Read the AsyncAPI document: what the server sends, and where",
    permission: "open",
    isDocument: true,
    replies: { 200: documentOf("An AsyncAPI 3.0 document.", "application/asyncapi+json") },
    run: (ctx) => shown(ctx.documents.asyncapi(ctx.call.label)),
  }),
];
