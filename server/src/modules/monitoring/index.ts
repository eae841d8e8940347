/**
 * What a provider watches for its customers: a tree of folders and locations, and in them the watches.
 *
 * Every tenant has one *root folder*, hung under its parent tenant's, so the installation has one tree; every node belongs
 * to one tenant, and nothing moves from one to another. What a caller sees is the node it is homed on and all beneath
 * (scope.ts). A folder keeps its whole path and the customer reference that holds there; renaming, moving or
 * re-referencing one brings all below up to date in the same transaction, however large the tree (tree.ts). Names of
 * folders need not be unique: a path that fits twice is refused, never guessed (place/).
 *
 * A technical test (watch-test/) never changes what a watch is: it holds no transaction while it waits for the device, and
 * its result counts only if, where it is stored, the watch still is what the test was started on. What goes live
 * (watch-status/) is decided under the lock of the watch's row, so no change and no test slips in between.
 */
import type { Module } from "#kernel/contract";
import { treeEvents } from "./events.ts";
import { folderRoutes } from "./folder/routes.ts";
import { clearContact, makeTenantRoot, moveTenantRoot } from "./folder/tenant-root.ts";
import { importRoutes } from "./import/routes.ts";
import { purgeTombstones } from "./jobs.ts";
import { locationRoutes } from "./location/routes.ts";
import { treeNodes } from "./nodes.ts";
import { sweepReports } from "./reconcile/jobs.ts";
import { reconciliation } from "./reconcile/reconciliation.ts";
import { reconcileRoutes } from "./reconcile/routes.ts";
import { watchEvents } from "./watch/events.ts";
import { watchRoutes } from "./watch/routes.ts";
import { activation } from "./watch-status/activation.ts";
import { watchStatusEvents } from "./watch-status/events.ts";
import { watchStatusRoutes } from "./watch-status/routes.ts";
import { watchTested } from "./watch-test/events.ts";
import { manyTests } from "./watch-test/many-tests.ts";
import { watchTestRoutes } from "./watch-test/routes.ts";
import { watchTest } from "./watch-test/test-run.ts";

export { importTree } from "./import/operations.ts";
export { bulkWatches } from "./watch/bulk.ts";

export const monitoring: Module = {
  name: "monitoring",
  about: "Folders, locations and watches.",
  sealed: [
    { table: "monitoring.watch", column: "snmp_sealed", rowId: "id" },
    { table: "monitoring.reconcile", column: "request_sealed", rowId: "id" },
  ],
  routes: [
    ...folderRoutes,
    ...importRoutes,
    ...locationRoutes,
    ...watchRoutes,
    ...watchTestRoutes,
    ...watchStatusRoutes,
    ...reconcileRoutes,
  ],
  events: [...treeEvents, ...watchEvents, watchTested, ...watchStatusEvents],
  operations: [watchTest, manyTests, activation, reconciliation],
  jobs: [purgeTombstones, sweepReports],
  nodes: treeNodes,
  prepareTenant: makeTenantRoot,
  moveTenant: (ctx, { id, parentId }) => moveTenantRoot(ctx, id, parentId),
  clearUser: clearContact,
};
