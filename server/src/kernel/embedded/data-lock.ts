import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { EmbeddedPostgresError } from "./failure.ts";

// A DatabaseSync that is garbage collected closes its file and so drops the lock.
const held = new Set<DatabaseSync>();

/**
 * Takes the data directory for this process, or throws `already_running` with the pid of the process that has it.
 * The kernel drops the lock when the process ends in any way, so there is no stale lock to judge.
 * @returns the function that gives the directory back
 */
export function lockDataDir(dataDir: string): () => void {
  const pidFile = join(dataDir, "demarc.pid");
  const file = openLocked(dataDir, pidFile);
  held.add(file);
  const release = () => {
    if (!held.delete(file)) return;
    rmSync(pidFile, { force: true });
    file.close();
  };
  try {
    // Removed first, written exclusively: as root, never through a symlink that somebody put there.
    rmSync(pidFile, { force: true });
    writeFileSync(pidFile, `${process.pid}\n`, { flag: "wx" });
  } catch (error) {
    release();
    throw error;
  }
  return release;
}

// SQLite is the one way to a kernel file lock (fcntl) in Node without native code; its file stays empty.
// Nothing else may ever open and close that file: it would drop this process's lock (POSIX).
function openLocked(dataDir: string, pidFile: string): DatabaseSync {
  let file: DatabaseSync | undefined;
  try {
    file = new DatabaseSync(join(dataDir, "demarc.lock"), { timeout: 0 });
    file.exec("PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE");
    return file;
  } catch (error) {
    file?.close();
    throw refusal(error, dataDir, pidFile);
  }
}

function refusal(error: unknown, dataDir: string, pidFile: string): unknown {
  const busy = 5; // SQLITE_BUSY
  if (!(error instanceof Error && "errcode" in error)) return error;
  if ((error.errcode as number) !== busy) {
    return new EmbeddedPostgresError(
      "not_startable",
      `The lock file in ${dataDir} cannot be used (${error.message}).`,
      {
        cause: error,
      },
    );
  }
  return new EmbeddedPostgresError(
    "already_running",
    `Demarc is already running on ${dataDir}${holder(pidFile)}. Stop that process, or give this one another data directory.`,
  );
}

function holder(pidFile: string): string {
  try {
    return ` (process ${Number.parseInt(readFileSync(pidFile, "utf8"), 10)})`;
  } catch {
    return ""; // between taking the lock and writing its pid
  }
}
