import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../../../../test/harness.ts";
import { applyItems, takenBy } from "./apply.ts";
import { planEstate } from "./plan.ts";
import { each, item, startEstates } from "./reconcile.fixture.ts";
import type { Estate } from "./schema.ts";
import { openScope } from "./scope.ts";

const world = await startEstates();
const { keys, place, eventCount } = world;
const read = async (id: string) => (await world.get(`/v1/watch/${id}`, { key: keys.pW })).body;
const both = { apply: { create: true, update: true } };
const withPlaces = { apply: { create: true, update: true, createPlaces: true } };
const problems = (answer: { body: any }) => answer.body.items.map(({ problem }: any) => problem?.code ?? null);
const foldersNamed = (name: string) =>
  world.sql("select id from monitoring.folder where name = $1 and deleted_at is null", [name]);

test("a place is found as its location, and made with createPlaces and folder.write alone", async () => {
  const { folderId, locationId, reconcile, bearer } = await place();
  const at = (path: string[], location: string) => ({ underFolderId: folderId, path, location });
  const { locationId: _, ...nowhere } = bearer("x");
  const there = item("1", { ...nowhere, name: "there", place: at([], "Depot") });
  const made = item("2", { ...nowhere, name: "made", place: at(["P-North"], "Yard") });
  const beside = item("3", { ...nowhere, name: "beside", place: { ...at(["P-North"], "Yard"), createMissing: true } });
  const estate = [there, made, beside];
  const before = await eventCount();
  assert.deepEqual(each(await reconcile(estate), "outcome"), ["missing", "missing", "missing"]);

  const found = await reconcile(estate, both, keys.pW);
  assert.deepEqual(each(found, "applied"), ["created", "refused", "refused"]);
  assert.equal((await read(found.body.items[0].watchId)).locationId, locationId);
  assert.deepEqual(found.body.items[1].problem.errors, [
    { pointer: "/items/1/watch/place", rule: "not_found", message: "There is no such place, or you may not see it." },
  ]);
  const forbidden = await reconcile(estate, withPlaces);
  assert.deepEqual(each(forbidden, "applied"), ["skipped", "refused", "refused"]);
  assert.equal(forbidden.body.items[1].problem.permission, "folder.write");
  assert.equal((await foldersNamed("P-North")).length, 0);
  assert.equal(await eventCount(), before + 1);

  const created = await reconcile(estate, withPlaces, keys.pW);
  assert.deepEqual(each(created, "applied"), ["skipped", "created", "created"]);
  assert.equal((await foldersNamed("P-North")).length, 1);
  assert.equal(await eventCount(), before + 5);
  const again = await reconcile(estate, withPlaces, keys.pW);
  assert.deepEqual(each(again, "outcome"), ["same", "same", "same"]);
  assert.equal(await eventCount(), before + 5);
});

test("a place compares as the location that it is, and moves the watch when it is applied", async () => {
  const { folderId, locationId, reconcile, watch } = await place();
  const yard = await world.location(folderId, "Yard");
  const { id } = await watch("mover");
  const to = (location: string) => [item("1", { id, place: { underFolderId: folderId, path: [], location } })];
  assert.deepEqual(each(await reconcile(to("Depot")), "outcome"), ["same"]);
  const moved = await reconcile(to("Yard"), both);
  assert.deepEqual(moved.body.items[0].fields, [{ field: "locationId", here: locationId, theirs: yard }]);
  assert.equal((await read(id)).locationId, yard);
  const unbuilt = await reconcile(to("Attic"));
  assert.deepEqual(unbuilt.body.items[0].fields, [{ field: "locationId", here: yard, theirs: null }]);
  assert.deepEqual(problems(await reconcile(to("Attic"), both)), ["validation_failed"]);
  assert.deepEqual(each(await reconcile(to("Attic"), withPlaces, keys.pW), "applied"), ["updated"]);
  assert.equal((await read(id)).location, "Attic");
});

test("a path that two folders fit makes its item invalid, and nothing is guessed", async () => {
  const { folderId, reconcile, bearer } = await place();
  for (let n = 0; n < 2; n++) await world.folder(folderId, "Twin");
  const { locationId: _, ...nowhere } = bearer("x");
  const answer = await reconcile(
    [item("1", { ...nowhere, place: { underFolderId: folderId, path: ["Twin", "x"], location: "L" } })],
    withPlaces,
    keys.pW,
  );
  assert.deepEqual([answer.body.items[0].outcome, answer.body.items[0].errors[0].rule], ["invalid", "path_ambiguous"]);
});

test("what a reference inherits is right as it is, and stays right when the watch moves", async () => {
  const { folderId, reconcile, watch } = await place({ customerReference: "C-1" });
  const other = await world.location(await world.folder(folderId, "Other", { customerReference: "C-2" }), "L");
  const { id } = await watch("inheritor");
  const stays = await reconcile([item("1", { id, customerReference: "C-1", dormant: true })], both);
  assert.deepEqual(
    stays.body.items[0].fields.map(({ field }: any) => field),
    ["dormant"],
  );
  assert.equal((await read(id)).customerReferenceFrom.kind, "folder");
  const estate = [item("1", { id, customerReference: "C-1", locationId: other })];
  assert.deepEqual(each(await reconcile(estate, both), "applied"), ["updated"]);
  assert.deepEqual([(await read(id)).customerReference, (await read(id)).customerReferenceFrom.kind], ["C-1", "own"]);
  assert.deepEqual(each(await reconcile(estate, both), "outcome"), ["same"]);
});

test("a refused item leaves nothing behind, and the items around it are applied", async () => {
  const { reconcile, watch } = await place();
  const [a, b] = [await watch("a"), await watch("b")];
  await world.sql("update monitoring.watch set status = 'active' where id = $1", [b.id]);
  const before = await eventCount();
  const estate = [item("1", { id: a.id, dormant: true }), item("2", { id: b.id, dormant: true, group: "g" })];
  const answer = await reconcile(estate, both);
  assert.deepEqual(each(answer, "applied"), ["updated", "refused"]);
  assert.deepEqual(problems(answer), [null, "watch_not_pending"]);
  assert.equal((await read(b.id)).dormant, false);
  assert.equal(await eventCount(), before + 1);
});

test("nothing is applied that the same request would not find again", async () => {
  const { reconcile, watch, bearer } = await place();
  const far = await place();
  const { id } = await watch("leaver");
  const twins = [
    item("1", bearer("twin-1", { deviceAddress: "192.0.2.90" })),
    item("2", bearer("twin-2", { deviceAddress: "192.0.2.90" })),
  ];
  const doubles = [item("3", bearer("double")), item("4", bearer("double"))];
  const leaving = [
    item("5", { id, locationId: far.locationId }),
    item("6", { ...bearer("outside"), locationId: far.locationId }),
  ];
  const fine = [item("7", bearer("fine", { deviceAddress: "192.0.2.91" }))];
  const before = await eventCount();
  const answer = await reconcile([...twins, ...doubles, ...leaving, ...fine], both);
  assert.deepEqual(each(answer, "outcome"), [
    "missing",
    "missing",
    "missing",
    "missing",
    "different",
    "missing",
    "missing",
  ]);
  assert.deepEqual(problems(answer), [...Array(6).fill("match_not_lasting"), null]);
  assert.equal(await eventCount(), before + 1);
  const referred = ["a", "b"].map((r, n) =>
    item(r, bearer(`port-${r}`, { deviceAddress: "192.0.2.92", reference: `R-${n}` })),
  );
  assert.deepEqual(
    each(await reconcile(referred, both), "applied"),
    ["created", "created"],
    "each is found by its reference",
  );
  assert.deepEqual(each(await reconcile(referred, both), "outcome"), ["same", "same"]);
  const named = { matchBy: ["name"] };
  assert.deepEqual(each(await reconcile(twins, { ...both, ...named }), "applied"), ["created", "created"]);
  assert.deepEqual(each(await reconcile(twins, { ...both, ...named }), "outcome"), ["same", "same"]);
});

test("an item is compared anew when it is applied, and refused where it would hit another watch than before", async () => {
  const { folderId, reconcile, watch, bearer } = await place();
  const [equal, gone, moved] = [
    await watch("equal"),
    await watch("gone"),
    await watch("moved", { reference: "R-moved" }),
  ];
  const items = [
    item("1", { id: equal.id, dormant: true }),
    item("2", { id: gone.id, dormant: true }),
    item("3", { reference: "R-moved", dormant: true }),
    item("4", bearer("meanwhile", { reference: "R-meanwhile" })),
  ];
  const estate: Estate = { scope: { folderId }, items, ...both };
  const planned = await world.as(world.A, async (ctx) => planEstate(ctx, await openScope(ctx, estate), estate));
  await world.patch(`/v1/watch/${equal.id}`, { dormant: true }, { key: keys.aW });
  await world.delete(`/v1/watch/${gone.id}`, { key: keys.aW });
  await world.patch(`/v1/watch/${moved.id}`, { reference: null }, { key: keys.aW });
  await watch("R", { reference: "R-meanwhile" });
  const before = await eventCount();
  const done = await world.as(world.A, async (ctx) => {
    const rows = planned.rows.map((one, position) => ({ position, item: one }));
    return applyItems(ctx, { estate, scope: await openScope(ctx, estate), taken: takenBy(rows) }, rows);
  });
  assert.deepEqual(
    done.map(({ item: { applied, problem } }) => [applied, problem && (problem as { code: string }).code]),
    [
      ["skipped", null],
      ["refused", "match_changed"],
      ["refused", "match_changed"],
      ["refused", "match_changed"],
    ],
  );
  assert.equal(await eventCount(), before);
  assert.deepEqual(each(await reconcile(items), "outcome"), ["same", "missing", "missing", "different"]);
});

test("a watch that does not count among the statuses is not created", async () => {
  const { reconcile, bearer } = await place();
  const answer = await reconcile([item("1", bearer("n"))], { ...both, statuses: ["active"] });
  assert.deepEqual(problems(answer), ["match_not_lasting"]);
});

test("If-Match of the call does not bear on the watches, and an Idempotency-Key gives the first report again", async () => {
  const { reconcile, watch } = await place();
  const { id } = await watch("once");
  const headers = { "if-match": '"stale"', "idempotency-key": "reconcile-once" };
  const first = await reconcile([item("1", { id, dormant: true })], both, keys.aW, headers);
  assert.deepEqual(each(first, "applied"), ["updated"]);
  const second = await reconcile([item("1", { id, dormant: true })], both, keys.aW, headers);
  assert.deepEqual([second.headers.get("idempotency-replayed"), second.body], ["true", first.body]);
});

test("46. a call over the plan's burst is refused with a time, and neither compares nor stores", async () => {
  const { reconcile, bearer } = await place();
  const lane = (burst: number) => ({ ratePerSecond: burst === 1 ? 1 : 10_000, burst, perDay: null });
  const setBurst = async (burst: number) => {
    await world.sql("update access.plan set lanes = jsonb_set(lanes, '{api}', $1)", [JSON.stringify(lane(burst))]);
    await world.kernel.forget();
  };
  const reports = async () => (await world.sql("select count(*)::int as n from monitoring.reconcile"))[0].n;
  const before = await reports();
  await setBurst(1);
  try {
    const answers = [];
    for (let n = 0; n < 4; n++) answers.push(await reconcile([item("1", bearer(`burst-${n}`))], both));
    const refused = answers.filter(({ status }) => status === 429);
    assert.ok(refused.length > 0);
    for (const { headers } of refused) assert.match(headers.get("retry-after")!, /^[1-9]\d*$/);
    assert.equal(await reports(), before + answers.length - refused.length);
    assert.equal((await world.get("/v1/watch/type", { key: keys.bW })).status, 200);
    await eventually(async () => (await reconcile([item("1", bearer("after"))], both)).status === 200);
  } finally {
    await setBurst(100_000);
  }
});
