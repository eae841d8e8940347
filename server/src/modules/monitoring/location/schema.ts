import { type Static, Type } from "typebox";
import { listOf, listQuery } from "#kernel/page";
import { anyOf, id, nullable, object, text } from "#kernel/schema";
import {
  numericId,
  orNone,
  seenPath,
  timeZone,
  treeFilters,
  treeName,
  treeSorts,
  treeStamps,
} from "../folder/schema.ts";
import { tombstoneOf } from "../tombstone.ts";

const locationName = treeName("Unique in its folder.");
const folderId = id("fld");
const optional = {
  timeZone: Type.Optional(nullable(timeZone)),
  reference: Type.Optional(nullable(text(50))),
  description: Type.Optional(nullable(text(100))),
  postalAddress: Type.Optional(nullable(text(200))),
};

export const Location = object(
  {
    id: id("loc"),
    numericId,
    tenantId: id("tnt"),
    name: locationName,
    folderId: nullable(id("fld", { description: "Null to a caller whose scope is this location." })),
    timeZone,
    reference: nullable(text(50, { description: "The caller's own key." })),
    description: nullable(text(100)),
    postalAddress: nullable(text(200)),
    path: seenPath,
    ...treeStamps,
  },
  { title: "Location" },
);
export type Location = Static<typeof Location>;
export const LocationTombstone = tombstoneOf("LocationTombstone", "loc", "folderId", nullable(id("fld")));

const serverFields = ["id", "numericId", "tenantId", "path", ...Object.keys(treeStamps)];

export const NewLocation = object(
  { name: locationName, folderId, ...optional },
  { title: "NewLocation", "x-read-only": serverFields },
);
export type NewLocation = Static<typeof NewLocation>;

export const LocationChange = object(
  { name: Type.Optional(locationName), folderId: Type.Optional(folderId), ...optional },
  { title: "LocationChange", "x-read-only": serverFields },
);
export type LocationChange = Static<typeof LocationChange>;

/** The location of an import item: found by its name in the last folder of the path, made or merged. */
export const ImportedLocation = object(
  { name: locationName, ...optional },
  { title: "ImportedLocation", "x-read-only": serverFields },
);
export type ImportedLocation = Static<typeof ImportedLocation>;

export const LocationQuery = listQuery(
  { name: text(100), folderId: anyOf(id("fld")), reference: orNone(50), ...treeFilters },
  treeSorts,
  Location,
);
export type LocationQuery = Static<typeof LocationQuery>;
export const LocationList = listOf(Type.Union([Location, LocationTombstone]));
