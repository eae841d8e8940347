/** (e) Starts, cold with the demo and warm, and what an idle installation holds; and what makes a write durable. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startDemarc } from "./demarc.ts";
import { median, rounded } from "./figures.ts";
import { memoryMiB, treeMemoryMiB } from "./machine.ts";

export type StartScore = { coldMs: number; warmMs: number; idleNodeMiB: number | null; idlePostgresMiB: number | null };

export async function measureStarts(times: number): Promise<StartScore> {
  const cold: number[] = [];
  const warm: number[] = [];
  let idleNodeMiB: number | null = null;
  let idlePostgresMiB: number | null = null;
  for (let round = 0; round < times; round++) {
    const dataDir = mkdtempSync(join(tmpdir(), "demarc-bench-"));
    const first = await startDemarc(dataDir, "on");
    cold.push(first.startMs);
    await first.stop();
    const second = await startDemarc(dataDir, "on");
    warm.push(second.startMs);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    idleNodeMiB = memoryMiB(second.pid);
    idlePostgresMiB = treeMemoryMiB(second.databasePid);
    await second.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
  return {
    coldMs: rounded(median(cold), 0),
    warmMs: rounded(median(warm), 0),
    idleNodeMiB: idleNodeMiB && rounded(idleNodeMiB, 0),
    idlePostgresMiB: idlePostgresMiB && rounded(idlePostgresMiB, 0),
  };
}

/** The settings of the database on which it depends whether an acknowledged write outlives a power cut. */
export async function durabilityOf(databaseUrl: string): Promise<Record<string, string>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const { rows } = await client.query<{ name: string; setting: string }>(
    "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'server_version', 'shared_buffers')",
  );
  await client.end();
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
}
