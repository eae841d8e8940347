import { Type } from "typebox";
import { etagOf } from "#kernel/answer";
import { Reply, route } from "#kernel/contract";
import { accepted } from "#kernel/operation-store";
import { Operation, operationEvents } from "#kernel/operations";
import { listOf, listQuery } from "#kernel/page";
import { object } from "#kernel/schema";
import { selectionFields, WatchBatch } from "../watch-status/batch.ts";
import { watchTested } from "./events.ts";
import { startTests } from "./many-tests.ts";
import { getWatchTest, listWatchInterfaces, planOf, startTest, watchIncomplete } from "./operations.ts";
import { NewWatchTest, testFields, WatchInterfaceRow, WatchTest } from "./schema.ts";
import { superseded } from "./stored-test.ts";

export const watchTestRoutes = [
  route({
    method: "POST",
    path: "/watch/{id}/test",
    versions: "v1+",
    id: "testWatch",
    summary: "Test whether a device can be watched",
    description:
      "Contacts the device and looks for the chosen interface; whatever it answers is a result. While a test of the watch runs, this answers with that one.",
    permission: "watch.write",
    async: true,
    emits: [operationEvents.queued, watchTested],
    body: NewWatchTest,
    bodyOptional: true,
    replies: { 202: Operation, 200: WatchTest },
    problems: [watchIncomplete, superseded],
    run: async (ctx, { params, body }) =>
      accepted(ctx, (await startTest(ctx, params.id, planOf(ctx, body ?? {}))).operationId),
  }),
  route({
    method: "GET",
    path: "/watch/{id}/test",
    versions: "v1+",
    id: "getWatchTest",
    summary: "Read the last test of a watch",
    permission: "watch.read",
    replies: { 200: WatchTest },
    run: async (ctx, { params }) => tagged(await getWatchTest(ctx, params.id)),
  }),
  route({
    method: "GET",
    path: "/watch/{id}/interface",
    versions: "v1+",
    id: "listWatchInterfaces",
    summary: "List the interfaces of a watch's device",
    description: "As the device last listed them; none after a change of its address or SNMP settings.",
    permission: "watch.read",
    query: listQuery(
      { q: Type.String({ minLength: 1, maxLength: 100, description: "Part of a name, description or alias." }) },
      ["ifIndex"],
      WatchInterfaceRow,
    ),
    replies: { 200: listOf(WatchInterfaceRow) },
    run: (ctx, { params, query }) => listWatchInterfaces(ctx, params.id, query),
  }),
  route({
    method: "POST",
    path: "/watch/test",
    versions: "v1+",
    id: "testWatches",
    summary: "Test many watches",
    description:
      "Up to 1,000, by their ids, or those of a group or below a folder. Each test is an operation of its own.",
    permission: "watch.write",
    async: true,
    emits: [operationEvents.queued, watchTested],
    body: object({ ...selectionFields, ...testFields }, { title: "WatchTestSelection" }),
    replies: { 202: Operation, 200: WatchBatch },
    run: async (ctx, { body }) => accepted(ctx, await startTests(ctx, body)),
  }),
];

/** A result has no id of its own, by which the front door would know it for a resource. */
function tagged(result: WatchTest): Reply<WatchTest> {
  return new Reply(200, result, { etag: etagOf(WatchTest, result) });
}
