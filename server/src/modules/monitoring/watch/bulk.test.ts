import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { startWorld } from "./watch.fixture.ts";

const world = await startWorld();
const { keys, full, created, A, B, L, rootOf } = world;
const bulk = (body: unknown, key = keys.aW, headers: Record<string, string> = {}) =>
  world.post("/v1/watch/bulk", body, { key, headers });
const create = (more: Record<string, unknown> = {}) => ({ op: "create", watch: full(more) });
const outcomes = (answer: { body: any; text: string }) =>
  answer.body.results?.map(({ outcome }: any) => outcome) ?? assert.fail(answer.text);
const counts = async () => {
  const [row] =
    await world.sql(`select (select count(*) from monitoring.watch)::int as watches, (select count(*) from monitoring.numeric_id)::int as numbers,
    (select count(*) from kernel.told)::int as events, (select count(*) from access.audit)::int as audits, (select count(*) from monitoring.folder)::int as folders`);
  return row;
};

test("41. atomic: a faulty fourth of five is refused on its pointer, and nothing is stored", async () => {
  const before = await counts();
  const answer = await bulk({
    mode: "atomic",
    items: [create(), create(), create(), create({ accessInKbps: 0 }), create()],
  });
  assert.deepEqual([answer.status, answer.body.code], [400, "validation_failed"]);
  assert.deepEqual(
    answer.body.errors.map(({ pointer }: any) => pointer),
    ["/items/3/watch/accessInKbps"],
  );
  assert.deepEqual(await counts(), before);
});

test("41. each: a faulty fourth of five fails alone, and the four others are stored and told", async () => {
  const before = await counts();
  const answer = await bulk({
    mode: "each",
    items: [create(), create(), create(), create({ accessInKbps: 0 }), create()],
  });
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body.summary, { created: 4, updated: 0, unchanged: 0, deleted: 0, failed: 1 });
  assert.deepEqual(
    answer.body.results[3].problem.errors.map(({ pointer }: any) => pointer),
    ["/items/3/watch/accessInKbps"],
  );
  assert.deepEqual([answer.body.results[3].status, answer.body.results[3].id], [400, null]);
  for (const { id, etag, outcome } of answer.body.results) {
    if (outcome !== "created") continue;
    const read = await world.get(`/v1/watch/${id}`, { key: keys.aW });
    assert.equal(read.headers.get("etag"), etag);
    assert.equal((await world.events(id))[0].data.resource.numericId, read.body.numericId);
  }
  const after = await counts();
  assert.deepEqual(
    [
      after.watches - before.watches,
      after.numbers - before.numbers,
      after.events - before.events,
      after.audits - before.audits,
    ],
    [4, 4, 4, 4],
  );
});

test("41. a dry run answers the same counts with null ids, and stores nothing", async () => {
  const { id } = await created(full());
  const before = await counts();
  const items = [
    create(),
    { op: "update", id, watch: { description: "x" } },
    { op: "delete", id },
    create({ accessInKbps: 0 }),
  ];
  const dry = await bulk({ mode: "each", dryRun: true, items });
  assert.deepEqual(outcomes(dry), ["created", "updated", "deleted", "failed"]);
  assert.deepEqual(
    dry.body.results.map((result: any) => result.id),
    [null, id, id, null],
  );
  assert.deepEqual(await counts(), before);
  const real = await bulk({ mode: "each", items });
  assert.deepEqual(real.body.summary, dry.body.summary);
});

test("41. 1 to 1,000 items are taken", async () => {
  assert.equal((await bulk({ items: [] })).status, 400);
  assert.equal(
    (
      await bulk({
        items: Array.from({ length: 1_001 }, () => ({ op: "delete", id: "wch_01jd8w6r7qf0ztb5c2m9x4k3en" })),
      })
    ).status,
    400,
  );
});

test("an item of no known form, or with members of another, is refused for what it is", async () => {
  const answer = await bulk({
    items: [
      { op: "destroy" },
      7,
      { op: "create" },
      { op: "delete", id: "x", watch: {} },
      { watch: {} },
      { op: "create", watch: { ...full(), id: "x" } },
    ],
  });
  assert.equal(answer.status, 400);
  assert.deepEqual(
    answer.body.errors.map(({ pointer, rule }: any) => [pointer, rule]),
    [
      ["/items/0/op", "enum"],
      ["/items/1", "type"],
      ["/items/2/watch", "required"],
      ["/items/3/watch", "additionalProperties"],
      ["/items/4/op", "required"],
      ["/items/5/watch/id", "read_only"],
    ],
  );
});

test("atomic: what the state forbids is 409, naming every item that is refused", async () => {
  const { id, name } = await created(full());
  const before = await counts();
  const answer = await bulk({
    items: [
      create(),
      create({ name }),
      { op: "update", id: "wch_01jd8w6r7qf0ztb5c2m9x4k3en", watch: {} },
      create({ locationId: "loc_01jd8w6r7qf0ztb5c2m9x4k3en" }),
    ],
  });
  assert.deepEqual([answer.status, answer.body.code], [409, "bulk_refused"]);
  assert.deepEqual(
    answer.body.errors.map(({ pointer, rule }: any) => [pointer, rule]),
    [
      ["/items/1", "watch_name_taken"],
      ["/items/2", "not_found"],
      ["/items/3/watch/locationId", "not_found"],
    ],
  );
  assert.deepEqual(await counts(), before);
  assert.equal((await world.get(`/v1/watch/${id}`, { key: keys.aW })).status, 200);
});

test("later items see earlier ones: names are taken, given up and handed over in order", async () => {
  const [one, two] = [await created(full({ name: "hand-1" })), await created(full({ name: "hand-2" }))];
  const rename = (id: string, name: string) => ({ op: "update", id, watch: { name } });
  const clash = await bulk({
    mode: "each",
    items: [create({ name: "fresh" }), create({ name: "FRESH" }), rename(one.id, "hand-2")],
  });
  assert.deepEqual(outcomes(clash), ["created", "failed", "failed"]);
  assert.equal(clash.body.results[1].problem.existingId, clash.body.results[0].id);
  const swap = await bulk({ items: [rename(one.id, "between"), rename(two.id, "hand-1"), rename(one.id, "hand-2")] });
  assert.deepEqual(outcomes(swap), ["updated", "updated", "updated"]);
  const names = await world.sql("select id, name from monitoring.watch where id = any($1)", [[one.id, two.id]]);
  assert.deepEqual(Object.fromEntries(names.map(({ id, name }) => [id, name])), {
    [one.id]: "hand-2",
    [two.id]: "hand-1",
  });
  const reuse = await bulk({
    items: [
      { op: "delete", id: one.id },
      create({ name: "HAND-2" }),
      rename(two.id, "hand-3"),
      create({ name: "hand-1" }),
    ],
  });
  assert.deepEqual(outcomes(reuse), ["deleted", "created", "updated", "created"]);
  const events = await world.events(one.id);
  assert.deepEqual(
    events.map(({ type }) => type.split(".").pop()),
    ["created", "updated", "updated", "deleted"],
  );
  assert.deepEqual(events[2].data.previous, { name: "between" });
});

test("an update, a stale tag, an unchanged item and a repeated delete answer as the single calls do", async () => {
  const watch = await created(full());
  const etag = (await world.get(`/v1/watch/${watch.id}`, { key: keys.aW })).headers.get("etag");
  const update = (more: object) => ({ op: "update", id: watch.id, watch: { reference: "R-1" }, ...more });
  const answer = await bulk({
    mode: "each",
    items: [
      update({ ifMatch: '"old"' }),
      update({ ifMatch: etag }),
      update({}),
      { op: "delete", id: watch.id, ifMatch: etag },
      { op: "delete", id: watch.id },
      { op: "delete", id: watch.id },
      update({}),
    ],
  });
  assert.deepEqual(outcomes(answer), ["failed", "updated", "unchanged", "failed", "deleted", "absent", "failed"]);
  assert.deepEqual(
    answer.body.results.map(({ status }: any) => status),
    [412, 200, 200, 412, 204, 204, 404],
  );
  assert.deepEqual(answer.body.summary, { created: 0, updated: 1, unchanged: 2, deleted: 1, failed: 3 });
  assert.deepEqual(
    (await world.audits(watch.id)).map(({ action }: any) => action),
    ["created", "updated", "deleted"],
  );
});

test("an upsert merges into the one watch that it names, makes one where none is, and never picks among several", async () => {
  const upsert = (watch: object, matchBy?: string) => ({ op: "upsert", ...(matchBy ? { matchBy } : {}), watch });
  const first = await bulk({ items: [upsert(full({ name: "up-1", reference: "U-1", description: "kept" }))] });
  assert.deepEqual([first.body.results[0].status, outcomes(first)], [201, ["created"]]);
  const { id } = first.body.results[0];
  const again = await bulk({
    items: [
      upsert({ name: "UP-1", locationId: L, accessInKbps: 1 }),
      upsert({ reference: "U-1", productType: "FTTC" }, "reference"),
      upsert({ reference: "U-1", productType: "FTTC" }, "reference"),
      upsert(full({ name: "up-2", reference: "U-2" }), "reference"),
      upsert({ reference: "U-2", dormant: true }, "reference"),
    ],
  });
  assert.deepEqual(outcomes(again), ["updated", "updated", "unchanged", "created", "updated"]);
  const read = await world.get(`/v1/watch/${id}`, { key: keys.aW });
  assert.deepEqual(
    [read.body.name, read.body.accessInKbps, read.body.productType, read.body.description],
    ["UP-1", 1, "FTTC", "kept"],
  );
  assert.equal((await world.get("/v1/watch?reference=U-2", { key: keys.aW })).body.items[0].dormant, true);
  await created(full({ reference: "U-1" }));
  const faulty = await bulk({
    mode: "each",
    items: [
      upsert({ reference: "U-1", dormant: true }, "reference"),
      upsert({ reference: "U-9" }, "reference"),
      upsert({ name: "x" }),
      upsert({ locationId: L }),
      upsert({ name: "x" }, "reference"),
    ],
  });
  assert.deepEqual(
    faulty.body.results.map(({ problem }: any) => problem.code),
    ["match_ambiguous", "validation_failed", "validation_failed", "validation_failed", "validation_failed"],
  );
  assert.ok(faulty.body.results[1].problem.errors.some(({ pointer }: any) => pointer === "/items/1/watch/name"));
});

test("secrets are sealed per watch, warned of per item, and kept by later items", async () => {
  const open = { version: "v2c", community: "public" };
  const answer = await bulk({
    items: [
      create({ snmp: open }),
      create(),
      { op: "upsert", watch: { ...full({ name: "sealed-1" }), snmp: { version: "v1", community: "private one" } } },
      { op: "upsert", watch: { name: "sealed-1", locationId: L, snmp: { version: "v2c" } } },
    ],
  });
  assert.deepEqual(
    answer.body.results.map(({ warnings }: any) => warnings.map(({ code }: any) => code)),
    [["snmp_default_community"], [], [], []],
  );
  assert.equal(answer.headers.get("demarc-warning"), null);
  const { openSnmp } = await import("./snmp-settings.ts");
  const [row] = await world.sql("select * from monitoring.watch where id = $1", [answer.body.results[2].id]);
  assert.equal(answer.body.results[3].id, answer.body.results[2].id);
  await world.as(A, async (ctx) =>
    assert.deepEqual(await openSnmp(ctx, row), { version: "v2c", port: 161, community: "private one" }),
  );
});

test("an item may make its place; a refused one leaves none of it, and a dry run makes none", async () => {
  const place = { underFolderId: rootOf(A), path: ["North"], location: "Depot", createMissing: true };
  const at = (more: object) => ({
    op: "create",
    watch: { ...full(more as Record<string, unknown>), locationId: undefined, place },
  });
  const before = await counts();
  const dry = await bulk({ dryRun: true, items: [at({ name: "in-1" }), at({ name: "in-2" })] }, keys.pW);
  assert.deepEqual(outcomes(dry), ["created", "created"]);
  assert.deepEqual(await counts(), before);
  const refused = await bulk({ items: [at({ name: "in-1" })] });
  assert.deepEqual([refused.status, refused.body.errors[0].rule], [409, "permission_missing"]);
  const real = await bulk(
    {
      mode: "each",
      items: [
        at({ name: "in-1", watchType: "Tunnel" }),
        at({ name: "in-1" }),
        at({ name: "IN-1" }),
        at({ name: "in-2" }),
      ],
    },
    keys.pW,
  );
  assert.deepEqual(outcomes(real), ["failed", "created", "failed", "created"]);
  assert.equal((await counts()).folders, before.folders + 1);
});

test("a provider's bulk call writes into several tenants; a customer's reaches its own only", async () => {
  const theirs = await world.location(rootOf(B), "Bulk");
  const both = [create(), create({ locationId: theirs })];
  const own = await bulk({ mode: "each", items: both });
  assert.deepEqual(outcomes(own), ["created", "failed"]);
  const all = await bulk({ items: [create(), create({ locationId: theirs })] }, keys.pW);
  const tenants = await world.sql("select tenant_id from monitoring.watch where id = any($1) order by id", [
    all.body.results.map(({ id }: any) => id),
  ]);
  assert.deepEqual(
    tenants.map(({ tenant_id }) => tenant_id),
    [A, B],
  );
});

test("one Idempotency-Key runs a bulk call once", async () => {
  const body = { items: [create(), create()] };
  const [first, second] = [
    await bulk(body, keys.aW, { "idempotency-key": "bulk-1" }),
    await bulk(body, keys.aW, { "idempotency-key": "bulk-1" }),
  ];
  assert.deepEqual(second.body, first.body);
  assert.equal(second.headers.get("idempotency-replayed"), "true");
});

test("of concurrent bulk calls that want the same names, in any order, one gets them and the others are told", async () => {
  const names = Array.from({ length: 30 }, (_, index) => `wanted-${index}`);
  const free = await Promise.all(Array.from({ length: 4 }, () => created(full())));
  const calls = free.map(({ id }, index) => {
    const items: unknown[] = names.map((name) => create({ name }));
    items[index] = { op: "update", id, watch: { name: names[index] } };
    return bulk({ items: index % 2 ? items : items.reverse() });
  });
  const answers = await Promise.all(calls);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409, 409]);
  const [{ n }] = await world.sql(
    "select count(*)::int as n from monitoring.watch where name like 'wanted-%' and location_id = $1",
    [L],
  );
  assert.equal(n, names.length);
});

test("the number of SQL statements does not grow with the number of items", async (t) => {
  const query = t.mock.method(pg.Client.prototype, "query");
  const other = await world.location(rootOf(A), "Other");
  /** Those of this module; the activity log and the like write whenever they please. */
  const sent = () =>
    query.mock.calls.filter(({ arguments: [config] }) =>
      / monitoring\.|"monitoring"/.test((config as { text?: string }).text ?? ""),
    ).length;
  const statementsOf = async (count: number) => {
    const many = (make: (index: number) => unknown) => Array.from({ length: count }, (_, index) => make(index));
    const place = { path: [], location: "L" };
    const reference = (index: number) => `many-${count}-${index}`;
    const before = sent();
    const first = await bulk({
      items: [
        ...many(() => create()),
        ...many(() => ({ op: "upsert", watch: full() })),
        ...many((index) => ({ op: "upsert", matchBy: "reference", watch: full({ reference: reference(index) }) })),
        ...many(() => ({ op: "create", watch: { ...full(), locationId: undefined, place } })),
      ],
    });
    const ids = first.body.results.map(({ id }: any) => id);
    const second = await bulk({
      items: [
        ...many((index) => ({ op: "update", id: ids[index], watch: { name: `renamed-${count}-${index}` } })),
        ...many((index) => ({ op: "update", id: ids[count + index], watch: { locationId: other } })),
        ...many((index) => ({
          op: "upsert",
          matchBy: "reference",
          watch: { reference: reference(index), interface: null, snmp: null, name: `again-${count}-${index}` },
        })),
        ...many((index) => ({ op: "delete", id: ids[3 * count + index] })),
      ],
    });
    assert.deepEqual(
      [first.body.summary?.created, second.body.summary?.updated, second.body.summary?.deleted],
      [4 * count, 3 * count, count],
    );
    return sent() - before;
  };
  const few = await statementsOf(2);
  assert.ok(few >= 6);
  assert.equal(await statementsOf(100), few);
});
