/**
 * `npm test`: every check, then every test, on one throw-away PostgreSQL. Ends with a line that counts the tests.
 * Arguments: `--checks` (checks alone), `--optional` (the suites that need Debian packages, alone), or test files.
 */
import { globSync } from "node:fs";
import { cpus } from "node:os";
import { run } from "node:test";
import { runChecks } from "./checks.ts";

const root = new URL("..", import.meta.url).pathname;
// Every test file is a process of its own and loads the same modules: what one has compiled, the others read.
process.env.NODE_COMPILE_CACHE ??= `${root}node_modules/.cache/compiled`;
const args = process.argv.slice(2);
const named = args.filter((arg) => !arg.startsWith("--"));

type Ended = { name: string; file: string; durationMs: number; error?: Error };

function testFiles(): string[] {
  if (named.length > 0) return named;
  if (args.includes("--optional")) return globSync("server/test/optional/*.test.ts", { cwd: root }).sort();
  return globSync(
    [
      "server/src/**/*.test.ts",
      "server/test/*.test.ts",
      "server/test/faults/*.test.ts",
      "cli/**/*.test.ts",
      "sdk/*.test.ts",
      "scripts/*.test.ts",
    ],
    { cwd: root },
  ).sort();
}

async function runTests(files: string[]): Promise<{ passed: number; failed: Ended[]; slowest: Ended[] }> {
  const { startTestCluster, ensureTemplate } = await import("../server/test/database.ts");
  const cluster = await startTestCluster();
  process.env.DEMARC_TEST_CLUSTER = cluster.url;
  const failed: Ended[] = [];
  const ended: Ended[] = [];
  try {
    await ensureTemplate(cluster.url);
    // Two at a time: the tests share the machine with their database, and a timing-sensitive one must not starve.
    const stream = run({ files, cwd: root, concurrency: Math.max(2, cpus().length), timeout: 300_000 });
    stream.on("test:stdout", ({ message }) => process.stdout.write(message));
    stream.on("test:stderr", ({ message }) => process.stderr.write(message));
    stream.on("test:pass", (event) => {
      if (event.details.type === "suite" || event.name === event.file) return;
      if (event.skip !== undefined || event.todo !== undefined)
        failed.push({ name: `skipped: ${event.name}`, file: event.file ?? "", durationMs: 0 });
      ended.push({ name: event.name, file: event.file ?? "", durationMs: event.details.duration_ms });
    });
    stream.on("test:fail", (event) => {
      if (event.details.type === "suite" && event.details.error.message.includes("subtest")) return;
      const failure = {
        name: event.name,
        file: event.file ?? "",
        durationMs: event.details.duration_ms,
        error: event.details.error,
      };
      failed.push(failure);
      console.error(`\n✖ ${failure.name}\n  ${failure.file}:${event.line ?? ""}`);
      console.error((failure.error.cause as Error | undefined)?.stack ?? failure.error.stack);
    });
    stream.resume();
    await new Promise((resolve) => stream.once("end", resolve));
  } finally {
    await cluster.stop();
  }
  const slowest = [...ended].sort((a, b) => b.durationMs - a.durationMs).slice(0, 5);
  return { passed: ended.length, failed, slowest };
}

const started = performance.now();
const failedChecks = named.length > 0 || args.includes("--optional") ? [] : await runChecks();
let passed = 0;
let failed = failedChecks.length;
if (!args.includes("--checks")) {
  const result = await runTests(testFiles());
  passed = result.passed;
  failed += result.failed.length;
  console.log("\nSlowest:");
  for (const { name, durationMs } of result.slowest) console.log(`  ${(durationMs / 1000).toFixed(1)} s  ${name}`);
  for (const failure of result.failed) console.log(`✖ ${failure.file.replace(root, "")}  ${failure.name}`);
}
for (const name of failedChecks) console.log(`✖ check: ${name}`);
console.log(`\nTook ${((performance.now() - started) / 1000).toFixed(0)} s`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
