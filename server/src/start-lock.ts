/**
 * Servers on one database start one after another: whoever comes first migrates, fills an empty database, makes the jobs'
 * tables; the others wait. The lock is the session's, so a process that is killed in the middle lets the next one on.
 */
import pg from "pg";
import { MigrationError } from "./kernel/migrate.ts";

const lockKey = 7_301_946_004;

type Parts = {
  /** Another process is starting. */
  onWait(): void;
  /** The connection that held the lock is gone, and another process may begin: this one must not go on. */
  onLost(): void;
};

/** Waits for the lock, and returns what releases it. */
export async function takeStartLock(url: string, { onWait, onLost }: Parts): Promise<() => Promise<void>> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    application_name: "demarc start",
  });
  await client.connect().catch((error: Error) => {
    throw new MigrationError(`The database cannot be reached: ${error.message}. Check DEMARC_DATABASE_URL.`);
  });
  let released = false;
  client.on("error", () => {});
  client.on("end", () => {
    if (!released) onLost();
  });
  const { rows } = await client.query<{ held: boolean }>("select pg_try_advisory_lock($1) as held", [lockKey]);
  if (!rows[0]!.held) {
    onWait();
    await client.query("select pg_advisory_lock($1)", [lockKey]);
  }
  return async () => {
    released = true;
    await client.end();
  };
}
