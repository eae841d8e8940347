import assert from "node:assert/strict";
import { test } from "node:test";
import { startWorld } from "./watch.fixture.ts";

const world = await startWorld();
const { keys, full, created, A, B, rootOf } = world;
const list = (query: string, key = keys.aW) => world.get(`/v1/watch?${query}`, { key });
const idsOf = (answer: { status: number; body: any; text: string }) => {
  assert.equal(answer.status, 200, answer.text);
  return answer.body.items.map(({ id }: any) => id);
};
const activate = (id: string) =>
  world.sql(
    "update monitoring.watch set status = 'active', activated_at = now(), activated_by = 'test', group_name = null where id = $1",
    [id],
  );

test("16. a reader sees active watches; a pending one is not there for it, and asking for pending ones is refused", async () => {
  const pending = await created(full());
  const active = await created(full());
  await activate(active.id);
  assert.equal((await world.get(`/v1/watch/${active.id}`, { key: keys.aR })).status, 200);
  const patch = await world.patch(`/v1/watch/${active.id}`, { description: "x" }, { key: keys.aR });
  assert.deepEqual([patch.status, patch.body.permission], [403, "watch.write"]);
  assert.equal((await world.get(`/v1/watch/${pending.id}`, { key: keys.aR })).status, 404);
  assert.deepEqual(idsOf(await list("count=true", keys.aR)), [active.id]);
  assert.equal((await list("count=true", keys.aR)).body.total, 1);
  const asked = await list("status=active,pending", keys.aR);
  assert.deepEqual([asked.status, asked.body.permission], [403, "pending.read"]);
  const missing = await world.get("/v1/watch/wch_01jd8w6r7qf0ztb5c2m9x4k3en", { key: keys.aR });
  const hidden = await world.get(`/v1/watch/${pending.id}`, { key: keys.aR });
  assert.deepEqual({ ...hidden.body, requestId: "", instance: "" }, { ...missing.body, requestId: "", instance: "" });
  for (const id of ["x", "%00", pending.locationId, "wch_"])
    assert.equal((await world.get(`/v1/watch/${id}`, { key: keys.aW })).status, 404, id);
});

test("17. who holds nothing is refused everywhere; each permission opens its own calls only", async () => {
  const { id } = await created(full());
  for (const [method, path, body] of [
    ["GET", "/v1/watch"],
    ["POST", "/v1/watch", full()],
    ["GET", `/v1/watch/${id}`],
    ["PATCH", `/v1/watch/${id}`, {}],
    ["DELETE", `/v1/watch/${id}`],
    ["GET", "/v1/watch/type"],
    ["POST", "/v1/watch/bulk", { items: [{}] }],
  ] as const) {
    assert.equal((await world.call(method, path, { key: keys.aH, body })).status, 403, path);
  }
  assert.equal((await world.patch(`/v1/watch/${id}`, { description: "x" }, { key: keys.aC })).status, 403);
  assert.equal((await world.patch(`/v1/watch/${id}`, { description: "x" }, { key: keys.aU })).status, 403);
});

test("18. a credential or a feature that is switched off meanwhile is refused on the next call", async () => {
  const key = await world.key(B, ["watch.write"]);
  assert.equal((await list("", key)).status, 200);
  await world.sql(
    "update access.key set enabled = false where id = (select principal_id from access.assignment where tenant_id = $1 order by created_at desc, id desc limit 1)",
    [B],
  );
  await world.kernel.forget();
  assert.equal((await list("", key)).status, 401);
  await world.sql("update access.tenant set features = features || '{\"api\": false}' where id = $1", [B]);
  await world.kernel.forget();
  for (const refused of [await list("", keys.bW), await list("", keys.zW)]) {
    assert.deepEqual([refused.status, refused.body.code], [403, "api_not_enabled"]);
  }
  await world.sql("update access.tenant set features = features || '{\"api\": true}' where id = $1", [B]);
  await world.kernel.forget();
  assert.equal((await list("", keys.bW)).status, 200);
});

test("23. a new reference of a folder above moves a watch's changedAt, so that polling finds it", async () => {
  const above = await world.folder(rootOf(A), "Above");
  const watch = await created(full({ locationId: await world.location(above, "Below") }));
  world.clock.advance(1_000);
  const since = world.clock.now().toISOString();
  world.clock.advance(1_000);
  await world.patch(`/v1/folder/${above}`, { customerReference: "C-18" }, { key: keys.pW });
  const found = (await list(`updatedSince=${since}`)).body.items.find(({ id }: any) => id === watch.id);
  assert.deepEqual(
    [found.customerReference, found.updatedAt, found.changedAt],
    ["C-18", watch.updatedAt, world.clock.now().toISOString()],
  );
  assert.deepEqual(idsOf(await list("customerReference=C-18")), [watch.id]);
  const news = (await world.events(above)).at(-1);
  assert.deepEqual([news.type, news.data.affectedWatches], ["demarc.monitoring.folder.updated", 1]);
});

test("19. a provider's watch belongs to the location's tenant, in its records and found by any part of its name", async () => {
  const watch = await created(
    full({ name: "Needle-19", snmp: { version: "v2c", community: "of the provider" } }),
    keys.pW,
  );
  assert.equal(watch.tenantId, A);
  assert.equal(watch.path.join("/"), "Q/A");
  const read = await world.get(`/v1/watch/${watch.id}`, { key: keys.aW });
  assert.deepEqual([read.body.path, read.body.createdBy], [[], watch.createdBy]);
  assert.deepEqual(
    (await world.audits(watch.id)).map(({ tenant_id, action }: any) => [tenant_id, action]),
    [[A, "created"]],
  );
  for (const q of ["needle-19", "EEDLE-1", "Needle"]) {
    assert.deepEqual(idsOf(await list(`q=${q}`, keys.pW)), [watch.id]);
    assert.deepEqual(idsOf(await list(`q=${q}`)), [watch.id]);
    assert.deepEqual(idsOf(await list(`q=${q}`, keys.bW)), []);
  }
  assert.deepEqual(idsOf(await list("q=%25eedle")), []);
  const { openSnmp } = await import("./snmp-settings.ts");
  await world.as(A, async (ctx) => {
    const [row] = await world.sql("select * from monitoring.watch where id = $1", [watch.id]);
    assert.equal((await openSnmp(ctx, row))?.community, "of the provider");
  });
});

test("20. exact filters find a watch by its address, keys, inherited reference, folder above and status", async () => {
  const deep = await world.location(await world.folder(await world.folder(rootOf(A), "One"), "Two"), "Deep");
  const watch = await created(
    full({
      locationId: deep,
      deviceAddress: "2001:db8:0:0::20",
      reference: "PO-20",
      productType: "FTTC",
      group: "batch-20",
      interface: { match: "ifName", value: "Gi0/20" },
    }),
  );
  for (const query of [
    "deviceAddress=2001:DB8::0020",
    "reference=PO-20",
    "productType=FTTC",
    "group=batch-20",
    "interface=Gi0/20",
    `locationId=${deep}`,
    "path=One&path=Two",
    `numericId=${watch.numericId}`,
    `name=${watch.name.toUpperCase()}`,
  ]) {
    assert.deepEqual(idsOf(await list(query)), [watch.id], query);
  }
  for (const query of [
    "customerReference=C-17",
    `folderId=${rootOf(A)}`,
    "status=pending,active",
    `createdBy=${watch.createdBy}`,
    `tenantId=${A}`,
  ]) {
    assert.ok(idsOf(await list(`limit=200&${query}`)).includes(watch.id), query);
  }
  assert.ok(!idsOf(await list("limit=200&reference=")).includes(watch.id));
  assert.ok(idsOf(await list("limit=200&description=x".replace("description=x", "reference="))).length > 0);
  assert.deepEqual(idsOf(await list("path=One")), []);
  assert.deepEqual(idsOf(await list("path=Q&path=A&path=One&path=Two", keys.pW)), [watch.id]);
});

test("21. without a hit a list is empty and its total is 0", async () => {
  const answer = await list("reference=nothing&count=true");
  assert.deepEqual([answer.body.items, answer.body.total, answer.body.nextCursor], [[], 0, null]);
});

test("22. a mistyped filter is refused, not taken for an absence", async () => {
  for (const query of [
    "adress=1",
    "status=live",
    "deviceAddress=192.0.2",
    "locationId=x",
    `locationId=${rootOf(A)}`,
    `folderId=${rootOf(B)}`,
    `tenantId=${B}`,
    "name=a&name=b",
    "numericId=x",
    "updatedSince=yesterday",
    "updatedSince=2026-12-31T23:59:60Z",
    "reference=%00",
    "createdBy=%00",
    "sort=colour",
    "watchType=bearer",
  ]) {
    assert.equal((await list(query)).status, 400, query);
  }
  assert.equal((await list("adress=1")).body.errors[0].parameter, "adress");
});

test("24. a removed watch is gone, its name free, and its tombstone tells nothing of the device", async () => {
  const watch = await created(full({ name: "gone-24", reference: "R-24" }));
  const remove = () => world.delete(`/v1/watch/${watch.id}`, { key: keys.aW });
  world.clock.advance(1_000);
  const before = world.clock.now().toISOString();
  const first = await remove();
  assert.deepEqual([first.status, first.headers.get("demarc-outcome")], [204, "deleted"]);
  const again = await remove();
  assert.deepEqual([again.status, again.headers.get("demarc-outcome")], [204, "absent"]);
  assert.equal((await world.get(`/v1/watch/${watch.id}`, { key: keys.aW })).status, 404);
  assert.equal((await world.patch(`/v1/watch/${watch.id}`, {}, { key: keys.aW })).status, 404);
  const listed = await list(`includeDeleted=true&updatedSince=${before}`);
  const { id, numericId, tenantId, locationId, name } = watch;
  const at = world.clock.now().toISOString();
  assert.deepEqual(listed.body.items, [
    {
      id,
      numericId,
      tenantId,
      locationId,
      name,
      status: "deleted",
      deletedAt: at,
      deletedBy: watch.createdBy,
      changedAt: at,
    },
  ]);
  assert.deepEqual(idsOf(await list("includeDeleted=true&reference=R-24")), []);
  assert.equal((await list(`includeDeleted=true&updatedSince=${before}`, keys.aR)).body.items.length, 0);
  const events = await world.events(id);
  assert.deepEqual(
    events.map(({ type }) => type.split(".").pop()),
    ["created", "deleted"],
  );
  assert.deepEqual([events[1].data.resource, events[1].data.previous.name], [null, name]);
  assert.deepEqual(
    (await world.audits(id)).map(({ action }: any) => action),
    ["created", "deleted"],
  );
  assert.equal((await world.post("/v1/watch", full({ name }), { key: keys.aW })).status, 201);
  assert.equal((await world.delete("/v1/watch/wch_01jd8w6r7qf0ztb5c2m9x4k3en", { key: keys.aW })).status, 404);
  const theirs = await created(full({ locationId: await world.location(rootOf(B), "Gone") }), keys.bW);
  await world.delete(`/v1/watch/${theirs.id}`, { key: keys.bW });
  assert.equal((await world.delete(`/v1/watch/${theirs.id}`, { key: keys.aW })).status, 404);
});

test("36. an active watch is not removed; a disabled one is", async () => {
  const { id } = await created(full());
  await activate(id);
  const refused = await world.delete(`/v1/watch/${id}`, { key: keys.aW });
  assert.deepEqual([refused.status, refused.body.code], [409, "watch_is_active"]);
  await world.sql("update monitoring.watch set status = 'disabled' where id = $1", [id]);
  assert.equal((await world.delete(`/v1/watch/${id}`, { key: keys.aW })).status, 204);
});

test("who is homed on a folder sees that folder's watches, paths below it, and no source above it", async () => {
  const home = await world.folder(rootOf(A), "Home");
  const [inside, below] = [
    await world.location(home, "In"),
    await world.location(await world.folder(home, "Below"), "Deep"),
  ];
  const key = await world.server.key(A, ["watch.write"], { within: { kind: "folder", id: home } });
  const outside = await created(full());
  const [one, two] = [
    await created(full({ locationId: inside }), key),
    await created(full({ locationId: below }), key),
  ];
  assert.deepEqual([one.path, two.path], [[], ["Below"]]);
  assert.deepEqual([two.customerReference, two.customerReferenceFrom], ["C-17", { kind: "folder", folderId: null }]);
  assert.deepEqual(idsOf(await list("", key)), [one.id, two.id]);
  assert.deepEqual(idsOf(await list("path=Below", key)), [two.id]);
  for (const method of ["GET", "DELETE"])
    assert.equal((await world.call(method, `/v1/watch/${outside.id}`, { key })).status, 404);
  assert.equal((await world.post("/v1/watch", full(), { key })).body.errors[0].rule, "not_found");
  assert.equal(
    (await world.patch(`/v1/watch/${one.id}`, { locationId: world.L }, { key })).body.errors[0].rule,
    "not_found",
  );
  assert.equal((await world.patch(`/v1/watch/${one.id}`, { locationId: below }, { key })).body.path[0], "Below");
  const atLocation = await world.server.key(A, ["watch.write"], { within: { kind: "location", id: below } });
  assert.deepEqual(
    (await list("", atLocation)).body.items.map(({ path }: any) => path),
    [[], []],
  );
});

test("who may only read a watch's folder is told which permission it lacks to change it", async () => {
  const home = await world.folder(rootOf(A), "Writable");
  const key = await world.server.key(A, ["watch.write"], { within: { kind: "folder", id: home } });
  const [{ principal_id }] = await world.sql("select principal_id from access.assignment where within_id = $1", [home]);
  await world.sql(
    "insert into access.assignment (tenant_id, id, principal_kind, principal_id, role_id, within_kind, within_id, created_at, created_by) values ($1, 'asg_read', 'key', $2, 'read_only', 'tenant', $1, now(), 'test')",
    [A, principal_id],
  );
  await world.kernel.forget();
  const { id } = await created(full());
  await activate(id);
  for (const answer of [
    await world.patch(`/v1/watch/${id}`, { description: "x" }, { key }),
    await world.delete(`/v1/watch/${id}`, { key }),
    await world.post("/v1/watch", full(), { key }),
  ]) {
    assert.deepEqual([answer.status, answer.body.permission], [403, "watch.write"]);
  }
});

test("a page is sorted by any of its sorts and followed to its end", async () => {
  for (const sort of [
    "name",
    "-name",
    "createdAt",
    "-updatedAt",
    "changedAt",
    "deviceAddress",
    "-status",
    "status,-name",
  ]) {
    const all: string[] = [];
    let path = `/v1/watch?limit=3&sort=${sort}`;
    for (;;) {
      const { body } = await world.get(path, { key: keys.aW });
      all.push(...body.items.map(({ id }: any) => id));
      if (!body.nextLink) break;
      path = body.nextLink;
    }
    assert.equal(new Set(all).size, all.length, sort);
    assert.equal(all.length, (await list("count=true&limit=1")).body.total, sort);
  }
});
