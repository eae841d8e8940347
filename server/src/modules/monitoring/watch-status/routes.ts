import { route } from "#kernel/contract";
import { accepted } from "#kernel/operation-store";
import { Operation, operationEvents } from "#kernel/operations";
import { object } from "#kernel/schema";
import { Watch } from "../watch/schema.ts";
import { startActivation } from "./activation.ts";
import { selectionFields, WatchBatch } from "./batch.ts";
import { watchActivated, watchDisabled, watchEnabled } from "./events.ts";
import {
  activateWatch,
  disableWatch,
  enableWatch,
  watchIsDisabled,
  watchIsPending,
  watchNotReady,
} from "./operations.ts";

const nothing = object({});

export const watchStatusRoutes = [
  route({
    method: "POST",
    path: "/watch/{id}/activate",
    versions: "v1+",
    id: "activateWatch",
    summary: "Make a tested pending watch live",
    description: "Its `blockers` must be empty. It leaves its group. An active watch stays as it is.",
    permission: "watch.activate",
    emits: [watchActivated],
    body: nothing,
    bodyOptional: true,
    replies: { 200: Watch },
    problems: [watchNotReady, watchIsDisabled],
    run: async (ctx, { params }) => (await activateWatch(ctx, params.id)).watch,
  }),
  route({
    method: "POST",
    path: "/watch/{id}/disable",
    versions: "v1+",
    id: "disableWatch",
    summary: "Take a watch out of monitoring",
    description: "A disabled watch is not polled and raises no alarms. A disabled one stays as it is.",
    permission: "watch.activate",
    emits: [watchDisabled],
    body: nothing,
    bodyOptional: true,
    replies: { 200: Watch },
    problems: [watchIsPending],
    run: (ctx, { params }) => disableWatch(ctx, params.id),
  }),
  route({
    method: "POST",
    path: "/watch/{id}/enable",
    versions: "v1+",
    id: "enableWatch",
    summary: "Make a disabled watch live again",
    description: "Its `blockers` must be empty; it is tested anew only where its technical fields were changed.",
    permission: "watch.activate",
    emits: [watchEnabled],
    body: nothing,
    bodyOptional: true,
    replies: { 200: Watch },
    problems: [watchNotReady, watchIsPending],
    run: (ctx, { params }) => enableWatch(ctx, params.id),
  }),
  route({
    method: "POST",
    path: "/watch/activate",
    versions: "v1+",
    id: "activateWatches",
    summary: "Activate many watches",
    description:
      "Up to 1,000, by their ids, or the pending ones of a group or below a folder. Each that is ready goes live, the others are refused with their reason.",
    permission: "watch.activate",
    async: true,
    emits: [operationEvents.queued, watchActivated],
    body: object(selectionFields, { title: "WatchSelection" }),
    replies: { 202: Operation, 200: WatchBatch },
    run: async (ctx, { body }) => accepted(ctx, await startActivation(ctx, body)),
  }),
];
