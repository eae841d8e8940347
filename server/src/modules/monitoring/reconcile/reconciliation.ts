/**
 * An estate of more than a thousand items. It is compared in one transaction, which leaves the report; then each item is
 * applied in a transaction of its own, which notes it in the report. Work that is taken up again goes on behind the last one.
 */
import type { OperationKind, OperationWork } from "#kernel/operations";
import { applyItem, takenBy } from "./apply.ts";
import { planEstate } from "./plan.ts";
import { type Estate, ReconcileResult } from "./schema.ts";
import { openScope, type Scope } from "./scope.ts";
import {
  countItems,
  deleteReport,
  findItems,
  finishReport,
  insertItems,
  insertOnlyHere,
  isPlanned,
  noteItem,
  openRequest,
} from "./store.ts";

const progressEvery = 200;

export const reconciliation: OperationKind<{ reportId: string }> = {
  kind: "monitoring.reconcile",
  summary: "Compare an estate with the watches here, and apply it",
  result: ReconcileResult,
  restart: "again",
  exclusive: false,
  maxMinutes: 60,
  cancellable: true,
  // Two at once in a tenant would only wait for each other's watches.
  admits: ({ kind, tenantId }, running) => !running.some((other) => other.kind === kind && other.tenantId === tenantId),
  async run(work, { reportId }) {
    const { estate, scope } = await compare(work, reportId);
    if (estate.apply) await applyAll(work, reportId, estate, scope);
    await work.progress(estate.items.length, estate.items.length);
    const summary = await countItems(work.db, reportId);
    return {
      url: `/reconcile/${reportId}`,
      data: { reportId, summary },
      store: (ctx) => finishReport(ctx, reportId, summary),
    };
  },
  ended: (ctx, { input }) => deleteReport(ctx, input.reportId),
};

function compare(work: OperationWork, reportId: string): Promise<{ estate: Estate; scope: Scope }> {
  return work.transaction(async (ctx) => {
    const estate = await openRequest(ctx, reportId);
    const scope = await openScope(ctx, estate);
    if (!(await isPlanned(ctx, reportId))) {
      const { rows, hitIds } = await planEstate(ctx, scope, estate);
      await insertItems(ctx, reportId, rows);
      await insertOnlyHere(ctx, scope, reportId, rows.length, hitIds);
    }
    return { estate, scope };
  });
}

async function applyAll(work: OperationWork, reportId: string, estate: Estate, scope: Scope): Promise<void> {
  const rows = await findItems(work.db, reportId);
  const job = { estate, scope, taken: takenBy(rows.map(({ item }) => item)) };
  for (const { position, item } of rows) {
    if (position % progressEvery === 0) await work.progress(position, rows.length);
    if (item.applied !== null) continue;
    work.signal.throwIfAborted();
    await work.transaction(async (ctx) => {
      await noteItem(ctx, reportId, position, await applyItem(ctx, job, position, item));
    });
  }
}
