import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import canonicalize from "canonicalize";
import pg from "pg";
import { eventually, startServer } from "../../../../test/harness.ts";
import { signNewHeads } from "./head.ts";
import { cutChains, keptFrom } from "./retention.ts";

const folder = mkdtempSync(join(tmpdir(), "demarc-heads-"));
const headsFile = join(folder, "heads.ndjson");
after(() => rmSync(folder, { recursive: true, force: true }));
const server = await startServer({ settings: { auditHeadsFile: headsFile } });
const customer = await server.tenant(server.rootId, "customer", "Acme");
const admin = await server.key(customer, "tenant_administrator");
const auditor = await server.key(customer, "auditor");

type Change = Parameters<Parameters<Parameters<typeof server.as>[1]>[0]["audit"]>[0];
const change = (name: string): Change => ({
  tenantId: customer,
  type: "watch",
  action: "updated",
  item: { kind: "watch", id: `wch_${name}`, name },
  changes: [{ field: "name", old: null, new: name }],
});
const record = (...names: string[]) =>
  server.as(customer, async (ctx) => {
    for (const name of names) ctx.audit(change(name));
  });
async function chainOf(key = auditor, headers: Record<string, string> = {}): Promise<any[]> {
  const answer = await server.get("/v1/audit/chain", { key, headers });
  assert.equal(answer.status, 200, answer.text);
  return answer.text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}
const unsealed = async (tenant = customer) =>
  (
    await server.sql(
      "select count(*)::int as n from access.audit a where tenant_id = $1 and not exists (select from access.audit_seal s where s.tenant_id = a.tenant_id and s.position = a.position)",
      [tenant],
    )
  )[0].n as number;
const allSealed = () => eventually(async () => (await unsealed()) === 0);
const sha256 = (...parts: (string | Buffer)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

function checkChain(entries: any[], tenantId: string, start = sha256("demarc-audit-v1", tenantId), from = 1): void {
  let last = start;
  for (const [index, entry] of entries.entries()) {
    const { hash, ...rest } = entry;
    assert.equal(entry.seq, from + index);
    assert.equal(entry.prevHash, last.toString("hex"));
    last = sha256(last, canonicalize(rest)!);
    assert.equal(hash, last.toString("hex"));
  }
}

test("79. fifty writers at once: every entry is sealed, seq has no gap, the chain is sound and its entries are those of the list", async () => {
  const made = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      server.post(
        "/v1/user",
        { username: `w${i}`, fullname: `W ${i}`, email: `w${i}@acme.example`, defaultOrgUnitExternalId: "ROOT" },
        { key: admin },
      ),
    ),
  );
  assert.ok(made.every(({ status }) => status === 200));
  await allSealed();
  const entries = await chainOf();
  assert.ok(entries.length >= 50);
  checkChain(entries, customer);
  const listed = await server.get("/v1/audit?limit=200", { key: auditor });
  assert.deepEqual(
    listed.body.items.sort((a: any, b: any) => a.seq - b.seq),
    entries,
  );
});

test("an entry shows seq, prevHash and hash as null until it is sealed", async () => {
  const blocker = new pg.Client({ connectionString: server.databaseUrl });
  await blocker.connect();
  await blocker.query("select pg_advisory_lock(7301946030)");
  await record("waiting");
  const [entry] = (await server.get("/v1/audit?limit=1", { key: auditor })).body.items;
  assert.deepEqual([entry.item.name, entry.seq, entry.prevHash, entry.hash], ["waiting", null, null, null]);
  assert.ok((await chainOf()).every((one) => one.item.name !== "waiting"));
  await blocker.end();
  await allSealed();
  const again = (await server.get(`/v1/audit/${entry.id}`, { key: auditor })).body;
  assert.equal(again.seq, (await chainOf()).length);
});

test("an entry waits for every older transaction, so that none is put before one that is sealed", async () => {
  const older = new pg.Client({ connectionString: server.databaseUrl });
  await older.connect();
  await older.query("begin");
  await older.query(
    `insert into access.audit (tenant_id, id, at, type, action, item_kind, item_id, item_name, actor, changes, search)
     select tenant_id, 'aud_older', at, type, action, item_kind, item_id, 'older', actor, changes, search from access.audit where tenant_id = $1 limit 1`,
    [customer],
  );
  await record("younger");
  await server.kernel.sealer.sealNow();
  assert.equal(await unsealed(), 1);
  await older.query("commit");
  await older.end();
  await allSealed();
  const entries = await chainOf();
  assert.deepEqual(
    entries.slice(-2).map((entry) => entry.item.name),
    ["older", "younger"],
  );
  checkChain(entries, customer);
});

test("two servers seal one chain, and none of them leaves anything unsealed", async () => {
  const twin = await startServer({ beside: server });
  const parts = [server, twin].flatMap((one, at) =>
    Array.from({ length: 40 }, (_, i) =>
      one.as(customer, async (ctx) => {
        ctx.audit(change(`twin-${at}-${i}`));
      }),
    ),
  );
  await Promise.all(parts);
  await allSealed();
  checkChain(await chainOf(), customer);
  await twin.close();
});

test("what a killed server left unsealed is sealed by the next start, and a restored database is sealed to its end", async () => {
  await allSealed();
  const next = (name: string, txid: string) =>
    server.sql(
      `insert into access.audit (tenant_id, id, at, type, action, item_kind, item_id, item_name, actor, changes, search, txid)
       select tenant_id, $2, at, type, action, item_kind, item_id, $2, actor, changes, search, $3::xid8 from access.audit where tenant_id = $1 limit 1`,
      [customer, name, txid],
    );
  // A dump brings along transaction numbers that the new cluster has not reached, in entries and in the sealer's mark.
  await server.sql("update access.audit_sealer set settled = '900000000000'");
  await next("restored", "900000000001");
  const twin = await startServer({ beside: server });
  await allSealed();
  await record("afterwards");
  await allSealed();
  await twin.close();
  const entries = await chainOf();
  assert.deepEqual(
    entries.slice(-2).map((entry) => entry.item.name),
    ["restored", "afterwards"],
  );
  checkChain(entries, customer);
  const [{ settled, high }] = await server.sql(
    "select settled::text, pg_snapshot_xmax(pg_current_snapshot())::text as high from access.audit_sealer",
  );
  assert.ok(BigInt(settled) <= BigInt(high));
});

test("the chain needs both permissions in the whole tenant, and is that of the acting tenant alone", async () => {
  assert.equal((await server.get("/v1/audit/chain")).status, 401);
  const half = await server.get("/v1/audit/chain", { key: await server.key(customer, ["audit.read"]) });
  assert.deepEqual([half.status, half.body.permission], [403, "audit.readAccess"]);
  const root = await server.key(server.rootId, "auditor");
  assert.ok((await chainOf(root)).every((entry) => entry.tenantId === server.rootId));
  checkChain(await chainOf(root, { "demarc-tenant": customer }), customer);
  const below = await server.key(server.rootId, "auditor", { within: { kind: "tenant", id: customer } });
  assert.equal((await server.get("/v1/audit/chain", { key: below })).status, 403);
  assert.equal((await server.get("/v1/audit/chain?x=1", { key: auditor })).status, 400);
});

const heads = async (query = "") => (await server.get(`/v1/audit/head?${query}`, { key: auditor })).body.items as any[];

test("every five minutes with news, and once a UTC day without, the end of a chain is signed, stored, told and written to the file", async () => {
  await allSealed();
  await signNewHeads(server.kernel);
  const [head] = await heads();
  const entries = await chainOf();
  assert.deepEqual([head.seq, head.hash], [entries.at(-1).seq, entries.at(-1).hash]);
  const { body } = await server.get("/.well-known/demarc-audit-keys.json");
  const jwk = body.keys.find(({ kid }: { kid: string }) => kid === head.kid);
  assert.equal(jwk.d, undefined);
  const { signature, ...signed } = head;
  const key = createPublicKey({ key: jwk, format: "jwk" });
  assert.ok(verify(null, Buffer.from(canonicalize(signed)!), key, Buffer.from(signature, "base64url")));

  const count = (await heads()).length;
  await signNewHeads(server.kernel);
  assert.equal((await heads()).length, count, "no news, no head");
  await record("more");
  await signNewHeads(server.kernel);
  assert.equal((await heads()).length, count + 1);
  server.clock.set("2026-11-23T00:00:00.000Z");
  await signNewHeads(server.kernel);
  await signNewHeads(server.kernel);
  const [midnight, before] = await heads();
  assert.equal((await heads()).length, count + 2);
  assert.deepEqual([midnight.seq, midnight.at], [before.seq, "2026-11-23T00:00:00.000Z"]);

  const written = readFileSync(headsFile, "utf8").trimEnd().split("\n");
  const stored = (await heads("limit=200")).map((one) => canonicalize(one));
  assert.ok(stored.every((line) => written.includes(line!)));
  const events = await server.sql(
    "select data from kernel.told where type = 'demarc.access.audit.head_signed' and tenant_id = $1",
    [customer],
  );
  assert.deepEqual(events.at(-1).data.resource, midnight);
  assert.equal(
    (await server.get("/v1/audit/head", { key: await server.key(customer, ["activity.read"]) })).status,
    403,
  );
});

test("heads are signed by another key every 90 days, which is published before, and old keys stay published", async () => {
  const keys = async () =>
    (await server.get("/.well-known/demarc-audit-keys.json")).body.keys.map((one: any) => one.kid);
  const before = await keys();
  assert.equal(before.length, 2);
  server.clock.advance(90 * 86_400_000);
  await record("later");
  await signNewHeads(server.kernel);
  assert.equal((await heads())[0].kid, before[1]);
  const later = await keys();
  assert.deepEqual(later.slice(0, 2), before);
  assert.equal(later.length, 3);
  for (const row of await server.sql("select private_sealed from access.audit_key"))
    assert.match(row.private_sealed, /^v1\./);
});

test("entries past their keeping go by whole months, the head at the cut is kept, and the chain goes on behind it", async () => {
  assert.equal(keptFrom(new Date("2026-11-22T10:00:00Z"), 24).toISOString(), "2024-11-01T00:00:00.000Z");
  server.clock.set("2019-12-01T00:00:00.000Z");
  const old = await server.tenant(server.rootId, "customer", "Old");
  const key = await server.key(old, "auditor");
  const at = async (instant: string, name: string) => {
    server.clock.set(instant);
    await server.as(old, async (ctx) => ctx.audit({ ...change(name), tenantId: old }));
    await eventually(async () => (await unsealed(old)) === 0);
  };
  await at("2019-12-31T23:59:59.999Z", "a");
  await at("2020-01-31T23:59:59.999Z", "b");
  await at("2020-02-01T00:00:00.000Z", "c");
  await at("2020-03-05T00:00:00.000Z", "d");
  await signNewHeads(server.kernel);
  const all = await chainOf(key);
  assert.deepEqual(
    all.map((entry) => entry.item.name),
    ["Old", "a", "b", "c", "d"],
  );
  server.clock.set("2022-02-27T00:00:00.000Z");
  const [fresh] = await server.sql("select count(*)::int as n from access.audit where tenant_id = $1", [customer]);
  await cutChains(server.kernel);
  await cutChains(server.kernel);
  assert.deepEqual(await server.sql("select count(*)::int as n from access.audit where tenant_id = $1", [customer]), [
    fresh,
  ]);
  const left = await chainOf(key);
  assert.deepEqual(left, all.slice(3));
  const [start] = (await server.get("/v1/audit/head?starts=true", { key })).body.items;
  assert.deepEqual([start.seq, start.hash, start.starts], [3, all[2].hash, true]);
  checkChain(left, old, Buffer.from(start.hash, "hex"), 4);
  server.clock.set("2024-12-01T00:00:00.000Z");
  await cutChains(server.kernel);
  assert.deepEqual(await chainOf(key), []);
  await at("2024-12-02T00:00:00.000Z", "e");
  const [entry] = await chainOf(key);
  assert.deepEqual([entry.item.name, entry.seq, entry.prevHash], ["e", 6, all[4].hash]);
});

test("nobody can change, seal anew or remove an entry: neither role of the server may", async () => {
  const client = new pg.Client({ connectionString: server.databaseUrl });
  await client.connect();
  for (const role of ["demarc_server", "demarc_system"]) {
    await client.query(`set role ${role}`);
    for (const statement of [
      "update access.audit set action = 'x'",
      "delete from access.audit",
      "truncate access.audit",
      "update access.audit_seal set hash = ''",
      "delete from access.audit_seal",
      "update access.audit_head set seq = 1",
      "delete from access.audit_head",
    ])
      await assert.rejects(client.query(statement), /permission denied/, `${role}: ${statement}`);
  }
  await client.query("set role demarc_server");
  await assert.rejects(client.query("insert into access.audit_seal values ('t', 1, 1, '', '')"), /permission denied/);
  await client.query("reset role");
  await assert.rejects(client.query("select access.cut_audit($1, 1)", [customer]), /no head/);
  await client.end();
});
