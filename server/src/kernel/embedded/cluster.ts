import { chown, mkdtemp, open, readdir, readFile, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Binaries } from "./binaries.ts";
import { EmbeddedPostgresError, failureFromOutput } from "./failure.ts";
import { runAs, type ServerUser } from "./server-user.ts";

export const superuser = "demarc";

// Made under another name and renamed when complete: a cluster that bears its right name is a whole one.
const unfinished = "postgres.new-";

// What initdb says when its uid has no entry in the user database.
const namelessUser = "could not look up effective user ID";

/**
 * Whether there is a cluster to start. False when there is none, or only an empty directory.
 * @throws EmbeddedPostgresError `not_startable` for something that must not be touched: no cluster, another version's,
 * another user's
 */
export async function clusterExists(cluster: string, major: string, user: ServerUser): Promise<boolean> {
  const found = await stat(cluster).catch(() => undefined);
  if (!found) return false;
  if (found.uid !== user.uid && !user.dropsRights) {
    throw unusable(`${cluster} belongs to the user with id ${found.uid}. Run Demarc as that user or as root`);
  }
  if ((await readdir(cluster)).length === 0) return false;
  const version = (await readFile(join(cluster, "PG_VERSION"), "utf8").catch(() => "")).trim();
  if (version === major) return true;
  throw unusable(
    version
      ? `${cluster} was made by PostgreSQL ${version}, and this is ${major}. Dump it with the old version and restore it`
      : `${cluster} is not a PostgreSQL cluster. Move it away`,
  );
}

/** Removes what an initdb that was killed left behind. */
export async function removeUnfinished(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (name.startsWith(unfinished)) {
      // An initdb that outlived its node for a moment may still be at work in it.
      await rm(join(dataDir, name), { recursive: true, force: true, maxRetries: 10 });
    }
  }
}

/**
 * Makes the cluster: UTF-8, text compared by code point with Unicode-aware upper and lower, superuser `demarc`, any
 * local user trusted (the cluster's own directory, mode 0700, is where the socket lies), no other host.
 * @param durable whether it must survive a power cut from its first moment (costs some 60 ms)
 */
export async function createCluster(
  cluster: string,
  binaries: Binaries,
  user: ServerUser,
  durable: boolean,
): Promise<void> {
  const dataDir = dirname(cluster);
  const fresh = await mkdtemp(join(dataDir, unfinished));
  if (user.dropsRights) await chown(fresh, user.uid, user.gid);
  const { ok, output } = await runInitdb(fresh, binaries, user, durable);
  if (!ok) {
    const { bavail, bsize } = await statfs(dataDir);
    await rm(fresh, { recursive: true, force: true });
    throw output.includes(namelessUser)
      ? unusable(`User id ${user.uid} has no entry in /etc/passwd, and initdb needs one. Add it`)
      : failureFromOutput({ program: "initdb", output, dataDir, freeBytes: bavail * bsize });
  }
  await rename(fresh, cluster);
  if (durable) await syncDirectory(dataDir);
}

/**
 * How a program of `user` that was started in the cluster's directory names it. After root's rights are gone the path
 * may lead through directories closed to the user (a clone under /root), while the working directory stays open.
 */
export function reachablePath(cluster: string, user: ServerUser): string {
  return user.dropsRights && process.platform === "linux" ? "/proc/self/cwd" : cluster;
}

async function runInitdb(directory: string, { initdb }: Binaries, user: ServerUser, durable: boolean) {
  const isLinux = process.platform === "linux";
  const args = [
    `--pgdata=${reachablePath(directory, user)}`,
    `--username=${superuser}`,
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    // The system's character classes, from which pg_trgm and text search still take what a letter is.
    `--locale=${isLinux ? "C.UTF-8" : "en_US.UTF-8"}`,
    "--no-instructions",
    ...(durable ? ["--sync-method=" + (isLinux ? "syncfs" : "fsync")] : ["--no-sync"]),
  ];
  const result = await runAs(user, initdb, args, directory);
  if (result.ok || !result.output.includes(namelessUser)) return result;
  // In a user namespace the same uid answers to the name of nobody; containers often forbid making one.
  const asNobody = ["--map-user=nobody"];
  const allowed = await runAs(user, "unshare", [...asNobody, "true"]);
  return allowed.ok ? runAs(user, "unshare", [...asNobody, initdb, ...args], directory) : result;
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function unusable(whatAndCure: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError("not_startable", `${whatAndCure}, then start again.`);
}
