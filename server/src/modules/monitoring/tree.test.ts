import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Context } from "#kernel/contract";
import { newId } from "#kernel/ids";
import { eventually, startServer } from "../../../test/harness.ts";
import { createFolder, updateFolder } from "./folder/operations.ts";
import { clearContact, moveTenantRoot } from "./folder/tenant-root.ts";
import { purgeTombstones } from "./jobs.ts";
import { rootFolderOf } from "./scope.ts";

const server = await startServer();
const key = await server.key(server.rootId, ["folder.write"]);
let number = 1_000_000_000;

/** A location with two watches, one of which has a customer reference of its own; straight into the database. */
async function putWatches(tenantId: string, folderId: string): Promise<void> {
  const location = newId("loc");
  const at = server.clock.now();
  await server.sql(
    `insert into monitoring.location (tenant_id, id, numeric_id, name, folder_id, time_zone, created_at, created_by, updated_at, updated_by, changed_at)
     values ($1, $2, $3, $2, $4, 'UTC', $5, 'test', $5, 'test', $5)`,
    [tenantId, location, number++, folderId, at],
  );
  for (const own of [null, "OWN"]) {
    await server.sql(
      `insert into monitoring.watch (tenant_id, id, numeric_id, name, location_id, watch_type, customer_reference, access_in_kbps, access_out_kbps,
         polling_minutes, site_link, dormant, created_at, created_by, updated_at, updated_by, changed_at)
       values ($1, $2, $3, $2, $4, 'Bearer', $5, 1, 1, 3, false, false, $6, 'test', $6, 'test', $6)`,
      [tenantId, newId("wch"), number++, location, own, at],
    );
  }
}

type Node = {
  id: string;
  name: string;
  parent_id: string | null;
  own: string | null;
  ids: string[];
  names: string[];
  value: string | null;
  source: string | null;
  changed_at: Date;
  deleted: boolean;
};

/** Everything below a tenant's root, with what each folder keeps, and what its body and those of things in it show. */
async function snapshot(tenantId: string) {
  const nodes: Node[] = await server.sql(
    `select id, name, parent_id, customer_reference as own, path_ids as ids, path_names as names, effective_reference as value,
       effective_reference_folder_id as source, changed_at, deleted_at is not null as deleted from monitoring.folder where tenant_id = $1`,
    [tenantId],
  );
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const placed = (node: Node): Pick<Node, "ids" | "names" | "value" | "source"> => {
    const parent = node.parent_id ? byId.get(node.parent_id) : undefined;
    const above = parent
      ? placed(parent)
      : { ids: [rootFolderOf(server.rootId)], names: ["Provider"], value: null, source: null };
    return {
      ids: [...above.ids, node.id],
      names: [...above.names, node.name],
      value: node.own ?? above.value,
      source: node.own ? node.id : above.source,
    };
  };
  const shown = new Map<string, { body: string; changedAt: number }>();
  for (const node of nodes) {
    const { ids, names, value, source } = node;
    assert.deepEqual({ ids, names, value, source }, placed(node), `${node.name} keeps what its parents say`);
    if (!node.deleted)
      shown.set(node.id, {
        body: JSON.stringify([names, node.parent_id, node.own]),
        changedAt: node.changed_at.getTime(),
      });
  }
  const things = await server.sql(
    `select l.id, l.folder_id, l.changed_at, null as own, false as watch from monitoring.location l where l.tenant_id = $1
     union all select w.id, l.folder_id, w.changed_at, w.customer_reference, true from monitoring.watch w join monitoring.location l on l.id = w.location_id where w.tenant_id = $1`,
    [tenantId],
  );
  for (const thing of things) {
    const { names, value, source } = placed(byId.get(thing.folder_id)!);
    const reference = thing.watch ? [thing.own ?? value, thing.own ? "own" : source] : [];
    shown.set(thing.id, { body: JSON.stringify([names, reference]), changedAt: thing.changed_at.getTime() });
  }
  const watches = new Set<string>(things.filter((thing) => thing.watch).map((thing) => thing.id));
  return { nodes: nodes.filter((node) => !node.deleted), shown, watches };
}

const step = fc.record({
  kind: fc.constantFrom("make", "make", "rename", "move", "move", "reference", "reference", "fill", "remove"),
  a: fc.nat(50),
  b: fc.nat(50),
});

test("after any changes each folder keeps the path and reference that its parents give it, and changedAt moved exactly where a body changed", async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 6, maxLength: 24 }), async (steps) => {
      const tenantId = await server.tenant(server.rootId, "customer", `T${runs++}`);
      let before = await snapshot(tenantId);
      for (const { kind, a, b } of steps) {
        server.clock.advance(1_000);
        const one = before.nodes[a % before.nodes.length]!;
        const other = before.nodes[b % before.nodes.length]!;
        if (kind === "fill") {
          await putWatches(tenantId, one.id);
          before = await snapshot(tenantId);
          continue;
        }
        const path = `/v1/folder/${one.id}`;
        const customerReference = b % 3 === 0 ? null : `C-${b % 4}`;
        const answer =
          kind === "make"
            ? await server.post("/v1/folder", { name: `n${b}`, parentFolderId: one.id, customerReference }, { key })
            : kind === "rename"
              ? await server.patch(path, { name: `r${b % 5}` }, { key })
              : kind === "move"
                ? await server.patch(path, { parentFolderId: other.id }, { key })
                : kind === "reference"
                  ? await server.patch(path, { customerReference, ...(a % 2 ? { name: `m${a}` } : {}) }, { key })
                  : await server.delete(path, { key });
        assert.ok(answer.status < 300 || answer.status === 409, answer.text);
        const after = await snapshot(tenantId);
        let touched = 0;
        for (const [id, { body, changedAt }] of after.shown) {
          const old = before.shown.get(id);
          const moved = old?.changedAt !== changedAt;
          assert.equal(moved, old?.body !== body, `${kind} ${id}: ${old?.body} -> ${body}`);
          if (moved && after.watches.has(id)) touched++;
        }
        if (answer.status === 200) {
          const [news] = await server.sql("select data from kernel.told where request_id = $1", [
            answer.headers.get("x-request-id"),
          ]);
          assert.equal(news?.data.affectedWatches ?? 0, touched);
        }
        before = after;
      }
    }),
    { numRuns: 8, endOnFailure: true },
  );
});

/** Sends a call while the transaction of `part` is open, which ends once the call waits for it (or was answered). */
async function meanwhile(
  tenantId: string,
  part: (ctx: Context) => Promise<unknown>,
  call: () => Promise<{ status: number; text: string }>,
) {
  const done = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const open = server.as(tenantId, async (ctx) => {
    await part(ctx);
    done.resolve();
    await gate.promise;
  });
  await Promise.race([done.promise, open]);
  const sent = call();
  const waits = () =>
    server.sql("select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'");
  await Promise.race([sent, eventually(async () => (await waits()).length > 0)]);
  gate.resolve();
  await open;
  const answer = await sent;
  assert.ok(answer.status < 300, answer.text);
}

test("what is made while the tree above it changes has the new path and reference, whoever comes first", async () => {
  const tenantId = await server.tenant(server.rootId, "customer", "Race");
  const underFolderId = rootFolderOf(tenantId);
  const top = (await server.post("/v1/folder", { name: "old", parentFolderId: underFolderId }, { key })).body;
  const mid = (await server.post("/v1/folder", { name: "mid", parentFolderId: top.id }, { key })).body;
  const make = { name: "child", parentFolderId: mid.id };
  const patch = (change: object) => server.patch(`/v1/folder/${top.id}`, change, { key });
  const reshape = (folder: object) =>
    server.post("/v1/folder/import", { underFolderId, items: [{ path: ["one"], folder }] }, { key });
  await meanwhile(
    tenantId,
    (ctx) => createFolder(ctx, make),
    () => patch({ name: "one" }),
  );
  await snapshot(tenantId);
  await meanwhile(
    tenantId,
    (ctx) => createFolder(ctx, make),
    () => reshape({ customerReference: "C-1" }),
  );
  await snapshot(tenantId);
  await meanwhile(
    tenantId,
    (ctx) => updateFolder(ctx, top.id, { name: "two" }),
    () => server.post("/v1/folder", make, { key }),
  );
  const { nodes } = await snapshot(tenantId);
  assert.equal(nodes.filter((node) => node.name === "child").length, 3);
});

test("of two moves that would make a circle together one is refused", async () => {
  const tenantId = await server.tenant(server.rootId, "customer", "Circle");
  const [one, two] = await Promise.all(
    ["one", "two"].map((name) => server.post("/v1/folder", { name, parentFolderId: rootFolderOf(tenantId) }, { key })),
  );
  const answers = await Promise.all([
    server.patch(`/v1/folder/${one!.body.id}`, { parentFolderId: two!.body.id }, { key }),
    server.patch(`/v1/folder/${two!.body.id}`, { parentFolderId: one!.body.id }, { key }),
  ]);
  assert.deepEqual(answers.map((answer) => answer.body.code ?? answer.status).sort(), [200, "folder_cycle"]);
  await snapshot(tenantId);
});

test("of a folder's removal and a child's making at once, one is refused", async () => {
  const tenantId = await server.tenant(server.rootId, "customer", "Vanish");
  for (let round = 0; round < 8; round++) {
    const top = (await server.post("/v1/folder", { name: "top", parentFolderId: rootFolderOf(tenantId) }, { key }))
      .body;
    const [removed, made] = await Promise.all([
      server.delete(`/v1/folder/${top.id}`, { key }),
      server.post("/v1/location", { name: "child", folderId: top.id }, { key }),
    ]);
    assert.deepEqual([removed.status, made.status].join(), removed.status === 204 ? "204,400" : "409,201");
  }
});

test("23. another reference of the root reaches the watches below in the same step, and is told once", async () => {
  const tenantId = await server.tenant(server.rootId, "customer", "Ref");
  const root = rootFolderOf(tenantId);
  const mid = (await server.post("/v1/folder", { name: "mid", parentFolderId: root }, { key })).body;
  await putWatches(tenantId, mid.id);
  server.clock.advance(1_000);
  const answer = await server.patch(`/v1/folder/${root}`, { customerReference: "C-18" }, { key });
  assert.equal(answer.status, 200);
  const news = await server.sql("select type, subject, data from kernel.told where request_id = $1", [
    answer.headers.get("x-request-id"),
  ]);
  assert.deepEqual(
    news.map((one) => [one.type, one.subject, one.data.affectedWatches, one.data.changed, one.data.previous]),
    [["demarc.monitoring.folder.updated", root, 1, ["customerReference"], { customerReference: null }]],
  );
  const rows = await server.sql(
    "select customer_reference as own, changed_at = $2 as changed, updated_at = $2 as updated from monitoring.watch where tenant_id = $1 order by own nulls first",
    [tenantId, server.clock.now()],
  );
  assert.deepEqual(rows, [
    { own: null, changed: true, updated: false },
    { own: "OWN", changed: false, updated: false },
  ]);
  await snapshot(tenantId);
});

test("tombstones are kept for 24 months, then they are gone with all that was in them, and their numbers stay used", async () => {
  const tenantId = await server.tenant(server.rootId, "customer", "Purge");
  const top = (await server.post("/v1/folder", { name: "top", parentFolderId: rootFolderOf(tenantId) }, { key })).body;
  const child = (await server.post("/v1/folder", { name: "child", parentFolderId: top.id }, { key })).body;
  await putWatches(tenantId, child.id);
  const at = server.clock.now();
  await server.sql("update monitoring.watch set deleted_at = $2, deleted_by = 'test' where tenant_id = $1", [
    tenantId,
    at,
  ]);
  const [site] = await server.sql("select id from monitoring.location where tenant_id = $1", [tenantId]);
  for (const path of [`location/${site.id}`, `folder/${child.id}`, `folder/${top.id}`])
    assert.equal((await server.delete(`/v1/${path}`, { key })).status, 204);
  const left = async () =>
    (
      await server.sql(
        "select (select count(*) from monitoring.folder where tenant_id = $1) + (select count(*) from monitoring.location where tenant_id = $1) + (select count(*) from monitoring.watch where tenant_id = $1) as n",
        [tenantId],
      )
    )[0].n;
  const dueAt = new Date(at);
  dueAt.setUTCMonth(dueAt.getUTCMonth() + 24);
  server.clock.set(dueAt);
  await purgeTombstones.run(server.kernel);
  assert.equal(Number(await left()), 6);
  server.clock.advance(1_000);
  await purgeTombstones.run(server.kernel);
  assert.equal(Number(await left()), 1, "the root alone");
  assert.equal(
    (
      await server.sql("select from monitoring.numeric_id where numeric_id = any($1)", [
        [top.numericId, child.numericId],
      ])
    ).length,
    2,
  );
});

test("a tenant that moves takes its folders along: paths, and changedAt of all below", async () => {
  const partner = await server.tenant(server.rootId, "partner", "Partner");
  const tenantId = await server.tenant(server.rootId, "customer", "Mover");
  const top = (await server.post("/v1/folder", { name: "top", parentFolderId: rootFolderOf(tenantId) }, { key })).body;
  await putWatches(tenantId, top.id);
  server.clock.advance(1_000);
  for (let times = 0; times < 2; times++)
    await server.as(server.rootId, (ctx) => moveTenantRoot(ctx, tenantId, partner));
  const { body } = await server.get(`/v1/folder/${top.id}`, { key });
  assert.deepEqual([body.path, body.changedAt], [["Partner", "Mover", "top"], server.clock.now().toISOString()]);
  assert.equal(
    (await server.get(`/v1/folder/${rootFolderOf(tenantId)}`, { key })).body.parentFolderId,
    rootFolderOf(partner),
  );
  const [{ n }] = await server.sql(
    "select count(*)::int as n from monitoring.watch where tenant_id = $1 and changed_at = $2",
    [tenantId, server.clock.now()],
  );
  assert.equal(n, 2);
  const entries = await server.sql("select changes from access.audit where item_id = $1 and action = 'updated'", [
    rootFolderOf(tenantId),
  ]);
  assert.equal(entries.length, 1);
});

test("a removed user is no folder's contact any more, and both records say so", async () => {
  const tenantId = await server.tenant(server.rootId, "customer", "Contact");
  const userId = newId("usr");
  const top = (await server.post("/v1/folder", { name: "top", parentFolderId: rootFolderOf(tenantId) }, { key })).body;
  await server.sql("update monitoring.folder set contact_user_id = $1 where id = $2", [userId, top.id]);
  await server.as(tenantId, (ctx) => clearContact(ctx, userId));
  assert.equal((await server.get(`/v1/folder/${top.id}`, { key })).body.contactUserId, null);
  const entries = await server.sql(
    "select item_id, changes from access.audit where changes::text like '%' || $1 || '%' or item_id = $1 order by position",
    [userId],
  );
  assert.deepEqual(entries, [
    { item_id: top.id, changes: [{ field: "contactUserId", old: userId, new: null }] },
    { item_id: userId, changes: [{ field: "contactOf", old: top.id, new: null }] },
  ]);
});
