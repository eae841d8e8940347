import { mkdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { findBinaries } from "./binaries.ts";
import { clusterExists, createCluster, reachablePath, removeUnfinished, superuser } from "./cluster.ts";
import { lockDataDir } from "./data-lock.ts";
import { failureFromError } from "./failure.ts";
import { endLeftovers, nameServer, removeStaleLockFiles } from "./processes.ts";
import { launchServer, type Server } from "./server.ts";
import { findServerUser, type ServerUser } from "./server-user.ts";
import { makeSocketDir } from "./socket-dir.ts";

export { EmbeddedPostgresError } from "./failure.ts";

export type EmbeddedPostgres = {
  /** Address of the database `postgres`, over the Unix socket; `new URL(url)` takes it, so the path can be changed. */
  url: string;
  superuser: string;
  /** Ends the server and gives the data directory back; further calls wait for the same end. */
  stop(): Promise<void>;
  /** Process id of the postmaster, the present one after a restart. */
  pid: number;
  /** Called each time the server ends unbidden, while it is being started again. */
  onExit(listener: (reason: string) => void): void;
};

type Options = {
  /** Demarc's data directory; made when it is missing. */
  dataDir: string;
  log(message: string, fields?: object): void;
  /** PostgreSQL settings that replace the ones below. */
  settings?: Record<string, string>;
};

const defaultSettings = {
  fsync: "on",
  synchronous_commit: "on",
  shared_buffers: "128MB",
  max_connections: "100",
  max_wal_size: "512MB",
  // A new installation grows from nothing within minutes, and queues are emptied all the time.
  autovacuum_naptime: "15s",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  log_line_prefix: "%m [%p] ",
  log_checkpoints: "off",
  // Failed statements are the caller's to log, and carry personal data; this keeps starts, ends and crashes.
  log_min_messages: "log",
};

const firstPauseMs = 100;
const longestPauseMs = 5_000;
const steadyAfterMs = 30_000;

/**
 * Runs PostgreSQL on `<dataDir>/postgres` as a child of this process, reachable over a Unix socket that only this
 * user and root can open. Makes the cluster at the first start, ends what an earlier process left running, recovers
 * after a crash, and starts the server again whenever it ends unbidden, until `stop` is called.
 * @throws EmbeddedPostgresError `already_running`, `disk_full`, `binaries_missing` or `not_startable`
 */
export async function startEmbeddedPostgres(options: Options): Promise<EmbeddedPostgres> {
  try {
    // Others may pass through, not look: where root's child has no /proc/self/cwd it must come by here.
    await mkdir(options.dataDir, { recursive: true, mode: 0o711 });
    const dataDir = await realpath(options.dataDir);
    const unlock = lockDataDir(dataDir);
    try {
      return await startLocked(dataDir, options, unlock);
    } catch (error) {
      unlock();
      throw error;
    }
  } catch (error) {
    throw failureFromError(error, options.dataDir);
  }
}

async function startLocked(dataDir: string, { log, settings }: Options, unlock: () => void): Promise<EmbeddedPostgres> {
  const startedAt = performance.now();
  const cluster = join(dataDir, "postgres");
  const user = await findServerUser(dataDir, cluster);
  const binaries = await findBinaries(user);
  const name = await nameServer(dataDir);
  const socket = await makeSocketDir(cluster, name, user);
  await removeUnfinished(dataDir);
  if (!(await clusterExists(cluster, binaries.major, user))) {
    log("Creating the database cluster", { cluster });
    await createCluster(cluster, binaries, user, settings?.fsync !== "off");
  }
  const args = serverArguments(cluster, user, {
    ...defaultSettings,
    ...settings,
    listen_addresses: "",
    unix_socket_directories: socket.setting,
    unix_socket_permissions: "0700",
    port: "5432",
    cluster_name: name,
  });
  const stopping = new AbortController();
  const launch = async () => {
    await endLeftovers(name, user.uid, (pids) => log("Ending the database that an earlier process left", { pids }));
    await removeStaleLockFiles(cluster, socket.path);
    const plan = { program: binaries.postgres, args, cluster, user, logFile: join(dataDir, "postgres.log") };
    return launchServer(plan, stopping.signal);
  };
  const supervisor = supervise(await launch(), launch, stopping.signal, log);
  log("The database is ready", { cluster, pid: supervisor.pid(), tookMs: Math.round(performance.now() - startedAt) });
  let stopped: Promise<void> | undefined;
  return {
    url: `postgres://${superuser}@${encodeURIComponent(socket.path)}:5432/postgres`,
    superuser,
    stop() {
      stopping.abort();
      stopped ??= supervisor.ended.then(unlock);
      return stopped;
    },
    get pid() {
      return supervisor.pid();
    },
    onExit: supervisor.onExit,
  };
}

/** Starts the server again each time it ends, with growing pauses, until `stopping`; then `ended` resolves. */
function supervise(
  first: Server,
  launch: () => Promise<Server>,
  stopping: AbortSignal,
  log: Options["log"],
): { pid(): number; onExit(listener: (reason: string) => void): void; ended: Promise<void> } {
  const listeners: ((reason: string) => void)[] = [];
  let server = first;
  let pauseMs = firstPauseMs;

  const bringBack = async () => {
    while (!stopping.aborted) {
      await sleep(pauseMs, undefined, { signal: stopping }).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
      try {
        server = await launch();
        log("The database is back", { pid: server.pid });
        return;
      } catch (error) {
        if (!stopping.aborted) log("The database does not start", { reason: String(error), nextTryInMs: pauseMs });
      }
    }
  };
  const watch = async () => {
    for (;;) {
      const readyAt = performance.now();
      const reason = await server.exited;
      if (stopping.aborted) return;
      if (performance.now() - readyAt > steadyAfterMs) pauseMs = firstPauseMs;
      log("The database ended unbidden", { reason });
      // A listener that throws must not keep the database down.
      for (const listener of listeners) queueMicrotask(() => listener(reason));
      await bringBack();
    }
  };
  return { pid: () => server.pid, onExit: (listener) => void listeners.push(listener), ended: watch() };
}

function serverArguments(cluster: string, user: ServerUser, settings: Record<string, string>): string[] {
  const assignments = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return ["-D", reachablePath(cluster, user), ...assignments];
}
