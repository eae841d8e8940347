import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import pg from "pg";
import { createNamedDatabase } from "../../src/kernel/migrate.ts";
import { createTestDatabase, ensureTemplate, startTestCluster } from "../database.ts";
import { eventually } from "../harness.ts";
import { firstKey } from "../set-up.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { dataDir, endAll, ended, freePort, launch, readDemo, until } from "./process.ts";

after(endAll);

const installation = await startInstallation(2);
after(() => installation.end());
const [first, second] = installation.servers as [Installation["servers"][0], Installation["servers"][0]];
const { call, sql } = installation;
let titles = 0;

/** A key that has been used at both servers, so that both know it by heart. */
async function keyInUse(): Promise<{ id: string; secret: string }> {
  const made = await call(first, "POST", "/v1/key", {
    body: { title: `key-${++titles}`, roles: [{ roleId: "read_only" }] },
  });
  const { id, secret } = made.body;
  for (const server of [first, second]) assert.equal(await statusAt(server, secret), 200);
  return { id, secret };
}
const statusAt = async (server: Installation["servers"][0], key: string) =>
  (await call(server, "GET", "/v1/principal/self", { key })).status;
const heartbeats = async () =>
  (
    await sql("select id from kernel.process where heartbeat_at > clock_timestamp() - interval '1 second' order by id")
  ).map((row) => row.id as string);

test("of servers that start at one moment on an empty database one fills it, and both serve it", async () => {
  const roots = await sql("select id from access.tenant where parent_id is null");
  assert.equal(roots.length, 1);
  // Each has shown a link to set the installation up; the one that was used has ended the others.
  await assert.rejects(firstKey(second.output(), second.url), /refused with 4/);
  await eventually(async () => (await heartbeats()).length === 2);
  for (const server of installation.servers) assert.equal(await statusAt(server, installation.key), 200);
});

test("26. what is taken away at one server counts at the other one's next calls: a rotated, narrowed, deleted key, a token", async () => {
  const rotated = await keyInUse();
  await call(first, "POST", `/v1/key/${rotated.id}/rotate`, { body: { overlapMinutes: 0 } });
  assert.equal(await statusAt(first, rotated.secret), 401);
  await eventually(async () => (await statusAt(second, rotated.secret)) === 401);

  const narrowed = await keyInUse();
  assert.equal((await call(second, "GET", "/v1/watch", { key: narrowed.secret })).status, 200);
  await call(first, "PATCH", `/v1/key/${narrowed.id}`, { body: { scopes: ["tenant.read"] } });
  await eventually(async () => (await call(second, "GET", "/v1/watch", { key: narrowed.secret })).status === 403);

  const deleted = await keyInUse();
  await call(second, "DELETE", `/v1/key/${deleted.id}`);
  assert.equal(await statusAt(second, deleted.secret), 401);
  await eventually(async () => (await statusAt(first, deleted.secret)) === 401);
});

async function token(at: Installation["servers"][0], client: { id: string; secret: string }): Promise<string> {
  const answer = await fetch(`${at.url}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${client.id}:${client.secret}`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  return ((await answer.json()) as { access_token: string }).access_token;
}
const bearer = async (server: Installation["servers"][0], value: string) =>
  (await fetch(`${server.url}/v1/principal/self`, { headers: { authorization: `Bearer ${value}` } })).status;

test("52. tokens of one server work at the other; revoked, or after an emergency rotation, at neither, and new ones at both", async () => {
  const made = await call(first, "POST", "/v1/client", {
    body: { kind: "service", name: "both", roles: [{ roleId: "read_only" }] },
  });
  const client = made.body as { id: string; secret: string };
  const old = await token(first, client);
  const revoked = await token(second, client);
  for (const server of [first, second])
    for (const value of [old, revoked]) assert.equal(await bearer(server, value), 200);
  await fetch(`${first.url}/oauth/revoke`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${client.id}:${client.secret}`)}` },
    body: new URLSearchParams({ token: revoked }),
  });
  assert.equal(await bearer(first, revoked), 401);
  await eventually(async () => (await bearer(second, revoked)) === 401);
  assert.equal(await bearer(second, old), 200);
  // A token of a key that nobody knows makes a server look for new keys, and then not again for a while.
  const [head, ...rest] = old.split(".");
  const stranger = btoa(JSON.stringify({ ...JSON.parse(atob(head!)), kid: "nobody" })).replaceAll("=", "");
  assert.equal(await bearer(second, [stranger, ...rest].join(".")), 401);
  await call(first, "POST", "/v1/signing-key/rotate", { body: { emergency: true } });
  assert.equal(await bearer(first, old), 401);
  await eventually(async () => (await bearer(second, old)) === 401);
  const next = await token(first, client);
  for (const server of [first, second]) assert.equal(await bearer(server, next), 200);
});

test("a server that slept for five seconds admits nothing that was taken away meanwhile, not even calls that wait at its door", async () => {
  const keys = await Promise.all(Array.from({ length: 8 }, keyInUse));
  second.child.kill("SIGSTOP");
  let waiting: Promise<number>[];
  try {
    waiting = keys.map(({ secret }) => statusAt(second, secret));
    await Promise.all(keys.map(({ id }) => call(first, "DELETE", `/v1/key/${id}`)));
    await eventually(async () => {
      const [row] = await sql(
        "select count(*)::int as n from kernel.process where heartbeat_at < clock_timestamp() - interval '5 seconds'",
      );
      return row.n === 1;
    });
  } finally {
    second.child.kill("SIGCONT");
  }
  assert.deepEqual(
    await Promise.all(waiting),
    keys.map(() => 401),
  );
  assert.deepEqual(
    await Promise.all(keys.map(({ secret }) => statusAt(second, secret))),
    keys.map(() => 401),
  );
  await eventually(async () => (await heartbeats()).length === 2);
});

test("servers that cannot hear of each other keep nothing: a key deleted at one is refused at the other at once", async () => {
  const key = await keyInUse();
  const url = new URL(installation.settings[0]!.DEMARC_DATABASE_URL!);
  const name = url.pathname.slice(1);
  url.pathname = "/postgres";
  const outside = new pg.Client({ connectionString: url.href });
  await outside.connect();
  try {
    await outside.query(`alter database ${name} allow_connections false`);
    await outside.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name = 'demarc listener'",
      [name],
    );
    await eventually(async () => (await heartbeats()).length === 0);
    assert.equal(await statusAt(second, key.secret), 200, "the database is asked");
    await call(first, "DELETE", `/v1/key/${key.id}`);
    assert.equal(await statusAt(first, key.secret), 401);
    assert.equal(await statusAt(second, key.secret), 401);
  } finally {
    await outside.query(`alter database ${name} allow_connections true`);
    await outside.end();
  }
  await eventually(async () => (await heartbeats()).length === 2);
  const next = await keyInUse();
  await call(first, "DELETE", `/v1/key/${next.id}`);
  await eventually(async () => (await statusAt(second, next.secret)) === 401);
});

test("65. 66. a call repeated at the other server has its effect once, and another call under its key is refused there", async () => {
  const once = { body: { name: "repeated" }, headers: { "idempotency-key": "over-both" } };
  const made = await call(first, "POST", "/v1/folder", once);
  const again = await call(second, "POST", "/v1/folder", once);
  assert.deepEqual([made.status, again.status, again.text], [201, 201, made.text]);
  assert.equal(again.headers["idempotency-replayed"], "true");
  const other = await call(second, "POST", "/v1/folder", { ...once, body: { name: "another" } });
  assert.equal(other.status, 422);
});

test("an interrupted server ends well and at once counts no more, while the other one answers every call", async () => {
  await eventually(async () => (await heartbeats()).length === 2);
  let over = false;
  const statuses = new Set<number>();
  const load = (async () => {
    while (!over) statuses.add(await statusAt(first, installation.key));
  })();
  second.child.kill("SIGINT");
  assert.equal(await second.exited, 0);
  assert.equal((await sql("select id from kernel.process")).length, 1);
  const key = (await call(first, "POST", "/v1/key", { body: { title: "alone", roles: [{ roleId: "read_only" }] } }))
    .body;
  await call(first, "DELETE", `/v1/key/${key.id}`);
  assert.equal(await statusAt(first, key.secret), 401);
  over = true;
  await load;
  assert.deepEqual([...statuses], [200]);
});

test("a first start that is killed while another server waits is made anew by that one, whole", async () => {
  const database = await createTestDatabase();
  after(() => database.drop());
  const shared = {
    DEMARC_DATABASE_URL: database.url,
    DEMARC_MASTER_KEYS: installation.settings[0]!.DEMARC_MASTER_KEYS!,
    DEMARC_PUBLIC_URL: "http://localhost:8080",
  };
  const [cut, heir] = [dataDir(), dataDir()];
  const owner = new pg.Client({ connectionString: database.url });
  await owner.connect();
  // Holds the demo up in its middle.
  await owner.query("begin; lock table monitoring.watch in access exclusive mode");
  const dying = launch({ ...shared, DEMARC_PORT: String(await freePort()), DEMARC_DATA_DIR: cut });
  await until(async () => (await owner.query("select from kernel.first_start")).rowCount === 1, dying);
  const waiting = launch({ ...shared, DEMARC_PORT: String(await freePort()), DEMARC_DATA_DIR: heir });
  await until(() => waiting.output().includes("waiting for it"), waiting);
  await ended(dying.child, "SIGKILL");
  await owner.query("rollback");
  await until(() => waiting.output().includes("Documents and Swagger UI"), waiting);
  await owner.end();
  assert.ok(!existsSync(join(cut, "demo.json")), "the first one was cut before its demo was whole");
  const key = readDemo(heir).keys[0]!.key;
  const counted = await fetch(`${waiting.url}/v1/watch?count=true&limit=1`, { headers: { "x-api-key": key } });
  assert.equal(((await counted.json()) as { total: number }).total, 360);
  await ended(waiting.child, "SIGTERM");
});

test("after the database was killed under two servers both go on, and what is taken away spreads again", async () => {
  const cluster = await startTestCluster();
  after(() => cluster.stop());
  const url = await createNamedDatabase(cluster.url, "restarted", await ensureTemplate(cluster.url));
  const restarted = await startInstallation(2, { DEMARC_DATABASE_URL: url });
  after(() => restarted.end());
  const [one, two] = restarted.servers as [Installation["servers"][0], Installation["servers"][0]];
  const made = await restarted.call(one, "POST", "/v1/key", {
    body: { title: "kept", roles: [{ roleId: "read_only" }] },
  });
  const { id, secret } = made.body;
  const statusOf = async (server: Installation["servers"][0]) =>
    (await restarted.call(server, "GET", "/v1/principal/self", { key: secret })).status;
  for (const server of [one, two]) assert.equal(await statusOf(server), 200);
  const pid = cluster.pid();
  process.kill(pid, "SIGKILL");
  // Connections of the killed database may answer for a moment still.
  await eventually(() => cluster.pid() !== pid);
  await eventually(async () => (await statusOf(one)) === 200 && (await statusOf(two)) === 200);
  await eventually(async () => {
    const rows = await restarted
      .sql("select id from kernel.process where heartbeat_at > clock_timestamp() - interval '1 second'")
      .catch(() => []);
    return rows.length === 2;
  });
  for (const server of [one, two]) assert.equal(await statusOf(server), 200);
  assert.equal((await restarted.call(one, "DELETE", `/v1/key/${id}`)).status, 204);
  assert.equal(await statusOf(one), 401);
  await eventually(async () => (await statusOf(two)) === 401);
});
