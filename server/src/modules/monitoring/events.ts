/** What the tree tells. The events of watches stand in watch/events.ts. */
import { Type } from "typebox";
import { event } from "#kernel/events";
import { Folder } from "./folder/schema.ts";
import { Location } from "./location/schema.ts";
import { seesWholeTree, visibleFolderEvents, visibleLocationEvents } from "./scope.ts";

const tree = { permission: "folder.read", isWholeFor: seesWholeTree } as const;
const folder = { ...tree, resource: Folder, visible: visibleFolderEvents } as const;
const location = { ...tree, resource: Location, visible: visibleLocationEvents } as const;

export const folderCreated = event("monitoring", "folder.created", { ...folder, summary: "A folder was made." });
export const folderUpdated = event<{ affectedWatches: number }>("monitoring", "folder.updated", {
  ...folder,
  summary: "A folder was changed or moved; the watches below may have changed with it.",
  adds: {
    affectedWatches: Type.Integer({
      minimum: 0,
      description: "Watches below whose `changedAt` moved with the folder.",
    }),
  },
});
export const folderDeleted = event("monitoring", "folder.deleted", { ...folder, summary: "A folder was removed." });

export const locationCreated = event("monitoring", "location.created", {
  ...location,
  summary: "A location was made.",
});
export const locationUpdated = event("monitoring", "location.updated", {
  ...location,
  summary: "A location was changed or moved.",
});
export const locationDeleted = event("monitoring", "location.deleted", {
  ...location,
  summary: "A location was removed.",
});

/** Places that are made on the way to something else tell of it too: every route that may make them declares these. */
export const placeEvents = [folderCreated, locationCreated];
export const treeEvents = [
  folderCreated,
  folderUpdated,
  folderDeleted,
  locationCreated,
  locationUpdated,
  locationDeleted,
];
