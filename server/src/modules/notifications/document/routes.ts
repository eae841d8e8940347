import { Type } from "typebox";
import { Reply, route } from "#kernel/contract";
import { notFound, refuse } from "#kernel/problem";
import { nullable, object, oneOf } from "#kernel/schema";

const Version = object(
  {
    label: Type.String({ examples: ["v1"] }),
    status: oneOf(["ga", "deprecated", "retired", "alias"]),
    servedBy: Type.String({ description: "The version that answers under this label." }),
    releasedAt: nullable(Type.String()),
    deprecatedAt: nullable(Type.String()),
    sunsetAt: nullable(Type.String()),
    successor: nullable(Type.String()),
    documents: Type.Array(Type.String({ description: "Address of an OpenAPI document." })),
  },
  { title: "Version" },
);

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
    path: "/version",
    versions: "v1+",
    id: "listVersions",
    summary: "List the versions of the API",
    permission: "open",
    replies: { 200: object({ items: Type.Array(Version) }, { title: "Versions" }) },
    run: (ctx) => ({ items: ctx.documents.versions() }),
  }),
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
