import assert from "node:assert/strict";
import { test } from "node:test";
import { newId } from "#kernel/ids";
import { startServer } from "../../../../test/harness.ts";
import { rootFolderOf } from "../scope.ts";

const server = await startServer();
const A = await server.tenant(server.rootId, "customer", "Acme");
const B = await server.tenant(server.rootId, "customer", "Bolt");
const pW = await server.key(server.rootId, ["folder.write"]);
const aC = await server.key(A, ["folder.write"]);
const aR = await server.key(A, ["watch.read"]);
const rootA = rootFolderOf(A);

async function folder(name: string, parentFolderId = rootA): Promise<string> {
  const answer = await server.post("/v1/folder", { name, parentFolderId }, { key: pW });
  assert.equal(answer.status, 201);
  return answer.body.id;
}
async function make(name: string, folderId: string, more: object = {}): Promise<any> {
  server.clock.advance(1_000);
  const answer = await server.post("/v1/location", { name, folderId, ...more }, { key: pW });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}
const fault = (answer: { body: any }) =>
  answer.body.errors?.map((one: any) => `${one.pointer ?? one.parameter} ${one.rule}`);
const eventsOf = async (id: string) =>
  (await server.sql("select type, data from kernel.told where subject = $1 order by id", [id])).map((one) => [
    one.type.slice("demarc.monitoring.".length),
    one.data.changed,
  ]);

async function putWatch(locationId: string): Promise<string> {
  const id = newId("wch");
  await server.sql(
    `insert into monitoring.watch (tenant_id, id, numeric_id, name, location_id, watch_type, access_in_kbps, access_out_kbps, polling_minutes, site_link, dormant,
       created_at, created_by, updated_at, updated_by, changed_at)
     values ($1, $2, (select 1000000 + count(*) from monitoring.watch), $2, $3, 'Bearer', 1, 1, 3, false, false, $4, 'test', $4, 'test', $4)`,
    [A, id, locationId, server.clock.now()],
  );
  return id;
}

test("a new location is returned whole, with its folder's zone, and is told and recorded once", async () => {
  const north = await folder("North");
  await server.patch(`/v1/folder/${north}`, { timeZone: "Europe/Paris" }, { key: aC });
  const answer = await server.post(
    "/v1/location",
    { name: "Depot", folderId: north, postalAddress: "1 High St" },
    { key: pW },
  );
  assert.equal(answer.status, 201);
  const { body } = answer;
  assert.equal(answer.headers.get("location"), `/v1/location/${body.id}`);
  assert.deepEqual(
    [body.tenantId, body.folderId, body.timeZone, body.postalAddress, body.reference, body.path],
    [A, north, "Europe/Paris", "1 High St", null, ["Acme", "North"]],
  );
  const read = await server.get(`/v1/location/${body.id}`, { key: aR });
  assert.deepEqual(read.body, { ...body, path: ["North"] });
  assert.deepEqual(await eventsOf(body.id), [["location.created", []]]);
  const entries = await server.sql("select action, tenant_id from access.audit where item_id = $1", [body.id]);
  assert.deepEqual(entries, [{ action: "created", tenant_id: A }]);
});

test("37. a second location of a name in one folder is refused, naming the first; elsewhere it is not", async () => {
  const [one, two] = [await folder("one"), await folder("two")];
  const first = await make("Depot", one);
  const second = await server.post("/v1/location", { name: "Depot", folderId: one }, { key: aC });
  assert.deepEqual([second.status, second.body.code, second.body.existingId], [409, "location_name_taken", first.id]);
  await make("depot", one);
  const other = await make("Depot", two);
  const moved = await server.patch(`/v1/location/${other.id}`, { folderId: one }, { key: aC });
  assert.deepEqual([moved.status, moved.body.code, moved.body.existingId], [409, "location_name_taken", first.id]);
  const renamed = await server.patch(`/v1/location/${other.id}`, { folderId: one, name: "Depot 2" }, { key: aC });
  assert.equal(renamed.status, 200);
  assert.equal(
    (await server.patch(`/v1/location/${other.id}`, { name: "Depot" }, { key: aC })).body.existingId,
    first.id,
  );
  assert.equal((await server.delete(`/v1/location/${first.id}`, { key: aC })).status, 204);
  assert.equal(
    (await server.patch(`/v1/location/${other.id}`, { name: "Depot" }, { key: aC })).status,
    200,
    "a removed one's name is free",
  );
});

test("of ten locations made at once under one name one is made, and the others are told which", async () => {
  const here = await folder("Race");
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => server.post("/v1/location", { name: "Depot", folderId: here }, { key: aC })),
  );
  const made = answers.filter((answer) => answer.status === 201);
  assert.equal(made.length, 1);
  for (const answer of answers.filter((one) => one.status !== 201)) {
    assert.deepEqual(
      [answer.status, answer.body.code, answer.body.existingId],
      [409, "location_name_taken", made[0]!.body.id],
    );
  }
  const names = await Promise.all(["x", "y"].map((name) => make(name, here)));
  const renames = await Promise.all(
    names.map(({ id }) => server.patch(`/v1/location/${id}`, { name: "same" }, { key: aC })),
  );
  assert.deepEqual(renames.map((answer) => answer.status).sort(), [200, 409]);
});

test("renaming, moving and another zone reach the watches at the location; other changes do not", async () => {
  const [here, there] = [await folder("here"), await folder("there")];
  const { id } = await make("Site", here);
  const watch = await putWatch(id);
  const changedAt = async () =>
    (await server.sql("select changed_at from monitoring.watch where id = $1", [watch]))[0].changed_at.toISOString();
  for (const [change, reaches] of [
    [{ reference: "x" }, false],
    [{ name: "Site 2" }, true],
    [{ timeZone: "Asia/Tokyo" }, true],
    [{ folderId: there }, true],
    [{}, false],
  ] as const) {
    server.clock.advance(1_000);
    const answer = await server.patch(`/v1/location/${id}`, change, { key: aC });
    assert.equal(answer.status, 200, answer.text);
    assert.equal((await changedAt()) === server.clock.now().toISOString(), reaches, JSON.stringify(change));
  }
  assert.deepEqual(await eventsOf(id), [
    ["location.created", []],
    ["location.updated", ["reference"]],
    ["location.updated", ["name"]],
    ["location.updated", ["timeZone"]],
    ["location.updated", ["folderId", "path"]],
  ]);
});

test("a location with a watch is not removed; without one it is, once, and leaves a tombstone", async () => {
  const here = await folder("Removal");
  const { id, numericId } = await make("Site", here);
  const watch = await putWatch(id);
  assert.equal((await server.delete(`/v1/location/${id}`, { key: aC })).body.code, "location_not_empty");
  await server.sql("update monitoring.watch set deleted_at = now(), deleted_by = 'test' where id = $1", [watch]);
  assert.equal((await server.delete(`/v1/location/${id}`, { key: aR })).status, 403);
  const bC = await server.key(B, ["folder.write"]);
  assert.equal((await server.delete(`/v1/location/${id}`, { key: bC })).status, 404);
  for (const outcome of ["deleted", "absent"]) {
    const answer = await server.delete(`/v1/location/${id}`, { key: aC });
    assert.deepEqual([answer.status, answer.headers.get("demarc-outcome")], [204, outcome]);
  }
  assert.equal((await server.delete(`/v1/location/${id}`, { key: bC })).status, 404, "who could never see it");
  assert.equal((await server.get(`/v1/location/${id}`, { key: aC })).status, 404);
  assert.equal((await server.patch(`/v1/location/${id}`, {}, { key: aC })).status, 404);
  assert.deepEqual(
    (await eventsOf(id)).map(([type]) => type),
    ["location.created", "location.deleted"],
  );
  const { items } = (await server.get(`/v1/location?folderId=${here}&includeDeleted=true`, { key: aC })).body;
  const at = server.clock.now().toISOString();
  assert.deepEqual(items, [
    {
      id,
      numericId,
      tenantId: A,
      folderId: here,
      name: "Site",
      status: "deleted",
      deletedAt: at,
      deletedBy: items[0].deletedBy,
      changedAt: at,
    },
  ]);
});

test("a folder of another tenant is a border to who sees it and unknown to who does not; a folder's id must be a folder's", async () => {
  const { id } = await make("Border", rootA);
  assert.equal(
    (await server.patch(`/v1/location/${id}`, { folderId: rootFolderOf(B) }, { key: pW })).body.code,
    "tenant_border",
  );
  for (const [folderId, rule] of [
    [rootFolderOf(B), "not_found"],
    [newId("fld"), "not_found"],
    [id, "id_kind"],
    ["x", "id_kind"],
  ]) {
    assert.deepEqual(fault(await server.patch(`/v1/location/${id}`, { folderId }, { key: aC })), [`/folderId ${rule}`]);
    assert.deepEqual(
      fault(await server.post("/v1/location", { name: "n", folderId, timeZone: "+01:00" }, { key: aC })),
      [`/folderId ${rule}`, "/timeZone format"],
    );
  }
  assert.deepEqual(fault(await server.post("/v1/location", { name: "n" }, { key: aC })), ["/folderId required"]);
});

test("a key homed on a location sees it alone, without folder or path, and edits it but neither moves nor removes it", async () => {
  const here = await folder("Home");
  const { id } = await make("Mine", here);
  const beside = await make("Beside", here);
  const key = await server.key(A, ["folder.write"], { within: { kind: "location", id } });
  const { items } = (await server.get("/v1/location", { key })).body;
  assert.deepEqual(
    items.map((one: any) => [one.id, one.folderId, one.path]),
    [[id, null, []]],
  );
  assert.deepEqual((await server.get("/v1/folder", { key })).body.items, []);
  assert.equal((await server.get(`/v1/location/${beside.id}`, { key })).status, 404);
  assert.equal((await server.get(`/v1/folder/${here}`, { key })).status, 404);
  assert.equal(
    (await server.patch(`/v1/location/${id}`, { description: "ours", timeZone: null }, { key })).status,
    200,
  );
  assert.deepEqual(fault(await server.patch(`/v1/location/${id}`, { folderId: here }, { key })), [
    "/folderId not_found",
  ]);
  assert.equal((await server.delete(`/v1/location/${id}`, { key })).body.code, "location_is_root");
  assert.deepEqual(fault(await server.post("/v1/folder", { name: "x" }, { key })), ["/parentFolderId not_found"]);
  assert.deepEqual(fault(await server.get(`/v1/location?folderId=${here}`, { key })), ["folderId not_found"]);
});

test("20. each filter finds the locations that fit", async () => {
  const top = await folder("Filters");
  const low = await folder("Low", top);
  const one = await make("Alpha", top, { reference: "R-1", description: "near the Quay" });
  const two = await make("Beta", low);
  const found = async (query: string) =>
    (await server.get(`/v1/location?${query}`, { key: aC })).body.items.map((item: any) => item.name);
  assert.deepEqual(await found(`folderId=${top},${low}`), ["Alpha", "Beta"]);
  assert.deepEqual(await found(`folderId=${top}`), ["Alpha"], "the folder alone, not all below");
  assert.deepEqual(await found("name=Alpha"), ["Alpha"]);
  assert.deepEqual(await found(`numericId=${two.numericId}`), ["Beta"]);
  assert.deepEqual(await found("reference=R-1"), ["Alpha"]);
  assert.deepEqual(await found(`reference=&folderId=${top},${low}`), ["Beta"]);
  assert.deepEqual(await found("q=quay"), ["Alpha"]);
  assert.deepEqual(await found("path=Filters&path=Low"), ["Beta"]);
  assert.deepEqual(await found(`updatedSince=${two.changedAt}`), ["Beta"]);
  assert.deepEqual(await found(`tenantId=${A}&folderId=${low}&sort=-name`), ["Beta"]);
  assert.deepEqual(one.path, ["Acme", "Filters"]);
});
