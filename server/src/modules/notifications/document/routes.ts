import { Type } from "typebox";
import { Reply, route } from "#kernel/contract";
import { notFound, refuse } from "#kernel/problem";

const Document = Type.Unsafe<string>({
  type: "object",
  description: "An OpenAPI 3.1 document.",
  additionalProperties: true,
  "x-media-type": "application/openapi+json",
  "x-etag": true,
});

export const documentRoutes = [
  route({
    method: "GET",
    path: "/openapi/{service}.json",
    versions: "v1+",
    id: "getOpenapi",
    summary: "Read the OpenAPI document of a service",
    permission: "open",
    replies: { 200: Document },
    run: (ctx, { params }) => {
      const document = ctx.documents.openapi(params.service, ctx.call.label);
      if (!document) throw refuse(notFound, { detail: "There is no such service in this version." });
      return new Reply(200, document.text, { etag: document.etag, headers: { "access-control-allow-origin": "*" } });
    },
  }),
];
