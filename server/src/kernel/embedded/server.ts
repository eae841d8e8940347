import { closeSync, constants, fstatSync, ftruncateSync, openSync } from "node:fs";
import { readFile, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { failureFromOutput } from "./failure.ts";
import { type ServerUser, spawnAs } from "./server-user.ts";

/** One running postmaster; `exited` resolves with a sentence that says how it ended. */
export type Server = { pid: number; exited: Promise<string> };

const logLimitBytes = 10 * 2 ** 20;
const fastShutdownMs = 20_000;

/**
 * Starts the postmaster and waits until it takes connections, however long its crash recovery takes.
 * `stopping` ends it at any moment: fast shutdown (open transactions are rolled back), immediate shutdown after 20 s.
 * @throws EmbeddedPostgresError `disk_full` or `not_startable`
 */
export async function launchServer(
  plan: { program: string; args: string[]; cluster: string; user: ServerUser; logFile: string },
  stopping: AbortSignal,
): Promise<Server> {
  stopping.throwIfAborted();
  const log = openLog(plan.logFile);
  const outputStart = fstatSync(log).size;
  // The log is a file and not a pipe to us: a busy event loop would block the server.
  const child = spawnAs(plan.user, plan.program, plan.args, { cwd: plan.cluster, stdio: ["ignore", log, log] });
  closeSync(log);

  let timer: NodeJS.Timeout | undefined;
  const end = () => {
    child.kill("SIGINT");
    timer = setTimeout(() => child.kill("SIGQUIT"), fastShutdownMs);
  };
  stopping.addEventListener("abort", end);
  let ending: string | undefined;
  const exited = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`PostgreSQL could not be run: ${error.message}`));
    child.once("exit", (code, signal) =>
      resolve(signal ? `PostgreSQL was ended by ${signal}` : `PostgreSQL exited with code ${code}`),
    );
  }).then((sentence) => {
    clearTimeout(timer);
    stopping.removeEventListener("abort", end);
    ending = sentence;
    return sentence;
  });

  while (!(await isReady(plan.cluster, child.pid))) {
    if (ending !== undefined) {
      const output = (await readFile(plan.logFile)).subarray(outputStart).toString();
      const dataDir = dirname(plan.logFile);
      const { bavail, bsize } = await statfs(dataDir);
      throw failureFromOutput({ program: "PostgreSQL", output: output || ending, dataDir, freeBytes: bavail * bsize });
    }
    await Promise.race([exited, sleep(10)]);
  }
  return { pid: child.pid!, exited };
}

// The status that pg_ctl looks at: line 8 of the file that the postmaster keeps while it runs.
async function isReady(cluster: string, pid: number | undefined): Promise<boolean> {
  const lines = (await readFile(join(cluster, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
}

function openLog(path: string): number {
  const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW } = constants;
  const log = openSync(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600);
  if (fstatSync(log).size > logLimitBytes) ftruncateSync(log);
  return log;
}
