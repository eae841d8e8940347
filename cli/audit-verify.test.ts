import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { eventually, startServer } from "../server/test/harness.ts";
import { UnusableInput, verifyChain } from "./audit-verify.ts";
import { canonicalJson } from "./canonical-json.ts";

const folder = mkdtempSync(join(tmpdir(), "demarc-verify-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const server = await startServer();
const customer = await server.tenant(server.rootId, "customer", "Acme");
const auditor = await server.key(customer, "auditor");
const length = 1_000;
/** `node cli/audit-verify.test.ts 1000` takes more of them. */
const rounds = Number(process.argv[2] ?? 140);

let lines: string[] = [];
let heads: string[] = [];
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const keys = join(folder, "keys.json");
const verdictOf = (chain: readonly string[], signed: readonly string[] = heads) =>
  verifyChain({
    chain: file("chain", chain.map((line) => `${line}\n`).join("")),
    heads: [file("heads", signed.map((line) => `${line}\n`).join(""))],
    keys,
  });
async function assertTrouble(chain: readonly string[], kind: string, seq: number, what: string, signed = heads) {
  const verdict = await verdictOf(chain, signed);
  assert.ok(!verdict.sound, `${what}: passed as sound`);
  assert.deepEqual([verdict.kind, verdict.seq], [kind, seq], `${what}: ${verdict.message}`);
}
const signHeads = () =>
  server.kernel.modules[0]!.jobs!.find(({ name }) => name === "sign_audit_heads")!.run(server.kernel);

/** An entry as a forger writes it who can compute hashes but not sign. */
function rehashed(entry: Record<string, any>): string {
  const { hash: _, ...rest } = entry;
  const hash = createHash("sha256").update(Buffer.from(rest.prevHash, "hex")).update(canonicalJson(rest)).digest("hex");
  return canonicalJson({ ...rest, hash });
}
const changed = (at: number, change: object) => ({ ...JSON.parse(lines[at]!), ...change });
const without = (at: number) => lines.filter((_, index) => index !== at);
const replaced = (at: number, line: string) => lines.with(at, line);

/** The same tamperings in every run: a failure can be looked at again. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

before(async () => {
  const record = (from: number, to: number) =>
    server.as(customer, async (ctx) => {
      for (let n = from; n < to; n++) {
        const item = { kind: "watch", id: `wch_${n}`, name: `Größe ${n} "é\u2028` };
        const changes = [{ field: "settings", old: null, new: { 10: n / 3, 9: [true, null, "x"], "": 1e21 } }];
        ctx.audit({ tenantId: customer, type: "watch", action: "updated", item, changes, comment: `no. ${n}` });
      }
    });
  const count = async (table: string): Promise<number> =>
    (await server.sql(`select count(*)::int as n from ${table} where tenant_id = $1`, [customer]))[0].n;
  for (const upTo of [250, 600, length]) {
    await record(await count("access.audit"), upTo);
    await eventually(async () => (await count("access.audit_seal")) === upTo);
    await signHeads();
  }
  lines = (await server.get("/v1/audit/chain", { key: auditor })).text.trimEnd().split("\n");
  heads = (await server.get("/v1/audit/head", { key: auditor })).body.items.map((head: object) => JSON.stringify(head));
  writeFileSync(keys, (await server.get("/.well-known/demarc-audit-keys.json")).text);
  assert.deepEqual([lines.length, heads.length], [length, 3]);
});

test("78. an untouched chain is sound, whoever wrote its lines down with other white space at the ends", async () => {
  const verdict = await verdictOf(lines);
  assert.deepEqual(verdict, {
    sound: true,
    tenantId: customer,
    from: 1,
    to: 1_000,
    entries: 1_000,
    heads: 3,
    provenTo: 1_000,
  });
  assert.ok((await verdictOf(lines.map((line) => `${line} \r`))).sound);
});

test("78. of 1,000 entries, every random edit, deletion, swap, insertion and cut is found, with its kind and seq", async () => {
  const draw = dice(20_261_122);
  const fields: ((entry: any) => object)[] = [
    (entry) => ({ action: `${entry.action}x` }),
    (entry) => ({ at: entry.at.replace("Z", "1Z") }),
    (entry) => ({ comment: null, item: entry.item }),
    (entry) => ({ item: { ...entry.item, name: "" } }),
    (entry) => ({ actor: { ...entry.actor, id: "somebody else" } }),
    (entry) => ({ changes: [...entry.changes, { field: "x", old: 1, new: 2 }] }),
    (entry) => ({ seq: entry.seq + 1 + draw(5) }),
    () => ({ tenantId: "tnt_other" }),
    (entry) => ({ hash: entry.hash.replace(/^./, (digit: string) => (digit === "0" ? "1" : "0")) }),
    (entry) => ({ prevHash: entry.hash }),
    () => ({ planted: true }),
  ];
  const tamperings: ((at: number) => [string[], string, number, string])[] = [
    (at) => {
      const which = draw(fields.length);
      const line = canonicalJson(changed(at, fields[which]!(JSON.parse(lines[at]!))));
      return [replaced(at, line), "edited", at + 1, `edit ${which} of ${at + 1}`];
    },
    (at) => [
      replaced(at, rehashed(changed(at, { action: "forged" }))),
      "edited",
      at + 1,
      `edit with a new hash of ${at + 1}`,
    ],
    (at) => [without(at), at === length - 1 ? "truncated" : "missing", at + 1, `deletion of ${at + 1}`],
    (at) => {
      const other = (at + 1 + draw(length - 1)) % length;
      const [low, high] = [Math.min(at, other), Math.max(at, other)];
      return [
        lines.with(low, lines[high]!).with(high, lines[low]!),
        "reordered",
        low + 1,
        `swap of ${low + 1} and ${high + 1}`,
      ];
    },
    (at) => {
      const source = draw(length);
      return [lines.toSpliced(at, 0, lines[source]!), "inserted", source + 1, `copy of ${source + 1} before ${at + 1}`];
    },
    (at) => {
      const forged = rehashed(changed(at, { action: "forged", item: { kind: "x", id: "x", name: "x" } }));
      return [lines.toSpliced(at, 0, forged), "inserted", at + 1, `forged entry before ${at + 1}`];
    },
    (at) => [lines.slice(0, at), "truncated", at + 1, `cut before ${at + 1}`],
  ];
  for (let round = 0; round < rounds; round++) {
    const at = draw(length);
    await assertTrouble(...tamperings[round % tamperings.length]!(at));
  }
});

test("78. who rewrites all hashes from an entry on is betrayed by the next signed head", async () => {
  let prevHash = JSON.parse(lines[299]!).prevHash as string;
  const forged = lines.slice(299).map((line, index) => {
    const made = rehashed({ ...JSON.parse(line), prevHash, ...(index === 0 ? { action: "forged" } : {}) });
    prevHash = JSON.parse(made).hash;
    return made;
  });
  await assertTrouble([...lines.slice(0, 299), ...forged], "edited", 600, "rewritten from 300");
});

test("78. a head that was not signed as it stands is named, and a chain without its first entries is not taken for an old one", async () => {
  const tampered = (change: object) =>
    heads.map((head, at) => (at === 1 ? JSON.stringify({ ...JSON.parse(head), ...change }) : head));
  for (const change of [
    { hash: "0".repeat(64) },
    { at: "2020-01-01T00:00:00.000Z" },
    { starts: true },
    { kid: "none" },
    { signature: "x" },
  ])
    await assertTrouble(lines, "head_signature", 600, JSON.stringify(change), tampered(change));
  await assertTrouble(lines.slice(250), "missing", 1, "begun behind an ordinary head");
  await assertTrouble([], "truncated", 1, "nothing left");
});

test("a member that stands twice in a line is an edit, though a parser would see one of them only", async () => {
  const line = lines[7]!.replace("{", '{"action":"deleted",');
  await assertTrouble(replaced(7, line), "edited", 8, "doubled member");
});

test("what says nothing either way is unusable: no JSON, no entry, no head or key of the tenant's", async () => {
  const unusable = (work: Promise<unknown>, says: RegExp) =>
    assert.rejects(work, (error: Error) => error instanceof UnusableInput && says.test(error.message));
  await unusable(verdictOf(replaced(3, "{")), /line 4, is not JSON/);
  await unusable(verdictOf(replaced(3, "[]")), /line 4, is not a JSON object/);
  await unusable(verdictOf(replaced(3, "{}")), /line 4, has not the members/);
  await unusable(verdictOf(lines, []), /No head is of the chain's tenant/);
  await unusable(verdictOf(lines, ["{}"]), /head number 1/);
  await unusable(verifyChain({ chain: join(folder, "none"), heads: [], keys }), /no such file/);
  await unusable(verifyChain({ chain: keys, heads: [], keys: file("no-keys", '{"keys":[]}') }), /no Ed25519 key/);
});

test("78. the command exits with 0 for a sound chain, 1 for another one, 2 for unusable input, and needs no server", async () => {
  await server.close();
  const run = (chain: readonly string[], ...more: string[]) => {
    const path = file("chain", chain.join("\n"));
    const args = ["cli/demarc.ts", "audit", "verify", "--chain", path, "--heads", file("heads", heads.join("\n"))];
    const { status, stdout, stderr } = spawnSync(process.execPath, [...args, "--keys", keys, ...more], {
      cwd: new URL("..", import.meta.url).pathname,
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };
  const sound = run(lines);
  assert.deepEqual([sound.status, /^Sound: 1000 entries/.test(sound.stdout)], [0, true]);
  const bad = run(without(499));
  assert.deepEqual([bad.status, bad.stdout.split("\n")[0]], [1, "NOT SOUND: missing at seq 500"]);
  assert.equal(JSON.parse(run(without(499), "--json").stdout).seq, 500);
  const unusable = run(["nothing"]);
  assert.deepEqual([unusable.status, unusable.stdout], [2, ""]);
  assert.match(unusable.stderr, /line 1, is not JSON/);
  assert.equal(run(lines, "--colour").status, 2);
});
