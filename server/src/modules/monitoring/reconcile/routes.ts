import { Type } from "typebox";
import { route } from "#kernel/contract";
import { Operation, operationEvents } from "#kernel/operations";
import { listOf } from "#kernel/page";
import { placeEvents } from "../events.ts";
import { watchCreated, watchUpdated } from "../watch/events.ts";
import { getReconcile, listReconcileItems, reconcileWatches } from "./operations.ts";
import { Estate, ReconcileItemQuery, ReconcileReport, ReconcileResult, ReportedItem } from "./schema.ts";

export const reconcileRoutes = [
  route({
    method: "POST",
    path: "/watch/reconcile",
    versions: "v1+",
    id: "reconcileWatches",
    summary: "Compare your own list of circuits with the watches here, and apply it",
    description:
      "Says per item whether a watch is missing, the same, different, ambiguous or invalid, and which watches are only here. With `apply` (needs `watch.write`) creates and updates; never disables or removes. Over 1,000 items it is an operation. Repeating a request finds what it applied the same.",
    permission: "pending.read",
    async: true,
    bodyLimitBytes: 16 * 1_048_576,
    emits: [watchCreated, watchUpdated, ...placeEvents, operationEvents.queued],
    body: Estate,
    replies: { 200: Type.Union([ReconcileReport, ReconcileResult]), 202: Operation },
    run: (ctx, { body }) => reconcileWatches(ctx, body),
  }),
  route({
    method: "GET",
    path: "/reconcile/{id}",
    versions: "v1+",
    id: "getReconcile",
    summary: "Read a report of a reconciliation",
    description: "Kept 30 days for the principal that made it.",
    permission: "pending.read",
    replies: { 200: ReconcileReport },
    run: (ctx, { params }) => getReconcile(ctx, params.id),
  }),
  route({
    method: "GET",
    path: "/reconcile/{id}/item",
    versions: "v1+",
    id: "listReconcileItems",
    summary: "List what a reconciliation found",
    description: "The items in the order of the request, then the watches that are only here.",
    permission: "pending.read",
    query: ReconcileItemQuery,
    replies: { 200: listOf(ReportedItem) },
    run: (ctx, { params, query }) => listReconcileItems(ctx, params.id, query),
  }),
];
