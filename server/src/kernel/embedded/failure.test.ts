import assert from "node:assert/strict";
import { test } from "node:test";
import { failureFromError, failureFromOutput } from "./failure.ts";

const plenty = 10 * 2 ** 30;
const codeFor = (output: string, freeBytes = plenty) =>
  failureFromOutput({ program: "PostgreSQL", output, dataDir: "/data", freeBytes }).code;

test("a disk that filled up under initdb or PostgreSQL is told as such, with the directory and what to do", () => {
  const said = [
    "running bootstrap script ... 2026-11-22 01:51:50.819 UTC [71] FATAL:  could not extend file: No space left on device\nchild process exited with exit code 1",
    'initdb: error: could not create directory "/proc/self/cwd/pg_wal": No space left on device',
    'FATAL:  could not write lock file "postmaster.pid": No space left on device',
    'PANIC:  could not write to file "pg_logical/replorigin_checkpoint.tmp": No space left on device',
    "FATAL:  could not extend file: Disk quota exceeded",
  ];
  for (const output of said) assert.equal(codeFor(output), "disk_full", output);
  const failure = failureFromOutput({ program: "initdb", output: said[0]!, dataDir: "/data", freeBytes: plenty });
  assert.match(failure.message, /^The disk that holds \/data is full.*Free some space.*stored data is not affected\.$/);
});

test("a silent failure with no room left is a full disk, since the log could not be written either", () => {
  assert.equal(codeFor("PostgreSQL exited with code 1", 4096), "disk_full");
  assert.equal(codeFor("PostgreSQL exited with code 1", plenty), "not_startable");
});

test("a stated reason counts for more than little room", () => {
  assert.equal(codeFor('FATAL:  invalid value for parameter "jit": "maybe"', 4096), "not_startable");
});

test("limits of shared memory and semaphores are no full disk, although the system words them so", () => {
  assert.equal(codeFor("FATAL:  could not create shared memory segment: No space left on device"), "not_startable");
  assert.equal(codeFor("FATAL:  could not create semaphores: No space left on device"), "not_startable");
});

test("the first reason is passed on in one line without time stamps", () => {
  const output =
    '2026-11-22 [7] LOG:  starting\n2026-11-22 [7] FATAL:  lock file "x" is odd\nHINT:  think\nFATAL:  later';
  assert.equal(
    failureFromOutput({ program: "PostgreSQL", output, dataDir: "/data", freeBytes: plenty }).message,
    'PostgreSQL could not run on /data: lock file "x" is odd.',
  );
});

test("errors of the file system get a message, bugs stay what they are", () => {
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  assert.match(String(failureFromError(full, "/data")), /The disk that holds \/data is full/);
  const closed = Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" });
  assert.match(String(failureFromError(closed, "/data")), /The data directory \/data cannot be used/);
  const bug = new TypeError("undefined is not a function");
  assert.equal(failureFromError(bug, "/data"), bug);
});
