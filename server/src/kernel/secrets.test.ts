import assert from "node:assert/strict";
import { createSecretKey } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import {
  type CheckValue,
  createSecrets,
  type DataKeyStore,
  MasterKeyError,
  type MasterKeys,
  type Place,
  SealedValueError,
  type WrappedKey,
} from "./secrets.ts";

const PLACE: Place = { table: "monitoring.watch", column: "community", rowId: "wch_1" };
const A = "tnt_a";
const B = "tnt_b";
const BLOCK = 4096;

function masterKeys(...kids: string[]): MasterKeys {
  // The octets follow from the whole name and the "!" is then dropped: "k1" and "k1!" are two keys of one kid.
  const keys = new Map(kids.map((kid) => [kid.replace("!", ""), createSecretKey(Buffer.alloc(32, kid))]));
  return { activeKid: [...keys.keys()][0]!, keys };
}

/** The contract of the store over two arrays; every answer comes a turn later, so that racing calls interleave. */
function memoryStore() {
  const keys: (WrappedKey & { active: boolean })[] = [];
  const checks: CheckValue[] = [];
  const activeOf = (tenantId: string, purpose: string) =>
    keys.find((key) => key.active && key.tenantId === tenantId && key.purpose === purpose) ?? null;
  const store: DataKeyStore = {
    active: async (tenantId, purpose) => activeOf(tenantId, purpose),
    byId: async (id) => keys.find((key) => key.id === id) ?? null,
    async insert(key, replaces) {
      const active = activeOf(key.tenantId, key.purpose);
      if ((active?.id ?? null) !== replaces) return active!;
      if (active) active.active = false;
      keys.push({ ...key, active: true });
      return key;
    },
    async reserveSeals(id, count) {
      const key = keys.find((one) => one.id === id);
      if (key) key.sealsReserved += count;
      return key?.sealsReserved ?? null;
    },
    async destroyAll(tenantId) {
      for (let i = keys.length - 1; i >= 0; i--) if (keys[i]!.tenantId === tenantId) keys.splice(i, 1);
    },
    masterKidsInUse: async () => [...new Set(keys.map((key) => key.masterKid))],
    checkValues: async () => checks,
    async addCheckValue(value) {
      const stored = checks.find(({ kid }) => kid === value.kid);
      if (!stored) checks.push(value);
      return stored ?? value;
    },
  };
  return { store, keys, checks };
}

function refusal(code: SealedValueError["code"]) {
  return (error: unknown) => error instanceof SealedValueError && error.code === code;
}

function startRefusal(message: RegExp) {
  return (error: unknown) => error instanceof MasterKeyError && message.test(error.message);
}

test("any value opens again at its place, in another process too", async () => {
  const { store } = memoryStore();
  const secrets = await createSecrets(masterKeys("k1"), store);
  const other = await createSecrets(masterKeys("k1"), store);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (octets) => {
      const sealed = await secrets.seal(A, PLACE, octets);
      assert.match(sealed, /^v1\.[\w-]{22}\.[\w-]{16}\.[\w-]{22,}$/);
      assert.deepEqual(await other.open(A, PLACE, sealed), Buffer.from(octets));
    }),
    { numRuns: 50 },
  );
  assert.equal((await secrets.open(A, PLACE, await secrets.seal(A, PLACE, "pässword"))).toString(), "pässword");
});

test("the same value sealed twice looks different each time, and nothing stored shows it", async () => {
  const { store, keys } = memoryStore();
  const secrets = await createSecrets(masterKeys("k1"), store);
  const sealed = await Promise.all(Array.from({ length: 50 }, () => secrets.seal(A, PLACE, "c0mmunity")));
  assert.equal(new Set(sealed.map((value) => value.split(".")[2])).size, 50);
  const stored = sealed.map((value) => Buffer.from(value.split(".")[3]!, "base64url"));
  for (const octets of [...stored, ...keys.map((key) => key.wrapped)]) assert.ok(!octets.includes("c0mmunity"));
});

test("83: a sealed value moved to another row, column, table or tenant does not open", async () => {
  const { store } = memoryStore();
  const secrets = await createSecrets(masterKeys("k1"), store);
  const sealed = await secrets.seal(A, PLACE, "c0mmunity");
  await secrets.seal(B, PLACE, "other");
  for (const moved of [{ rowId: "wch_2" }, { column: "authKey" }, { table: "monitoring.folder" }]) {
    await assert.rejects(secrets.open(A, { ...PLACE, ...moved }, sealed), refusal("not_authentic"));
  }
  await assert.rejects(secrets.open(B, PLACE, sealed), refusal("data_key_missing"));
});

test("places cannot be made to look alike by a separator in one of their parts", async () => {
  const secrets = await createSecrets(masterKeys("k1"), memoryStore().store);
  await assert.rejects(secrets.seal(A, { table: "t", column: "c|r", rowId: "1" }, "x"), TypeError);
  await assert.rejects(secrets.open(`${A}|x`, PLACE, "v1.x.y.z"), TypeError);
});

test("a sealed value changed in any one character does not open", async () => {
  const secrets = await createSecrets(masterKeys("k1"), memoryStore().store);
  const sealed = await secrets.seal(A, PLACE, "c0mmunity-c0mmunity-c0mmunity");
  await fc.assert(
    fc.asyncProperty(fc.nat(sealed.length - 1), fc.constantFrom(..."AZaz09-_."), async (at, digit) => {
      const changed = sealed.slice(0, at) + digit + sealed.slice(at + 1);
      // The last digit of base64url holds bits that no octet has: another digit may spell the same octets.
      const spellsTheSame = changed
        .split(".")
        .every((part, i) =>
          Buffer.from(part, "base64url").equals(Buffer.from(sealed.split(".")[i] ?? "", "base64url")),
        );
      if (changed === sealed || (spellsTheSame && at > 25)) return;
      await assert.rejects(secrets.open(A, PLACE, changed), SealedValueError);
    }),
  );
});

test("what is no sealed value is refused as malformed", async () => {
  const secrets = await createSecrets(masterKeys("k1"), memoryStore().store);
  const sealed = await secrets.seal(A, PLACE, "x");
  for (const value of ["", "x", sealed.replace("v1", "v2"), sealed.slice(0, 60), `${sealed}=`, `${sealed}.x`]) {
    await assert.rejects(secrets.open(A, PLACE, value), refusal("malformed"));
  }
});

test("a tenant has one data key however many calls and processes need the first one at once", async () => {
  const { store, keys } = memoryStore();
  const processes = [await createSecrets(masterKeys("k1"), store), await createSecrets(masterKeys("k1"), store)];
  const [first, second] = processes as [(typeof processes)[0], (typeof processes)[0]];
  const sealed = await Promise.all(
    processes.flatMap((secrets) => [
      secrets.seal(A, PLACE, "1"),
      secrets.seal(A, PLACE, "2"),
      secrets.seal(B, PLACE, "3"),
    ]),
  );
  assert.equal(keys.length, 2);
  // One block of seals each, for the process that made the key and for the one that came too late.
  assert.deepEqual(
    keys.map((key) => key.sealsReserved),
    [2 * BLOCK, 2 * BLOCK],
  );
  assert.equal((await second.open(A, PLACE, sealed[0]!)).toString(), "1");
  assert.equal((await first.open(B, PLACE, sealed[5]!)).toString(), "3");
});

test("after a year values are sealed under a new data key, and the old ones still open", async () => {
  const { store, keys } = memoryStore();
  let nowMs = Date.UTC(2026, 0, 1);
  const secrets = await createSecrets(masterKeys("k1"), store, () => new Date(nowMs));
  const old = await secrets.seal(A, PLACE, "old");
  nowMs += 365 * 86_400_000 - 1;
  assert.equal((await secrets.seal(A, PLACE, "x")).split(".")[1], old.split(".")[1]);
  nowMs += 1;
  const renewed = await Promise.all([secrets.seal(A, PLACE, "new"), secrets.seal(A, PLACE, "new")]);
  assert.notEqual(renewed[0].split(".")[1], old.split(".")[1]);
  assert.equal(keys.length, 2);
  assert.equal((await secrets.open(A, PLACE, old)).toString(), "old");
  assert.equal((await secrets.open(A, PLACE, renewed[1])).toString(), "new");
});

test("a data key seals no more than 2^30 values, counted over restarts and processes", async () => {
  const { store, keys } = memoryStore();
  const first = await createSecrets(masterKeys("k1"), store);
  const old = await first.seal(A, PLACE, "old");
  assert.equal(keys[0]!.sealsReserved, BLOCK);
  keys[0]!.sealsReserved = 2 ** 30 - BLOCK;
  const restarted = await createSecrets(masterKeys("k1"), store);
  const id = (sealed: string) => sealed.split(".")[1];
  for (let i = 0; i < BLOCK; i++) assert.equal(id(await restarted.seal(A, PLACE, "x")), id(old));
  assert.equal(keys[0]!.sealsReserved, 2 ** 30);
  assert.notEqual(id(await restarted.seal(A, PLACE, "x")), id(old));
  assert.equal(keys.length, 2);
  assert.equal((await restarted.open(A, PLACE, old)).toString(), "old");
});

test("fingerprints and blind indexes are stable, in another process and under a new data key too", async () => {
  const { store } = memoryStore();
  let nowMs = Date.UTC(2026, 0, 1);
  const secrets = await createSecrets(masterKeys("k1"), store, () => new Date(nowMs));
  await secrets.seal(A, PLACE, "x");
  const fingerprint = await secrets.fingerprint(A, Buffer.from("body"));
  const index = await secrets.blindIndex(A, "zoe@example.net");
  nowMs += 2 * 365 * 86_400_000;
  const other = await createSecrets(masterKeys("k1"), store, () => new Date(nowMs));
  await other.seal(A, PLACE, "x");
  assert.deepEqual(await other.fingerprint(A, Buffer.from("body")), fingerprint);
  assert.deepEqual(await other.blindIndex(A, "zoe@example.net"), index);
  assert.equal(fingerprint.length, 32);
});

test("fingerprints and blind indexes differ by tenant, by use and by value", async () => {
  const secrets = await createSecrets(masterKeys("k1"), memoryStore().store);
  const macs = await Promise.all([
    secrets.fingerprint(A, Buffer.from("v")),
    secrets.fingerprint(B, Buffer.from("v")),
    secrets.fingerprint(A, Buffer.from("w")),
    secrets.blindIndex(A, "v"),
    secrets.blindIndex(B, "v"),
  ]);
  assert.equal(new Set(macs.map((mac) => mac.toString("hex"))).size, 5);
});

test("a value cannot be opened with the key of the keyed hashes, nor a wrapped key passed off as another's", async () => {
  const { store, keys } = memoryStore();
  const secrets = await createSecrets(masterKeys("k1"), store);
  const sealed = await secrets.seal(A, PLACE, "x");
  await secrets.blindIndex(A, "x");
  const macId = keys.find((key) => key.purpose === "mac")!.id;
  const other = await createSecrets(masterKeys("k1"), store);
  await assert.rejects(
    other.open(A, PLACE, sealed.replace(/\.[\w-]{22}\./, `.${macId}.`)),
    refusal("data_key_missing"),
  );
  for (const key of keys) key.tenantId = B;
  await assert.rejects(other.open(B, PLACE, sealed), refusal("not_authentic"));
  await assert.rejects(other.blindIndex(B, "x"), refusal("not_authentic"));
});

test("8: with its data keys destroyed nothing of a tenant opens, and other tenants notice nothing", async () => {
  const { store } = memoryStore();
  const secrets = await createSecrets(masterKeys("k1"), store);
  const other = await createSecrets(masterKeys("k1"), store);
  const [ofA, ofB] = [await secrets.seal(A, PLACE, "a"), await secrets.seal(B, PLACE, "b")];
  await other.open(A, PLACE, ofA);
  await secrets.destroyKeys(A);
  other.forget(A);
  for (const one of [secrets, other]) {
    await assert.rejects(one.open(A, PLACE, ofA), refusal("data_key_missing"));
    assert.equal((await one.open(B, PLACE, ofB)).toString(), "b");
  }
});

test("what is made of an opened value is made once, anew of another value at its place, and goes with the tenant's keys", async () => {
  const { store } = memoryStore();
  const secrets = await createSecrets(masterKeys("k1"), store);
  const other = await createSecrets(masterKeys("k1"), store);
  const [first, second] = [await secrets.seal(A, PLACE, "1"), await secrets.seal(A, PLACE, "2")];
  let made = 0;
  const openAs = (sealed: string, one = secrets, place = PLACE) =>
    one.openAs(A, place, sealed, (plain) => ({ text: plain.toString(), made: ++made }));
  assert.deepEqual(await Promise.all([openAs(first), openAs(first)]), Array(2).fill({ text: "1", made: 1 }));
  assert.deepEqual([await openAs(second), made], [{ text: "2", made: 2 }, 2]);
  await assert.rejects(openAs(first, secrets, { ...PLACE, rowId: "wch_2" }), refusal("not_authentic"));
  await openAs(first, other);
  await secrets.destroyKeys(A);
  other.forget(A);
  for (const one of [secrets, other]) await assert.rejects(openAs(first, one), refusal("data_key_missing"));
});

test("a key load that failed is tried again by the next call", async () => {
  const { store } = memoryStore();
  const sealed = await (await createSecrets(masterKeys("k1"), store)).seal(A, PLACE, "x");
  let fails = true;
  const flaky: DataKeyStore = {
    ...store,
    byId: (id) => (fails ? Promise.reject(new Error("database away")) : store.byId(id)),
  };
  const secrets = await createSecrets(masterKeys("k1"), flaky);
  await assert.rejects(secrets.open(A, PLACE, sealed), /database away/);
  fails = false;
  assert.equal((await secrets.open(A, PLACE, sealed)).toString(), "x");
});

test("82: without a master key that still wraps a data key the start is refused and names its kid", async () => {
  const { store } = memoryStore();
  await (await createSecrets(masterKeys("k1"), store)).seal(A, PLACE, "x");
  await (await createSecrets(masterKeys("k2", "k1"), store)).seal(B, PLACE, "x");
  await assert.rejects(createSecrets(masterKeys("k2"), store), startRefusal(/still in use: k1\./));
  await assert.rejects(createSecrets(masterKeys("k3"), store), startRefusal(/still in use: k1, k2\./));
  await createSecrets(masterKeys("k3", "k2", "k1"), store);
});

test("the start is refused when no given key is known, or a known name carries other octets", async () => {
  const { store, checks } = memoryStore();
  await createSecrets(masterKeys("k1"), store);
  assert.deepEqual(
    checks.map(({ kid }) => kid),
    ["k1"],
  );
  await assert.rejects(createSecrets(masterKeys("k9"), store), startRefusal(/which knows: k1\./));
  await assert.rejects(createSecrets(masterKeys("k1!"), store), startRefusal(/by the name: k1\./));
  await assert.rejects(createSecrets(masterKeys("k2", "k1!"), store), startRefusal(/by the name: k1\./));
  await createSecrets(masterKeys("k1"), store);
});

test("of two processes that start an empty database with different keys of one name, one is refused", async () => {
  const { store } = memoryStore();
  const starts = await Promise.allSettled([
    createSecrets(masterKeys("k1"), store),
    createSecrets(masterKeys("k1!"), store),
  ]);
  assert.deepEqual(starts.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
});

test("81: the master key is rotated while calls go on, and the old one can go once all data keys are rewrapped", async () => {
  const { store, keys } = memoryStore();
  const secrets = await createSecrets(masterKeys("k1"), store);
  const sealed = await secrets.seal(A, PLACE, "x");
  const index = await secrets.blindIndex(A, "x");
  await secrets.useMasterKeys(masterKeys("k2", "k1"));
  for (const [at, key] of keys.entries()) keys[at] = { ...secrets.rewrap(key), active: key.active };
  assert.deepEqual(await store.masterKidsInUse(), ["k2"]);
  assert.equal((await secrets.open(A, PLACE, sealed)).toString(), "x");
  const restarted = await createSecrets(masterKeys("k2"), store);
  assert.equal((await restarted.open(A, PLACE, sealed)).toString(), "x");
  assert.deepEqual(await restarted.blindIndex(A, "x"), index);
});

test("a changed key file that lacks a key in use is refused, and the keys at hand go on serving", async () => {
  const secrets = await createSecrets(masterKeys("k1"), memoryStore().store);
  await secrets.seal(A, PLACE, "x");
  await assert.rejects(secrets.useMasterKeys(masterKeys("k2")), startRefusal(/k1/));
  const sealed = await secrets.seal(B, PLACE, "y");
  assert.equal((await secrets.open(B, PLACE, sealed)).toString(), "y");
});
