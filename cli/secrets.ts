/** `demarc secrets`: beside a running server, on its database and with its settings. The one command made of server parts. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { modules } from "../server/src/app.ts";
import { ConfigError, readConfig } from "../server/src/config.ts";
import { createDataKeyStore } from "../server/src/kernel/data-keys.ts";
import { type Database, openDatabase } from "../server/src/kernel/db.ts";
import { superuser } from "../server/src/kernel/embedded/cluster.ts";
import {
  countDataKeys,
  liveProcesses,
  renewDataKeys,
  resealColumn,
  rewrapDataKeys,
  sealedColumns,
} from "../server/src/kernel/key-rotation.ts";
import { Problem } from "../server/src/kernel/problem.ts";
import { createSecrets, MasterKeyError, rereadMasterKeys, type Secrets } from "../server/src/kernel/secrets.ts";

/** The command cannot be done as things stand; the message is for the operator. */
class Refusal extends Error {
  override readonly name = "Refusal";
}

type Config = ReturnType<typeof readConfig>;

/** The embedded database of a running server: where its socket is stands in the cluster's postmaster.pid. */
function embeddedUrl(dataDir: string): string {
  try {
    const cluster = join(dataDir, "postgres");
    const [, , , port, socket] = readFileSync(join(cluster, "postmaster.pid"), "utf8").split("\n");
    // The socket's directory stands there as the server knows it: seen from the cluster.
    return `postgres://${superuser}@${encodeURIComponent(resolve(cluster, socket!))}:${port}/demarc`;
  } catch {
    throw new Refusal(
      `No server runs on ${dataDir}: start it, or set DEMARC_DATA_DIR or DEMARC_DATABASE_URL as it has them.`,
    );
  }
}

async function onDatabase(part: (system: Database, config: Config) => Promise<void>): Promise<void> {
  try {
    const config = readConfig(process.env);
    const url = config.DATABASE_URL || embeddedUrl(config.DATA_DIR);
    const system = openDatabase({ url, role: "demarc_system", shared: 1, pool: 2, onLost: () => {} });
    try {
      await part(system, config);
    } finally {
      await system.close();
    }
  } catch (error) {
    if (error instanceof ConfigError || error instanceof MasterKeyError) throw new Refusal(error.message);
    if (error instanceof Problem) throw new Refusal("The database cannot be reached, or is not at hand at the moment.");
    const code = (error as { code?: string }).code;
    if (code === "42P01" || code === "3D000")
      throw new Refusal("The database is not one of Demarc, or of an older release.");
    throw error;
  }
}

function secretsOf(system: Database, config: Config): Promise<Secrets> {
  const keys = rereadMasterKeys({
    file: config.MASTER_KEY_FILE || undefined,
    inline: config.MASTER_KEYS || undefined,
    production: config.ENV === "production",
    dataDir: config.DATA_DIR,
    warn: () => {},
  });
  return createSecrets(keys, createDataKeyStore(system));
}

/** Counts data keys per master key; those at hand that wrap none are counted too. */
export function showStatus(json: boolean): Promise<void> {
  return onDatabase(async (system, config) => {
    const secrets = await secretsOf(system, config);
    const counted = await countDataKeys(system);
    const [active, ...others] = secrets.masterKids();
    const all = [...new Set([active!, ...others, ...counted.map(({ kid }) => kid)])].map((kid) => ({
      kid,
      active: kid === active,
      dataKeys: counted.find((one) => one.kid === kid)?.dataKeys ?? 0,
    }));
    const processes = await liveProcesses(system);
    if (json) return console.log(JSON.stringify({ masterKeys: all, processes }));
    for (const { kid, active: isActive, dataKeys } of all)
      console.log(`${kid}${isActive ? " (active)" : ""}: ${dataKeys} data keys`);
    for (const { id, masterKids } of processes) console.log(`process ${id} holds ${masterKids.join(", ")}`);
  });
}

/** Wraps all data keys under the first master key; `data`: also makes new data keys and seals every value anew. */
export function rotate(data: boolean): Promise<void> {
  return onDatabase(async (system, config) => {
    const secrets = await secretsOf(system, config);
    const [active] = secrets.masterKids();
    const behind = (await liveProcesses(system)).filter(({ masterKids }) => masterKids[0] !== active);
    if (behind.length > 0) {
      const list = behind.map(({ id, masterKids }) => `\n  process ${id}: ${masterKids.join(", ")}`);
      throw new Refusal(
        `Not every server has the master key ${active} first. They read the file every 30 seconds, and on SIGHUP; try again then.${list.join("")}`,
      );
    }
    if (data) await renewEverything(system, secrets);
    const wrapped = await rewrapDataKeys(system, secrets);
    console.log(`${wrapped} data keys wrapped anew; all are under ${active} now.`);
  });
}

async function renewEverything(system: Database, secrets: Secrets): Promise<void> {
  console.log(`${await renewDataKeys(system, secrets)} new data keys made.`);
  // Twice, a while apart: a call that was under way may have sealed under the key before.
  for (const waitMs of [0, 2_000]) {
    await pause(waitMs);
    for (const column of sealedColumns(modules)) {
      const { values, unopened } = await resealColumn(system, secrets, column);
      if (values > 0) console.log(`${column.table}.${column.column}: ${values} values sealed anew`);
      if (unopened.length > 0)
        console.log(
          `${column.table}.${column.column}: ${unopened.length} do not open and stay as they are: ${unopened.join(", ")}`,
        );
    }
  }
}
