import { bulkRefused } from "#kernel/bulk";
import { route } from "#kernel/contract";
import { folderCreated, folderUpdated, locationCreated, locationUpdated } from "../events.ts";
import { pathAmbiguous } from "../place/place.ts";
import { categoryConflict, folderTooDeep } from "../tree.ts";
import { importTree } from "./operations.ts";
import { TreeImport, TreeImportReport } from "./schema.ts";

export const importRoutes = [
  route({
    method: "POST",
    path: "/folder/import",
    versions: "v1+",
    id: "importTree",
    summary: "Find, make or merge folders and locations by path",
    description: "The same import again changes nothing. A path that two folders fit is refused for its item.",
    permission: "folder.write",
    emits: [folderCreated, folderUpdated, locationCreated, locationUpdated],
    body: TreeImport,
    replies: { 200: TreeImportReport },
    problems: [bulkRefused, pathAmbiguous, categoryConflict, folderTooDeep],
    run: (ctx, { body }) => importTree(ctx, body),
  }),
];
