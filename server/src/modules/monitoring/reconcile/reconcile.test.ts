import assert from "node:assert/strict";
import { test } from "node:test";
import { openSnmp } from "../watch/snmp-settings.ts";
import { each, item, startEstates } from "./reconcile.fixture.ts";

const world = await startEstates();
const { keys, place, eventCount } = world;
const read = async (id: string) => (await world.get(`/v1/watch/${id}`, { key: keys.aW })).body;
const both = { apply: { create: true, update: true } };

test("42. an estate is told apart into same, different, missing and only here, and nothing is changed", async () => {
  const { locationId, reconcile, watch, bearer } = await place();
  const same = await watch("same", { reference: "R-1" });
  const other = await watch("other", { reference: "R-2" });
  const alone = await watch("alone", { deviceAddress: "192.0.2.77" });
  const estate = [
    item("1", { reference: "R-1", name: "same", accessInKbps: 80_000 }),
    item("2", { reference: "R-2", accessInKbps: 100_000 }),
    item("3", bearer("new", { reference: "R-3" })),
  ];
  const before = await eventCount();
  const answer = await reconcile(estate);
  assert.deepEqual(each(answer, "outcome"), ["same", "different", "missing"]);
  assert.deepEqual(answer.body.items[1].fields, [{ field: "accessInKbps", here: 80_000, theirs: 100_000 }]);
  assert.deepEqual(each(answer, "watchId"), [same.id, other.id, null]);
  assert.deepEqual(each(answer, "applied"), [null, null, null]);
  assert.deepEqual(answer.body.onlyHere, [{ id: alone.id, name: "alone", deviceAddress: "192.0.2.77", locationId }]);
  assert.equal(answer.body.onlyHereNextLink, null);
  const none = { ambiguous: 0, invalid: 0, created: 0, updated: 0, skipped: 0, refused: 0 };
  assert.deepEqual(answer.body.summary, { ...none, missing: 1, same: 1, different: 1, onlyHere: 1 });
  assert.equal(await eventCount(), before);

  const applied = await reconcile(estate, both);
  assert.deepEqual(each(applied, "outcome"), ["same", "different", "missing"]);
  assert.deepEqual(each(applied, "applied"), ["skipped", "updated", "created"]);
  const { created, updated, skipped, refused } = applied.body.summary;
  assert.deepEqual({ created, updated, skipped, refused }, { created: 1, updated: 1, skipped: 1, refused: 0 });
  assert.equal((await read(applied.body.items[2].watchId)).name, "new");
  assert.equal((await read(other.id)).accessInKbps, 100_000);
  assert.equal(await eventCount(), before + 2);

  const again = await reconcile(estate, both);
  assert.deepEqual(each(again, "outcome"), ["same", "same", "same"]);
  assert.deepEqual(each(again, "applied"), ["skipped", "skipped", "skipped"]);
  assert.equal(again.body.summary.onlyHere, 1);
  assert.equal(await eventCount(), before + 2);
});

test("42. create and update are asked for one by one", async () => {
  const { reconcile, watch, bearer } = await place();
  await watch("w", { reference: "one-by-one" });
  const estate = [item("1", { reference: "one-by-one", dormant: true }), item("2", bearer("n"))];
  assert.deepEqual(each(await reconcile(estate, { apply: {} }), "applied"), ["skipped", "skipped"]);
  assert.deepEqual(each(await reconcile(estate, { apply: { create: true } }), "applied"), ["skipped", "created"]);
  assert.deepEqual(each(await reconcile(estate, { apply: { update: true } }), "applied"), ["updated", "skipped"]);
});

test("43. two watches on one device are ambiguous by the address alone, and told apart by the interface", async () => {
  const { reconcile, watch } = await place();
  const on = (value: string) => ({ deviceAddress: "192.0.2.43", interface: { match: "ifName", value } });
  const one = await watch("one", on("Gi0/0/1"));
  const two = await watch("two", on("Gi0/0/2"));
  const estate = [
    item("1", { deviceAddress: "192.0.2.43", accessInKbps: 1 }),
    item("2", { ...on("Gi0/0/2"), accessInKbps: 2 }),
  ];
  const answer = await reconcile(estate, both);
  assert.deepEqual(each(answer, "outcome"), ["ambiguous", "different"]);
  assert.deepEqual(answer.body.items[0].candidateIds, [one.id, two.id].sort());
  assert.deepEqual(each(answer, "applied"), ["skipped", "updated"]);
  assert.deepEqual(each(answer, "watchId"), [null, two.id]);
  assert.equal((await read(one.id)).accessInKbps, 80_000);
  assert.equal(answer.body.summary.onlyHere, 0, "a candidate was hit, even if it was not picked");
  const unknown = await reconcile([item("1", { ...on("Gi0/0/9") })]);
  assert.deepEqual(each(unknown, "outcome"), ["missing"]);
});

test("43. a device's interface is also known by what it was found to be", async () => {
  const { reconcile, watch } = await place();
  const wanted = { deviceAddress: "192.0.2.44", interface: { match: "ifAlias", value: "WAN" } };
  const { id } = await watch("alias", wanted);
  await world.sql("update monitoring.watch set interface_resolved = $2 where id = $1", [
    id,
    { ifIndex: 7, ifName: "Gi7" },
  ]);
  for (const known of [
    { match: "ifName", value: "Gi7" },
    { match: "ifIndex", value: "7" },
  ]) {
    const answer = await reconcile([item("1", { deviceAddress: "192.0.2.44", interface: known })]);
    assert.deepEqual(each(answer, "watchId"), [id]);
    assert.deepEqual(answer.body.items[0].fields, [{ field: "interface", here: wanted.interface, theirs: known }]);
  }
});

test("43. an id of a removed watch ends as id_not_found, whatever else fits, and nothing is created for it", async () => {
  const { reconcile, watch, bearer } = await place();
  const gone = await watch("gone");
  assert.equal((await world.delete(`/v1/watch/${gone.id}`, { key: keys.aW })).status, 204);
  const fitting = await watch("fitting", { reference: "R-43" });
  const estate = [
    item("1", bearer("x", { id: gone.id, reference: "R-43" })),
    item("2", bearer("y", { numericId: gone.numericId })),
  ];
  const answer = await reconcile(estate, both);
  assert.deepEqual(each(answer, "outcome"), ["missing", "missing"]);
  assert.deepEqual(each(answer, "reason"), ["id_not_found", "id_not_found"]);
  assert.deepEqual(each(answer, "applied"), ["skipped", "skipped"]);
  assert.deepEqual(
    answer.body.onlyHere.map(({ id }: any) => id),
    [fitting.id],
  );
  const byReference = await reconcile([estate[0]!], { matchBy: ["reference", "id"] });
  assert.deepEqual(each(byReference, "watchId"), [fitting.id]);
});

test("43. two items that hit one watch are both ambiguous, and neither is applied", async () => {
  const { reconcile, watch } = await place();
  const { id, numericId } = await watch("shared", { reference: "R-shared" });
  const answer = await reconcile([item("1", { numericId, dormant: true }), item("2", { reference: "R-shared" })], both);
  assert.deepEqual(each(answer, "outcome"), ["ambiguous", "ambiguous"]);
  assert.deepEqual(each(answer, "reason"), ["same_watch", "same_watch"]);
  assert.deepEqual(each(answer, "candidateIds"), [[id], [id]]);
  assert.equal((await read(id)).dormant, false);
});

test("43. an ambiguous item names ten candidates at most", async () => {
  const { reconcile, watch } = await place();
  for (let n = 0; n < 12; n++) await watch(`n${n}`, { reference: "R-many" });
  const answer = await reconcile([item("1", { reference: "R-many" })]);
  assert.equal(answer.body.items[0].candidateIds.length, 10);
  assert.equal(answer.body.summary.onlyHere, 0);
});

test("a name is matched in any ASCII case, at the stated location alone", async () => {
  const { reconcile, watch, folderId, locationId } = await place();
  const second = await world.location(folderId, "Second");
  const here = await watch("hq");
  const there = await watch("HQ", { locationId: second });
  assert.deepEqual(each(await reconcile([item("1", { name: "Hq" })]), "outcome"), ["ambiguous"]);
  const answer = await reconcile([
    item("1", { name: "Hq", locationId }),
    item("2", { name: "hq", locationId: second }),
  ]);
  assert.deepEqual(each(answer, "watchId"), [here.id, there.id]);
  assert.deepEqual(each(answer, "outcome"), ["same", "same"]);
  const elsewhere = await world.location(folderId, "Third");
  assert.deepEqual(each(await reconcile([item("1", { name: "hq", locationId: elsewhere })]), "outcome"), ["missing"]);
});

test("only stated fields are compared, in canonical spelling, null meaning none", async () => {
  const { reconcile, watch, locationId } = await place({ customerReference: "C-77" });
  const { id } = await watch("canon", {
    deviceAddress: "2001:db8::1",
    snmp: { version: "v2c", community: "c0mm" },
    tierInKbps: 10,
    tierOutKbps: 10,
  });
  const same = {
    id,
    name: "CANON",
    locationId,
    deviceAddress: "2001:0DB8:0:0::1",
    customerReference: "C-77",
    reference: null,
    description: null,
    interface: null,
    group: null,
    snmp: { version: "v2c", port: 161 },
    tierInKbps: 10,
    pollingMinutes: 3,
    siteLink: false,
  };
  const answer = await reconcile([item("1", same)]);
  assert.deepEqual(answer.body.items[0].fields, []);
  assert.deepEqual(each(answer, "outcome"), ["same"]);
  const other = {
    id,
    deviceAddress: null,
    customerReference: "C-78",
    reference: "R",
    snmp: { version: "v3", userName: "u", securityLevel: "noAuthNoPriv" },
  };
  const differs = await reconcile([item("1", other)]);
  assert.deepEqual(differs.body.items[0].fields, [
    { field: "deviceAddress", here: "2001:db8::1", theirs: null },
    { field: "customerReference", here: "C-77", theirs: "C-78" },
    { field: "reference", here: null, theirs: "R" },
    {
      field: "snmp",
      here: { version: "v2c", port: 161 },
      theirs: { version: "v3", port: 161, userName: "u", securityLevel: "noAuthNoPriv", contextName: null },
    },
  ]);
});

test("44. secrets are never compared, and those of a watch that was found are written only with `secrets`", async () => {
  const { reconcile, watch } = await place();
  const { id } = await watch("secret", { deviceAddress: "192.0.2.45", snmp: { version: "v2c", community: "old-one" } });
  const communityOf = () =>
    world.as(world.A, async (ctx) => {
      const [row] = await world.sql("select * from monitoring.watch where id = $1", [id]);
      return (await openSnmp(ctx, row))!.community;
    });
  const estate = [item("1", { id, deviceAddress: "192.0.2.45", snmp: { version: "v2c", community: "new-one" } })];
  const before = await eventCount();
  assert.deepEqual(each(await reconcile(estate), "outcome"), ["same"]);
  assert.deepEqual(each(await reconcile(estate, both), "applied"), ["skipped"]);
  assert.equal(await communityOf(), "old-one");
  assert.equal(await eventCount(), before);
  const written = await reconcile(estate, { apply: { update: true, secrets: true } });
  assert.deepEqual([each(written, "outcome"), each(written, "applied")], [["same"], ["updated"]]);
  assert.equal(await communityOf(), "new-one");
  assert.deepEqual(each(await reconcile(estate, both), "outcome"), ["same"]);
  const kept = await world.sql(
    "select item::text from monitoring.reconcile_item union all select input::text from kernel.operation",
  );
  assert.ok(kept.length > 0 && kept.every(({ item: text }) => !/new-one|old-one|c0mm/.test(text)));
});

test("44. settings that lack their secrets differ, and are refused when they are applied", async () => {
  const { reconcile, watch } = await place();
  const { id } = await watch("bare", { deviceAddress: "192.0.2.46" });
  const estate = [item("1", { id, snmp: { version: "v2c", community: "given" } })];
  const refused = await reconcile(estate, both);
  assert.deepEqual([each(refused, "outcome"), each(refused, "applied")], [["different"], ["refused"]]);
  assert.deepEqual(refused.body.items[0].problem.errors[0].pointer, "/items/0/watch/snmp/community");
  assert.equal((await read(id)).snmp, null);
  const applied = await reconcile(estate, { apply: { update: true, secrets: true } });
  assert.deepEqual(each(applied, "applied"), ["updated"]);
  assert.deepEqual(each(await reconcile(estate, both), "outcome"), ["same"]);
});

test("a malformed item is invalid with its errors, and the rest goes on", async () => {
  const { reconcile, bearer, locationId } = await place();
  const wrong: [unknown, string, string][] = [
    [{ accessInKbps: 0 }, "/accessInKbps", "minimum"],
    [{ colour: 1 }, "/colour", "additionalProperties"],
    [{ status: "active" }, "/status", "read_only"],
    [{ id: locationId }, "/id", "id_kind"],
    [{ locationId: "x" }, "/locationId", "id_kind"],
    [{ locationId: "loc_01jd8w6r7qf0ztb5c2m9x4k3en" }, "/locationId", "not_found"],
    [{ deviceAddress: "192.0.2" }, "/deviceAddress", "format"],
    [{ watchType: "Tunnel" }, "/watchType", "not_supported"],
    [{ snmp: { version: "v2c", userName: "u" } }, "/snmp/userName", "not_for_version"],
    [{ interface: { match: "ifIndex", value: "x" } }, "/interface/value", "pattern"],
    [{ locationId, place: { path: [], location: "L" } }, "/place", "oneOf"],
    [{ place: { path: [], location: "L", underFolderId: locationId } }, "/place/underFolderId", "id_kind"],
    [7, "", "type"],
  ];
  const estate = [...wrong.map(([watch], index) => item(`bad-${index}`, watch)), item("good", bearer("good"))];
  const answer = await reconcile(estate, both);
  const good = wrong.length;
  for (const [index, [, pointer, rule]] of wrong.entries()) {
    const { outcome, errors, applied } = answer.body.items[index];
    assert.deepEqual([outcome, applied], ["invalid", "skipped"]);
    assert.deepEqual([errors[0].pointer, errors[0].rule], [`/items/${index}/watch${pointer}`, rule]);
  }
  assert.deepEqual([answer.body.items[good].outcome, answer.body.items[good].applied], ["missing", "created"]);
  assert.equal(answer.body.summary.invalid, wrong.length);
});

test("an item that completes no watch is invalid for the watch that it hits", async () => {
  const { reconcile, watch } = await place();
  const { id } = await watch("half");
  const answer = await reconcile([item("1", { id, tierInKbps: 5 })]);
  assert.deepEqual([each(answer, "outcome"), answer.body.items[0].errors[0].rule], [["invalid"], "pair"]);
  assert.equal(answer.body.summary.onlyHere, 0);
});

test("what is missing and incomplete stays missing, and is refused when it is applied", async () => {
  const { reconcile } = await place();
  const answer = await reconcile([item("1", { name: "only-a-name" })], both);
  assert.deepEqual([each(answer, "outcome"), each(answer, "applied")], [["missing"], ["refused"]]);
  const pointers = answer.body.items[0].problem.errors.map(({ pointer }: any) => pointer).sort();
  assert.deepEqual(
    pointers,
    ["accessInKbps", "accessOutKbps", "watchType"].map((name) => `/items/0/watch/${name}`),
  );
});

test("keys are unique, scopes are seen, and a list too long or too large is refused", async () => {
  const { reconcile } = await place();
  const twice = await reconcile([item("k", {}), item("l", {}), item("k", {})]);
  assert.deepEqual(
    [twice.status, twice.body.errors],
    [400, [{ pointer: "/items/2/key", rule: "not_unique", message: twice.body.errors[0].message }]],
  );
  const post = (body: unknown, key = keys.aW) => world.post("/v1/watch/reconcile", body, { key });
  for (const folderId of [world.rootOf(world.B), world.rootOf(world.Q), "fld_01jd8w6r7qf0ztb5c2m9x4k3en"]) {
    const answer = await post({ scope: { folderId }, items: [] });
    assert.deepEqual(
      [answer.status, answer.body.errors[0].pointer, answer.body.errors[0].rule],
      [400, "/scope/folderId", "not_found"],
    );
  }
  assert.equal((await post({ scope: { folderId: world.L }, items: [] })).body.errors[0].rule, "id_kind");
  for (const body of [
    {},
    { items: [{ watch: {} }] },
    { items: [], matchBy: [] },
    { items: [], matchBy: ["name", "name"] },
    { items: [], statuses: ["live"] },
    { items: [], apply: { remove: true } },
  ])
    assert.equal((await post(body)).status, 400, JSON.stringify(body));
  const many = Array.from({ length: 20_001 }, (_, n) => item(`${n}`, {}));
  assert.equal((await post({ items: many })).body.errors[0].rule, "maxItems");
  assert.equal(
    (await post({ items: [item("big", { description: "x".repeat(3 * 1_048_576) })] })).body.items[0].outcome,
    "invalid",
  );
  const huge = await world.call("POST", "/v1/watch/reconcile", {
    key: keys.aW,
    raw: `{"items":[${" ".repeat(16 * 1_048_576)}]}`,
  });
  assert.equal(huge.status, 413);
});

test("45. without pending.read the call is refused, with apply also without watch.write", async () => {
  const { reconcile, watch } = await place();
  const { id } = await watch("pending");
  const reader = await reconcile([item("1", { id })], {}, keys.aR);
  assert.deepEqual([reader.status, reader.body.permission], [403, "pending.read"]);
  const seer = await world.key(world.A, ["pending.read"]);
  assert.deepEqual(each(await reconcile([item("1", { id })], {}, seer), "watchId"), [id]);
  const refused = await reconcile([item("1", { id, dormant: true })], both, seer);
  assert.deepEqual([refused.status, refused.body.permission], [403, "watch.write"]);
  assert.equal((await read(id)).dormant, false);
});

test("45. a caller hits what lies in its scope alone, and changes what it may write", async () => {
  const near = await place();
  const far = await place();
  const [inside, outside] = [await near.watch("inside"), await far.watch("outside")];
  const homed = await world.key(world.A, ["pending.read"], { within: { kind: "folder", id: near.folderId } });
  const estate = [item("1", { id: inside.id, dormant: true }), item("2", { id: outside.id, dormant: true })];
  const seen = await world.post("/v1/watch/reconcile", { items: estate }, { key: homed });
  assert.deepEqual(each(seen, "outcome"), ["different", "missing"]);
  assert.deepEqual(each(await near.reconcile(estate), "outcome"), ["different", "missing"]);
  // Sees the tenant, writes in one folder.
  const writer = await world.key(world.A, ["watch.write"], { within: { kind: "folder", id: near.folderId } });
  await world.sql(
    `insert into access.assignment select tenant_id, replace(id, 'asg_', 'asg_x'), principal_kind, principal_id, 'read_only',
      'tenant', tenant_id, created_at, created_by from access.assignment where within_id = $1 order by id desc limit 1`,
    [near.folderId],
  );
  await world.kernel.forget();
  const written = await world.post("/v1/watch/reconcile", { items: estate, ...both }, { key: writer });
  assert.deepEqual(each(written, "applied"), ["updated", "refused"]);
  assert.deepEqual(written.body.items[1].problem.permission, "watch.write");
  assert.equal((await read(outside.id)).dormant, false);
});

test("only the stated statuses are looked at", async () => {
  const { reconcile, watch } = await place();
  const pending = await watch("pending", { reference: "R-st" });
  const active = await watch("active", { reference: "R-st" });
  await world.sql("update monitoring.watch set status = 'active' where id = $1", [active.id]);
  assert.deepEqual(each(await reconcile([item("1", { reference: "R-st" })]), "outcome"), ["ambiguous"]);
  assert.deepEqual(each(await reconcile([item("1", { reference: "R-st" })], { statuses: ["active"] }), "watchId"), [
    active.id,
  ]);
  const rest = await reconcile([], { statuses: ["pending"] });
  assert.deepEqual(
    rest.body.onlyHere.map(({ id }: any) => id),
    [pending.id],
  );
});
