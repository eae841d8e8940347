/** Runs the test files in as many processes as there are processors, several files in each, on one throw-away PostgreSQL. */
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import type { Told } from "./test-process.ts";

const root = new URL("..", import.meta.url).pathname;
const testProcess = new URL("test-process.ts", import.meta.url).pathname;
const filesPerProcess = 10;
/** Of one file, the short fault runs among them, on a machine that has other work. */
const fileLimitMs = 600_000;
const exitLimitMs = 15_000;
/** What a file changes or measures of its whole process, and fixtures: what those start stands until the process ends. */
const wantsOwnProcess =
  /process\.(env|memoryUsage|cpuUsage)|\bmock\.|\b(before|after)Each\(|\.fixture\.ts"|a process of its own/;

type Failed = Extract<Told, { kind: "failed" }>;
export type TestResult = {
  passed: { name: string; file: string; durationMs: number }[];
  failed: Failed[];
  files: { file: string; wallMs: number; cpuMs: number }[];
};

/** Which files share a process; those that take long, alone, come first, so that no processor waits for them at the end. */
function processesOf(files: readonly string[]): string[][] {
  const isAlone = (file: string) =>
    file.startsWith("server/test/faults/") ||
    file.startsWith("scripts/") ||
    wantsOwnProcess.test(readFileSync(root + file, "utf8"));
  const alone = files.filter(isAlone).sort((a, b) => Number(b.includes("/runs.")) - Number(a.includes("/runs.")));
  const together = files.filter((file) => !isAlone(file));
  const shared: string[][] = [];
  for (let from = 0; from < together.length; from += filesPerProcess)
    shared.push(together.slice(from, from + filesPerProcess));
  return [...alone.map((file) => [file]), ...shared];
}

/** Runs some files in one process; whatever it did not tell of by itself counts as failed. */
async function runProcess(files: readonly string[], result: TestResult): Promise<void> {
  const left = new Set(files);
  const child = fork(testProcess, [...files], { cwd: root });
  let timer = setTimeout(() => child.kill("SIGKILL"), fileLimitMs);
  const fail = (file: string, error: string) =>
    report({ kind: "failed", name: file, file, place: file, durationMs: 0, error });

  function report(told: Told): void {
    if (told.kind === "passed") result.passed.push(told);
    if (told.kind === "failed") {
      result.failed.push(told);
      console.error(`\n✖ ${told.name}\n  ${told.place}\n${told.error}`);
    }
    if (told.kind === "ended") {
      result.files.push(told);
      left.delete(told.file);
      clearTimeout(timer);
      timer = setTimeout(() => child.kill("SIGKILL"), left.size > 0 ? fileLimitMs : exitLimitMs);
    }
  }
  child.on("message", (told) => report(told as Told));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once("exit", (...how) => resolve(how)),
  );
  clearTimeout(timer);
  for (const file of left) fail(file, `Its process ended before it did (${signal ?? code}).`);
  if (left.size === 0 && signal !== null) fail(files.join(", "), "Something of these files kept their process alive.");
}

export async function runTests(files: readonly string[]): Promise<TestResult> {
  const { startTestCluster, ensureTemplate } = await import("../server/test/database.ts");
  const given = process.env.DEMARC_TEST_CLUSTER;
  const cluster = given ? null : await startTestCluster();
  process.env.DEMARC_TEST_CLUSTER = given ?? cluster!.url;
  const result: TestResult = { passed: [], failed: [], files: [] };
  try {
    await ensureTemplate(process.env.DEMARC_TEST_CLUSTER);
    const waiting = processesOf(files);
    const worker = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await runProcess(next, result);
    };
    // Two at a time at least: tests wait a good deal.
    await Promise.all(Array.from({ length: Math.max(2, cpus().length) }, worker));
  } finally {
    await cluster?.stop();
  }
  return result;
}
