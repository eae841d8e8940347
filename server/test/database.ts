/**
 * Databases for tests: one embedded cluster, a migrated template named by the migrations' content, and a clone of it per
 * server, made in a tenth of a second. `npm test` starts the cluster once and names it in DEMARC_TEST_CLUSTER; a test
 * file that is run by itself starts its own.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import pg from "pg";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../src/kernel/embedded/lifecycle.ts";
import { createNamedDatabase, migrate } from "../src/kernel/migrate.ts";

const migrations = new URL("../../migrations/", import.meta.url);

/** Starts a cluster that is thrown away: no fsync, many connections. */
export async function startTestCluster(): Promise<{ url: string; pid(): number; stop(): Promise<void> }> {
  const dataDir = mkdtempSync(join(tmpdir(), "demarc-test-"));
  const cluster: EmbeddedPostgres = await startEmbeddedPostgres({
    dataDir,
    log: () => {},
    settings: { fsync: "off", max_connections: "400" },
  });
  return {
    url: cluster.url,
    /** The postmaster's; it is started again when it is killed. */
    pid: () => cluster.pid,
    async stop() {
      await cluster.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

let own: Promise<{ url: string; stop(): Promise<void> }> | undefined;

async function clusterUrl(): Promise<string> {
  const given = process.env.DEMARC_TEST_CLUSTER;
  if (given) return given;
  if (!own) {
    own = startTestCluster();
    after(async () => (await own)?.stop());
  }
  return (await own).url;
}

/** The migrated template; made once per cluster and state of the migrations, whoever comes first. */
export async function ensureTemplate(url: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of readdirSync(migrations).sort()) hash.update(name).update(readFileSync(new URL(name, migrations)));
  const name = `demarc_template_${hash.digest("hex").slice(0, 12)}`;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("select pg_advisory_lock(7301946003)");
    const { rows } = await client.query("select datistemplate from pg_database where datname = $1", [name]);
    if (!rows[0]?.datistemplate) {
      if (rows[0]) await client.query(`drop database ${name} with (force)`);
      await migrate(await createNamedDatabase(url, name), migrations);
      await client.query(`alter database ${name} with is_template true`);
    }
  } finally {
    await client.end();
  }
  return name;
}

let count = 0;

/** A fresh database of its own, as a URL; dropped by `drop`. */
export async function createTestDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const url = await clusterUrl();
  const template = await ensureTemplate(url);
  const name = `demarc_test_${process.pid}_${++count}`;
  const made = await createNamedDatabase(url, name, template);
  return {
    url: made,
    async drop() {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      // A pool's end() returns before its sockets are closed; cut in that moment, they would report an error to nobody.
      for (let tries = 0; tries < 100; tries++) {
        const { rowCount } = await client.query("select from pg_stat_activity where datname = $1", [name]);
        if (rowCount === 0) break;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await client.query(`drop database if exists ${name} with (force)`);
      await client.end();
    },
  };
}
