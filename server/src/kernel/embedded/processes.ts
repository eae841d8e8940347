import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { readFile, readlink, realpath, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { EmbeddedPostgresError } from "./failure.ts";

/** One line of the process table; `command` is empty for zombies. */
type Process = { pid: number; uid: number; command: string };

/**
 * The name by which all server processes of a data directory are known after their node is gone. Device and inode
 * rather than the path: containers that share a process table may all call their data directory the same.
 */
export async function nameServer(dataDir: string): Promise<string> {
  const { dev, ino } = await stat(dataDir, { bigint: true });
  return `demarc-${createHash("sha256").update(`${dev}:${ino}`).digest("hex").slice(0, 16)}`;
}

/**
 * Ends every server process of this name that an earlier run left behind: a postmaster whose node died without
 * taking it along, or backends that outlived their postmaster. They are known by the setting cluster_name in their
 * command line, which a root without CAP_SYS_PTRACE (Docker) can read too, unlike /proc/<pid>/cwd.
 * To be called only by the holder of the data directory's lock.
 */
export async function endLeftovers(name: string, uid: number, onFound: (pids: number[]) => void): Promise<void> {
  const marks = [`cluster_name=${name}`, `postgres: ${name}:`];
  const find = async () =>
    (await listProcesses()).filter((one) => one.uid === uid && marks.some((mark) => one.command.includes(mark)));
  let left = await find();
  if (left.length === 0) return;
  onFound(left.map((one) => one.pid));
  for (const step of [
    { signal: "SIGINT", patienceMs: 20_000 },
    { signal: "SIGQUIT", patienceMs: 5_000 },
    { signal: "SIGKILL", patienceMs: 5_000 },
  ] as const) {
    // The postmaster ends its children in the right order; only children without one are told directly.
    const heads = left.filter((one) => !one.command.startsWith("postgres: "));
    for (const one of heads.length > 0 ? heads : left) {
      signalIfThere(one.pid, heads.length === 0 && step.signal === "SIGINT" ? "SIGQUIT" : step.signal);
    }
    const deadline = performance.now() + step.patienceMs;
    while (left.length > 0 && performance.now() < deadline) {
      await sleep(20);
      left = await find();
    }
    if (left.length === 0) return;
  }
  const pids = left.map((one) => one.pid).join(", ");
  throw new EmbeddedPostgresError(
    "not_startable",
    `PostgreSQL processes of an earlier run cannot be ended (${pids}). End them, then start again.`,
  );
}

/**
 * Removes lock files that PostgreSQL would believe although nobody holds them: it asks only whether some process has
 * the noted pid, and a zombie or a stranger with a recycled pid says yes. A pid that nobody has is left to PostgreSQL,
 * which then also looks at the shared memory. To be called after `endLeftovers`.
 */
export async function removeStaleLockFiles(cluster: string, socketDir: string): Promise<void> {
  const lockFile = join(cluster, "postmaster.pid");
  const pid = Number.parseInt(await readFile(lockFile, "utf8").catch(() => ""), 10);
  const holder = (await listProcesses()).find((one) => one.pid === pid);
  if (holder && (await mayServe(holder, cluster))) {
    throw new EmbeddedPostgresError(
      "not_startable",
      `Another PostgreSQL server (process ${pid}), not started by Demarc, uses ${cluster}. Stop it, then start again.`,
    );
  }
  if (holder) await rm(lockFile);
  await rm(join(socketDir, ".s.PGSQL.5432.lock"), { force: true });
}

async function mayServe(holder: Process, cluster: string): Promise<boolean> {
  const workingDir = await readlink(`/proc/${holder.pid}/cwd`).catch(() => undefined);
  if (workingDir !== undefined) return workingDir === (await realpath(cluster));
  // Unreadable, or no Linux: a postgres that bears no other data directory's cluster name might be ours.
  return /\b(postgres|postmaster)\b/.test(holder.command) && !holder.command.includes("demarc-");
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** The process table, as far as this user may see it. */
export async function listProcesses(): Promise<Process[]> {
  if (process.platform === "linux") return listLinuxProcesses();
  const { stdout } = await promisify(execFile)("ps", ["-axww", "-o", "pid=,uid=,stat=,command="]);
  return stdout.split("\n").flatMap((line) => {
    const [, pid, uid, state, command] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    return pid ? [{ pid: Number(pid), uid: Number(uid), command: state!.startsWith("Z") ? "" : command! }] : [];
  });
}

function listLinuxProcesses(): Process[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ");
      return [{ pid: Number(name), uid: statSync(`/proc/${name}`).uid, command }];
    } catch {
      return []; // ended meanwhile
    }
  });
}
