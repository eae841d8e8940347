/** Master keys (access.md, section 9): where they come from, and why a server does not start without them. */
import { createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { closeSync, fstatSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/** The active key wraps; the others only open. `keys` holds all of them by kid. */
export type MasterKeys = { activeKid: string; keys: ReadonlyMap<string, KeyObject> };

/** Master keys are absent, unreadable, exposed, or not those of this database. The message is for the operator. */
export class MasterKeyError extends Error {}

/** Where to look: `file` and `inline` are the settings; `dataDir` must exist and counts in development alone. */
export type MasterKeySource = {
  file?: string | undefined;
  inline?: string | undefined;
  production: boolean;
  /** Where development makes a key of its own. */
  dataDir: string;
  warn(message: string): void;
};

/**
 * Reads the master keys from the file (lines `kid:base64`) or the inline setting (the same, comma-separated). In
 * development with neither, a key is made once in the data directory, with a warning at each start.
 * @throws MasterKeyError naming every fault, never a key.
 */
export function loadMasterKeys({ file, inline, production, dataDir, warn }: MasterKeySource): MasterKeys {
  if (file && inline) throw new MasterKeyError("Set DEMARC_MASTER_KEY_FILE or DEMARC_MASTER_KEYS, not both.");
  if (inline) return parseKeys("DEMARC_MASTER_KEYS", "entry", inline.split(","));
  if (file) return readKeyFile(file);
  if (production) {
    throw new MasterKeyError(
      "Production needs a master key: set DEMARC_MASTER_KEY_FILE (lines `kid:base64` of 32 octets, first line active, " +
        "not readable by others) or DEMARC_MASTER_KEYS.",
    );
  }
  const path = join(dataDir, "master.key");
  makeKeyFile(path);
  warn(`Development: secrets are sealed under ${path}. Without that file they cannot be opened again.`);
  return readKeyFile(path);
}

/** Reads the master keys again, for who has them already: makes no file, and does not warn again. */
export function rereadMasterKeys(source: MasterKeySource): MasterKeys {
  const made = source.production || source.file || source.inline ? source.file : join(source.dataDir, "master.key");
  return loadMasterKeys({ ...source, file: made });
}

function readKeyFile(path: string): MasterKeys {
  let text: string;
  let mode: number;
  try {
    // The mode of the opened file, not of the path: between two looks at a path it can change.
    const descriptor = openSync(path, "r");
    try {
      mode = fstatSync(descriptor).mode;
      text = readFileSync(descriptor, "utf8");
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw new MasterKeyError(`The master key file ${path} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  if ((mode & 0o007) !== 0) {
    const shown = (mode & 0o777).toString(8).padStart(4, "0");
    throw new MasterKeyError(`The master key file ${path} is open to others (mode ${shown}): chmod 0600 or 0640.`);
  }
  return parseKeys(path, "line", text.split(/\r?\n/));
}

function parseKeys(source: string, unit: string, entries: string[]): MasterKeys {
  const keys = new Map<string, KeyObject>();
  const faults: string[] = [];
  entries.forEach((entry, index) => {
    const trimmed = entry.trim();
    if (trimmed === "") return;
    const [, kid, base64] = /^([A-Za-z0-9_-]{1,64}):(.*)$/.exec(trimmed) ?? [];
    const place = `${unit} ${index + 1}`;
    if (kid === undefined || base64 === undefined) faults.push(`${place} is not kid:base64`);
    // 32 octets are exactly 43 digits and one sign of padding; Buffer.from would pass over anything odd.
    else if (!/^[A-Za-z0-9+/]{43}=$/.test(base64)) faults.push(`${place} (kid ${kid}) is not 32 octets in base64`);
    else if (keys.has(kid)) faults.push(`${place} repeats the kid ${kid}`);
    else keys.set(kid, createSecretKey(Buffer.from(base64, "base64")));
  });
  if (faults.length > 0) throw new MasterKeyError(`Master keys of ${source}: ${faults.join("; ")}.`);
  const [activeKid] = keys.keys();
  if (activeKid === undefined) throw new MasterKeyError(`Master keys of ${source}: there is none.`);
  return { activeKid, keys };
}

/** Makes the file unless it is there. Complete before it has its name: two processes may start at the same moment. */
function makeKeyFile(path: string): void {
  const draft = `${path}.${randomBytes(6).toString("hex")}`;
  const descriptor = openSync(draft, "wx", 0o600);
  try {
    writeSync(descriptor, `dev-${randomBytes(3).toString("hex")}:${randomBytes(32).toString("base64")}\n`);
    fsyncSync(descriptor);
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    closeSync(descriptor);
    rmSync(draft);
  }
}
