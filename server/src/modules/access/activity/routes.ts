import { route } from "#kernel/contract";
import { Csv } from "../record/schema.ts";
import { downloadActivity, getActivity, listActivity } from "./operations.ts";
import { Activity, ActivityCsvQuery, ActivityList, ActivityQuery } from "./schema.ts";

const who = "Needs `activity.read`, except for one's own calls (`mine=true`).";

export const activityRoutes = [
  route({
    method: "GET",
    path: "/activity",
    versions: "v1+",
    id: "listActivity",
    summary: "List calls",
    description: `Every call of the acting tenant and those below it, refused ones too, and calls from above into them; newest first, within a second of the call. ${who}`,
    permission: "any",
    query: ActivityQuery,
    replies: { 200: ActivityList },
    run: (ctx, { query }) => listActivity(ctx, query),
  }),
  route({
    method: "GET",
    path: "/activity/csv",
    versions: "v1+",
    id: "downloadActivity",
    summary: "Download calls as CSV",
    description: `Newest first, at most 100,000 rows; more is an export's work. ${who}`,
    permission: "any",
    query: ActivityCsvQuery,
    replies: { 200: Csv },
    run: (ctx, { query }) => downloadActivity(ctx, query),
  }),
  route({
    method: "GET",
    path: "/activity/{id}",
    versions: "v1+",
    id: "getActivity",
    summary: "Read one call",
    description: "Needs `activity.read`, except for one's own.",
    permission: "any",
    replies: { 200: Activity },
    run: (ctx, { params }) => getActivity(ctx, params.id),
  }),
];
