import { type Static, Type } from "typebox";
import { bulkBody, bulkReply } from "#kernel/bulk-schema";
import { id, nullable, object } from "#kernel/schema";
import { ImportedFolder } from "../folder/schema.ts";
import { ImportedLocation } from "../location/schema.ts";
import { treePath, underFolderId } from "../place/schema.ts";

export const ImportItem = object(
  { path: treePath, folder: Type.Optional(ImportedFolder), location: Type.Optional(ImportedLocation) },
  { title: "ImportItem" },
);
export type ImportItem = Static<typeof ImportItem>;

export const TreeImport = bulkBody(ImportItem, { underFolderId: Type.Optional(underFolderId) });
export type TreeImport = Static<typeof TreeImport>;

/** In a dry run the ids of what would be made are null. */
export const TreeImportReport = bulkReply({
  folderId: nullable(id("fld")),
  locationId: nullable(id("loc")),
  createdFolderIds: Type.Array(nullable(id("fld"))),
});
