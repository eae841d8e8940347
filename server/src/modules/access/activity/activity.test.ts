import assert from "node:assert/strict";
import { test } from "node:test";
import { type Answer, startServer } from "../../../../test/harness.ts";
import { newId } from "../../../kernel/ids.ts";

const server = await startServer();
const partner = await server.tenant(server.rootId, "partner", "Quick");
const customer = await server.tenant(partner, "customer", "Acme");
const other = await server.tenant(partner, "customer", "Bolt");
const reader = await server.key(customer, ["activity.read"]);
const above = await server.key(partner, ["activity.read", "user.read"]);
const beside = await server.key(other, ["activity.read"]);

const idOf = (answer: Answer) => answer.headers.get("x-request-id")!;
async function log(query: string, key = reader): Promise<any> {
  await server.kernel.activity.flush();
  const answer = await server.get(`/v1/activity?${query}`, { key });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
const lineOf = async (answer: Answer, key = reader) => (await log(`requestId=${idOf(answer)}`, key)).items[0];

test("73. each refused call is in the log with route, code and reason, and neither query nor key", async () => {
  const key = await server.key(customer, ["watch.read"]);
  const calls: [Answer, Record<string, unknown>][] = [
    [
      await server.get("/v1/user?q=Geheimnis", { key }),
      { status: 403, code: "permission_missing", route: "/{label}/user" },
    ],
    [await server.get("/v1/tenant/tnt_nobody", { key }), { status: 403, route: "/{label}/tenant/{id}" }],
    [
      await server.get("/v1/ping?nonsense=Geheimnis", { key }),
      { status: 400, code: "validation_failed", route: "/{label}/ping" },
    ],
    [await server.get(`/v1/activity/${newId("act")}`, { key: reader }), { status: 404, code: "not_found" }],
  ];
  for (const [answer, expected] of calls) {
    const line = await lineOf(answer);
    for (const [name, value] of Object.entries(expected)) assert.equal(line[name], value, name);
    assert.equal(line.tenantId, customer);
    assert.equal(line.method, "GET");
    assert.ok(!JSON.stringify(line).includes("Geheimnis"));
    assert.ok(!JSON.stringify(line).includes(key.slice(15)));
  }
});

test("73. a known key that is refused shows in its tenant's log with the reason, an unknown one in the root's alone", async () => {
  const key = await server.key(customer, []);
  const [row] = await server.sql(
    "update access.key set enabled = false where id = (select max(id) from access.key) returning id",
  );
  await server.kernel.forget();
  const disabled = await server.get("/v1/ping", { key });
  const unknown = await server.get("/v1/ping", { key: "nobody-knows-this-key" });
  assert.deepEqual([disabled.status, unknown.status], [401, 401]);
  assert.ok(row.id);
  const line = await lineOf(disabled);
  assert.deepEqual([line.reason, line.code, line.actor], ["disabled", "unauthenticated", null]);
  assert.equal(await lineOf(unknown), undefined);
  const root = await server.key(server.rootId, ["activity.read"]);
  assert.equal((await lineOf(unknown, root)).reason, "unknown");
  assert.deepEqual(
    (await log("reason=disabled")).items.map((one: any) => one.requestId),
    [idOf(disabled)],
  );
});

test("74. what stands in a path is never logged unless it is an id", async () => {
  const key = await server.key(customer, ["user.read"]);
  const id = newId("usr");
  const named = await server.get("/v1/user/dmk_secret-looking", { key });
  const byId = await server.get(`/v1/user/${id}`, { key });
  assert.deepEqual((await lineOf(named)).target, {});
  assert.deepEqual((await lineOf(byId)).target, { username: id });
  const dump = JSON.stringify(await server.sql("select * from access.activity"));
  assert.ok(!dump.includes("secret-looking"));
});

test("a call into a tenant below shows in both logs, and in nobody else's", async () => {
  const call = await server.get("/v1/user", { key: above, headers: { "demarc-tenant": customer } });
  assert.equal(call.status, 200);
  const inside = await lineOf(call);
  assert.deepEqual([inside.tenantId, inside.actingTenantId], [partner, customer]);
  assert.equal((await lineOf(call, above)).id, inside.id);
  assert.equal(await lineOf(call, beside), undefined);
  assert.equal((await server.get(`/v1/activity/${inside.id}`, { key: reader })).status, 200);
  assert.equal((await server.get(`/v1/activity/${inside.id}`, { key: beside })).status, 404);
});

test("without activity.read one sees one's own calls by mine=true, and a 403 that names the permission otherwise", async () => {
  const key = await server.key(customer, ["watch.read"]);
  const own = await server.get("/v1/ping", { key });
  const refused = await server.get("/v1/activity", { key });
  assert.deepEqual([refused.status, refused.body.permission], [403, "activity.read"]);
  const mine = await log("mine=true&sort=at", key);
  assert.deepEqual(
    mine.items.map((line: any) => line.requestId),
    [idOf(own), idOf(refused)],
  );
  assert.equal((await server.get(`/v1/activity/${mine.items[0].id}`, { key })).status, 200);
  const foreign = (await log("limit=1&actorId=nobody")).items;
  assert.deepEqual(foreign, []);
  const others = await log(`requestId=${idOf(await server.get("/v1/ping", { key: reader }))}`);
  assert.equal((await server.get(`/v1/activity/${others.items[0].id}`, { key })).status, 404);
});

test("filters: status, class, method, key and period; to excludes its instant, from includes its", async () => {
  server.clock.set("2026-11-22T12:00:00.000Z");
  const key = await server.key(customer, []);
  const first = await server.get("/v1/ping", { key });
  server.clock.set("2026-11-22T12:00:01.000Z");
  const second = await server.post("/v1/ping", {}, { key });
  const ids = async (query: string) =>
    (await log(`from=2026-11-22T12:00:00Z&to=2026-11-22T12:00:02Z&actorId=${actorId}&${query}`)).items.map(
      (line: any) => line.requestId,
    );
  const actorId = (await lineOf(first)).actor.id;
  assert.deepEqual(await ids("sort=at&method=GET"), [idOf(first)]);
  assert.deepEqual(await ids(`keyId=${actorId}&status=200`), [idOf(first)]);
  assert.deepEqual(await ids("statusClass=4xx"), []);
  const period = async (query: string) =>
    (await log(`actorId=${actorId}&${query}`)).items.map((line: any) => line.requestId);
  assert.deepEqual(await period("from=2026-11-22T12:00:00Z&to=2026-11-22T12:00:01Z"), [idOf(first)]);
  assert.deepEqual(await period("from=2026-11-22T12:00:01Z"), []);
  assert.equal(second.status, 404, "a wrong verb knows no caller");
  const page = await log(`actorId=${actorId}&count=true&limit=1`);
  assert.equal(page.total, 1);
});

test("pages give every line once, the newest first", async () => {
  server.clock.set("2026-11-22T13:00:00.000Z");
  const key = await server.key(customer, []);
  for (let i = 0; i < 5; i++) {
    server.clock.advance(1_000);
    await server.get("/v1/ping", { key });
  }
  const seen: string[] = [];
  let path: string | null = "/v1/activity?from=2026-11-22T13:00:01Z&route=%2F%7Blabel%7D%2Fping&limit=2";
  await server.kernel.activity.flush();
  while (path) {
    const { body }: Answer = await server.get(path, { key: reader });
    seen.push(...body.items.map((line: any) => line.at));
    path = body.nextLink;
  }
  assert.equal(seen.length, 5);
  assert.deepEqual(seen, [...seen].sort().reverse());
});

test("CSV: RFC 4180 with a header line, cells that look like formulas guarded unless raw, all rows over many batches", async () => {
  server.clock.set("2026-11-22T14:00:00.000Z");
  await server.get("/v1/ping", { key: reader, headers: { "user-agent": '=1+1,"x"' } });
  await server.kernel.activity.flush();
  await server.sql(
    `insert into access.activity select tenant_id, acting_tenant_id, id || n, at - (n / 10 + 1) * interval '1 millisecond', request_id, actor, via, service, version,
       operation_id, method, route, target, status, code, reason, duration_ms, address, 'agent ' || n, bytes_in, bytes_out
     from access.activity, generate_series(1, 2499) n where at = '2026-11-22T14:00:00Z' and user_agent like '=%'`,
  );
  const query = "from=2026-11-22T13:59:00Z&to=2026-11-22T14:00:00.001Z&method=GET&route=%2F%7Blabel%7D%2Fping";
  const answer = await server.get(`/v1/activity/csv?${query}`, { key: reader });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type")!, /^text\/csv/);
  const lines = answer.text.split("\r\n");
  assert.equal(lines.pop(), "");
  assert.equal(lines.length, 2_501);
  assert.match(lines[0]!, /^id,at,requestId,tenantId/);
  assert.ok(lines[1]!.includes(`,"'=1+1,""x""",`), lines[1]);
  assert.ok(lines[1]!.includes(",2026-11-22T14:00:00.000Z,"));
  const agents = new Set(lines.slice(2).map((line) => /,(agent \d+),/.exec(line)?.[1]));
  assert.equal(agents.size, 2_499, "each once, also those of one instant");
  const raw = await server.get(`/v1/activity/csv?${query}&raw=true`, { key: reader });
  assert.ok(raw.text.split("\r\n")[1]!.includes(`,"=1+1,""x""",`));
});
