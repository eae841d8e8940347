/** The row of a watch's test, and what becomes of the watch while one is under way. */
import { hash } from "node:crypto";
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { Db } from "#kernel/db";
import { problem } from "#kernel/problem";
import { monitoring, type TestState, type WatchTestRow } from "../tables.ts";
import { selectWatch } from "../watch/rows.ts";
import type { StoredWatch, WatchFull } from "../watch/watch-state.ts";
import type { WatchTest } from "./schema.ts";

/** The `error` of a test whose watch was changed meanwhile. */
export const superseded = problem("superseded", 409, "The watch was changed while it was tested.");

/** `listedAt`: when the device gave the interface list that is kept, which may be an earlier test. */
export type StoredResult = Omit<WatchTest, "testState" | "testReason"> & { listedAt: string | null };

/** What a test depends on. A secret that is given is sealed anew, so it always makes another digest. */
function digestOf(row: StoredWatch): Buffer {
  const { device_address, snmp, snmp_sealed, interface_match, interface_value } = row;
  return hash(
    "sha256",
    JSON.stringify([device_address, snmp, snmp_sealed, interface_match, interface_value]),
    "buffer",
  );
}

function living(watchId: string) {
  return monitoring
    .selectFrom("monitoring.watch as w")
    .innerJoin("monitoring.location as l", "l.id", "w.location_id")
    .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
    .select([...selectWatch, "w.snmp_sealed"])
    .where("w.id", "=", watchId)
    .where("w.deleted_at", "is", null);
}

/** A living watch of the handle's tenant, whoever asks: a test goes on and ends whatever rights its starter has left. */
export async function findTested(db: Db, watchId: string): Promise<WatchFull | undefined> {
  return (await db.first(living(watchId))) as WatchFull | undefined;
}

/** The same, locked until the transaction ends. */
export async function lockTested(ctx: Pick<Context, "db">, watchId: string): Promise<WatchFull | undefined> {
  return (await ctx.db.first(living(watchId).forUpdate("w"))) as WatchFull | undefined;
}

export function findTest(ctx: Pick<Context, "db">, watchId: string): Promise<WatchTestRow | undefined> {
  const rows = monitoring.selectFrom("monitoring.watch_test").selectAll().where("watch_id", "=", watchId);
  return ctx.db.first(rows) as Promise<WatchTestRow | undefined>;
}

/**
 * Whether a test is under way that still counts: begun by this operation, not ended, and the watch not changed since. The
 * state says more than the digest does: it was reset by a change that was taken back, too.
 */
export function stands(row: StoredWatch, test: WatchTestRow | undefined, operationId: string): boolean {
  if (!test?.started_on || test.operation_id !== operationId) return false;
  const isDecided = test.former_state !== null && row.test_state !== "inProgress";
  return !isDecided && test.started_on.equals(digestOf(row));
}

/** Notes that a test of a locked watch is under way. Only a test that `decides` shows in the watch's state. */
export async function beginState(ctx: Context, row: WatchFull, operationId: string, decides: boolean): Promise<void> {
  const test = {
    operation_id: operationId,
    started_on: digestOf(row),
    former_state: decides ? [row.test_state, row.test_reason ?? ""].join(" ").trim() : null,
  };
  const noted = monitoring
    .insertInto("monitoring.watch_test")
    .values({ tenant_id: row.tenant_id, watch_id: row.id, ...test })
    .onConflict((on) => on.column("watch_id").doUpdateSet(test));
  await ctx.db.run(noted);
  if (decides) await setState(ctx, row, { test_state: "inProgress", test_reason: null });
}

/** Gives a locked watch back the state that it had before a test without a result; one that was changed keeps what it has. */
export async function restoreState(ctx: Context, row: WatchFull, test: WatchTestRow): Promise<void> {
  const [state = "untested", reason = null] = test.former_state?.split(" ") ?? [];
  if (test.former_state !== null && row.test_state === "inProgress") {
    await setState(ctx, row, { test_state: state as TestState, test_reason: reason });
  }
  await noteEnd(ctx, row.id, {});
}

type TestedColumns = Pick<StoredWatch, "test_state" | "test_reason"> &
  Partial<Pick<StoredWatch, "tested_at" | "interface_resolved">>;

/** Writes what a test says of a watch, and returns the row as it is now. */
export async function setState(ctx: Context, row: WatchFull, change: TestedColumns): Promise<WatchFull> {
  const written = { ...change, changed_at: new Date(Math.max(ctx.now.getTime(), row.changed_at.getTime())) };
  await ctx.db.run(monitoring.updateTable("monitoring.watch").set(written).where("id", "=", row.id));
  return { ...row, ...written };
}

/** Notes that no test of the watch is under way any more, and what the one that ended found. */
export async function noteEnd(
  ctx: Pick<Context, "db">,
  watchId: string,
  found: { result?: StoredResult; interfaces?: WatchTestRow["interfaces"]; truncated?: boolean },
): Promise<void> {
  const { result, interfaces, truncated } = found;
  const written = {
    started_on: null,
    former_state: null,
    ...(result ? { result } : {}),
    ...(interfaces ? { interfaces: jsonb(interfaces), truncated } : {}),
  };
  await ctx.db.run(monitoring.updateTable("monitoring.watch_test").set(written).where("watch_id", "=", watchId));
}

/** An array for a column of JSON, which the driver would make an array of SQL. */
function jsonb<T extends readonly unknown[]>(value: T) {
  return sql<T>`${JSON.stringify(value)}::jsonb`;
}
