/**
 * Tests of many watches in one operation. Each is an operation of its own, so that the limits on tests hold and another
 * test of the same watch is joined, not doubled; this one starts them few at a time and waits for their outcomes.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Context } from "#kernel/contract";
import { cancelOperation } from "#kernel/operation-runner";
import { findOperation } from "#kernel/operation-store";
import type { OperationKind, OperationPlace, OperationWork } from "#kernel/operations";
import { monitoring } from "../tables.ts";
import {
  dropItems,
  notedItems,
  noteItem,
  performItem,
  resultOf,
  type Selection,
  selectWatches,
  WatchBatch,
} from "../watch-status/batch.ts";
import { planOf, startTest, type TestPlan } from "./operations.ts";
import type { NewWatchTest } from "./schema.ts";
import { findTest, lockTested, stands } from "./stored-test.ts";
import { watchTest } from "./test-run.ts";

type Input = TestPlan & { ids: string[] };

/** Tests that one operation has under way or queued; the rest of its watches do not crowd the queue. */
const mostOpen = 50;
/** Operations that wait for tests must leave the tests room to run. */
const mostWaiting = 10;
const lookEveryMs = 500;

export const manyTests: OperationKind<Input> = {
  kind: "monitoring.testWatches",
  summary: "Test watches",
  result: WatchBatch,
  restart: "again",
  exclusive: false,
  // A thousand circuits of one device are tested 10 s apart.
  maxMinutes: 24 * 60,
  cancellable: true,
  admits(candidate, running) {
    const waiting = running.filter(({ kind }) => kind === candidate.kind);
    return waiting.length < mostWaiting && waiting.every(({ tenantId }) => tenantId !== candidate.tenantId);
  },
  async run(work, { ids, ...plan }) {
    await testAll(work, ids, plan);
    const data = await resultOf(work, ids);
    return { url: null, data, store: (ctx) => dropItems(ctx, work.id) };
  },
  ended: endTests,
};

async function testAll(work: OperationWork, ids: readonly string[], plan: TestPlan): Promise<void> {
  const { noted } = await notedItems(work);
  let waiting = ids.filter((id) => !noted.has(id));
  let told = -1;
  for (;;) {
    const { open } = await notedItems(work);
    const later: string[] = [];
    for (const id of waiting.splice(0, mostOpen - open)) {
      work.signal.throwIfAborted();
      await performItem(work, id, async (ctx) => {
        if (!(await startItem(ctx, work.id, id, plan))) later.push(id);
      });
    }
    waiting = [...waiting, ...later];
    const after = await notedItems(work);
    const done = after.noted.size - after.open;
    if (done !== told) await work.progress(done, ids.length);
    told = done;
    if (waiting.length === 0 && after.open === 0) return;
    await pause(lookEveryMs, undefined, { signal: work.signal });
  }
}

/** Starts or joins the test of a watch. False: one is under way whose result will be dropped; it is tried again then. */
async function startItem(ctx: Context, operationId: string, watchId: string, plan: TestPlan): Promise<boolean> {
  const { operationId: testOperationId, started, row } = await startTest(ctx, watchId, plan);
  if (!started && !(await joins(ctx, watchId, testOperationId))) return false;
  await noteItem(ctx, operationId, { watchId, tenantId: row.tenant_id, testOperationId, started });
  return true;
}

/** Whether a test that was found has not ended meanwhile. With the watch locked it cannot, so it will see the item. */
async function joins(ctx: Context, watchId: string, testOperationId: string): Promise<boolean> {
  const row = await lockTested(ctx, watchId);
  return row !== undefined && stands(row, await findTest(ctx, watchId), testOperationId);
}

/** Ends the tests that the operation has started and not seen the end of. */
async function endTests(ctx: Context, operation: OperationPlace<Input>): Promise<void> {
  const open = await ctx.db.rows(
    monitoring
      .selectFrom("monitoring.watch_batch_item")
      .select("test_operation_id")
      .where("operation_id", "=", operation.id)
      .where("outcome", "is", null)
      .where("started", "=", true)
      .orderBy("test_operation_id"),
  );
  for (const { test_operation_id } of open) {
    const row = await findOperation(ctx.db, test_operation_id!);
    if (row && !row.finished_at) await cancelOperation(ctx, watchTest, row);
  }
  await dropItems(ctx, operation.id);
}

/** Starts tests of the watches that a selection means, and returns the operation's id. */
export async function startTests(
  ctx: Context,
  { probes, tcpPort, ...selection }: Selection & NewWatchTest,
): Promise<string> {
  const plan = planOf(ctx, { probes, tcpPort });
  const ids = await selectWatches(ctx, selection, "watch.write", ["pending", "active", "disabled"]);
  const tenantId = ctx.who.acting.id;
  return (await ctx.startOperation(manyTests, { tenantId, subject: null, input: { ids, ...plan } })).id;
}
