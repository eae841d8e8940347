import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../../../test/harness.ts";
import { findOrMakePlace, findPath } from "../place/place.ts";
import { rootFolderOf } from "../scope.ts";

const server = await startServer();
const A = await server.tenant(server.rootId, "customer", "Acme");
const B = await server.tenant(server.rootId, "customer", "Bolt");
const pW = await server.key(server.rootId, ["folder.write"]);
const aC = await server.key(A, ["folder.write"]);
const rootA = rootFolderOf(A);

const send = (body: object, key = aC) => server.post("/v1/folder/import", body, { key });
async function done(body: object, key = aC) {
  const answer = await send(body, key);
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
const news = async (request: { headers: Headers }) =>
  (
    await server.sql("select type from kernel.told where request_id = $1 order by id", [
      request.headers.get("x-request-id"),
    ])
  ).map((one) => one.type.slice("demarc.monitoring.".length));
const counts = async () =>
  (
    await server.sql(
      "select (select count(*) from monitoring.folder)::int as folders, (select count(*) from monitoring.location)::int as locations, (select count(*) from kernel.told)::int as news, (select count(*) from access.audit)::int as audit, (select count(*) from monitoring.numeric_id)::int as numbers",
    )
  )[0];

test("40. a path is made once: the same import again changes nothing and tells nothing", async () => {
  const items = [{ path: ["North", "Depots"], location: { name: "Depot" } }];
  const first = await send({ items });
  const [result] = first.body.results;
  assert.deepEqual(
    [result.status, result.outcome, result.createdFolderIds.length, result.createdFolderIds[1]],
    [201, "created", 2, result.folderId],
  );
  assert.deepEqual(first.body.summary, { created: 1, updated: 0, unchanged: 0, deleted: 0, failed: 0 });
  assert.deepEqual(await news(first), ["folder.created", "folder.created", "location.created"]);
  const before = await counts();
  const again = await send({ items, mode: "each" });
  assert.deepEqual(again.body.results, [
    {
      index: 0,
      status: 200,
      outcome: "unchanged",
      folderId: result.folderId,
      locationId: result.locationId,
      createdFolderIds: [],
      warnings: [],
      problem: null,
    },
  ]);
  assert.deepEqual(await counts(), before);
  const place = await server.get(`/v1/location/${result.locationId}`, { key: aC });
  assert.deepEqual([place.body.folderId, place.body.path], [result.folderId, ["North", "Depots"]]);
});

test("40. ten imports of one path in parallel make one folder each step and one location", async () => {
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, n) =>
      send({ mode: n % 2 ? "each" : "atomic", items: [{ path: ["Par", "All", "El"], location: { name: "Depot" } }] }),
    ),
  );
  for (const answer of answers) assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(answers.map(({ body }) => body.results[0].outcome).sort(), [
    "created",
    ...Array(9).fill("unchanged"),
  ]);
  assert.equal(new Set(answers.map(({ body }) => body.results[0].locationId)).size, 1);
  const made = await server.sql(
    "select name, count(*)::int as n from monitoring.folder where name in ('Par', 'All', 'El') group by name",
  );
  assert.deepEqual(
    made.map((one) => one.n),
    [1, 1, 1],
  );
});

test("ten places made in parallel by watches-to-be are one place, and wait for each other alone", async () => {
  const place = { path: ["Together", "Now"], location: "Site", createMissing: true };
  const made = await Promise.all(Array.from({ length: 10 }, () => server.as(A, (ctx) => findOrMakePlace(ctx, place))));
  assert.equal(new Set(made.map(({ locationId }) => locationId)).size, 1);
  assert.equal(made.filter((one) => one.made.locationId).length, 1);
  assert.deepEqual(made.map((one) => one.made.folderIds.length).sort(), [...Array(9).fill(0), 2]);
});

test("a place that is missing, ambiguous or out of sight is refused on /place, and nothing is made of it", async () => {
  const before = await counts();
  const refusal = (place: object) =>
    server
      .as(A, (ctx) => findOrMakePlace(ctx, place as never))
      .then(
        () => null,
        (error) => [error.kind.code, ...(error.refusal.errors ?? []).map((one: any) => `${one.pointer} ${one.rule}`)],
      );
  const missing = ["validation_failed", "/place not_found"];
  assert.deepEqual(await refusal({ path: ["North", "Nowhere"], location: "Depot" }), missing);
  assert.deepEqual(await refusal({ path: ["North", "Depots"], location: "depot" }), missing);
  assert.deepEqual(await refusal({ path: ["north", "Depots"], location: "Depot" }), missing);
  assert.deepEqual(await refusal({ underFolderId: rootFolderOf(B), path: [], location: "Depot" }), [
    "validation_failed",
    "/place/underFolderId not_found",
  ]);
  assert.deepEqual(await refusal({ underFolderId: A, path: [], location: "Depot" }), [
    "validation_failed",
    "/place/underFolderId id_kind",
  ]);
  assert.deepEqual(await counts(), before);
});

test("two folders that fit a step are never guessed between: the item fails with both", async () => {
  const ids = await Promise.all(
    [1, 2].map(async () => (await server.post("/v1/folder", { name: "Twin" }, { key: aC })).body.id),
  );
  const { results, summary } = await done({ mode: "each", items: [{ path: ["Twin", "Deep"] }, { path: ["Beside"] }] });
  assert.equal(summary.failed, 1);
  assert.deepEqual(
    [results[0].status, results[0].problem.code, results[0].problem.candidateIds.sort()],
    [409, "path_ambiguous", ids.sort()],
  );
  assert.equal(results[1].outcome, "created");
  const atomic = await send({ items: [{ path: ["Other"] }, { path: ["Twin"] }] });
  assert.deepEqual(
    [atomic.status, atomic.body.code, atomic.body.errors.map((one: any) => `${one.pointer} ${one.rule}`)],
    [409, "bulk_refused", ["/items/1 path_ambiguous"]],
  );
  assert.equal((await server.get("/v1/folder?name=Other", { key: aC })).body.items.length, 0);
});

test("a folder and a location are merged: stated fields change, absent ones keep", async () => {
  const path = ["Merge"];
  const [made] = (
    await done({
      items: [
        {
          path,
          folder: { reference: "r", description: "d", timeZone: "Asia/Tokyo" },
          location: { name: "Site", reference: "s" },
        },
      ],
    })
  ).results;
  const again = await send({
    items: [{ path, folder: { description: "e" }, location: { name: "Site", postalAddress: "1 High St" } }],
  });
  assert.deepEqual(await news(again), ["folder.updated", "location.updated"]);
  assert.deepEqual([again.body.results[0].status, again.body.results[0].outcome], [200, "updated"]);
  const folder = (await server.get(`/v1/folder/${made.folderId}`, { key: aC })).body;
  assert.deepEqual([folder.reference, folder.description, folder.timeZone], ["r", "e", "Asia/Tokyo"]);
  const location = (await server.get(`/v1/location/${made.locationId}`, { key: aC })).body;
  assert.deepEqual([location.reference, location.postalAddress, location.timeZone], ["s", "1 High St", "Asia/Tokyo"]);
  const [same] = (
    await done({
      items: [{ path, folder: { category: "customer", reference: "r" }, location: { name: "Site", reference: "s" } }],
    })
  ).results;
  assert.equal(same.outcome, "unchanged");
  const [root] = (await done({ items: [{ path: [], folder: { customerReference: "C-17" } }] })).results;
  assert.deepEqual([root.outcome, root.folderId], ["updated", rootA]);
  const [inherits] = await server.sql("select effective_reference from monitoring.folder where id = $1", [
    made.folderId,
  ]);
  assert.equal(inherits.effective_reference, "C-17");
});

test("41. atomic: a malformed item refuses all with its pointer; each: it fails alone; a dry run stores nothing", async () => {
  const items = [
    { path: ["B1"] },
    { path: ["B1", "B2"], location: { name: "x" } },
    { path: ["B3"] },
    { path: ["B4"], location: { name: "" } },
    { path: ["B1", "B2"], location: { name: "x" } },
  ];
  const before = await counts();
  const atomic = await send({ mode: "atomic", items });
  assert.deepEqual(
    [atomic.status, atomic.body.code, atomic.body.errors.map((one: any) => one.pointer)],
    [400, "validation_failed", ["/items/3/location/name"]],
  );
  const zone = await send({ items: [{ path: ["B9"], folder: { timeZone: "+02:00" } }, { path: "no" }, 7] });
  assert.deepEqual(
    zone.body.errors.map((one: any) => `${one.pointer} ${one.rule}`),
    ["/items/0/folder/timeZone format", "/items/1/path type", "/items/2 type"],
  );
  const dry = await done({ mode: "each", dryRun: true, items });
  assert.deepEqual(await counts(), before, "neither rows nor news nor records nor numbers");
  const each = await done({ mode: "each", items });
  assert.deepEqual(each.summary, { created: 3, updated: 0, unchanged: 1, deleted: 0, failed: 1 });
  assert.deepEqual(dry.summary, each.summary);
  assert.deepEqual(
    dry.results.map((one: any) => [one.status, one.outcome, one.folderId, one.createdFolderIds]),
    [
      [201, "created", null, [null]],
      [201, "created", null, [null]],
      [201, "created", null, [null]],
      [400, "failed", null, []],
      [200, "unchanged", null, []],
    ],
  );
  assert.deepEqual(
    each.results[3].problem.errors.map((one: any) => one.pointer),
    ["/items/3/location/name"],
  );
  assert.equal((await send({ items: Array(1_001).fill({ path: [] }) })).status, 400);
  assert.equal((await send({ items: [] })).status, 400);
});

test("atomic: every refused item is listed, with pointers below the item, and nothing is stored", async () => {
  const before = await counts();
  const answer = await send(
    {
      underFolderId: rootFolderOf(server.rootId),
      items: [
        { path: ["G"], folder: { category: "internalGroup" } },
        { path: ["H"], folder: { customerReference: "C" } },
        { path: ["Acme"], folder: { category: "internalGroup" } },
      ],
    },
    pW,
  );
  assert.equal(answer.status, 409);
  assert.deepEqual(
    answer.body.errors.map((one: any) => `${one.pointer} ${one.rule}`),
    ["/items/1/folder/customerReference not_for_category", "/items/2 category_conflict"],
  );
  assert.deepEqual(await counts(), before);
});

test("a path may pass through the root folders of tenants below; what is made there is theirs", async () => {
  const { results } = await done(
    { items: [{ path: ["Acme", "ByProvider"], location: { name: "L" } }, { path: ["Own"] }] },
    pW,
  );
  const folder = (await server.get(`/v1/folder/${results[0].folderId}`, { key: aC })).body;
  assert.deepEqual([folder.tenantId, folder.category, folder.path], [A, "customer", ["ByProvider"]]);
  assert.equal((await server.get(`/v1/folder/${results[1].folderId}`, { key: pW })).body.category, "internalGroup");
  const bC = await server.key(B, ["folder.write"]);
  const unseen = await send({ underFolderId: rootA, items: [{ path: [] }] }, bC);
  assert.deepEqual(
    [unseen.status, unseen.body.errors[0].pointer, unseen.body.errors[0].rule],
    [400, "/underFolderId", "not_found"],
  );
});

test("a path of 20 folders is made, the 21st is too many", async () => {
  const path = Array.from({ length: 20 }, (_, n) => `p${n}`);
  const [made] = (await done({ items: [{ path }] })).results;
  assert.equal(made.createdFolderIds.length, 20);
  const deeper = await send({
    mode: "each",
    underFolderId: made.createdFolderIds[4],
    items: [{ path: [...path.slice(0, 16)] }],
  });
  assert.equal(deeper.body.results[0].problem.code, "folder_too_deep");
  assert.equal((await send({ items: [{ path: [...path, "p20"] }] })).status, 400);
  const start = await server.as(A, async (ctx) =>
    findPath(ctx, { id: rootA } as never, [...path.slice(0, 3), "none", "more"]),
  );
  assert.deepEqual([start.folders.length, start.missing], [4, ["none", "more"]]);
});

test("what may be read but not written is found by an import and refused where it would change", async () => {
  const reader = await server.key(A, ["folder.read"]);
  const [{ principal_id }] = await server.sql("select principal_id from access.assignment order by id desc limit 1");
  const [{ folderId }] = (await done({ items: [{ path: ["Writable"] }] })).results;
  await server.key(A, ["folder.write"], { within: { kind: "folder", id: folderId } });
  await server.sql("update access.assignment set principal_id = $1 where within_id = $2", [principal_id, folderId]);
  await server.kernel.forget();
  const { results } = await done(
    {
      mode: "each",
      items: [
        { path: ["North"] },
        { path: ["North", "New"] },
        { path: ["North"], location: { name: "New" } },
        { path: ["North"], folder: { description: "x" } },
        { path: ["Writable", "New"] },
      ],
    },
    reader,
  );
  assert.deepEqual(
    results.map((one: any) => [one.status, one.problem?.permission]),
    [
      [200, undefined],
      [403, "folder.write"],
      [403, "folder.write"],
      [403, "folder.write"],
      [201, undefined],
    ],
  );
});

test("an import of a thousand items answers within one call", async () => {
  const items = Array.from({ length: 1_000 }, (_, n) => ({
    path: ["Large", `R${n % 10}`],
    location: { name: `S${n}` },
  }));
  const { summary } = await done({ items });
  assert.equal(summary.created, 1_000);
  assert.equal((await done({ items })).summary.unchanged, 1_000);
});
