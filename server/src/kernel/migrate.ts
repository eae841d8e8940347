import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import pg from "pg";

export class MigrationError extends Error {}

const lockKey = 7_301_946_001;

/**
 * Brings the database at `url` to the newest schema: plain SQL files in the order of their numbers, each in a
 * transaction, forward only, under an advisory lock so that of several processes one works and the others wait. A file
 * that was applied and has changed since is refused. Returns the names of the files applied now.
 */
export async function migrate(url: string, folder: URL): Promise<string[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  await client.connect().catch((error: Error) => {
    throw new MigrationError(`The database cannot be reached: ${error.message}. Check DEMARC_DATABASE_URL.`);
  });
  try {
    await checkServer(client);
    await client.query("select pg_advisory_lock($1)", [lockKey]);
    await client.query("create schema if not exists kernel");
    await client.query(
      "create table if not exists kernel.migration (name text primary key, checksum text not null, applied_at timestamptz not null default now())",
    );
    const { rows } = await client.query<{ name: string; checksum: string }>(
      "select name, checksum from kernel.migration",
    );
    const known = new Map(rows.map((row) => [row.name, row.checksum]));
    for (const name of known.keys()) {
      if (!files.includes(name)) {
        throw new MigrationError(
          `The database holds the migration ${name}, which this release does not know. It was made by a newer release.`,
        );
      }
    }
    const applied: string[] = [];
    for (const name of files) {
      const sql = await readFile(new URL(name, folder), "utf8");
      const checksum = createHash("sha256").update(sql).digest("hex");
      const recorded = known.get(name);
      if (recorded === checksum) continue;
      if (recorded)
        throw new MigrationError(`The migration ${name} was applied to this database and has been edited since.`);
      await apply(client, name, sql, checksum);
      applied.push(name);
    }
    return applied;
  } finally {
    await client.end();
  }
}

async function apply(client: pg.Client, name: string, sql: string, checksum: string): Promise<void> {
  try {
    await client.query("begin");
    await client.query(sql);
    await client.query("insert into kernel.migration (name, checksum) values ($1, $2)", [name, checksum]);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    if ((error as pg.DatabaseError).code === "42501") {
      throw new MigrationError(
        `The migration ${name} needs more rights than the database user has: ${(error as Error).message}. ` +
          "Give the user CREATEROLE and ownership of the database, or let an administrator run the first start.",
      );
    }
    throw new MigrationError(`The migration ${name} failed: ${(error as Error).message}`, { cause: error });
  }
}

async function checkServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ version: number; encoding: string; folds: boolean }>(
    "select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding, lower('\u00cb') = '\u00eb' as folds",
  );
  const server = rows[0]!;
  if (server.version < 150_000) throw new MigrationError("Demarc needs PostgreSQL 15 or newer.");
  if (server.encoding !== "UTF8") throw new MigrationError("Demarc needs a database with the encoding UTF8.");
  if (!server.folds)
    throw new MigrationError(
      "Demarc needs a database whose locale knows letter case beyond ASCII (C.UTF-8, en_US.UTF-8 ...), not C or POSIX.",
    );
}

/** The URL of a database of this name in the cluster of `url`; it is made when it does not exist. */
export async function createNamedDatabase(url: string, name: string, template?: string): Promise<string> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    const { rowCount } = await client.query("select from pg_database where datname = $1", [name]);
    if (!rowCount)
      await client.query(
        `create database ${pg.escapeIdentifier(name)}${template ? ` template ${pg.escapeIdentifier(template)}` : ""}`,
      );
  } finally {
    await client.end();
  }
  const named = new URL(url);
  named.pathname = `/${name}`;
  return named.href;
}
