import assert from "node:assert/strict";
import { test } from "node:test";
import { newId } from "#kernel/ids";
import { startServer } from "../../../../test/harness.ts";
import { rootFolderOf } from "../scope.ts";

const server = await startServer();
const P = server.rootId;
const Q = await server.tenant(P, "partner", "Quick");
const A = await server.tenant(Q, "customer", "Acme");
const B = await server.tenant(Q, "customer", "Bolt");
const rootOf = rootFolderOf;
const pW = await server.key(P, ["folder.write", "watch.write", "watch.activate"]);
const aC = await server.key(A, ["watch.read", "folder.write"]);
const aR = await server.key(A, ["watch.read"]);
const bW = await server.key(B, ["folder.write"]);

const make = async (key: string, body: object) => {
  const answer = await server.post("/v1/folder", body, { key });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
};
const eventsOf = (subject: string) =>
  server.sql("select type, data, tenant_id from kernel.told where subject = $1 order by id", [subject]);
const auditOf = (item: string) =>
  server.sql(
    "select action, changes, tenant_id, actor, item_kind from access.audit where item_id = $1 order by position",
    [item],
  );
const fault = (answer: { body: any }) =>
  answer.body.errors?.map((one: any) => `${one.pointer ?? one.parameter} ${one.rule}`);

test("each tenant's root folder hangs under its parent's and has the category of its kind", async () => {
  const { body } = await server.get(`/v1/folder/${rootOf(A)}`, { key: pW });
  assert.deepEqual(
    { ...body, numericId: 0, createdAt: "", updatedAt: "", changedAt: "" },
    {
      id: rootOf(A),
      numericId: 0,
      tenantId: A,
      name: "Acme",
      parentFolderId: rootOf(Q),
      category: "customer",
      timeZone: "UTC",
      customerReference: null,
      reference: null,
      description: null,
      contactUserId: null,
      isTenantRoot: true,
      path: ["Quick", "Acme"],
      createdAt: "",
      createdBy: "system",
      updatedAt: "",
      updatedBy: "system",
      changedAt: "",
    },
  );
  const seen = await server.get(`/v1/folder/${rootOf(A)}`, { key: aR });
  assert.equal(seen.body.parentFolderId, null);
  assert.deepEqual(seen.body.path, []);
  assert.equal((await server.get(`/v1/folder/${rootOf(Q)}`, { key: pW })).body.category, "internalGroup");
});

test("a new folder is returned whole, belongs to its parent's tenant, and is told and recorded once", async () => {
  const answer = await server.post(
    "/v1/folder",
    { name: "North", parentFolderId: rootOf(A), reference: "R1" },
    { key: pW },
  );
  assert.equal(answer.status, 201);
  const { body } = answer;
  assert.equal(answer.headers.get("location"), `/v1/folder/${body.id}`);
  assert.equal(body.tenantId, A);
  assert.equal(body.category, "customer");
  assert.deepEqual(body.path, ["Quick", "Acme", "North"]);
  const read = await server.get(`/v1/folder/${body.id}`, { key: pW });
  assert.deepEqual(read.body, body);
  assert.equal(read.headers.get("etag"), answer.headers.get("etag"));
  const events = await eventsOf(body.id);
  assert.deepEqual(
    events.map((one) => [one.type, one.tenant_id]),
    [["demarc.monitoring.folder.created", A]],
  );
  assert.deepEqual(events[0].data.resource.path, ["North"], "an event shows what the tenant itself sees");
  const entries = await auditOf(body.id);
  assert.deepEqual(
    entries.map((one) => [one.action, one.tenant_id, one.actor.tenantName]),
    [["created", A, "Provider"]],
  );
  assert.deepEqual(
    await server.sql("select tenant_id from monitoring.numeric_id where numeric_id = $1", [body.numericId]),
    [{ tenant_id: A }],
  );
});

test("17. who holds folder.write makes folders, who only reads is refused, naming what it lacks", async () => {
  await make(aC, { name: "Mine" });
  const refused = await server.post("/v1/folder", { name: "No" }, { key: aR });
  assert.equal(refused.status, 403);
  assert.equal(refused.body.permission, "folder.write");
  const aH = await server.key(A, ["report.read"]);
  for (const [method, path] of [
    ["GET", "/v1/folder"],
    ["POST", "/v1/folder"],
    ["GET", `/v1/folder/${rootOf(A)}`],
    ["PATCH", `/v1/folder/${rootOf(A)}`],
    ["DELETE", `/v1/folder/${rootOf(A)}`],
    ["POST", "/v1/folder/import"],
  ] as const) {
    const answer = await server.call(method, path, { key: aH, body: method === "GET" ? undefined : {} });
    assert.equal(answer.status, 403, `${method} ${path}`);
  }
});

test("a folder of another tenant, an unknown one and a malformed id are not there, in one wording", async () => {
  const { id } = await make(bW, { name: "Secret" });
  for (const path of [id, newId("fld"), newId("loc"), "x", rootOf(Q)]) {
    for (const method of ["GET", "PATCH", "DELETE"]) {
      const answer = await server.call(method, `/v1/folder/${path}`, {
        key: aC,
        body: method === "PATCH" ? { name: "x" } : undefined,
      });
      assert.equal(answer.status, 404, `${method} ${path}`);
      assert.equal(answer.body.detail, "There is nothing at this address.");
    }
    const wrong = await server.post("/v1/folder", { name: "x", parentFolderId: path }, { key: aC });
    assert.equal(wrong.status, 400);
    assert.deepEqual(fault(wrong), [`/parentFolderId ${path.startsWith("fld_") ? "not_found" : "id_kind"}`]);
  }
});

test("faulty fields are refused together, read-only ones by that rule", async () => {
  const answer = await server.post(
    "/v1/folder",
    { name: " x", reference: "", description: "a\u0007b", id: "fld_x", isTenantRoot: true, colour: "red" },
    { key: aC },
  );
  assert.equal(answer.status, 400);
  assert.deepEqual(fault(answer).sort(), [
    "/colour additionalProperties",
    "/description pattern",
    "/id read_only",
    "/isTenantRoot read_only",
    "/name pattern",
    "/reference minLength",
  ]);
  const change = await server.patch(`/v1/folder/${rootOf(A)}`, { category: "customer" }, { key: aC });
  assert.deepEqual(fault(change), ["/category read_only"]);
  for (const name of ["", "a ", "a\tb", "x".repeat(101), null, 3]) {
    assert.equal((await server.post("/v1/folder", { name }, { key: aC })).status, 400, JSON.stringify(name));
  }
  for (const name of ["☃".repeat(100), "<b>a b</b>", "😀".repeat(100)])
    assert.equal((await make(aC, { name })).name, name);
});

test("37. siblings may share a name", async () => {
  for (const name of ["Sites", "Sites", "New Sites"]) await make(aC, { name });
});

test("38. a time zone is copied when a folder is made, not inherited later, and offsets are no zones", async () => {
  const top = await make(aC, { name: "Zones", timeZone: "Europe/London" });
  const child = await make(aC, { name: "a", parentFolderId: top.id });
  const changed = await server.patch(`/v1/folder/${top.id}`, { timeZone: "Asia/Bangkok" }, { key: aC });
  assert.equal(changed.body.timeZone, "Asia/Bangkok");
  const later = await make(aC, { name: "b", parentFolderId: top.id });
  assert.equal(later.timeZone, "Asia/Bangkok");
  assert.equal((await server.get(`/v1/folder/${child.id}`, { key: aC })).body.timeZone, "Europe/London");
  assert.equal(
    (await server.patch(`/v1/folder/${child.id}`, { timeZone: null }, { key: aC })).body.timeZone,
    "Asia/Bangkok",
  );
  assert.equal((await server.patch(`/v1/folder/${rootOf(A)}`, { timeZone: null }, { key: pW })).body.timeZone, "UTC");
  for (const timeZone of ["+02:00", "GMT+2", "Europe/Nowhere", "PST", "europe/london", "UTC+1"]) {
    const refused = await server.post("/v1/folder", { name: "z", timeZone }, { key: aC });
    assert.deepEqual(fault(refused), ["/timeZone format"], timeZone);
  }
  for (const timeZone of ["UTC", "US/Pacific", "Asia/Kolkata", "Asia/Calcutta", "Etc/GMT+5", "GB"]) {
    assert.equal((await make(aC, { name: "z", timeZone })).timeZone, timeZone);
  }
});

test("39. no folder lies below itself, none but customer folders below customer, none is removed while something is in it, and no root at all", async () => {
  const top = await make(aC, { name: "Top" });
  const child = await make(aC, { name: "Child", parentFolderId: top.id });
  for (const parentFolderId of [top.id, child.id]) {
    const cycle = await server.patch(`/v1/folder/${top.id}`, { parentFolderId }, { key: aC });
    assert.equal(cycle.body.code, "folder_cycle");
  }
  const conflict = await server.post(
    "/v1/folder",
    { name: "x", parentFolderId: rootOf(A), category: "internalGroup" },
    { key: pW },
  );
  assert.equal(conflict.body.code, "category_conflict");
  const group = await make(pW, { name: "Group", parentFolderId: rootOf(Q) });
  const customers = await make(pW, { name: "Customers", parentFolderId: rootOf(Q), category: "customer" });
  const moved = await server.patch(`/v1/folder/${group.id}`, { parentFolderId: customers.id }, { key: pW });
  assert.equal(moved.body.code, "category_conflict");
  const place = await server.post("/v1/location", { name: "Depot", folderId: child.id }, { key: aC });
  assert.equal((await server.delete(`/v1/folder/${child.id}`, { key: aC })).body.code, "folder_not_empty");
  assert.equal((await server.delete(`/v1/folder/${top.id}`, { key: aC })).body.code, "folder_not_empty");
  assert.equal((await server.delete(`/v1/location/${place.body.id}`, { key: aC })).status, 204);
  assert.equal(
    (await server.delete(`/v1/folder/${child.id}`, { key: aC })).status,
    204,
    "tombstones do not fill a folder",
  );
  for (const key of [pW, aC])
    assert.equal((await server.delete(`/v1/folder/${rootOf(A)}`, { key })).body.code, "folder_is_root");
  assert.equal(
    (await server.patch(`/v1/folder/${rootOf(A)}`, { parentFolderId: group.id }, { key: pW })).body.code,
    "folder_is_root",
  );
  assert.equal(
    (await server.patch(`/v1/folder/${rootOf(A)}`, { description: "ours" }, { key: aC })).status,
    200,
    "a root can be edited",
  );
});

test("nothing moves across tenants: a visible target is a border, an unseen one is not found", async () => {
  const { id } = await make(aC, { name: "Rover" });
  assert.equal(
    (await server.patch(`/v1/folder/${id}`, { parentFolderId: rootOf(B) }, { key: pW })).body.code,
    "tenant_border",
  );
  const unseen = await server.patch(`/v1/folder/${id}`, { parentFolderId: rootOf(B) }, { key: aC });
  assert.deepEqual([unseen.status, ...fault(unseen)], [400, "/parentFolderId not_found"]);
});

test("a tree is at most 20 folders deep, also after a move", async () => {
  let parentFolderId = rootOf(A);
  const chain: string[] = [];
  for (let depth = 1; depth <= 20; depth++) {
    parentFolderId = (await make(aC, { name: `d${depth}`, parentFolderId })).id;
    chain.push(parentFolderId);
  }
  assert.equal(
    (await server.post("/v1/folder", { name: "d21", parentFolderId }, { key: aC })).body.code,
    "folder_too_deep",
  );
  const side = await make(aC, { name: "side" });
  assert.equal(
    (await server.patch(`/v1/folder/${chain[0]}`, { parentFolderId: side.id }, { key: aC })).body.code,
    "folder_too_deep",
  );
  assert.equal((await server.patch(`/v1/folder/${chain[1]}`, { parentFolderId: side.id }, { key: aC })).status, 200);
});

test("26. {} and a change to the present value answer 200 with the same tag, and are neither told nor recorded", async () => {
  const folder = await make(aC, { name: "Still", reference: "r" });
  const before = await server.get(`/v1/folder/${folder.id}`, { key: aC });
  server.clock.advance(1_000);
  for (const body of [{}, { name: "Still", reference: "r", timeZone: "UTC", parentFolderId: null }]) {
    const parentFolderId = "parentFolderId" in body ? rootOf(A) : undefined;
    const answer = await server.patch(
      `/v1/folder/${folder.id}`,
      { ...body, ...(parentFolderId ? { parentFolderId } : {}) },
      { key: aC },
    );
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("etag"), before.headers.get("etag"));
  }
  assert.equal((await eventsOf(folder.id)).length, 1);
  assert.equal((await auditOf(folder.id)).length, 1);
});

test("27. a stale If-Match is refused and changes nothing; the right one passes, also on DELETE", async () => {
  const folder = await make(aC, { name: "Tagged" });
  const etag = (await server.get(`/v1/folder/${folder.id}`, { key: aC })).headers.get("etag")!;
  const changed = await server.patch(
    `/v1/folder/${folder.id}`,
    { description: "x" },
    { key: aC, headers: { "if-match": etag } },
  );
  assert.equal(changed.status, 200);
  for (const [method, body] of [
    ["PATCH", { description: "y" }],
    ["DELETE", undefined],
  ] as const) {
    const stale = await server.call(method, `/v1/folder/${folder.id}`, {
      key: aC,
      body,
      headers: { "if-match": etag },
    });
    assert.equal(stale.status, 412);
  }
  assert.equal((await server.get(`/v1/folder/${folder.id}`, { key: aC })).body.description, "x");
  const current = changed.headers.get("etag")!;
  assert.equal(
    (await server.delete(`/v1/folder/${folder.id}`, { key: aC, headers: { "if-match": current } })).status,
    204,
  );
});

test("24. a removed folder is gone at once, removing it again is 204 without event, and a tombstone stays", async () => {
  const folder = await make(aC, { name: "Gone", description: "private" });
  server.clock.advance(1_000);
  const first = await server.delete(`/v1/folder/${folder.id}`, { key: aC });
  assert.deepEqual([first.status, first.headers.get("demarc-outcome")], [204, "deleted"]);
  const again = await server.delete(`/v1/folder/${folder.id}`, { key: aC });
  assert.deepEqual([again.status, again.headers.get("demarc-outcome")], [204, "absent"]);
  assert.equal((await server.delete(`/v1/folder/${folder.id}`, { key: bW })).status, 404, "who could not see it");
  assert.equal((await server.delete(`/v1/folder/${folder.id}`, { key: aR })).status, 403);
  assert.equal((await server.get(`/v1/folder/${folder.id}`, { key: aC })).status, 404);
  assert.equal((await server.patch(`/v1/folder/${folder.id}`, { name: "x" }, { key: aC })).status, 404);
  assert.deepEqual(
    (await eventsOf(folder.id)).map((one) => one.type.split(".").pop()),
    ["created", "deleted"],
  );
  assert.deepEqual(
    (await auditOf(folder.id)).map((one) => one.action),
    ["created", "deleted"],
  );
  assert.deepEqual((await server.get("/v1/folder?name=Gone", { key: aC })).body.items, []);
  const { items } = (await server.get("/v1/folder?name=Gone&includeDeleted=true", { key: aC })).body;
  const at = server.clock.now().toISOString();
  const deletedBy = items[0].deletedBy;
  assert.match(deletedBy, /^key_/);
  assert.deepEqual(items, [
    {
      id: folder.id,
      numericId: folder.numericId,
      tenantId: A,
      parentFolderId: rootOf(A),
      name: "Gone",
      status: "deleted",
      deletedAt: at,
      deletedBy,
      changedAt: at,
    },
  ]);
  const refused = await server.post("/v1/folder", { name: "x", parentFolderId: folder.id }, { key: aC });
  assert.deepEqual(fault(refused), ["/parentFolderId not_found"]);
});

test("a customer reference stands on customer folders only", async () => {
  const refused = await server.post(
    "/v1/folder",
    { name: "x", parentFolderId: rootOf(Q), customerReference: "C-1" },
    { key: pW },
  );
  assert.deepEqual(fault(refused), ["/customerReference not_for_category"]);
  const group = await make(pW, { name: "x", parentFolderId: rootOf(Q), customerReference: null });
  assert.deepEqual(fault(await server.patch(`/v1/folder/${group.id}`, { customerReference: "C-1" }, { key: pW })), [
    "/customerReference not_for_category",
  ]);
  const limit = await server.patch(`/v1/folder/${rootOf(B)}`, { customerReference: "9".repeat(101) }, { key: bW });
  assert.deepEqual(fault(limit), ["/customerReference maxLength"]);
});
