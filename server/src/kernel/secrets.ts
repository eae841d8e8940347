/**
 * Secrets at rest that are needed back (access.md, section 9): envelope encryption. A value is sealed under a data key
 * of its tenant; data keys are stored wrapped under a master key that the database never sees. Destroying a tenant's data
 * keys kills every secret of it, in backups too.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { LRUCache } from "lru-cache";
import { MasterKeyError, type MasterKeys } from "./master-keys.ts";

export { loadMasterKeys, MasterKeyError, type MasterKeys, rereadMasterKeys } from "./master-keys.ts";

const NONCE_OCTETS = 12;
const TAG_OCTETS = 16;
const YEAR_MS = 365 * 24 * 3_600_000;
/** With random nonces of 96 bits, 2^32 values under one key is the bound of NIST SP 800-38D; this is a quarter of it. */
const SEALS_PER_KEY = 2 ** 30;
/** Seals that a process draws at once; at worst so many are lost when it ends. */
const SEAL_BLOCK = 2 ** 12;
const CACHED_KEYS = 10_000;
const KEPT_OPEN_MS = 600_000;
const SEALED_FORM = /^v1\.([\w-]{22})\.([\w-]{16})\.([\w-]{22,})$/;
const CHECK_TEXT = "demarc-master-key-check-v1";

/** `seal` keys encrypt and are renewed; a tenant's one `mac` key is the root of its keyed hashes and stays for good. */
export type KeyPurpose = "seal" | "mac";

/** A data key as it is stored: `wrapped` = nonce, ciphertext, tag under the master key `masterKid`. */
export type WrappedKey = {
  id: string;
  tenantId: string;
  purpose: KeyPurpose;
  masterKid: string;
  wrapped: Buffer;
  sealsReserved: number;
  createdAt: Date;
};

/** A known text under a master key: shows at the start whether the key of that name is the right one. */
export type CheckValue = { kid: string; value: Buffer };

/** Storage of data keys. Its own transactions: a data key must outlive the roll-back of the call that first needed it. */
export type DataKeyStore = {
  /** The key that a tenant uses for new values. */
  active(tenantId: string, purpose: KeyPurpose): Promise<WrappedKey | null>;
  byId(id: string): Promise<WrappedKey | null>;
  /** Makes `key` the active one if `replaces` (null: none) still is. Returns the active one: another process may win. */
  insert(key: WrappedKey, replaces: string | null): Promise<WrappedKey>;
  /** Adds to `sealsReserved` and returns the new sum; null when the key is gone. */
  reserveSeals(id: string, count: number): Promise<number | null>;
  /** Deletes all data keys of a tenant. */
  destroyAll(tenantId: string): Promise<void>;
  /** Kids of all master keys that some data key is wrapped under. */
  masterKidsInUse(): Promise<string[]>;
  checkValues(): Promise<CheckValue[]>;
  /** Stores a check value unless its kid has one; returns the stored one. */
  addCheckValue(value: CheckValue): Promise<CheckValue>;
};

/** Where a sealed value stands. It opens there only; no part may hold `|`. */
export type Place = { table: string; column: string; rowId: string };

/** A stored value does not open. `data_key_missing`: destroyed with its tenant, or of another installation. */
export class SealedValueError extends Error {
  readonly code: "malformed" | "data_key_missing" | "master_key_missing" | "not_authentic";
  constructor(code: SealedValueError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

export type Secrets = {
  /** Seals a value for one place of one tenant: `v1.<data key id>.<nonce>.<ciphertext and tag>`, base64url. */
  seal(tenantId: string, place: Place, plaintext: string | Uint8Array): Promise<string>;
  /** Opens a sealed value. Throws SealedValueError: it was altered, moved, or its keys are not at hand. */
  open(tenantId: string, place: Place, sealed: string): Promise<Buffer>;
  /** Opens a value and keeps what `make` makes of it in memory, ten minutes at most, and no longer than its data key. */
  openAs<T extends object>(tenantId: string, place: Place, sealed: string, make: (plain: Buffer) => T): Promise<T>;
  /** 32 octets for search by equality; the caller normalises the value and keeps one kind of value per column. */
  blindIndex(tenantId: string, value: string | Uint8Array): Promise<Buffer>;
  /** 32 octets that tell whether two requests of a tenant are equal, and nothing to who reads the database. */
  fingerprint(tenantId: string, bytes: Uint8Array): Promise<Buffer>;
  /** The same data key under the active master key, for `demarc secrets rotate`. */
  rewrap(key: WrappedKey): WrappedKey;
  /** Takes over the master keys of a changed file, after the check of the start. No call is interrupted. False: nothing new. */
  useMasterKeys(masterKeys: MasterKeys): Promise<boolean>;
  /** The master keys at hand, the active one first. */
  masterKids(): string[];
  /** Replaces the data key that a tenant seals with; older values open as before. */
  renewKey(tenantId: string): Promise<void>;
  /** Destroys all data keys of a tenant for good. */
  destroyKeys(tenantId: string): Promise<void>;
  /** Drops a tenant's keys from memory, or those of all, after another process destroyed or replaced them. */
  forget(tenantId?: string): void;
};

type DataKey = { id: string; key: KeyObject };
type SealingKey = DataKey & { endsAtMs: number; left: number; renewal: Promise<void> | null };
type MacKeys = { fingerprint: KeyObject; blindIndex: KeyObject };

/**
 * Checks the master keys against the database and makes the means to seal and open. One per process.
 * @throws MasterKeyError when a master key that is in use is missing or is not the one it is named after.
 */
export async function createSecrets(
  given: MasterKeys,
  store: DataKeyStore,
  now: () => Date = () => new Date(),
): Promise<Secrets> {
  await checkMasterKeys(given, store);
  let masterKeys = given;
  const sealingKeys = new LRUCache<string, Promise<SealingKey>>({ max: CACHED_KEYS });
  const openingKeys = new LRUCache<string, Promise<KeyObject>>({ max: CACHED_KEYS });
  const macKeys = new LRUCache<string, Promise<MacKeys>>({ max: CACHED_KEYS });
  const keptOpen = new LRUCache<string, Promise<object>>({ max: CACHED_KEYS, ttl: KEPT_OPEN_MS });

  function newKey(tenantId: string, purpose: KeyPurpose): WrappedKey {
    const id = randomBytes(16).toString("base64url");
    const sealsReserved = purpose === "seal" ? SEAL_BLOCK : 0;
    const unwrapped = { id, tenantId, purpose, sealsReserved, createdAt: now() };
    return wrapKey(masterKeys, unwrapped, randomBytes(32));
  }

  function asSealingKey(wrapped: WrappedKey, left: number): SealingKey {
    const key = createSecretKey(unwrapKey(masterKeys, wrapped));
    return { id: wrapped.id, key, endsAtMs: wrapped.createdAt.getTime() + YEAR_MS, left, renewal: null };
  }

  async function makeSealingKey(tenantId: string, replaces: string | null): Promise<SealingKey> {
    const mine = newKey(tenantId, "seal");
    const winner = await store.insert(mine, replaces);
    return asSealingKey(winner, winner.id === mine.id ? SEAL_BLOCK : 0);
  }

  async function loadSealingKey(tenantId: string): Promise<SealingKey> {
    const active = await store.active(tenantId, "seal");
    return active ? asSealingKey(active, 0) : makeSealingKey(tenantId, null);
  }

  async function renew(tenantId: string, current: SealingKey): Promise<void> {
    if (now().getTime() < current.endsAtMs) {
      const reserved = await store.reserveSeals(current.id, SEAL_BLOCK);
      if (reserved === null) {
        sealingKeys.delete(tenantId);
        return;
      }
      if (reserved <= SEALS_PER_KEY) {
        current.left += SEAL_BLOCK;
        return;
      }
    }
    const next = await makeSealingKey(tenantId, current.id);
    sealingKeys.set(tenantId, Promise.resolve(next));
  }

  /** A key with one seal taken from it. */
  async function nextSealingKey(tenantId: string): Promise<DataKey> {
    for (;;) {
      const current = await cached(sealingKeys, tenantId, () => loadSealingKey(tenantId));
      if (current.left > 0 && now().getTime() < current.endsAtMs) {
        current.left -= 1;
        return current;
      }
      current.renewal ??= renew(tenantId, current).finally(() => {
        current.renewal = null;
      });
      await current.renewal;
    }
  }

  async function loadOpeningKey(tenantId: string, id: string): Promise<KeyObject> {
    const wrapped = await store.byId(id);
    if (wrapped === null || wrapped.tenantId !== tenantId || wrapped.purpose !== "seal") {
      throw new SealedValueError("data_key_missing", `The data key ${id} of tenant ${tenantId} does not exist.`);
    }
    return createSecretKey(unwrapKey(masterKeys, wrapped));
  }

  async function loadMacKeys(tenantId: string): Promise<MacKeys> {
    const stored = await store.active(tenantId, "mac");
    const root = unwrapKey(masterKeys, stored ?? (await store.insert(newKey(tenantId, "mac"), null)));
    return { fingerprint: derive(root, "demarc-fingerprint-v1"), blindIndex: derive(root, "demarc-blind-index-v1") };
  }

  async function mac(tenantId: string, use: keyof MacKeys, value: string | Uint8Array): Promise<Buffer> {
    const keys = await cached(macKeys, tenantId, () => loadMacKeys(tenantId));
    return createHmac("sha256", keys[use]).update(value).digest();
  }

  function forget(tenantId?: string): void {
    if (tenantId === undefined) {
      for (const kept of [sealingKeys, macKeys, openingKeys, keptOpen]) kept.clear();
      return;
    }
    sealingKeys.delete(tenantId);
    macKeys.delete(tenantId);
    for (const kept of [openingKeys, keptOpen])
      for (const name of kept.keys()) if (name.startsWith(`${tenantId}|`)) kept.delete(name);
  }

  async function open(tenantId: string, place: Place, sealed: string): Promise<Buffer> {
    const context = associatedData(tenantId, place);
    const [, id, nonce, rest] = SEALED_FORM.exec(sealed) ?? [];
    if (id === undefined || nonce === undefined || rest === undefined) {
      throw new SealedValueError("malformed", `The value in ${place.table}.${place.column} is not a sealed one.`);
    }
    const key = await cached(openingKeys, `${tenantId}|${id}`, () => loadOpeningKey(tenantId, id));
    const box = Buffer.concat([Buffer.from(nonce, "base64url"), Buffer.from(rest, "base64url")]);
    return decrypt(key, box, context) ?? unopened(`The value in ${place.table}.${place.column} of ${place.rowId}`);
  }

  return {
    async seal(tenantId, place, plaintext) {
      const context = associatedData(tenantId, place);
      const { id, key } = await nextSealingKey(tenantId);
      const box = encrypt(key, plaintext, context);
      const nonce = box.toString("base64url", 0, NONCE_OCTETS);
      return `v1.${id}.${nonce}.${box.toString("base64url", NONCE_OCTETS)}`;
    },
    open,
    async openAs<T extends object>(tenantId: string, place: Place, sealed: string, make: (plain: Buffer) => T) {
      // The value's own octets are part of the name: what stands there now is what is opened.
      const name = `${tenantId}|${associatedData(tenantId, place)}|${sealed}`;
      return (await cached(keptOpen, name, async () => make(await open(tenantId, place, sealed)))) as T;
    },
    blindIndex: (tenantId, value) => mac(tenantId, "blindIndex", value),
    fingerprint: (tenantId, bytes) => mac(tenantId, "fingerprint", bytes),
    rewrap: (wrapped) => wrapKey(masterKeys, wrapped, unwrapKey(masterKeys, wrapped)),
    async useMasterKeys(next) {
      if (isSame(masterKeys, next)) return false;
      await checkMasterKeys(next, store);
      masterKeys = next;
      return true;
    },
    masterKids: () => [
      masterKeys.activeKid,
      ...[...masterKeys.keys.keys()].filter((kid) => kid !== masterKeys.activeKid),
    ],
    async renewKey(tenantId) {
      const active = await store.active(tenantId, "seal");
      const next = await makeSealingKey(tenantId, active?.id ?? null);
      sealingKeys.set(tenantId, Promise.resolve(next));
    },
    async destroyKeys(tenantId) {
      await store.destroyAll(tenantId);
      forget(tenantId);
    },
    forget,
  };
}

/**
 * Refuses master keys with which stored data keys could not be opened, and leaves a check value for a new active key.
 * The kids in use are asked for too: a check value alone would miss an older key removed before its last data key was
 * wrapped anew.
 */
async function checkMasterKeys(masterKeys: MasterKeys, store: DataKeyStore): Promise<void> {
  const [inUse, checks] = await Promise.all([store.masterKidsInUse(), store.checkValues()]);
  const missing = inUse.filter((kid) => !masterKeys.keys.has(kid));
  if (missing.length > 0) throw new MasterKeyError(`Missing master key, still in use: ${missing.sort().join(", ")}.`);
  const known = checks.filter(({ kid }) => masterKeys.keys.has(kid));
  if (checks.length > 0 && known.length === 0) {
    const kids = checks.map(({ kid }) => kid).sort();
    throw new MasterKeyError(`None of the master keys belongs to this database, which knows: ${kids.join(", ")}.`);
  }
  const { activeKid, keys } = masterKeys;
  if (!known.some(({ kid }) => kid === activeKid)) {
    const value = encrypt(keys.get(activeKid)!, CHECK_TEXT, activeKid);
    known.push(await store.addCheckValue({ kid: activeKid, value }));
  }
  const wrong = known.filter(({ kid, value }) => decrypt(keys.get(kid)!, value, kid) === null);
  if (wrong.length > 0) {
    const kids = wrong.map(({ kid }) => kid).sort();
    throw new MasterKeyError(`Not the master key that this database knows by the name: ${kids.join(", ")}.`);
  }
}

function isSame(one: MasterKeys, other: MasterKeys): boolean {
  if (one.activeKid !== other.activeKid || one.keys.size !== other.keys.size) return false;
  return [...one.keys].every(([kid, key]) => other.keys.get(kid)?.equals(key));
}

function wrapKey(masterKeys: MasterKeys, key: Omit<WrappedKey, "masterKid" | "wrapped">, plain: Buffer): WrappedKey {
  const masterKid = masterKeys.activeKid;
  return { ...key, masterKid, wrapped: encrypt(masterKeys.keys.get(masterKid)!, plain, wrappingContext(key)) };
}

function unwrapKey(masterKeys: MasterKeys, key: WrappedKey): Buffer {
  const master = masterKeys.keys.get(key.masterKid);
  if (master === undefined) throw new SealedValueError("master_key_missing", `Missing master key: ${key.masterKid}.`);
  return decrypt(master, key.wrapped, wrappingContext(key)) ?? unopened(`The data key ${key.id}`);
}

function wrappingContext({ tenantId, id, purpose }: Pick<WrappedKey, "tenantId" | "id" | "purpose">): string {
  return `${tenantId}|${id}|${purpose}`;
}

function associatedData(tenantId: string, { table, column, rowId }: Place): string {
  const parts = [table, column, rowId, tenantId];
  // Else two places could share one context, and a value could be moved between them.
  if (parts.some((part) => part.includes("|"))) throw new TypeError("A place of a sealed value must not hold |.");
  return parts.join("|");
}

function encrypt(key: KeyObject, plaintext: string | Uint8Array, context: string): Buffer {
  const nonce = randomBytes(NONCE_OCTETS);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_OCTETS });
  cipher.setAAD(Buffer.from(context));
  const plain = typeof plaintext === "string" ? Buffer.from(plaintext) : plaintext;
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Null when the box was altered, or made under another key or for another context. */
function decrypt(key: KeyObject, box: Uint8Array, context: string): Buffer | null {
  if (box.length < NONCE_OCTETS + TAG_OCTETS) return null;
  const tagAt = box.length - TAG_OCTETS;
  const options = { authTagLength: TAG_OCTETS };
  const decipher = createDecipheriv("aes-256-gcm", key, box.subarray(0, NONCE_OCTETS), options);
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(box.subarray(tagAt));
  const plain = decipher.update(box.subarray(NONCE_OCTETS, tagAt));
  try {
    return Buffer.concat([plain, decipher.final()]);
  } catch {
    return null;
  }
}

function unopened(what: string): never {
  throw new SealedValueError("not_authentic", `${what} does not open: it was altered, moved, or sealed elsewhere.`);
}

function derive(root: Buffer, use: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", root, "", use, 32)));
}

/** Loads once for all who ask at the same moment; a failure is not kept. */
function cached<T extends object>(
  cache: LRUCache<string, Promise<T>>,
  key: string,
  load: () => Promise<T>,
): Promise<T> {
  const known = cache.get(key);
  if (known) return known;
  const loading = load();
  cache.set(key, loading);
  loading.catch(() => {
    if (cache.peek(key) === loading) cache.delete(key);
  });
  return loading;
}
