/**
 * `npm test`: every check, then every test, on one throw-away PostgreSQL. Ends with a line that counts the tests.
 * Arguments: `--checks` (checks alone), `--optional` (the suites that need Debian packages, alone), or test files.
 */
import { globSync } from "node:fs";
import { runChecks } from "./checks.ts";
import { runTests } from "./test-run.ts";

const root = new URL("..", import.meta.url).pathname;
// Every test process loads the same modules: what one has compiled, the others read.
process.env.NODE_COMPILE_CACHE ??= `${root}node_modules/.cache/compiled`;
const args = process.argv.slice(2);
const named = args.filter((arg) => !arg.startsWith("--"));
const suites = [
  "server/src/**/*.test.ts",
  "server/test/*.test.ts",
  "server/test/faults/*.test.ts",
  "cli/**/*.test.ts",
  "sdk/*.test.ts",
  "scripts/*.test.ts",
];

function testFiles(): string[] {
  if (named.length > 0) return named;
  return globSync(args.includes("--optional") ? ["server/test/optional/*.test.ts"] : suites, { cwd: root }).sort();
}

const started = performance.now();
const failedChecks = named.length > 0 || args.includes("--optional") ? [] : await runChecks();
let passed = 0;
let failed = failedChecks.length;
if (!args.includes("--checks")) {
  const result = await runTests(testFiles());
  passed = result.passed.length;
  failed += result.failed.length;
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
  console.log("\nSlowest:");
  for (const { name, durationMs } of result.passed.sort((a, b) => b.durationMs - a.durationMs).slice(0, 5))
    console.log(`  ${seconds(durationMs)}  ${name}`);
  console.log("Files that took most, and their processor time:");
  for (const { file, wallMs, cpuMs } of result.files.sort((a, b) => b.wallMs - a.wallMs).slice(0, 5))
    console.log(`  ${seconds(wallMs)} (${seconds(cpuMs)})  ${file}`);
  for (const { file, name } of result.failed) console.log(`✖ ${file}  ${name}`);
}
for (const name of failedChecks) console.log(`✖ check: ${name}`);
console.log(`\nTook ${((performance.now() - started) / 1000).toFixed(0)} s`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
