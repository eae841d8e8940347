/**
 * Runs test files one after another in this process, each with a root of its own, and tells the parent process of every
 * test. What all files load (some seconds of work each time) is loaded once.
 */
import { after, run } from "node:test";
import { pathToFileURL } from "node:url";
import { endFile } from "../server/test/file-end.ts";

export type Told =
  | { kind: "passed"; name: string; file: string; durationMs: number }
  | { kind: "failed"; name: string; file: string; place: string; durationMs: number; error: string }
  | { kind: "ended"; file: string; wallMs: number; cpuMs: number };

const tell = (told: Told) => void process.send!(told);
const textOf = (error: unknown) => (error instanceof Error ? (error.stack ?? String(error)) : String(error));

/** Runs the tests of a file, then `next`. The runner ends a file when nothing keeps the process alive any more. */
function runFile(file: string, next: () => void): void {
  // The process's own clock: a file may move the others.
  const started = process.hrtime.bigint();
  const before = process.cpuUsage();
  const fail = (name: string, error: string) => tell({ kind: "failed", name, file, place: file, durationMs: 0, error });
  const remarks: string[] = [];
  let failed = 0;
  let success = true;
  const stream = run({ files: [file], isolation: "none", setup: async () => after(endFile) });
  stream.on("test:diagnostic", ({ message }) => remarks.push(message));
  stream.on("test:summary", (summary) => {
    success &&= summary.success;
  });
  stream.on("test:pass", (event) => {
    if (event.details.type === "suite") return;
    if (event.skip !== undefined || event.todo !== undefined) fail(`skipped: ${event.name}`, "No test is skipped.");
    tell({ kind: "passed", name: event.name, file, durationMs: event.details.duration_ms });
  });
  stream.on("test:fail", ({ name, line, details }) => {
    failed++;
    if (details.type === "suite" && details.error.message.includes("subtest")) return;
    const error = textOf(details.error.cause ?? details.error);
    tell({ kind: "failed", name, file, place: `${file}:${line ?? ""}`, durationMs: details.duration_ms, error });
  });
  stream.resume();
  stream.once("end", async () => {
    // The runner says nothing of a file that throws outside its tests; a second import gives the first one's error.
    await import(pathToFileURL(file).href).catch((error) => fail("the file itself", textOf(error)));
    if (!success && failed === 0) fail("outside the tests", remarks.join("\n"));
    const { user, system } = process.cpuUsage(before);
    tell({
      kind: "ended",
      file,
      wallMs: Number(process.hrtime.bigint() - started) / 1e6,
      cpuMs: (user + system) / 1_000,
    });
    setImmediate(next);
  });
}

// Whoever asked for these tests is gone, as after Ctrl-C.
process.on("disconnect", () => process.exit(1));
process.channel!.unref();
const files = process.argv.slice(2);
(function next(): void {
  const file = files.shift();
  if (file !== undefined) runFile(file, next);
})();
