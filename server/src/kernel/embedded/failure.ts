type FailureCode = "already_running" | "disk_full" | "binaries_missing" | "not_startable";

/** Why the embedded database cannot run. `message` is one line for a person and says what to do. */
export class EmbeddedPostgresError extends Error {
  readonly code: FailureCode;
  constructor(code: FailureCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "EmbeddedPostgresError";
    this.code = code;
  }
}

// One WAL segment (16 MB) and what a checkpoint needs beside it: below this PostgreSQL cannot start.
const leastFreeBytes = 32 * 2 ** 20;

/**
 * Turns what initdb or postgres said before it gave up into an error for a person.
 * A full disk also swallows the server's log, so a silent failure with less than 32 MB free counts as one.
 */
export function failureFromOutput(failed: {
  program: string;
  output: string;
  dataDir: string;
  freeBytes: number;
}): EmbeddedPostgresError {
  const lines = failed.output.split("\n").filter((line) => /\b(FATAL|PANIC|error):/i.test(line));
  // Shared memory and semaphores report their limits as "No space left on device" too; no file system is full then.
  const full = lines.some(
    (line) => /No space left on device|Disk quota exceeded/.test(line) && !/shared memory|semaphore/.test(line),
  );
  if (full || (lines.length === 0 && failed.freeBytes < leastFreeBytes)) return diskFull(failed.dataDir);
  const reason = (lines[0] ?? failed.output.trim().split("\n").at(-1))?.replace(/^.*?\b(?:FATAL|PANIC|error):\s*/i, "");
  return new EmbeddedPostgresError(
    "not_startable",
    `${failed.program} could not run on ${failed.dataDir}: ${reason || "it gave no reason"}.`,
  );
}

/** Gives a file system error met while preparing `dataDir` its message; anything else is returned as it is. */
export function failureFromError(error: unknown, dataDir: string): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOSPC" || code === "EDQUOT") return diskFull(dataDir, error);
  if (code === "EACCES" || code === "EPERM" || code === "EROFS" || code === "ENOTDIR" || code === "EEXIST") {
    const message = `The data directory ${dataDir} cannot be used (${(error as Error).message}). Make it a directory that this user may write to.`;
    return new EmbeddedPostgresError("not_startable", message, { cause: error });
  }
  return error;
}

function diskFull(dataDir: string, cause?: unknown): EmbeddedPostgresError {
  const message = `The disk that holds ${dataDir} is full, so PostgreSQL cannot start. Free some space (100 MB or more) and start again; stored data is not affected.`;
  return new EmbeddedPostgresError("disk_full", message, { cause });
}
