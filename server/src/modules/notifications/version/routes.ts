import { route } from "#kernel/contract";
import { VersionList } from "./schema.ts";

export const versionRoutes = [
  route({
    method: "GET",
    path: "/version",
    versions: "v1+",
    id: "listVersions",
    summary: "List the versions of the API",
    permission: "open",
    replies: { 200: VersionList },
    run: (ctx) => ({ items: ctx.documents.versions() }),
  }),
];
