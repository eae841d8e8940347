/** The whole process as a user starts it, for tests that kill it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Demo } from "../../src/demo.ts";

const main = new URL("../../src/main.ts", import.meta.url).pathname;
const alive = new Set<ChildProcess>();
const folders: string[] = [];

/** Ends what is left of all that was started here. Killed: what a test left in the middle need not end well. */
export async function endAll(): Promise<void> {
  await Promise.all([...alive].map((child) => ended(child, "SIGKILL")));
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

export function dataDir(): string {
  const folder = mkdtempSync(join(tmpdir(), "demarc-process-"));
  folders.push(folder);
  return folder;
}

/** A port that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export type Process = { child: ChildProcess; url: string; output(): string; exited: Promise<number | null> };

/** Starts the server and gives it back at once. */
export function launch(settings: Record<string, string>): Process {
  const { PATH, HOME, TMPDIR, NODE_COMPILE_CACHE } = process.env;
  const child = spawn(process.execPath, [main], {
    env: { PATH, HOME, TMPDIR, NODE_COMPILE_CACHE, ...settings },
    stdio: ["ignore", "pipe", "pipe"],
  });
  alive.add(child);
  let output = "";
  child.stdout!.on("data", (chunk) => (output += chunk));
  child.stderr!.on("data", (chunk) => (output += chunk));
  const exited = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  void exited.then(() => alive.delete(child));
  return { child, url: `http://127.0.0.1:${settings.DEMARC_PORT}`, output: () => output, exited };
}

/** Starts the server and waits until it listens. */
export async function start(settings: Record<string, string>): Promise<Process> {
  const started = launch(settings);
  await until(() => started.output().includes("Documents and Swagger UI"), started);
  return started;
}

/** Waits for a condition; fails when the process ends before, or after a minute. */
export async function until(condition: () => boolean | Promise<boolean>, { child, output }: Process): Promise<void> {
  const limit = performance.now() + 60_000;
  while (!(await condition())) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`The server ended: ${output()}`);
    if (performance.now() > limit) throw new Error(`Not within a minute: ${output()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

export const readDemo = (folder: string): Demo => JSON.parse(readFileSync(join(folder, "demo.json"), "utf8"));

/** The embedded database's process id. */
export function databasePid(folder: string): number {
  return Number(readFileSync(join(folder, "postgres", "postmaster.pid"), "utf8").split("\n")[0]);
}
