import { type Static, Type } from "typebox";
import { listOf, listQuery } from "#kernel/page";
import { anyOf, id, instant, nullable, object, oneOf, text } from "#kernel/schema";
import { tombstoneOf } from "../tombstone.ts";

/** Folders on the way from a tenant's root. */
export const mostFolders = 20;

export const folderCategories = ["internalGroup", "customer"] as const;

/** Text of a name in the tree: neither end is white space, nothing inside is a control character. */
const namePattern = "^(?:[^\\s\\u0000-\\u001f\\u007f](?:[^\\u0000-\\u001f\\u007f]*[^\\s\\u0000-\\u001f\\u007f])?)?$";
export const treeName = (what: string) =>
  Type.String({
    minLength: 1,
    maxLength: 100,
    pattern: namePattern,
    "x-pattern": "May not begin or end with white space, nor hold control characters.",
    description: what,
    examples: ["North"],
  });
export const timeZone = Type.String({
  minLength: 1,
  maxLength: 64,
  description: "Name of an IANA time zone; no UTC offset.",
  examples: ["Europe/London"],
});
export const numericId = Type.Integer({
  minimum: 1,
  maximum: 2_147_483_647,
  description: "The thing's number, for tools that need integers.",
});
export const seenPath = Type.Array(Type.String(), {
  description: "Names of the folders below the caller's scope root that lead here.",
});
const stamps = {
  createdAt: instant,
  createdBy: Type.String({ description: "Id of the principal." }),
  updatedAt: instant,
  updatedBy: Type.String({ description: "Id of the principal." }),
  changedAt: instant,
};
export const treeStamps = stamps;

const folderName = treeName("Need not be unique, even among siblings.");
const parentFolderId = nullable(id("fld", { description: "Null: the caller's scope root." }));
const category = oneOf(folderCategories, { description: "Below `customer` only `customer`." });
const customerReference = nullable(
  text(100, { description: "Only on a folder of category `customer`; inherited by every watch below." }),
);
const reference = nullable(text(50, { description: "The caller's own key." }));
const description = nullable(text(100));
const contactUserId = nullable(
  id("usr", { description: "A user of the folder's tenant who has the folder in scope." }),
);

export const Folder = object(
  {
    id: id("fld"),
    numericId,
    tenantId: id("tnt"),
    name: folderName,
    parentFolderId,
    category,
    timeZone,
    customerReference,
    reference,
    description,
    contactUserId,
    isTenantRoot: Type.Boolean(),
    path: seenPath,
    ...stamps,
  },
  { title: "Folder" },
);
export type Folder = Static<typeof Folder>;
export const FolderTombstone = tombstoneOf("FolderTombstone", "fld", "parentFolderId", nullable(id("fld")));

const serverFields = ["id", "numericId", "tenantId", "isTenantRoot", "path", ...Object.keys(stamps)];
const optional = {
  timeZone: Type.Optional(nullable(timeZone)),
  customerReference: Type.Optional(customerReference),
  reference: Type.Optional(reference),
  description: Type.Optional(description),
  contactUserId: Type.Optional(contactUserId),
};

export const NewFolder = object(
  { name: folderName, parentFolderId: Type.Optional(parentFolderId), category: Type.Optional(category), ...optional },
  { title: "NewFolder", "x-read-only": serverFields },
);
export type NewFolder = Static<typeof NewFolder>;

export const FolderChange = object(
  { name: Type.Optional(folderName), parentFolderId: Type.Optional(parentFolderId), ...optional },
  { title: "FolderChange", "x-read-only": [...serverFields, "category"] },
);
export type FolderChange = Static<typeof FolderChange>;

/** The folder of an import item: the last step of its path. The category counts where the folder is made. */
export const ImportedFolder = object(
  { category: Type.Optional(category), ...optional },
  { title: "ImportedFolder", "x-read-only": serverFields },
);
export type ImportedFolder = Static<typeof ImportedFolder>;

export const treeSorts = ["name", "createdAt", "updatedAt", "changedAt"] as const;
/** A filter over a field that may be null: the empty value finds what has none. */
export const orNone = (max: number) =>
  Type.String({ maxLength: max, description: "An empty value finds those without one." });
/** Filters that folders, locations and watches share. */
export const treeFilters = {
  numericId: anyOf(numericId),
  path: Type.Array(text(100), {
    minItems: 1,
    maxItems: 200,
    "x-repeat": true,
    description: "Repeated once per level, beginning below the caller's scope root; names are compared exactly.",
  }),
  tenantId: anyOf(id("tnt")),
  updatedSince: Type.String({
    format: "date-time",
    description: "Finds what changed (`changedAt`) at this instant or later.",
  }),
  includeDeleted: Type.Boolean({ description: "`true` adds tombstones of what was removed." }),
  q: text(100, { description: "Substring, ignoring case; no character has a special meaning." }),
};

export const FolderQuery = listQuery(
  {
    name: text(100),
    parentFolderId: anyOf(
      Type.String({ "x-id": "fld", maxLength: 100, description: "An empty value finds the caller's scope root." }),
    ),
    folderId: anyOf(id("fld", { description: "Finds the folders below." })),
    category: anyOf(category),
    reference: orNone(50),
    customerReference: orNone(100),
    contactUserId: anyOf(
      Type.String({ "x-id": "usr", maxLength: 100, description: "An empty value finds those without one." }),
    ),
    ...treeFilters,
  },
  treeSorts,
  Folder,
);
export type FolderQuery = Static<typeof FolderQuery>;
export const FolderList = listOf(Type.Union([Folder, FolderTombstone]));
