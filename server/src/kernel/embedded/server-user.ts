import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { EmbeddedPostgresError } from "./failure.ts";

/** The account PostgreSQL runs under. It refuses root, so a root process hands the child to somebody else. */
export type ServerUser = {
  uid: number;
  gid: number;
  /** This process is root: the child changes its uid, and may reach fewer directories than we do. */
  dropsRights: boolean;
  /** `setpriv` is there (Linux): the kernel sends the child SIGINT when this process dies, even by kill -9. */
  endsWithUs: boolean;
};

/**
 * Ourselves, unless we are root: then the owner of an existing cluster, else the owner of the data directory,
 * else `postgres`, else `nobody`. The owner of the directory counts only with a name, which initdb insists on.
 */
export async function findServerUser(dataDir: string, cluster: string): Promise<ServerUser> {
  if (!process.getuid) {
    const message =
      "The embedded database runs on Linux and macOS only. Give Demarc the address of a PostgreSQL of your own.";
    throw new EmbeddedPostgresError("binaries_missing", message);
  }
  const account = process.getuid() === 0 ? await accountBelowRoot(dataDir, cluster) : ourselves();
  const user = { ...account, dropsRights: process.getuid() === 0, endsWithUs: true };
  return { ...user, endsWithUs: (await runAs(user, "true", [])).ok };
}

/**
 * Starts a program as `user`, in a session of its own: Ctrl-C in the terminal is for us, and we decide what it means
 * for the database. Its working directory is entered before root's rights are given up.
 * Call it on the main thread: `endsWithUs` is bound to the thread, not to the process (prctl(2), PR_SET_PDEATHSIG).
 */
export function spawnAs(
  user: ServerUser,
  program: string,
  args: string[],
  options: { cwd?: string; stdio: StdioOptions },
): ChildProcess {
  const [file, ...rest] = user.endsWithUs
    ? ["setpriv", "--pdeathsig", "INT", "--", program, ...args]
    : [program, ...args];
  return spawn(file!, rest, {
    ...options,
    ...(user.dropsRights ? { uid: user.uid, gid: user.gid } : {}),
    detached: true,
    // Nothing of ours: PG* variables would change what initdb and postgres do, and messages are read in English.
    env: { LC_ALL: "C" },
  });
}

/** Runs a program to its end and gathers what it said. Never rejects: a program that cannot be started is not `ok`. */
export function runAs(
  user: ServerUser,
  program: string,
  args: string[],
  cwd?: string,
): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve) => {
    const child = spawnAs(user, program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    child.once("error", (error) => resolve({ ok: false, output: error.message }));
    child.once("close", (code) => resolve({ ok: code === 0, output }));
  });
}

function ourselves() {
  return { uid: process.getuid!(), gid: process.getgid!() };
}

async function accountBelowRoot(dataDir: string, cluster: string) {
  const owner = await stat(cluster).catch(() => undefined);
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const accounts = await readAccounts();
  const directory = await stat(dataDir);
  const found =
    accounts.find((account) => account.uid === directory.uid && account.uid !== 0) ??
    accounts.find((account) => account.name === "postgres") ??
    accounts.find((account) => account.name === "nobody");
  return found ? { uid: found.uid, gid: found.gid } : { uid: 65534, gid: 65534 };
}

// macOS lists `nobody` as -2.
async function readAccounts() {
  const text = await readFile("/etc/passwd", "utf8").catch(() => "");
  return text
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => fields.length > 3)
    .map(([name, , uid, gid]) => ({ name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 }));
}
