import { connect } from "node:net";

/** `timeout`: no connection within the time, also because there is no route. */
export type TcpOutcome = { port: number; outcome: "open" | "refused" | "timeout" };

export type TcpLimits = { timeoutMs: number };

/**
 * Connects to the port of `address` (numeric) within 3 seconds, sends nothing and closes at once. Rejects with the
 * reason of `signal` when that is aborted.
 */
export async function probeTcp(
  address: string,
  port: number,
  signal: AbortSignal,
  { timeoutMs = 3_000 }: Partial<TcpLimits> = {},
): Promise<TcpOutcome> {
  signal.throwIfAborted();
  const socket = connect({ host: address, port });
  const ended = Promise.withResolvers<TcpOutcome["outcome"]>();
  const stop = () => ended.reject(signal.reason);
  const timer = setTimeout(() => ended.resolve("timeout"), timeoutMs);
  signal.addEventListener("abort", stop);
  socket.on("connect", () => ended.resolve("open"));
  socket.on("error", (error: NodeJS.ErrnoException) =>
    ended.resolve(error.code === "ECONNREFUSED" ? "refused" : "timeout"),
  );
  try {
    return { port, outcome: await ended.promise };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    socket.destroy();
  }
}
