import type { Context } from "#kernel/contract";
import type { OperationKind } from "#kernel/operations";
import {
  dropItems,
  notedItems,
  noteItem,
  performItem,
  resultOf,
  type Selection,
  selectWatches,
  WatchBatch,
} from "./batch.ts";
import { activateWatch } from "./operations.ts";

const progressEvery = 20;

/** Activates the watches that are ready, each in its own transaction; the others are refused with their reason. */
export const activation: OperationKind<{ ids: string[] }> = {
  kind: "monitoring.activateWatches",
  summary: "Activate watches",
  result: WatchBatch,
  restart: "again",
  exclusive: false,
  maxMinutes: 30,
  cancellable: true,
  async run(work, { ids }) {
    const { noted } = await notedItems(work);
    for (const [index, watchId] of ids.entries()) {
      work.signal.throwIfAborted();
      if (!noted.has(watchId)) await performItem(work, watchId, (ctx) => activateItem(ctx, work.id, watchId));
      if ((index + 1) % progressEvery === 0) await work.progress(index + 1, ids.length);
    }
    const data = await resultOf(work, ids);
    return { url: null, data, store: (ctx) => dropItems(ctx, work.id) };
  },
  ended: (ctx, operation) => dropItems(ctx, operation.id),
};

async function activateItem(ctx: Context, operationId: string, watchId: string): Promise<void> {
  const { watch, done } = await activateWatch(ctx, watchId);
  const outcome = done ? "activated" : "unchanged";
  await noteItem(ctx, operationId, { watchId, tenantId: watch.tenantId, outcome, code: null });
}

/** Starts the activation of the watches that a selection means, and returns the operation's id. */
export async function startActivation(ctx: Context, selection: Selection): Promise<string> {
  const ids = await selectWatches(ctx, selection, "watch.activate", ["pending"]);
  const tenantId = ctx.who.acting.id;
  return (await ctx.startOperation(activation, { tenantId, subject: null, input: { ids } })).id;
}
