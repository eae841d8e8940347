import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../../test/harness.ts";
import { treeNodes } from "./nodes.ts";
import { rootFolderOf } from "./scope.ts";

const server = await startServer();
const P = server.rootId;
const Q = await server.tenant(P, "partner", "Quick");
const A = await server.tenant(Q, "customer", "Acme");
const B = await server.tenant(Q, "customer", "Bolt");
const rootOf = rootFolderOf;
const pW = await server.key(P, ["folder.write"]);
const aC = await server.key(A, ["watch.read", "folder.write"]);

const make = async (key: string, body: object) => {
  const answer = await server.post("/v1/folder", body, { key });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
};

test("a key homed on a folder sees it as its root, nothing above or beside, and neither moves nor removes it", async () => {
  const top = await make(aC, { name: "Region" });
  const beside = await make(aC, { name: "Beside" });
  const child = await make(aC, { name: "Town", parentFolderId: top.id });
  const homed = await server.key(A, ["folder.write"], { within: { kind: "folder", id: top.id } });
  const seen = (await server.get("/v1/folder", { key: homed })).body.items;
  assert.deepEqual(
    seen.map((one: any) => [one.id, one.parentFolderId, one.path]),
    [
      [top.id, null, []],
      [child.id, top.id, ["Town"]],
    ],
  );
  for (const id of [beside.id, rootOf(A)])
    assert.equal((await server.get(`/v1/folder/${id}`, { key: homed })).status, 404);
  const made = await make(homed, { name: "Here" });
  assert.deepEqual([made.parentFolderId, made.path], [top.id, ["Here"]]);
  assert.deepEqual(
    (await server.get("/v1/folder?path=Town", { key: homed })).body.items.map((one: any) => one.id),
    [child.id],
  );
  assert.equal((await server.delete(`/v1/folder/${top.id}`, { key: homed })).body.code, "folder_is_root");
  assert.equal(
    (await server.patch(`/v1/folder/${top.id}`, { parentFolderId: child.id }, { key: homed })).body.code,
    "folder_is_root",
  );
  assert.equal(
    (await server.patch(`/v1/folder/${top.id}`, { parentFolderId: null, name: "Province" }, { key: homed })).status,
    200,
  );
  const deep = await make(homed, { name: "Street", parentFolderId: child.id });
  assert.equal(
    (await server.patch(`/v1/folder/${deep.id}`, { parentFolderId: null }, { key: homed })).body.parentFolderId,
    top.id,
  );
  const reader = await server.key(A, ["watch.read"]);
  assert.deepEqual((await server.get(`/v1/folder/${child.id}`, { key: reader })).body.path, ["Province", "Town"]);
});

test("with Demarc-Tenant the root of the tenant named is the caller's root", async () => {
  const headers = { "demarc-tenant": A };
  const made = await server.post("/v1/folder", { name: "Acting" }, { key: pW, headers });
  assert.deepEqual([made.body.tenantId, made.body.parentFolderId, made.body.path], [A, rootOf(A), ["Acting"]]);
  assert.equal((await server.get(`/v1/folder/${rootOf(B)}`, { key: pW, headers })).status, 404);
  const homed = await server.key(P, ["folder.write"], { within: { kind: "folder", id: rootOf(Q) } });
  const under = await server.post("/v1/folder", { name: "Acting" }, { key: homed, headers });
  assert.deepEqual([under.body.parentFolderId, under.body.path], [rootOf(A), ["Acting"]]);
});

test("the right to write may reach less far than the right to read", async () => {
  const open = await make(aC, { name: "Open" });
  const closed = await make(aC, { name: "Closed" });
  const key = await server.key(A, ["folder.read"]);
  const [{ principal_id }] = await server.sql(
    "select principal_id from access.assignment order by created_at desc, id desc limit 1",
  );
  const other = await server.key(A, ["folder.write"], { within: { kind: "folder", id: open.id } });
  await server.sql("update access.assignment set principal_id = $1 where within_id = $2", [principal_id, open.id]);
  await server.kernel.forget();
  assert.ok(other);
  assert.equal((await server.patch(`/v1/folder/${open.id}`, { description: "x" }, { key })).status, 200);
  const refused = await server.patch(`/v1/folder/${closed.id}`, { description: "x" }, { key });
  assert.deepEqual([refused.status, refused.body.permission], [403, "folder.write"]);
  assert.equal((await server.post("/v1/folder", { name: "x", parentFolderId: closed.id }, { key })).status, 403);
  assert.equal((await server.delete(`/v1/folder/${closed.id}`, { key })).status, 403);
});

test("a key homed on two folders sees each from there, not the names above, and must name a folder to make one", async () => {
  const [one, two] = [await make(aC, { name: "One" }), await make(aC, { name: "Two" })];
  const inOne = await make(aC, { name: "In one", parentFolderId: one.id });
  const key = await server.key(A, ["folder.write"], { within: { kind: "folder", id: one.id } });
  const [{ principal_id }] = await server.sql("select principal_id from access.assignment where within_id = $1", [
    one.id,
  ]);
  await server.key(A, ["folder.write"], { within: { kind: "folder", id: two.id } });
  await server.sql("update access.assignment set principal_id = $1 where within_id = $2", [principal_id, two.id]);
  await server.kernel.forget();
  const { items } = (await server.get("/v1/folder", { key })).body;
  assert.deepEqual(
    items.map((item: any) => [item.id, item.parentFolderId, item.path]),
    [
      [one.id, null, []],
      [two.id, null, []],
      [inOne.id, one.id, ["In one"]],
    ],
  );
  assert.deepEqual((await server.get("/v1/folder?path=In%20one", { key })).body.items.length, 1);
  const refused = await server.post("/v1/folder", { name: "x" }, { key });
  assert.deepEqual([refused.status, refused.body.errors[0].rule], [400, "required"]);
  assert.equal((await make(key, { name: "x", parentFolderId: two.id })).parentFolderId, two.id);
});

test("an assignment may be limited to folders and locations that its giver sees", async () => {
  const folder = await make(aC, { name: "Node" });
  const location = (await server.post("/v1/location", { name: "Node", folderId: folder.id }, { key: aC })).body;
  const found = (tenantId: string, kind: string, id: string) =>
    server.as(tenantId, async (ctx) => [...(await treeNodes.find(ctx, kind, [id]))]);
  assert.deepEqual(await found(A, "folder", folder.id), [[folder.id, A]]);
  assert.deepEqual(await found(P, "location", location.id), [[location.id, A]]);
  assert.deepEqual(await found(B, "folder", folder.id), []);
  assert.deepEqual(await found(B, "location", location.id), []);
});
