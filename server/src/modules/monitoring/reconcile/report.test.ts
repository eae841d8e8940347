import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { sweepReports } from "./jobs.ts";
import { each, item, startEstates } from "./reconcile.fixture.ts";

const world = await startEstates();
const { keys, place, pages } = world;
const create = { apply: { create: true } };
const final = (location: string, on: Pick<typeof world, "get"> = world) =>
  eventually(async () => {
    const { body } = await on.get(location, { key: keys.aW });
    return body.finishedAt && body;
  });
const countOf = async (text: string, values: unknown[] = []) =>
  (await world.sql(`select count(*)::int as n from ${text}`, values))[0].n;

/** Watches made behind the API, where many are needed. */
async function manyWatches(locationId: string, count: number): Promise<void> {
  await world.sql(
    `insert into monitoring.watch (tenant_id, id, numeric_id, name, location_id, watch_type, access_in_kbps, access_out_kbps, polling_minutes,
        site_link, dormant, created_at, created_by, updated_at, updated_by, changed_at)
      select $1, 'wch_' || lpad(n::text, 26, '0'), 2000000000 + n, 'only-' || n, $2, 'Bearer', 1, 1, 3, false, false, now(), 'test', now(), 'test', now()
      from generate_series(1, $3) n`,
    [world.A, locationId, count],
  );
}

test("45. 3,000 items are an operation, and its report's pages hold each of them and each watch only here once", async () => {
  const { locationId, reconcile, watch } = await place();
  const hit = await watch("hit", { reference: "R-1500" });
  await manyWatches(locationId, 250);
  const estate = Array.from({ length: 3_000 }, (_, n) => item(`k-${n}`, { reference: `R-${n}` }));
  const accepted = await reconcile(estate, {}, keys.aW, { prefer: "respond-async" });
  assert.equal(accepted.status, 202);
  assert.equal(accepted.body.kind, "monitoring.reconcile");
  const operation = await final(accepted.headers.get("location")!);
  assert.equal(operation.status, "succeeded", JSON.stringify(operation.error));
  const { reportId, summary } = operation.result.data;
  assert.equal(operation.result.url, `/v1/reconcile/${reportId}`);
  assert.deepEqual([summary.missing, summary.same, summary.onlyHere], [2_999, 1, 250]);

  const report = (await world.get(operation.result.url, { key: keys.aW })).body;
  assert.deepEqual([report.summary, report.items.length, report.onlyHere.length], [summary, 1_000, 200]);
  const all = await pages(reportId);
  assert.deepEqual(
    all.slice(0, 3_000).map(({ key }) => key),
    estate.map(({ key }) => key),
  );
  const rest = all.slice(3_000);
  assert.ok(rest.every(({ outcome }) => outcome === "onlyHere"));
  assert.equal(new Set(rest.map(({ id }) => id)).size, 250);
  assert.ok(!rest.some(({ id }) => id === hit.id));
  const next = (await world.get(report.onlyHereNextLink, { key: keys.aW })).body;
  assert.deepEqual(
    [...report.onlyHere.map(({ id }: any) => id), ...next.items.map(({ id }: any) => id)],
    rest.map(({ id }) => id),
  );
  assert.equal(await countOf("monitoring.reconcile where request_sealed is not null"), 0);
});

test("Prefer is heeded: a wait gives the finished work's answer, and a short list may be asked for as an operation", async () => {
  const { reconcile } = await place();
  const many = Array.from({ length: 1_001 }, (_, n) => item(`${n}`, { reference: `none-${n}` }));
  const waited = await reconcile(many, {}, keys.aW, { prefer: "wait=20" });
  assert.deepEqual([waited.status, waited.headers.get("preference-applied")], [200, "wait=20"]);
  assert.equal(waited.body.summary.missing, 1_001);
  assert.equal(waited.headers.get("location"), `/v1/reconcile/${waited.body.reportId}`);
  const short = await reconcile([item("1", { reference: "none" })], {}, keys.aW, { prefer: "respond-async" });
  assert.deepEqual([short.status, short.headers.get("preference-applied")], [202, "respond-async"]);
  assert.equal((await final(short.headers.get("location")!)).result.data.summary.missing, 1);
  assert.equal((await reconcile([item("1", {})])).status, 200);
});

test("a fault of the request is refused at once, without an operation", async () => {
  const before = await countOf("kernel.operation");
  const many = Array.from({ length: 1_001 }, (_, n) => item(`${n}`, {}));
  const unseen = { scope: { folderId: world.rootOf(world.B) } };
  assert.equal((await (await place()).reconcile(many, unseen)).status, 400);
  assert.equal((await (await place()).reconcile([...many, many[0]!])).status, 400);
  assert.equal(await countOf("kernel.operation"), before);
});

test("the pages are filtered by what was found and what was done", async () => {
  const { reconcile, watch, bearer } = await place();
  await watch("here");
  const { id } = await watch("same", { reference: "R-p" });
  const estate = [item("1", { id }), item("2", bearer("made")), item("3", { name: "lacking" })];
  const report = await reconcile(estate, create);
  assert.deepEqual(each(report, "applied"), ["skipped", "created", "refused"]);
  const keysOf = async (query: string) => (await pages(report.body.id, query)).map(({ key, name }) => key ?? name);
  assert.deepEqual(await keysOf(""), ["1", "2", "3", "here"]);
  assert.deepEqual(await keysOf("&outcome=missing"), ["2", "3"]);
  assert.deepEqual(await keysOf("&outcome=missing,onlyHere"), ["2", "3", "here"]);
  assert.deepEqual(await keysOf("&applied=created,skipped"), ["1", "2"]);
  assert.deepEqual(await keysOf("&outcome=missing&applied=refused"), ["3"]);
  assert.deepEqual(await keysOf("&sort=-position"), ["here", "3", "2", "1"]);
  const counted = await world.get(`/v1/reconcile/${report.body.id}/item?count=true&limit=1`, { key: keys.aW });
  assert.deepEqual([counted.body.total, counted.body.items.length], [4, 1]);
  assert.equal((await world.get(`/v1/reconcile/${report.body.id}/item?outcome=gone`, { key: keys.aW })).status, 400);
  const read = await world.get(`/v1/reconcile/${report.body.id}`, { key: keys.aW });
  assert.deepEqual(read.body, report.body);
  assert.ok(read.headers.get("etag"));
});

test("a report is there for the principal that made it alone, for 30 days", async () => {
  const { reconcile } = await place();
  const { id } = (await reconcile([item("1", {})])).body;
  const twin = await world.key(world.A, ["watch.write"]);
  for (const key of [twin, keys.bW, keys.pW])
    for (const path of [`/v1/reconcile/${id}`, `/v1/reconcile/${id}/item`])
      assert.equal((await world.get(path, { key })).status, 404);
  assert.equal((await world.get(`/v1/reconcile/${id}`, { key: keys.aR })).body.permission, "pending.read");
  assert.equal((await world.get("/v1/reconcile/rcn_01jd8w6r7qf0ztb5c2m9x4k3en", { key: keys.aW })).status, 404);
  const start = world.clock.now();
  world.clock.advance(30 * 86_400_000 - 1_000);
  await sweepReports.run(world.kernel);
  assert.equal((await world.get(`/v1/reconcile/${id}`, { key: keys.aW })).status, 200);
  world.clock.advance(1_000);
  assert.equal((await world.get(`/v1/reconcile/${id}`, { key: keys.aW })).status, 404);
  await sweepReports.run(world.kernel);
  assert.equal(await countOf("monitoring.reconcile"), 0);
  assert.equal(await countOf("monitoring.reconcile_item"), 0);
  world.clock.set(start);
});

test("a reconciliation that is cancelled leaves no report, and what it applied stays", async () => {
  const { locationId, reconcile, bearer } = await place();
  const estate = Array.from({ length: 1_001 }, (_, n) => item(`${n}`, bearer(`c-${n}`)));
  const accepted = await reconcile(estate, create);
  const location = accepted.headers.get("location")!;
  const made = () => countOf("monitoring.watch where location_id = $1", [locationId]);
  await eventually(async () => (await made()) >= 5);
  await world.post(`${location}/cancel`, undefined, { key: keys.aW });
  const operation = await final(location);
  assert.equal(operation.status, "cancelled");
  assert.ok((await made()) >= 5);
  assert.equal(await countOf("monitoring.reconcile where id = $1", [operation.subject]), 0);
  assert.equal((await world.get(`/v1/reconcile/${operation.subject}`, { key: keys.aW })).status, 404);
});

test("a starter that may no longer see pending watches ends the operation, and no twin is made", async () => {
  const { locationId, reconcile, bearer } = await place();
  const key = await world.key(world.A, ["watch.write"], { within: { kind: "location", id: locationId } });
  const estate = Array.from({ length: 1_001 }, (_, n) => item(`${n}`, bearer(`t-${n}`)));
  // The role is lowered in the transaction of the call, so that the work cannot be first.
  await world.sql(
    `create function end_rights() returns trigger language plpgsql security definer as $$ begin
      update access.role set permissions = '{"watch.read": "allow"}'
        where id = (select role_id from access.assignment where within_id = '${locationId}');
      return new; end $$`,
  );
  await world.sql(
    "create trigger end_rights after insert on monitoring.reconcile for each row execute function end_rights()",
  );
  const accepted = await reconcile(estate, { ...create, scope: {} }, key);
  await world.sql("drop trigger end_rights on monitoring.reconcile");
  await world.kernel.forget();
  const operation = await eventually(async () => {
    const [row] = await world.sql("select * from kernel.operation where id = $1", [accepted.body.id]);
    return row.finished_at && row;
  });
  assert.deepEqual([operation.status, operation.error.code], ["failed", "permission_missing"]);
  assert.equal(await countOf("monitoring.watch where location_id = $1", [locationId]), 0);
});

test("work whose server stopped midway goes on behind the last item: nothing is applied twice, the report is complete", async () => {
  const { locationId, reconcile, bearer } = await place();
  const estate = Array.from({ length: 1_500 }, (_, n) =>
    item(`${n}`, bearer(`r-${n}`, { snmp: { version: "v2c", community: "mid-way" } })),
  );
  const accepted = await reconcile(estate, create, keys.aW, { prefer: "respond-async" });
  const location = accepted.headers.get("location")!;
  const made = async (sql = world.sql) =>
    (await sql("select count(*)::int as n from monitoring.watch where location_id = $1", [locationId]))[0].n;
  await eventually(async () => (await made()) >= 50);
  const [sealed] = await world.sql("select request_sealed from monitoring.reconcile where id = $1", [
    accepted.body.subject,
  ]);
  assert.ok(sealed.request_sealed && !sealed.request_sealed.includes("mid-way"));
  await world.close();

  const second = await startServer({ beside: world });
  const before = await made(second.sql);
  assert.ok(before < estate.length, "the first server did not come to an end");
  const { body: operation } = await second.get(location, { key: keys.aW, headers: { prefer: "wait=30" } });
  assert.equal(operation.status, "succeeded", JSON.stringify(operation.error));
  const { missing, created, refused, skipped } = operation.result.data.summary;
  assert.deepEqual({ missing, created, refused, skipped }, { missing: 1_500, created: 1_500, refused: 0, skipped: 0 });
  assert.equal(await made(second.sql), 1_500);
  const told = await second.sql(
    "select count(*)::int as n, count(distinct subject)::int as subjects from kernel.told where type like '%watch.created' and data->'resource'->>'locationId' = $1",
    [locationId],
  );
  assert.deepEqual(told[0], { n: 1_500, subjects: 1_500 });
  const rows = await second.sql(
    "select item from monitoring.reconcile_item where reconcile_id = $1 order by position",
    [accepted.body.subject],
  );
  assert.ok(rows.every(({ item: row }, n) => row.key === `${n}` && row.applied === "created" && row.watchId));
});
