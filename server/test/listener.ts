/** `demarc listen` as a user starts it: a process of its own, whose lines are read. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const command = fileURLToPath(new URL("../../cli/demarc.ts", import.meta.url));
const alive = new Set<ChildProcess>();
const folders: string[] = [];

export type Listener = ReturnType<typeof startListener>;
type Options = { env: Record<string, string>; cwd: string; program?: string[] };

export function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "demarc-listen-"));
  folders.push(folder);
  return folder;
}

/** Ends what a test left. */
export async function endListeners(): Promise<void> {
  for (const child of alive) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

export function startListener(args: string[], { env, cwd, program = [command, "listen"] }: Options) {
  const { PATH = "", NODE_COMPILE_CACHE = "" } = process.env;
  const child = spawn(process.execPath, [...program, ...args], {
    cwd,
    env: { PATH, ...(NODE_COMPILE_CACHE ? { NODE_COMPILE_CACHE } : {}), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  alive.add(child);
  let [printed, said] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => (printed += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (said += text));
  const exited = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  void exited.then(() => alive.delete(child));
  return {
    child,
    exited,
    /** Whole lines: the last one of a killed process may be none. */
    lines: () => printed.split("\n").slice(0, -1),
    events: () =>
      printed
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line)),
    said: () => said,
    async end(signal: NodeJS.Signals): Promise<number | null> {
      child.kill(signal);
      return exited;
    },
  };
}
