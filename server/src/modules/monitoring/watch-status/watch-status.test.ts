import assert from "node:assert/strict";
import { test } from "node:test";
import { newId } from "#kernel/ids";
import { startDevice, startWatchLab } from "../../../../test/watch-lab.ts";
import { rootFolderOf } from "../scope.ts";
import { activation } from "./activation.ts";
import { noteItem } from "./batch.ts";
import { activateWatch } from "./operations.ts";

const world = await startWatchLab();
const { keys } = world;
const post = (id: string, verb: string, key = keys.aU, body?: unknown) =>
  world.post(`/v1/watch/${id}/${verb}`, body, { key });

test("29. a watch that was not tested does not go live, and the refusal lists what is in the way", async () => {
  const watch = await world.watchOf("192.0.2.10");
  const answer = await post(watch.id, "activate");
  assert.deepEqual([answer.status, answer.body.code], [409, "watch_not_ready"]);
  assert.deepEqual(answer.body.blockers, ["not_tested"]);
  assert.deepEqual(await world.events(watch.id), ["watch.created"]);
});

test("30. a ready watch goes live once, leaves its group, and a repetition tells nothing", async () => {
  const watch = await world.ready({ group: "batch-0" });
  assert.equal(watch.group, "batch-0");
  const refused = await post(watch.id, "activate", keys.aW);
  assert.deepEqual([refused.status, refused.body.permission], [403, "watch.activate"]);
  const answer = await post(watch.id, "activate", keys.aU, {});
  assert.equal(answer.status, 200);
  const { status, group, activatedAt, activatedBy, updatedBy } = answer.body;
  assert.deepEqual([status, group, activatedAt, activatedBy], ["active", null, "2026-11-22T10:00:00.000Z", updatedBy]);
  assert.deepEqual((await world.get(`/v1/watch/${watch.id}`, { key: keys.aR })).body, answer.body);
  world.clock.advance(1_000);
  const again = await post(watch.id, "activate");
  assert.deepEqual([again.status, again.headers.get("etag")], [200, answer.headers.get("etag")]);
  assert.deepEqual(
    (await world.events(watch.id)).filter((type) => type === "watch.activated"),
    ["watch.activated"],
  );
  const entries = await world.sql("select changes from access.audit where item_id = $1 and action = 'activated'", [
    watch.id,
  ]);
  assert.deepEqual(
    entries.map(({ changes }) => changes),
    [
      [
        { field: "group", old: "batch-0", new: null },
        { field: "status", old: "pending", new: "active" },
      ],
    ],
  );
});

test("17. who may only activate activates a ready watch and changes nothing; who may nothing is refused everywhere", async () => {
  const watch = await world.ready();
  assert.equal((await world.patch(`/v1/watch/${watch.id}`, { reference: "x" }, { key: keys.aU })).status, 403);
  for (const verb of ["activate", "disable", "enable"]) {
    assert.equal((await post(watch.id, verb, keys.aH)).status, 403);
    assert.equal((await post(watch.id, verb, keys.bW)).status, 404);
    assert.equal((await post("wch_nothing", verb)).status, 404);
  }
  assert.equal((await world.post("/v1/watch/activate", { ids: [watch.id] }, { key: keys.aH })).status, 403);
  assert.equal((await post(watch.id, "activate")).status, 200);
});

test("the event of an activation names the contact of the nearest folder that has one", async () => {
  const folder = async (parentFolderId: string, name: string) =>
    (await world.post("/v1/folder", { name, parentFolderId }, { key: keys.aW })).body.id;
  const outer = await folder(rootFolderOf(world.A), "outer");
  const inner = await folder(outer, "inner");
  const { body: location } = await world.post("/v1/location", { name: "deep", folderId: inner }, { key: keys.aW });
  const contact = async (id: string) => {
    const [{ data }] = await world.sql("select data from kernel.told where subject = $1 and type like '%activated'", [
      id,
    ]);
    return data.contactUserId;
  };
  const nobody = await world.ready({ locationId: location.id });
  await post(nobody.id, "activate");
  assert.equal(await contact(nobody.id), null);
  const [far, near] = [newId("usr"), newId("usr")];
  await world.sql("update monitoring.folder set contact_user_id = $1 where id = $2", [far, rootFolderOf(world.A)]);
  await world.sql("update monitoring.folder set contact_user_id = $1 where id = $2", [near, outer]);
  const somebody = await world.ready({ locationId: location.id });
  await post(somebody.id, "activate");
  assert.equal(await contact(somebody.id), near);
});

test("36. an active watch is not removed before it is disabled", async () => {
  const watch = await world.ready();
  await post(watch.id, "activate");
  const refused = await world.delete(`/v1/watch/${watch.id}`, { key: keys.aW });
  assert.deepEqual([refused.status, refused.body.code], [409, "watch_is_active"]);
  const disabled = await post(watch.id, "disable");
  assert.deepEqual([disabled.status, disabled.body.status], [200, "disabled"]);
  assert.equal((await world.delete(`/v1/watch/${watch.id}`, { key: keys.aW })).status, 204);
  assert.equal((await world.get(`/v1/watch/${watch.id}`, { key: keys.aW })).status, 404);
});

test("36. a pending watch is neither disabled nor enabled; a disabled one is enabled, not activated", async () => {
  const watch = await world.ready();
  for (const verb of ["disable", "enable"]) assert.equal((await post(watch.id, verb)).body.code, "watch_is_pending");
  await post(watch.id, "activate");
  await post(watch.id, "disable");
  assert.equal((await post(watch.id, "activate")).body.code, "watch_is_disabled");
});

test("36. a disabled watch with unchanged technical fields is enabled without a test; repetitions tell nothing", async () => {
  const watch = await world.ready();
  await post(watch.id, "activate");
  const disabled = await post(watch.id, "disable");
  assert.equal(disabled.body.disabledAt, disabled.body.updatedAt);
  assert.equal((await post(watch.id, "disable")).headers.get("etag"), disabled.headers.get("etag"));
  const enabled = await post(watch.id, "enable");
  assert.deepEqual([enabled.status, enabled.body.status, enabled.body.disabledAt], [200, "active", null]);
  assert.equal(enabled.body.activatedAt, disabled.body.activatedAt);
  assert.equal((await post(watch.id, "enable")).status, 200);
  const told = (await world.events(watch.id)).slice(2);
  assert.deepEqual(told, ["watch.activated", "watch.disabled", "watch.enabled"]);
});

test("a disabled watch whose technical fields were changed is not enabled; an active one stays active", async () => {
  const watch = await world.ready();
  await post(watch.id, "activate");
  const changed = await world.patch(`/v1/watch/${watch.id}`, { deviceAddress: "192.0.2.50" }, { key: keys.aW });
  assert.deepEqual([changed.body.status, changed.body.testState], ["active", "untested"]);
  await post(watch.id, "disable");
  const refused = await post(watch.id, "enable");
  assert.deepEqual([refused.body.code, refused.body.blockers], ["watch_not_ready", ["not_tested"]]);
});

test("27. an active watch has no group", async () => {
  const watch = await world.ready();
  await post(watch.id, "activate");
  const answer = await world.patch(`/v1/watch/${watch.id}`, { group: "late" }, { key: keys.aW });
  assert.deepEqual([answer.status, answer.body.code], [409, "watch_not_pending"]);
});

test("35. of a group, the ready watches go live and the untested one is refused with its reason", async () => {
  const group = "batch-1";
  const [one, two] = [await world.ready({ group }), await world.ready({ group })];
  const untested = await world.watchOf("192.0.2.10", { group });
  await world.ready({ group: "batch-2" });
  const answer = await world.post("/v1/watch/activate", { group }, { key: keys.aU });
  assert.equal(answer.status, 202);
  const operation = await world.ended(answer.body.id, keys.aU);
  assert.deepEqual(operation.result.data, {
    summary: { activated: 2, refused: 1 },
    results: [
      { id: one.id, outcome: "activated", code: null },
      { id: two.id, outcome: "activated", code: null },
      { id: untested.id, outcome: "refused", code: "watch_not_ready" },
    ],
  });
  assert.deepEqual([(await world.read(one.id)).status, (await world.read(untested.id)).status], ["active", "pending"]);
  assert.deepEqual(await world.sql("select * from monitoring.watch_batch_item"), []);
});

test("ids that are active already or that the caller does not see have outcomes of their own, each id once", async () => {
  const watch = await world.ready();
  await post(watch.id, "activate");
  const [strange, foreign] = [newId("wch"), await world.watchOf("192.0.2.10", { locationId: world.LB.id })];
  const answer = await world.post(
    "/v1/watch/activate",
    { ids: [watch.id, strange, watch.id, foreign.id] },
    { key: keys.aU },
  );
  const { result } = await world.ended(answer.body.id, keys.aU);
  assert.deepEqual(result.data.results, [
    { id: watch.id, outcome: "unchanged", code: null },
    { id: strange, outcome: "refused", code: "not_found" },
    { id: foreign.id, outcome: "refused", code: "not_found" },
  ]);
});

test("a folder selects the pending watches below it, of all tenants there", async () => {
  const mine = await world.ready({ group: "both" });
  const theirs = await world.watchOf("192.0.2.10", { locationId: world.LB.id, group: "both" });
  const body = { group: "both", folderId: rootFolderOf(world.rootId) };
  const answer = await world.post("/v1/watch/activate", body, { key: keys.pW });
  const { result } = await world.ended(answer.body.id, keys.pW);
  assert.deepEqual(result.data.results, [
    { id: mine.id, outcome: "activated", code: null },
    { id: theirs.id, outcome: "refused", code: "watch_not_ready" },
  ]);
  const own = await world.post("/v1/watch/activate", { ...body, folderId: rootFolderOf(world.B) }, { key: keys.pW });
  assert.deepEqual(
    (await world.ended(own.body.id, keys.pW)).result.data.results.map((one: any) => one.id),
    [theirs.id],
  );
});

test("a selection that says nothing, too much or nonsense is refused without an operation", async () => {
  const many = Array.from({ length: 1_001 }, () => newId("wch"));
  const cases: [object, string, string][] = [
    [{}, "/ids", "required"],
    [{ ids: [] }, "/ids", "minItems"],
    [{ ids: many }, "/ids", "maxItems"],
    [{ ids: [world.L.id] }, "/ids/0", "id_kind"],
    [{ ids: many.slice(1_000), group: "g" }, "/group", "oneOf"],
    [{ folderId: newId("fld") }, "/folderId", "not_found"],
    [{ folderId: world.L.id }, "/folderId", "id_kind"],
  ];
  const count = async () => (await world.sql("select count(*)::int as n from kernel.operation"))[0].n;
  const before = await count();
  for (const [body, pointer, rule] of cases) {
    const answer = await world.post("/v1/watch/activate", body, { key: keys.aU });
    assert.deepEqual(
      [answer.status, answer.body.errors?.[0].pointer, answer.body.errors?.[0].rule],
      [400, pointer, rule],
    );
  }
  assert.equal(await count(), before);
});

test("an activation that is taken up again goes on behind the last watch and does nothing twice", async () => {
  const [one, two] = [await world.ready(), await world.ready()];
  // What a crash behind the first watch leaves: the operation, and the first watch's effect with its note.
  const operationId = await world.as(world.A, async (ctx) => {
    const input = { ids: [one.id, two.id] };
    const { id } = await ctx.startOperation(activation, { tenantId: world.A, subject: null, input });
    await activateWatch(ctx, one.id);
    await noteItem(ctx, id, { watchId: one.id, tenantId: world.A, outcome: "activated", code: null });
    return id;
  });
  const reader = await world.key(world.A, ["operation.read"]);
  const { result } = await world.ended(operationId, reader);
  assert.deepEqual(result.data.summary, { activated: 2 });
  for (const { id } of [one, two]) {
    assert.deepEqual(
      (await world.events(id)).filter((type) => type === "watch.activated"),
      ["watch.activated"],
    );
  }
});

test("a watch under test does not go live before the test has ended", async () => {
  const watch = await world.watchOf(await startDevice({ silent: true }));
  const { body } = await world.test(watch.id);
  assert.deepEqual((await post(watch.id, "activate")).body.blockers, ["test_in_progress"]);
  await world.post(`/v1/operation/${body.id}/cancel`, undefined, { key: keys.aW });
  await world.ended(body.id);
});
