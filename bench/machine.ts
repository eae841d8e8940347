/** What the machine tells: its parts, and the CPU time and memory of processes. The latter two from /proc: Linux only. */
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";

/** Seconds of CPU; NaN where the system does not tell. */
export type CpuUse = number;

export function describeMachine() {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
  };
}

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

type Stat = { pid: number; parent: number; ticks: number };

function readStat(pid: string): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold anything; proc(5) counts from it on.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { pid: Number(pid), parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined; // it ended meanwhile
  }
}

function children(pid: number): Stat[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return all.map(readStat).filter((stat) => stat !== undefined && stat.parent === pid) as Stat[];
}

/** CPU time of a process, and of its children that live. */
export function cpuOfTree(pid: number, withChildren = true): CpuUse {
  if (process.platform !== "linux") return Number.NaN;
  const stats = [readStat(String(pid)), ...(withChildren ? children(pid) : [])];
  return stats.reduce((sum, stat) => sum + (stat?.ticks ?? 0), 0) / ticksPerSecond;
}

/** MiB of memory that a process holds; of the database's tree, with shared pages counted once. */
export function memoryMiB(pid: number): number | null {
  if (process.platform !== "linux") return null;
  return kibOf(`/proc/${pid}/status`, "VmRSS") / 1_024;
}
export function treeMemoryMiB(pid: number): number | null {
  if (process.platform !== "linux") return null;
  const pids = [pid, ...children(pid).map((stat) => stat.pid)];
  return pids.reduce((sum, one) => sum + kibOf(`/proc/${one}/smaps_rollup`, "Pss"), 0) / 1_024;
}

function kibOf(file: string, name: string): number {
  try {
    return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(file, "utf8"))?.[1] ?? Number.NaN);
  } catch {
    return 0; // a backend that ended meanwhile
  }
}
