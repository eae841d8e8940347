/** Demarc as a user starts it: a process of its own with a data directory and the embedded database in it. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { superuser } from "../server/src/kernel/embedded/cluster.ts";
import { firstKey } from "../server/test/set-up.ts";

const main = new URL("../server/src/main.ts", import.meta.url).pathname;

export type Demarc = {
  port: number;
  pid: number;
  databasePid: number;
  /** The embedded database, as its superuser: bound by no row policy. */
  databaseUrl: string;
  /** From the start of the process until it listens. */
  startMs: number;
  /** The administrator's, of a first start. */
  key: string | null;
  stop(): Promise<void>;
};

/** Starts the server and waits until it listens. `nodeArgs`: for the process, such as those of a profile. */
export async function startDemarc(
  dataDir: string,
  demo: "on" | "off",
  nodeArgs: string[] = [],
  settings: Record<string, string> = {},
): Promise<Demarc> {
  const port = await freePort();
  const { PATH, HOME, TMPDIR } = process.env;
  const own = { DEMARC_PORT: String(port), DEMARC_DATA_DIR: dataDir, DEMARC_DEMO: demo };
  const env = { PATH, HOME, TMPDIR, ...own, DEMARC_OUTBOUND_ALLOW: "127.0.0.0/8", ...settings };
  const startedAt = performance.now();
  const child = spawn(process.execPath, [...nodeArgs, main], { env, stdio: ["ignore", "pipe", "pipe"] });
  const output = await untilListening(child);
  const startMs = performance.now() - startedAt;
  const cluster = join(dataDir, "postgres");
  return {
    port,
    pid: child.pid!,
    databasePid: Number(readFileSync(join(cluster, "postmaster.pid"), "utf8").split("\n")[0]),
    databaseUrl: `postgres://${superuser}@${encodeURIComponent(cluster)}:5432/demarc`,
    startMs,
    key: await firstKey(output, `http://127.0.0.1:${port}`),
    async stop() {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await gone;
    },
  };
}

function untilListening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    child.stderr!.on("data", (chunk) => {
      output += chunk;
    });
    child.stdout!.on("data", (chunk) => {
      output += chunk;
      if (output.includes("Documents and Swagger UI")) resolve(output);
    });
    child.once("exit", () => reject(new Error(`Demarc did not start:\n${output}`)));
    process.once("exit", () => child.kill());
  });
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** One call as an ordinary client makes it. @throws Error on any status of 400 or more. */
export async function call(
  { port }: { port: number },
  key: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  // biome-ignore lint/suspicious/noExplicitAny: replies are read as they come
): Promise<any> {
  const reply = await fetch(`http://127.0.0.1:${port}/v1${path}`, {
    method,
    headers: { "x-api-key": key, ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${method} ${path} answered ${reply.status}: ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}
