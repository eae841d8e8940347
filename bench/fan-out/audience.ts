/**
 * Subscribers in processes of their own, so that they take nothing of the server's core. Started with `--ears` this file
 * is such a process.
 */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpuOfTree } from "../machine.ts";
import { type Address, type Ear, openEar } from "./ear.ts";

const processes = 2;
/** Handshakes under way at a time, in each process. */
const atOnce = 25;

type Order = { open: Address[] } | { expect: number };
/** Receipts of all messages, socket by socket, in milliseconds since 1970. */
type Report = { done: true } | { receipts: Float64Array } | { failed: string };

/** All subscribers of one server. */
export type Audience = {
  connectsPerSecond: number;
  /** Listens for so many further messages to each socket; `receipts` resolves when they are there: see `Report`. */
  expect(messages: number): Promise<{ receipts: Promise<Float64Array> }>;
  /** Seconds of CPU that the processes took so far. */
  cpu(): number;
  close(): Promise<void>;
};

/** Opens a socket for every address. @throws Error where the system allows too few open files. */
export async function gatherAudience(addresses: readonly Address[]): Promise<Audience> {
  checkOpenFiles(addresses.length + 500);
  const children = Array.from({ length: processes }, () =>
    converse(fork(new URL(import.meta.url).pathname, ["--ears"], { serialization: "advanced" })),
  );
  await Promise.all(children.map(({ hear }) => hear()));
  const startedAt = performance.now();
  const parts = children.map((_, index) => addresses.filter((_, place) => place % processes === index));
  await Promise.all(children.map(({ ask }, index) => ask({ open: parts[index]! })));
  const connectsPerSecond = Math.round((addresses.length * 1_000) / (performance.now() - startedAt));
  return {
    connectsPerSecond,
    async expect(messages) {
      await Promise.all(children.map(({ ask }) => ask({ expect: messages })));
      const receipts = Promise.all(children.map(({ hear }) => hear())).then(join);
      // Whoever awaits it is told; until then it may have failed already.
      receipts.catch(() => {});
      return { receipts };
    },
    cpu: () => children.reduce((sum, { pid }) => sum + cpuOfTree(pid, false), 0),
    close: async () => void (await Promise.all(children.map(({ end }) => end()))),
  };
}

function join(reports: Report[]): Float64Array {
  const parts = reports.map((report) => ("receipts" in report ? report.receipts : new Float64Array()));
  const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}

function converse(child: ChildProcess) {
  const reports: Report[] = [];
  const waiting: ((report: Report) => void)[] = [];
  child.on("message", take);
  child.once("exit", () => take({ failed: "Subscribers ended early." }));
  function take(report: Report): void {
    const waiter = waiting.shift();
    if (waiter) waiter(report);
    else reports.push(report);
  }
  async function hear(): Promise<Report> {
    const report = reports.shift() ?? (await new Promise<Report>((resolve) => waiting.push(resolve)));
    if ("failed" in report) throw new Error(report.failed);
    return report;
  }
  return {
    pid: child.pid!,
    hear,
    ask(order: Order): Promise<Report> {
      child.send(order);
      return hear();
    },
    end(): Promise<unknown> {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill();
      return gone;
    },
  };
}

/** Node raises the limit as far as the system lets it; what the server needs, each of our processes may need too. */
function checkOpenFiles(needed: number): void {
  if (process.platform !== "linux") return;
  const line = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
  const allowed = line?.[1] === "unlimited" ? Number.POSITIVE_INFINITY : Number(line?.[1]);
  if (allowed < needed)
    throw new Error(
      `This many sockets need ${needed} open files in a process, and the system allows ${allowed} (ulimit -Hn). Raise the hard limit, as by "ulimit -Hn ${needed}" of root, or take fewer.`,
    );
}

async function beEars(): Promise<void> {
  const ears: Ear[] = [];
  const report = (told: Report) => process.send!(told);
  let expected = 0;
  let left = 0;
  let receipts = new Float64Array();
  function onMessage(ear: Ear): void {
    // Answers to the greeting, before anything is expected.
    if (ear.expecting === 0) return;
    const place = expected - ear.expecting--;
    receipts[ear.index * expected + place] = performance.timeOrigin + performance.now();
    if (--left === 0) report({ receipts });
  }
  async function open(addresses: Address[]): Promise<void> {
    let next = 0;
    const opener = async () => {
      while (next < addresses.length) ears.push(await openEar(addresses[next++]!, onMessage));
    };
    await Promise.all(Array.from({ length: atOnce }, opener));
    for (const [index, ear] of ears.entries()) ear.index = index;
    report({ done: true });
  }
  process.on("disconnect", () => process.exit());
  process.on("message", (order: Order) => {
    if ("open" in order) return void open(order.open).catch((error) => report({ failed: String(error) }));
    expected = order.expect;
    left = expected * ears.length;
    receipts = new Float64Array(left);
    for (const ear of ears) ear.expecting = expected;
    report({ done: true });
  });
  report({ done: true });
}

if (process.argv[2] === "--ears") await beEars();
