import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { isId } from "#kernel/ids";
import { readPage } from "#kernel/page";
import { lacking } from "#kernel/principal";
import { type Fault, invalid, notFound, problem, refuse } from "#kernel/problem";
import { anyHolds } from "../filter.ts";
import type { DeviceInterface } from "../probe/device-interface.ts";
import { visibleWatches } from "../scope.ts";
import { monitoring } from "../tables.ts";
import { findWatch, lockWatch, seesWatch, selectWatch } from "../watch/rows.ts";
import type { WatchFull, WatchSeen } from "../watch/watch-state.ts";
import type { NewWatchTest, ProbeName, WatchInterfaceRow, WatchTest } from "./schema.ts";
import { beginState, findTest, type StoredResult } from "./stored-test.ts";
import { watchTest } from "./test-run.ts";

export const watchIncomplete = problem("watch_incomplete", 409, "The watch lacks what a test needs.");

export type TestPlan = { probes: ProbeName[]; tcpPort: number | null };

/** What a body asks for; refuses a port that the operator has not opened to tests. */
export function planOf({ settings }: Pick<Context, "settings">, body: NewWatchTest): TestPlan {
  const { probes = ["snmp", "icmp"], tcpPort = null } = body;
  const fault = portFault(probes, tcpPort, settings.tcpProbePorts);
  if (fault) throw invalid([{ pointer: "/tcpPort", ...fault }]);
  return { probes: [...probes], tcpPort };
}

function portFault(
  probes: readonly ProbeName[],
  tcpPort: number | null,
  allowed: readonly number[],
): Omit<Fault, "pointer"> | null {
  if (tcpPort !== null && !allowed.includes(tcpPort)) {
    return { rule: "enum", message: `Must be one of ${allowed.join(", ")}: the ports that the operator allows.` };
  }
  if ((tcpPort !== null) === probes.includes("tcp")) return null;
  return { rule: "pair", message: "The probe tcp and tcpPort are stated both or not at all." };
}

/**
 * Starts a test of a watch; while one is under way that one is returned, with `started` false. The operation comes before
 * the watch, as where a test ends: both lock them in this order.
 */
export async function startTest(
  ctx: Context,
  watchId: string,
  plan: TestPlan,
): Promise<{ operationId: string; started: boolean; row: WatchSeen }> {
  const row = await findTestable(ctx, watchId);
  requireComplete(row, plan);
  const input = { watchId, address: row.device_address!, ...plan };
  const { id, started } = await ctx.startOperation(watchTest, { tenantId: row.tenant_id, subject: watchId, input });
  if (!started) return { operationId: id, started, row };
  const locked = await lockWatch(ctx, watchId, "watch.write");
  if (!locked) throw refuse(notFound);
  requireComplete(locked, plan);
  await beginState(ctx, locked, id, plan.probes.includes("snmp"));
  return { operationId: id, started, row: locked };
}

async function findTestable(ctx: Context, id: string): Promise<WatchSeen> {
  const rows = visibleWatches(ctx, "watch.write").select(selectWatch).where("w.id", "=", id);
  const row = isId("wch", id) ? ((await ctx.db.first(rows)) as WatchSeen | undefined) : undefined;
  if (row) return row;
  throw isId("wch", id) && (await seesWatch(ctx, id, "living")) ? lacking("watch.write") : refuse(notFound);
}

function requireComplete(row: WatchSeen | WatchFull, { probes }: TestPlan): void {
  const errors: Fault[] = [];
  if (row.device_address === null) errors.push(missing("deviceAddress"));
  if (row.snmp === null && probes.includes("snmp")) errors.push(missing("snmp"));
  if (errors.length > 0)
    throw refuse(watchIncomplete, { detail: errors.map(({ message }) => message).join(" "), errors });
}

function missing(field: string): Fault {
  return { pointer: `/${field}`, rule: "required", message: `The watch has no ${field}.` };
}

async function findSeen(ctx: Context, id: string): Promise<WatchSeen> {
  const row = isId("wch", id) ? await findWatch(ctx, id) : undefined;
  if (!row) throw refuse(notFound);
  return row;
}

/** The result of the last test that had one, under the state that the watch has now. */
export async function getWatchTest(ctx: Context, id: string): Promise<WatchTest> {
  const row = await findSeen(ctx, id);
  const test = await findTest(ctx, id);
  if (!test?.result) return { testState: row.test_state };
  const { listedAt: _, ...result } = test.result as StoredResult;
  return { testState: row.test_state, testReason: row.test_reason, ...result };
}

type InterfaceQuery = { q?: string; limit?: number; cursor?: string; sort?: string[]; count?: boolean };

/** The interfaces that the device listed at its last answer, by ifIndex. */
export async function listWatchInterfaces(ctx: Context, id: string, query: InterfaceQuery) {
  const watch = await findSeen(ctx, id);
  const ifIndex = sql<number>`(i.row->>'ifIndex')::integer`;
  let rows = monitoring
    .selectFrom("monitoring.watch_test as t")
    .innerJoin(sql<{ row: DeviceInterface }>`jsonb_array_elements(t.interfaces)`.as<"i">(sql`i(row)`), (join) =>
      join.onTrue(),
    )
    .select(["i.row", sql<string>`t.result->>'listedAt'`.as("listed_at")])
    .where("t.watch_id", "=", id);
  if (query.q) {
    const texts = ["ifName", "ifDescr", "ifAlias"].map((name) => sql`i.row->>${sql.lit(name)}`);
    rows = rows.where(sql<boolean>`coalesce(${anyHolds(texts, query.q)}, false)`);
  }
  return readPage(ctx, query, {
    from: rows,
    sorts: { ifIndex },
    by: "ifIndex",
    id: ifIndex,
    item: ({ row, listed_at }): WatchInterfaceRow => ({ ...row, resolvedAt: listed_at, chosen: isChosen(watch, row) }),
  });
}

function isChosen({ interface_match, interface_value }: WatchSeen, row: DeviceInterface): boolean {
  return interface_match !== null && String(row[interface_match] ?? "") === interface_value;
}
