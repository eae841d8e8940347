import { type Static, Type } from "typebox";
import { id, nullable, object } from "#kernel/schema";
import { mostFolders, treeName } from "../folder/schema.ts";

export const treePath = Type.Array(treeName("Name of a folder."), {
  maxItems: mostFolders,
  description: "Names of folders, from below the starting one; compared exactly.",
});
export const underFolderId = nullable(
  id("fld", { description: "Where the path begins; null: the caller's scope root." }),
);

/** Where a new watch is put, by name. */
export const Place = object(
  {
    underFolderId: Type.Optional(underFolderId),
    path: treePath,
    location: treeName("Name of the location."),
    createMissing: Type.Optional(
      Type.Boolean({ default: false, description: "Makes what is missing; needs `folder.write`." }),
    ),
  },
  { title: "Place" },
);
export type Place = Static<typeof Place>;
