import assert from "node:assert/strict";
import { test } from "node:test";
import { makeUser } from "#modules/directory";
import { eventually, startServer } from "../../../../test/harness.ts";
import { hashPassword } from "../password.ts";
import { setPassword } from "../user/log-in-row.ts";

const server = await startServer();
const customer = await server.tenant(server.rootId, "customer", "Acme");
const other = await server.tenant(server.rootId, "customer", "Bolt");
const admin = await server.key(customer, "tenant_administrator");
const auditor = await server.key(customer, "auditor");
const half = await server.key(customer, ["audit.read"]);
const logins = await server.key(customer, ["audit.read", "loginReport.read"]);

type Change = Parameters<Parameters<Parameters<typeof server.as>[1]>[0]["audit"]>[0];
/** Entries as any module writes them. */
function record(...entries: Partial<Change>[]): Promise<void> {
  return server.as(customer, async (ctx) => {
    for (const entry of entries) {
      ctx.audit({
        tenantId: customer,
        type: "watch",
        action: "updated",
        item: { kind: "watch", id: "wch_planted", name: "planted" },
        changes: [{ field: "name", old: "a", new: "b" }],
        ...entry,
      });
    }
  });
}
async function trail(query: string, key = auditor): Promise<any> {
  const answer = await server.get(`/v1/audit?${query}`, { key });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
const names = async (query: string, key = auditor) =>
  (await trail(query, key)).items.map((entry: any) => entry.item.name);
const item = (name: string) => ({ item: { kind: "watch", id: `wch_${name}`, name } });

test("an entry says who changed what, from what to what, and by which call", async () => {
  const user = { username: "zoe", fullname: "Zoe", email: "zoe@acme.example", defaultOrgUnitExternalId: "ROOT" };
  const made = await server.post("/v1/user", user, { key: admin });
  const changed = await server.patch(`/v1/user/${made.body.id}`, { fullname: "Zoe Doe" }, { key: admin });
  await eventually(async () => (await trail(`itemId=${made.body.id}`)).items[0].seq);
  const { items } = await trail(`itemId=${made.body.id}`);
  assert.deepEqual(
    items.map((entry: any) => entry.action),
    ["updated", "created"],
    "newest first",
  );
  const [entry] = items;
  assert.equal(entry.requestId, changed.headers.get("x-request-id"));
  assert.equal(entry.tenantId, customer);
  assert.deepEqual(entry.changes, [{ field: "fullname", old: "Zoe", new: "Zoe Doe" }]);
  assert.deepEqual([entry.actor.kind, entry.actor.tenantName, entry.via.kind], ["key", "Acme", "key"]);
  const single = await server.get(`/v1/audit/${entry.id}`, { key: auditor });
  assert.deepEqual(single.body, entry);
  const stranger = await server.key(other, "auditor");
  assert.equal((await server.get(`/v1/audit/${entry.id}`, { key: stranger })).status, 404);
  assert.deepEqual((await trail(`itemId=${made.body.id}`, stranger)).items, []);
  const root = await server.key(server.rootId, "auditor");
  assert.equal((await trail(`itemId=${made.body.id}`, root)).items.length, 2);
});

test("75. a search ignores case and composition, takes % and _ as letters, and finds actor, item and details", async () => {
  await record(item("zoë"), item("load 50%"), item("load 500"), item("a_b"), item("axb"), {
    ...item("details"),
    changes: [{ field: "note", old: null, new: "Needle in details" }],
    comment: "a Comment",
  });
  const found = (q: string) => names(`q=${encodeURIComponent(q)}&type=watch`);
  assert.deepEqual(await found("ZOË"), ["zoë"]);
  assert.deepEqual(await found("ZOE\u0308"), ["zoë"]);
  assert.deepEqual(await found("50%"), ["load 50%"]);
  assert.deepEqual(await found("A_B"), ["a_b"]);
  assert.deepEqual(await found("needle"), ["details"]);
  assert.deepEqual(await found("a comment"), ["details"]);
  assert.equal((await server.get("/v1/audit?q=x", { key: auditor })).status, 400);
});

test("75. from includes its instant and to excludes its", async () => {
  server.clock.set("2026-11-23T10:00:00.000Z");
  await record(item("first"));
  server.clock.set("2026-11-23T11:00:00.000Z");
  await record(item("second"));
  assert.deepEqual(await names("from=2026-11-23T10:00:00Z&to=2026-11-23T11:00:00Z"), ["first"]);
  assert.deepEqual(await names("from=2026-11-23T10:00:00Z"), ["second", "first"]);
});

test("76. without audit.readAccess no entry about access is there, in the total neither; logins also by loginReport.read", async () => {
  server.clock.set("2026-11-24T10:00:00.000Z");
  const types = ["user", "role", "assignment", "key", "client", "login", "session", "authentication", "watch"] as const;
  await record(...types.map((type) => ({ ...item(type), type })));
  const since = "from=2026-11-24T10:00:00Z&count=true";
  assert.equal((await trail(since)).total, 9);
  const seen = await trail(since, half);
  assert.deepEqual([seen.total, seen.items.map((entry: any) => entry.type)], [1, ["watch"]]);
  assert.deepEqual((await names(since, logins)).sort(), ["login", "watch"]);
  const [hidden] = (await trail(`${since}&type=key`)).items;
  assert.equal((await server.get(`/v1/audit/${hidden.id}`, { key: half })).status, 404);
  const csv = await server.get("/v1/audit/csv?from=2026-11-24T10:00:00Z", { key: half });
  assert.equal(csv.text.trimEnd().split("\r\n").length, 2);
  const none = await server.key(customer, ["activity.read"]);
  assert.equal((await server.get("/v1/audit", { key: none })).status, 403);
});

test("77. a CSV cell =1+1 is written '=1+1, unless raw is asked for", async () => {
  server.clock.set("2026-11-25T10:00:00.000Z");
  await record({ ...item("=1+1"), comment: 'says "hi",\r\nand more' });
  const query = "from=2026-11-25T10:00:00Z";
  const guarded = await server.get(`/v1/audit/csv?${query}`, { key: auditor });
  assert.match(guarded.text, /,'=1\+1,/);
  assert.match(guarded.text, /,"says ""hi"",\r\nand more",/);
  assert.match((await server.get(`/v1/audit/csv?${query}&raw=true`, { key: auditor })).text, /,=1\+1,/);
  assert.equal((await server.get("/v1/audit/csv?limit=5", { key: auditor })).status, 400);
});

test("79. fifty writers at once leave exactly fifty entries, and pages give each once", async () => {
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      server.post(
        "/v1/user",
        { username: `w${i}`, fullname: `W ${i}`, email: `w${i}@acme.example`, defaultOrgUnitExternalId: "ROOT" },
        { key: admin },
      ),
    ),
  );
  const made = new Set(answers.map((answer) => answer.body.id));
  assert.equal(made.size, 50);
  const seen: string[] = [];
  let path: string | null =
    "/v1/audit?type=user&action=created&q=acme.example&from=2026-11-25T10:00:00Z&limit=7&count=true";
  while (path) {
    const { body }: any = await server.get(path, { key: auditor });
    assert.equal(body.total, 50);
    seen.push(...body.items.map((entry: any) => entry.item.id));
    path = body.nextLink;
  }
  assert.deepEqual(seen.sort(), [...made].sort());
});

test("80. a changed secret is *** on both sides, and stands in no table, log or CSV", async () => {
  const [old, next] = ["the old secret word 11", "the next secret word 22"];
  const hashed = await hashPassword(old);
  assert.ok(hashed !== "busy");
  const id = await server.as(customer, async (ctx) => {
    const made = await makeUser(ctx, { username: "secretive", fullname: "Secretive", email: "s@acme.example" });
    await setPassword(ctx, made.id, hashed.phc, made.id);
    return made.id;
  });
  const key = await server.key(customer, []);
  await server.sql(
    "update access.key set kind = 'personal', user_id = $1 where id = (select max(id) from access.key where kind = 'standard')",
    [id],
  );
  await server.kernel.forget();
  const changed = await server.post("/v1/password/change", { current: old, new: next }, { key });
  assert.equal(changed.status, 204);
  const { items } = await trail(`itemId=${id}&action=password_changed`);
  assert.deepEqual(items[0].changes, [{ field: "password", old: "***", new: "***" }]);
  await server.kernel.activity.flush();
  const tables = await server.sql(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('kernel', 'access', 'directory')`,
  );
  for (const { name } of tables) {
    const rows = JSON.stringify(await server.sql(`select to_jsonb(t) as row from ${name} t`));
    assert.ok(!rows.includes(next) && !rows.includes(old), name);
  }
  const csv = await server.get("/v1/audit/csv", { key: auditor });
  assert.ok(!csv.text.includes(next));
});

test("nobody can change or delete an entry: the server's own role may not", async () => {
  await assert.rejects(
    server.as(customer, (ctx) =>
      ctx.db.run({
        sql: "update access.audit set action = 'x'",
        parameters: [],
        query: {} as never,
        queryId: {} as never,
      }),
    ),
    /permission denied/,
  );
});
