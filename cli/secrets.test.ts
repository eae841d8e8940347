import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import pg from "pg";
import { modules } from "../server/src/app.ts";
import { sealedColumns } from "../server/src/kernel/key-rotation.ts";
import { createTestDatabase } from "../server/test/database.ts";
import { dataDir, ended, freePort, launch, start, until } from "../server/test/faults/process.ts";
import { firstKey } from "../server/test/set-up.ts";
import { startWatchLab } from "../server/test/watch-lab.ts";

const root = new URL("..", import.meta.url).pathname;

async function demarc(settings: Record<string, string>, ...args: string[]) {
  const { PATH, HOME, TMPDIR, NODE_COMPILE_CACHE } = process.env;
  const child = spawn(process.execPath, ["cli/demarc.ts", ...args], {
    cwd: root,
    env: { PATH, HOME, TMPDIR, NODE_COMPILE_CACHE, ...settings },
  });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { status, output };
}
const line = (kid: string) => `${kid}:${randomBytes(32).toString("base64")}\n`;

test("81. 82. 84. the master key is rotated under load without one failed call; the server restarts without the old one, and not without one in use or with an open key file", async () => {
  const database = await createTestDatabase();
  const owner = new pg.Client({ connectionString: database.url });
  await owner.connect();
  const folder = dataDir();
  const file = join(folder, "keys");
  const [k1, k2] = [line("k1"), line("k2")];
  const keep = (text: string) => writeFileSync(file, text, { mode: 0o640 });
  keep(k1);
  const settings = {
    DEMARC_PORT: String(await freePort()),
    DEMARC_DATA_DIR: folder,
    DEMARC_DATABASE_URL: database.url,
    DEMARC_DEMO: "off",
    DEMARC_ENV: "production",
    DEMARC_PUBLIC_URL: "https://api.example",
    DEMARC_MASTER_KEY_FILE: file,
  };
  const server = await start(settings);
  const key = (await firstKey(server.output(), server.url))!;
  const call = async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const reply = await fetch(server.url + path, {
      method,
      headers: { "x-api-key": key, ...(body ? { "content-type": "application/json" } : {}), ...headers },
      body: body && JSON.stringify(body),
    });
    const text = await reply.text();
    return { status: reply.status, body: text ? JSON.parse(text) : null };
  };
  const [plan] = (await call("GET", "/v1/plan")).body.items;
  const lanes = { api: { ratePerSecond: 10_000, burst: 100_000, perDay: null } };
  assert.equal((await call("PATCH", `/v1/plan/${plan.id}`, { lanes })).status, 200);
  const once = (title: string) => call("POST", "/v1/key", { title }, { "idempotency-key": title });
  const kept = await once("kept");
  assert.equal(kept.status, 201);

  let loading = true;
  const failed: unknown[] = [];
  let calls = 0;
  const worker = async (name: number) => {
    for (let round = 0; loading; round++) {
      const made = await once(`w-${name}-${round}`);
      const again = await once(`w-${name}-${round}`);
      const gone = await call("DELETE", `/v1/key/${made.body.id}`);
      calls += 3;
      if (made.status !== 201 || again.status !== 201 || gone.status !== 204) failed.push([made, again, gone]);
      else if (again.body.secret !== made.body.secret) failed.push("another secret");
    }
  };
  const load = Promise.all([1, 2].map(worker));
  const status = async () => JSON.parse((await demarc(settings, "secrets", "status", "--json")).output);
  try {
    keep(k2 + k1);
    const early = await demarc(settings, "secrets", "rotate");
    assert.equal(early.status, 2, early.output);
    assert.match(early.output, /Not every server has the master key k2 first/);
    server.child.kill("SIGHUP");
    const held = "select from kernel.process where master_kids[1] = 'k2'";
    await until(async () => (await owner.query(held)).rowCount === 1, server);
    const rotated = await demarc(settings, "secrets", "rotate");
    assert.equal(rotated.status, 0, rotated.output);
    const { masterKeys } = await status();
    assert.deepEqual(
      masterKeys.map(({ kid, active, dataKeys }: any) => [kid, active, dataKeys > 0]),
      [
        ["k2", true, true],
        ["k1", false, false],
      ],
    );
  } finally {
    loading = false;
    await load;
  }
  assert.deepEqual(failed, []);
  assert.ok(calls > 30);
  await ended(server.child, "SIGTERM");

  keep(k2);
  const second = await start(settings);
  assert.equal((await once("kept")).body.secret, kept.body.secret);
  keep(line("k3"));
  second.child.kill("SIGHUP");
  await until(() => second.output().includes("were not taken over"), second);
  assert.equal((await once("kept")).body.secret, kept.body.secret, "a wrong file takes nothing away");
  await ended(second.child, "SIGTERM");

  const refused = launch(settings);
  assert.equal(await refused.exited, 1);
  assert.match(refused.output(), /Missing master key, still in use: k2\./, "82.");
  keep(k2);
  chmodSync(file, 0o644);
  const open = launch(settings);
  assert.equal(await open.exited, 1);
  assert.match(open.output(), /open to others \(mode 0644\)/, "84.");
  const nothing = await demarc({ ...settings, DEMARC_DATABASE_URL: "" }, "secrets", "status");
  assert.equal(nothing.status, 2);
  assert.match(nothing.output, /No server runs on/);
  await owner.end();
  await database.drop();
});

const server = await startWatchLab();
const owner = await server.key(server.A, "tenant_administrator");
const settings = () => ({ DEMARC_DATABASE_URL: server.databaseUrl, DEMARC_DATA_DIR: server.dataDir });
const sealed = /^v1\.([\w-]{22})\.[\w-]{16}\.[\w-]{22,}$/;
const bearer = (name: string, community: string) => ({
  name,
  locationId: server.L.id,
  watchType: "Bearer",
  accessInKbps: 1,
  accessOutKbps: 1,
  snmp: { version: "v2c", community },
});

/** Every text of the database that is a sealed value, by table and column. */
async function sealedValues(): Promise<Map<string, string[]>> {
  const columns = await server.sql(
    `select table_schema || '."' || table_name || '"' as name, table_schema || '.' || table_name as plain, column_name as column
     from information_schema.columns where table_schema not in ('pg_catalog', 'information_schema')
       and data_type in ('text', 'character varying', 'jsonb', 'json') and is_generated = 'NEVER'`,
  );
  const found = new Map<string, string[]>();
  for (const { name, plain, column } of columns) {
    const rows = await server.sql(
      `select "${column}"::text as value from ${name} where "${column}"::text ~ 'v1\\.[A-Za-z0-9_-]{22}\\.'`,
    );
    if (rows.length > 0)
      found.set(
        `${plain}.${column}`,
        rows.map(({ value }) => value),
      );
  }
  return found;
}

test("rotate --data seals every stored secret under a new data key, beside a running server, and each still opens", async () => {
  const made = await server.post("/v1/watch", bearer("w", "s3cret-community"), { key: owner });
  assert.equal(made.status, 201, made.text);
  const twice = { key: owner, headers: { "idempotency-key": "one" } };
  const { secret } = (await server.post("/v1/key", { title: "one" }, twice)).body;
  await server.get("/oauth/jwks");
  await server.get("/.well-known/demarc-audit-keys.json");
  const before = await sealedValues();
  assert.ok(before.size >= 4, [...before.keys()].join());
  const used = (values: Map<string, string[]>) =>
    new Set([...values.values()].flat().map((value) => sealed.exec(value)![1]!));

  const done = await demarc(settings(), "secrets", "rotate", "--data");
  assert.equal(done.status, 0, done.output);
  const after = await sealedValues();
  const oldKeys = used(before);
  assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort());
  assert.deepEqual(
    [...used(after)].filter((id) => oldKeys.has(id)),
    [],
  );
  const active = await server.sql("select id from kernel.data_key where purpose = 'seal' and active");
  for (const id of used(after)) assert.ok(active.some((one) => one.id === id));

  assert.equal((await server.post("/v1/key", { title: "one" }, twice)).body.secret, secret);
  const [row] = await server.sql("select tenant_id, snmp_sealed from monitoring.watch where id = $1", [made.body.id]);
  const place = { table: "monitoring.watch", column: "snmp_sealed", rowId: made.body.id };
  assert.match(
    (await server.kernel.secrets.open(row.tenant_id, place, row.snmp_sealed)).toString(),
    /s3cret-community/,
  );
  assert.equal(
    (await server.post("/v1/key", { title: "two" }, { key: owner, headers: { "idempotency-key": "two" } })).status,
    201,
  );
  assert.deepEqual(
    [...used(await sealedValues())].filter((id) => oldKeys.has(id)),
    [],
    "the running server seals under the new key too",
  );
});

test("83. a sealed value that was copied to another row does not open there", async () => {
  const [one, other] = await Promise.all(
    ["x", "y"].map((name) => server.post("/v1/watch", bearer(name, `community-${name}`), { key: owner })),
  );
  await server.sql(
    "update monitoring.watch set snmp_sealed = (select snmp_sealed from monitoring.watch where id = $1) where id = $2",
    [one!.body.id, other!.body.id],
  );
  const [{ tenant_id: tenantId, snmp_sealed: value }] = await server.sql(
    "select * from monitoring.watch where id = $1",
    [other!.body.id],
  );
  const place = (rowId: string) => ({ table: "monitoring.watch", column: "snmp_sealed", rowId });
  assert.match((await server.kernel.secrets.open(tenantId, place(one!.body.id), value)).toString(), /community-x/);
  await assert.rejects(server.kernel.secrets.open(tenantId, place(other!.body.id), value), /does not open/);
});

test("every column that holds sealed values is stated by its module, and may be sealed anew", async () => {
  const stated = sealedColumns(modules).map(({ table, column }) => `${table}.${column}`);
  const named = await server.sql(
    `select table_schema || '.' || table_name || '.' || column_name as name from information_schema.columns
     where table_schema not in ('pg_catalog', 'information_schema') and column_name like '%sealed%' and data_type = 'text'`,
  );
  const holding = [...(await sealedValues()).keys(), ...named.map(({ name }) => name as string)];
  assert.deepEqual(
    holding.filter((name) => !stated.includes(name)),
    [],
    "state it in `sealed` of its module",
  );
  for (const { table, column, rowId } of sealedColumns(modules)) {
    const [granted] = await server.sql(
      "select has_column_privilege('demarc_system', $1, $2, 'update') and has_table_privilege('demarc_system', $1, 'select') as ok",
      [table, column],
    );
    assert.ok(granted.ok, `demarc_system may not seal ${table}.${column} anew`);
    await server.sql(`select ${rowId}, tenant_id, ctid from ${table} limit 1`);
  }
});
