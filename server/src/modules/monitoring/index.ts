/**
 * What a provider watches for its customers: a tree of folders and locations, and in them the watches.
 *
 * Every tenant has one *root folder*, hung under its parent tenant's, so the installation has one tree; every node belongs
 * to one tenant, and nothing moves from one to another. What a caller sees is the node it is homed on and all beneath
 * (scope.ts). A folder keeps its whole path and the customer reference that holds there; renaming, moving or
 * re-referencing one brings all below up to date in the same transaction, however large the tree (tree.ts). Names of
 * folders need not be unique: a path that fits twice is refused, never guessed (place/).
 */
import type { Module } from "#kernel/contract";
import { treeEvents } from "./events.ts";
import { folderRoutes } from "./folder/routes.ts";
import { makeTenantRoot } from "./folder/tenant-root.ts";
import { importRoutes } from "./import/routes.ts";
import { locationRoutes } from "./location/routes.ts";

export const monitoring: Module = {
  name: "monitoring",
  about: "Folders, locations and watches.",
  routes: [...folderRoutes, ...importRoutes, ...locationRoutes],
  events: [...treeEvents],
  prepareTenant: makeTenantRoot,
};
