/**
 * The work of a technical test (monitoring, 4.5). The database is asked before and after, never while the device is: what
 * the watch was when the test began is noted as a digest, and the result counts only if the watch is still that in the
 * transaction that stores it.
 */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { OperationKind, OperationResult, OperationWork } from "#kernel/operations";
import type { Resolution } from "#kernel/outbound-guard";
import { lacking } from "#kernel/principal";
import { refuse } from "#kernel/problem";
import { resolveInterface, type WantedInterface } from "../probe/device-interface.ts";
import { type ProbeResult, probeDevice } from "../probe/probe.ts";
import type { SnmpSettings } from "../probe/snmp-session.ts";
import type { TestState } from "../tables.ts";
import { lockWatch } from "../watch/rows.ts";
import { openSnmp } from "../watch/snmp-settings.ts";
import { resolvedOf } from "../watch/watch-change.ts";
import type { WatchFull } from "../watch/watch-state.ts";
import type { Outcome } from "../watch-status/batch.ts";
import { tellState } from "../watch-status/news.ts";
import { watchTested } from "./events.ts";
import { admitsTest, noteStart } from "./load.ts";
import { type ProbeName, WatchTest } from "./schema.ts";
import {
  findTest,
  findTested,
  lockTested,
  noteEnd,
  restoreState,
  type StoredResult,
  setState,
  stands,
  superseded,
} from "./stored-test.ts";

type WatchTestInput = { watchId: string; address: string; probes: ProbeName[]; tcpPort: number | null };

const lookAgainMs = 1_000;

export const watchTest: OperationKind<WatchTestInput> = {
  kind: "monitoring.test",
  summary: "Test a watch",
  result: WatchTest,
  restart: "again",
  exclusive: true,
  maxMinutes: 5,
  cancellable: true,
  admits: admitsTest,
  run: runTest,
  async ended(ctx, { id, input }, status, error) {
    const row = await lockTested(ctx, input.watchId);
    const test = await findTest(ctx, input.watchId);
    if (row && test?.operation_id === id) await restoreState(ctx, row, test);
    await noteOutcome(ctx, id, "failed", error?.kind.code ?? status);
  },
};

async function runTest(work: OperationWork, input: WatchTestInput): Promise<OperationResult> {
  noteStart(input.address, work.now());
  const { row, settings } = await work.transaction((ctx) => readPlan(ctx, work.id, input));
  const changed = new AbortController();
  const timer = setInterval(() => void lookAgain(work, input.watchId, changed), lookAgainMs);
  try {
    const signal = AbortSignal.any([work.signal, changed.signal]);
    const place = await work.guard.resolve(row.device_address!, signal);
    const found = place.ok ? await probe(place.address, settings, input, signal) : null;
    return resultOf(work, row, { input, place, found });
  } finally {
    clearInterval(timer);
  }
}

/** The watch as it is tested, and the opened SNMP settings. Whoever started the test must still have the right to it. */
async function readPlan(
  ctx: Context,
  operationId: string,
  { watchId, probes }: WatchTestInput,
): Promise<{ row: WatchFull; settings: SnmpSettings | null }> {
  const row = await findTested(ctx.db, watchId);
  if (!row || !stands(row, await findTest(ctx, watchId), operationId)) throw refuse(superseded);
  const mayTest = await lockWatch(ctx, watchId, "watch.write");
  if (!mayTest) throw lacking("watch.write");
  return { row, settings: probes.includes("snmp") ? ((await openSnmp(ctx, row)) as SnmpSettings) : null };
}

/** Ends the probes of a watch that was changed: their result would be dropped. */
async function lookAgain(work: OperationWork, watchId: string, changed: AbortController): Promise<void> {
  try {
    const [row, test] = await Promise.all([findTested(work.db, watchId), findTest(work, watchId)]);
    if (!row || !stands(row, test, work.id)) changed.abort(refuse(superseded));
  } catch {
    // The database is away: whether the result counts is decided where it is stored.
  }
}

function probe(address: string, snmp: SnmpSettings | null, { probes, tcpPort }: WatchTestInput, signal: AbortSignal) {
  return probeDevice({
    address,
    snmp,
    icmp: probes.includes("icmp"),
    tcpPort: probes.includes("tcp") ? tcpPort : null,
    signal,
  });
}

type Findings = { input: WatchTestInput; place: Resolution; found: ProbeResult | null };
type Verdict = {
  state: TestState;
  reason: string | null;
  message: string | null;
  resolved: Record<string, unknown> | null;
};

/** What a test says of the watch; null where it had no SNMP, which alone decides. */
function verdictOf(row: WatchFull, { input, place, found }: Findings, at: Date): Verdict | null {
  if (!input.probes.includes("snmp")) return null;
  if (!place.ok) return { state: "failed", reason: place.reason, message: place.detail, resolved: null };
  const snmp = found!.snmp!;
  if (snmp.outcome === "failed") return { state: "failed", reason: snmp.reason, message: snmp.message, resolved: null };
  const wanted: WantedInterface | null = row.interface_match && {
    match: row.interface_match,
    value: row.interface_value!,
  };
  const resolution = resolveInterface(snmp.interfaces, wanted);
  if (resolution.outcome !== "found")
    return { state: "interfaceIssue", reason: resolution.outcome, message: null, resolved: null };
  return { state: "successful", reason: null, message: null, resolved: resolvedOf(resolution.interface, at) };
}

function resultOf(work: OperationWork, row: WatchFull, findings: Findings): OperationResult {
  const { place, found } = findings;
  const at = work.now();
  const verdict = verdictOf(row, findings, at);
  const answer = found?.snmp?.outcome === "answered" ? found.snmp : null;
  const unreached = place.ok ? null : place;
  const result = {
    testMessage: verdict?.message ?? unreached?.detail ?? null,
    testedAt: at.toISOString(),
    operationId: work.id,
    address: place.ok ? place.address : null,
    system: answer?.system ?? null,
    icmp: found?.icmp ?? null,
    tcp: found?.tcp ?? null,
    interfaceCount: answer?.interfaces.length ?? null,
    truncated: answer?.truncated ?? false,
  };
  const testState = verdict?.state ?? row.test_state;
  const testReason = verdict ? verdict.reason : (unreached?.reason ?? row.test_reason);
  return {
    url: `/watch/${row.id}/test`,
    data: { testState, testReason, ...result } satisfies WatchTest,
    async store(ctx) {
      const before = await lockTested(ctx, row.id);
      const test = await findTest(ctx, row.id);
      if (!before || !test || !stands(before, test, work.id)) throw refuse(superseded);
      const listedAt = answer ? result.testedAt : ((test.result as StoredResult | null)?.listedAt ?? null);
      await noteEnd(ctx, row.id, {
        result: { ...result, listedAt },
        interfaces: answer?.interfaces,
        truncated: answer?.truncated,
      });
      await tellTested(ctx, before, test.former_state, verdict, work.id, at);
      await noteOutcome(
        ctx,
        work.id,
        verdict ? (verdict.state as Outcome) : "tested",
        verdict ? verdict.reason : testReason,
      );
    },
  };
}

async function tellTested(
  ctx: Context,
  before: WatchFull,
  formerState: string | null,
  verdict: Verdict | null,
  operationId: string,
  at: Date,
): Promise<void> {
  const after = verdict
    ? await setState(ctx, before, {
        test_state: verdict.state,
        test_reason: verdict.reason,
        tested_at: at,
        interface_resolved: verdict.resolved,
      })
    : before;
  const [old = after.test_state] = formerState?.split(" ") ?? [];
  const changes = old === after.test_state ? [] : [{ field: "testState", old, new: after.test_state }];
  tellState(ctx, watchTested, before, after, { action: "tested", changes, adds: { operationId } });
}

/** Tells the operations over many watches that wait for this test (see many-tests.ts). */
async function noteOutcome(ctx: Context, operationId: string, outcome: Outcome, code: string | null): Promise<void> {
  await ctx.db.run(
    query(sql`update monitoring.watch_batch_item set outcome = ${outcome}, code = ${code}
      where test_operation_id = ${operationId} and outcome is null`),
  );
}
