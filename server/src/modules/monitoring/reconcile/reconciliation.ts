/**
 * An estate of more than a thousand items. It is compared in one transaction, which leaves the report; then its items are
 * applied, some at once, in transactions that note them in the report. Work that is taken up again goes on behind the
 * last ones.
 */
import type { OperationKind, OperationWork } from "#kernel/operations";
import { applyItems, takenBy } from "./apply.ts";
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
  noteItems,
  openRequest,
} from "./store.ts";

/** Items applied in one transaction: few enough that nobody waits long for a watch, nor a cancel. */
const atOnce = 100;

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
      await insertItems(
        ctx,
        reportId,
        rows.map((item, position) => ({ position, item })),
      );
      await insertOnlyHere(ctx, scope, reportId, rows.length, hitIds);
    }
    return { estate, scope };
  });
}

async function applyAll(work: OperationWork, reportId: string, estate: Estate, scope: Scope): Promise<void> {
  const rows = await findItems(work.db, reportId);
  const job = { estate, scope, taken: takenBy(rows) };
  const open = rows.filter(({ item }) => item.applied === null);
  for (let start = 0; start < open.length; start += atOnce) {
    work.signal.throwIfAborted();
    await work.progress(rows.length - open.length + start, rows.length);
    await work.transaction(async (ctx) => {
      await noteItems(ctx, reportId, await applyItems(ctx, job, open.slice(start, start + atOnce)));
    });
  }
}
