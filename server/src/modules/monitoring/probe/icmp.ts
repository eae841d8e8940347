import { execFile } from "node:child_process";

/** Times are round trips in milliseconds, null when no echo came back. */
export type IcmpOutcome =
  | {
      outcome: "measured";
      sent: number;
      received: number;
      minMs: number | null;
      avgMs: number | null;
      maxMs: number | null;
    }
  | { outcome: "not_available" };

export type IcmpLimits = { program: string };

// Both iputils and BusyBox take these, send one echo a second and wait one second for the last. Not `-w`: with it
// iputils sends on until so many replies came. Quiet, because only the summary is read.
const echoes = ["-q", "-c", "4", "-W", "1"];
const longestMs = 10_000;
// No variable of ours goes to the program; its words and decimal points must not be those of the server's language.
const environment = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

const counts = /^(\d+) packets transmitted, (\d+) (?:packets )?received/m;
const times = /^(?:rtt|round-trip) min\/avg\/max\S* = ([\d.]+)\/([\d.]+)\/([\d.]+)/m;

/** Reads what iputils or BusyBox `ping -q` printed; without a summary the process may not ping, or there is no route. */
export function readPing(output: string): IcmpOutcome {
  const [, sent, received] = counts.exec(output) ?? [];
  if (!sent || !received) return { outcome: "not_available" };
  const [minMs = null, avgMs = null, maxMs = null] = (times.exec(output) ?? []).slice(1).map(Number);
  return { outcome: "measured", sent: Number(sent), received: Number(received), minMs, avgMs, maxMs };
}

/**
 * Four ICMP echoes to `address` (numeric) by the system's `ping`, without a shell. On systems other than Linux
 * `not_available`: there the options mean other things. Rejects with the reason of `signal` when that is aborted.
 */
export async function probeIcmp(
  address: string,
  signal: AbortSignal,
  { program = "ping" }: Partial<IcmpLimits> = {},
): Promise<IcmpOutcome> {
  signal.throwIfAborted();
  if (process.platform !== "linux") return { outcome: "not_available" };
  const output = await new Promise<string>((resolve) => {
    const options = { signal, timeout: longestMs, env: environment, encoding: "utf8" } as const;
    // The exit status says no more than the output: iputils ends with 1 when nothing came back.
    execFile(program, [...echoes, address], options, (_error, stdout) => resolve(stdout));
  });
  signal.throwIfAborted();
  return readPing(output);
}
