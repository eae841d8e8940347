/** Where the receiver stopped: a cursor in a file, and beside it the ids of the last events, which may come again. */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, realpathSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { usage } from "./faults.ts";

export type Place = {
  /** Where to go on; null: nowhere yet, or the server knows. */
  cursor(): string | null;
  keep(cursor: string): void;
  /** Whether this event's work was done before. */
  knows(eventId: string): boolean;
  remember(eventId: string): void;
};

const mostIds = 1_000;

/** For a durable subscription or a queue: the server keeps the place, this process the ids. */
export function placeOnServer(): Place {
  const { knows, remember } = recentIds([]);
  return { cursor: () => null, keep: () => {}, knows, remember };
}

/**
 * Takes the file for this process alone, until it ends in whatever way.
 * @throws Stop (usage) when another receiver has it, or it holds no cursor, or cannot be written
 */
export async function openPlace(path: string): Promise<Place> {
  const file = realFile(path);
  if (!(await holdAlone(lockAddress(file))))
    throw usage(`Another receiver works with ${path}. Give each a --cursor-file of its own.`);
  let cursor = existsSync(file) ? onDisk(() => readFileSync(file, "utf8").trim()) : null;
  if (cursor !== null && !/^[\w-]{1,64}$/.test(cursor))
    throw usage(`${path} holds no cursor. Remove it, to begin anew where --from says.`);
  const idsFile = `${file}.ids`;
  // Who removes the cursor wants to begin anew.
  const known = cursor !== null && existsSync(idsFile) ? onDisk(() => readFileSync(idsFile, "utf8").split("\n")) : [];
  const ids = recentIds(known.filter((line) => /^evt_\w+$/.test(line)));
  let lines = 0;
  function shortenIds(): void {
    replaceFile(idsFile, ids.all().map(withLineEnd).join(""));
    lines = ids.all().length;
  }
  onDisk(shortenIds);
  return {
    cursor: () => cursor,
    keep(next) {
      onDisk(() => replaceFile(file, withLineEnd(next)));
      cursor = next;
    },
    knows: ids.knows,
    // Told before the place moves on: an event between the two comes again, and is known.
    remember(id) {
      ids.remember(id);
      onDisk(() => appendFileSync(idsFile, withLineEnd(id)));
      if (++lines >= 2 * mostIds) onDisk(shortenIds);
    },
  };
}

const withLineEnd = (text: string): string => `${text}\n`;

/** At no moment is there a file that is half written, or none. */
function replaceFile(file: string, content: string): void {
  writeFileSync(`${file}.new`, content, { flush: true });
  renameSync(`${file}.new`, file);
}

/** A place that cannot be kept ends the command: going on would be losing it. */
function onDisk<T>(part: () => T): T {
  try {
    return part();
  } catch (error) {
    throw usage(`The place cannot be kept: ${(error as Error).message}`);
  }
}

function recentIds(first: readonly string[]) {
  const ids = new Set(first.slice(-mostIds));
  return {
    all: () => [...ids],
    knows: (id: string) => ids.has(id),
    remember(id: string): void {
      ids.add(id);
      if (ids.size > mostIds) ids.delete(ids.values().next().value!);
    },
  };
}

/** One name for a file, by whatever way it is reached; a link is followed, since the file is replaced. */
function realFile(path: string): string {
  try {
    if (existsSync(path)) return realpathSync(path);
    return join(realpathSync(dirname(resolve(path))), basename(path));
  } catch (error) {
    throw usage(`--cursor-file: ${(error as Error).message}`);
  }
}

/** An address that the system frees with the process: a lock file would outlive a kill. */
export function lockAddress(file: string, platform: NodeJS.Platform = process.platform): string {
  const name = `demarc-listen-${createHash("sha256").update(file).digest("hex").slice(0, 32)}`;
  if (platform === "linux") return `\0${name}`;
  return platform === "win32" ? `\\\\?\\pipe\\${name}` : join(tmpdir(), `${name}.sock`);
}

/** Holds the address until this process ends; false: another one does. */
export async function holdAlone(address: string): Promise<boolean> {
  const server = await listenAt(address);
  if (server) return true;
  // Of a socket with a name in a folder the name outlives its process, and answers nobody.
  if (!address.startsWith("/") || (await isAnswered(address))) return false;
  unlinkSync(address);
  return (await listenAt(address)) !== null;
}

function listenAt(address: string): Promise<Server | null> {
  return new Promise((done, fail) => {
    const server = createServer((socket) => socket.destroy());
    server.once("listening", () => {
      server.unref();
      done(server);
    });
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? done(null) : fail(error)));
    server.listen(address);
  });
}

function isAnswered(address: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(address);
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}
