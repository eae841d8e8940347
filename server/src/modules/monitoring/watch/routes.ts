import { bulkRefused } from "#kernel/bulk";
import { Reply, route } from "#kernel/contract";
import { listOf } from "#kernel/page";
import { placeEvents } from "../events.ts";
import { pathAmbiguous } from "../place/place.ts";
import { tenantBorder } from "../tree.ts";
import { bulkWatches } from "./bulk.ts";
import { matchAmbiguous } from "./bulk-item.ts";
import { BulkWatches, BulkWatchesReply } from "./bulk-schema.ts";
import { watchCreated, watchDeleted, watchEvents, watchUpdated } from "./events.ts";
import { listWatches, WatchList, WatchQuery } from "./list.ts";
import {
  createWatch,
  deleteWatch,
  getWatch,
  listWatchTypes,
  updateWatch,
  watchIsActive,
  watchNameTaken,
  watchNotPending,
} from "./operations.ts";
import { NewWatch, Watch, WatchChange, WatchType } from "./schema.ts";
import { faultsOfWatch, watchTypeNotSupported } from "./watch-change.ts";

export const watchRoutes = [
  route({
    method: "GET",
    path: "/watch",
    versions: "v1+",
    id: "listWatches",
    summary: "List watches",
    permission: "watch.read",
    query: WatchQuery,
    replies: { 200: WatchList },
    run: (ctx, { query }) => listWatches(ctx, query),
  }),
  route({
    method: "POST",
    path: "/watch",
    versions: "v1+",
    id: "createWatch",
    summary: "Create a bearer watch",
    description: "The new watch is pending: it may be incomplete, and is not polled until it is activated.",
    permission: "watch.write",
    emits: [watchCreated, ...placeEvents],
    body: NewWatch,
    check: faultsOfWatch,
    replies: { 201: Watch },
    problems: [watchNameTaken, watchTypeNotSupported, pathAmbiguous],
    run: async (ctx, { body }) => created(await createWatch(ctx, body)),
  }),
  route({
    method: "POST",
    path: "/watch/bulk",
    versions: "v1+",
    id: "bulkWatches",
    summary: "Create, change and remove many watches",
    description: "Up to 1,000 items, applied in order; later ones see earlier ones.",
    permission: "watch.write",
    emits: [...watchEvents, ...placeEvents],
    body: BulkWatches,
    replies: { 200: BulkWatchesReply },
    problems: [
      bulkRefused,
      watchNameTaken,
      tenantBorder,
      watchNotPending,
      watchIsActive,
      matchAmbiguous,
      pathAmbiguous,
      watchTypeNotSupported,
    ],
    run: (ctx, { body }) => bulkWatches(ctx, body),
  }),
  route({
    method: "GET",
    path: "/watch/type",
    versions: "v1+",
    id: "listWatchTypes",
    summary: "List the types of watch",
    permission: "watch.read",
    replies: { 200: listOf(WatchType) },
    run: () => ({ items: listWatchTypes(), nextCursor: null, nextLink: null }),
  }),
  route({
    method: "GET",
    path: "/watch/{id}",
    versions: "v1+",
    id: "getWatch",
    summary: "Read a watch",
    permission: "watch.read",
    replies: { 200: Watch },
    run: (ctx, { params }) => getWatch(ctx, params.id),
  }),
  route({
    method: "PATCH",
    path: "/watch/{id}",
    versions: "v1+",
    id: "updateWatch",
    summary: "Change or move a watch",
    permission: "watch.write",
    emits: [watchUpdated],
    body: WatchChange,
    check: faultsOfWatch,
    replies: { 200: Watch },
    problems: [watchNameTaken, tenantBorder, watchNotPending, watchTypeNotSupported],
    run: (ctx, { params, body }) => updateWatch(ctx, params.id, body),
  }),
  route({
    method: "DELETE",
    path: "/watch/{id}",
    versions: "v1+",
    id: "deleteWatch",
    summary: "Remove a watch that is not active",
    description: "Repeating it answers the same, without an effect: `Demarc-Outcome` says `absent`.",
    permission: "watch.write",
    emits: [watchDeleted],
    replies: { 204: null },
    problems: [watchIsActive],
    run: async (ctx, { params }) => deleted(await deleteWatch(ctx, params.id)),
  }),
];

function created(watch: Watch): Reply<Watch> {
  return new Reply(201, watch, { location: `/watch/${watch.id}` });
}

function deleted(isDone: boolean): Reply<undefined> {
  return new Reply(204, undefined, { headers: { "demarc-outcome": isDone ? "deleted" : "absent" } });
}
