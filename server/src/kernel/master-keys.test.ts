import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { loadMasterKeys, MasterKeyError, type MasterKeySource, type MasterKeys } from "./master-keys.ts";

const folder = mkdtempSync(join(tmpdir(), "demarc-master-keys-"));
after(() => rmSync(folder, { recursive: true }));
const BASE64 = { k1: Buffer.alloc(32, 1).toString("base64"), k2: Buffer.alloc(32, 2).toString("base64") };

function load(source: Partial<MasterKeySource>): MasterKeys {
  return loadMasterKeys({ production: true, dataDir: folder, warn: assert.fail, ...source });
}

function fileOf(content: string, mode = 0o600): string {
  const path = join(mkdtempSync(join(folder, "f-")), "keys");
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

function faultOf(source: Partial<MasterKeySource>): string {
  try {
    load(source);
  } catch (error) {
    assert.ok(error instanceof MasterKeyError);
    return error.message;
  }
  assert.fail("no fault was found");
}

test("the first line of the file is the active key, the others are there to open", () => {
  const { activeKid, keys } = load({ file: fileOf(`k2:${BASE64.k2}\r\n\nk1:${BASE64.k1}\n`) });
  assert.equal(activeKid, "k2");
  assert.deepEqual([...keys.keys()], ["k2", "k1"]);
  assert.deepEqual(keys.get("k1")?.export(), Buffer.alloc(32, 1));
});

test("the inline setting holds the same, comma-separated", () => {
  const { activeKid, keys } = load({ inline: `k1:${BASE64.k1}, k2:${BASE64.k2}` });
  assert.equal(activeKid, "k1");
  assert.deepEqual(keys.get("k2")?.export(), Buffer.alloc(32, 2));
});

test("84: a key file that others may use is refused with its mode, and 0640 and 0600 are accepted", () => {
  const content = `k1:${BASE64.k1}\n`;
  assert.match(faultOf({ file: fileOf(content, 0o644) }), /open to others \(mode 0644\)/);
  assert.match(faultOf({ file: fileOf(content, 0o602) }), /open to others \(mode 0602\)/);
  for (const mode of [0o640, 0o600, 0o400]) assert.equal(load({ file: fileOf(content, mode) }).activeKid, "k1");
});

test("production without a master key names both settings, and does not make one", () => {
  const message = faultOf({});
  assert.match(message, /DEMARC_MASTER_KEY_FILE/);
  assert.match(message, /DEMARC_MASTER_KEYS/);
  assert.ok(!readdirSync(folder).includes("master.key"));
});

test("a file that cannot be read, and both settings at once, are refused by name", () => {
  assert.match(faultOf({ file: join(folder, "absent") }), /absent cannot be read \(ENOENT\)/);
  assert.match(faultOf({ file: folder }), /cannot be read \(EISDIR\)/);
  assert.match(faultOf({ file: "x", inline: "y" }), /not both/);
});

test("every faulty line is named at once, and no key is shown", () => {
  const short = Buffer.alloc(31, 7).toString("base64");
  const lines = [
    `k1:${BASE64.k1}`,
    BASE64.k2,
    `k3:${short}`,
    `k1:${BASE64.k2}`,
    `k4:${BASE64.k2}!`,
    `a b:${BASE64.k2}`,
  ];
  const message = faultOf({ file: fileOf(lines.join("\n")) });
  assert.match(message, /line 2 is not kid:base64/);
  assert.match(message, /line 3 \(kid k3\) is not 32 octets in base64/);
  assert.match(message, /line 4 repeats the kid k1/);
  assert.match(message, /line 5 \(kid k4\)/);
  assert.match(message, /line 6 is not/);
  for (const secret of [BASE64.k1, BASE64.k2, short]) assert.ok(!message.includes(secret));
  assert.match(faultOf({ file: fileOf("\n\n") }), /there is none/);
  assert.match(faultOf({ inline: `k1:${BASE64.k1},k2:x` }), /entry 2 \(kid k2\)/);
});

test("development makes one key file of mode 0600, warns at each start, and reads the same key again", () => {
  const dataDir = mkdtempSync(join(folder, "data-"));
  const warnings: string[] = [];
  const source = { production: false, dataDir, warn: (message: string) => void warnings.push(message) };
  const first = load(source);
  const second = load(source);
  assert.deepEqual(readdirSync(dataDir), ["master.key"]);
  assert.equal(statSync(join(dataDir, "master.key")).mode & 0o777, 0o600);
  assert.equal(second.activeKid, first.activeKid);
  assert.deepEqual(second.keys.get(second.activeKid)?.export(), first.keys.get(first.activeKid)?.export());
  assert.equal(warnings.length, 2);
  assert.match(warnings[0]!, /master\.key/);
  assert.ok(!warnings[0]!.includes(readFileSync(join(dataDir, "master.key"), "utf8").split(":")[1]!.trim()));
});

test("development uses a given key and then makes none", () => {
  const dataDir = mkdtempSync(join(folder, "data-"));
  assert.equal(load({ production: false, dataDir, inline: `k1:${BASE64.k1}` }).activeKid, "k1");
  assert.deepEqual(readdirSync(dataDir), []);
});
