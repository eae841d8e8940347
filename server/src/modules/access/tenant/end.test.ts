import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import type { Module } from "#kernel/contract";
import { newId } from "#kernel/ids";
import { SealedValueError } from "#kernel/secrets";
import { eventually, startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";
import { userTokens } from "../../../../test/tokens.ts";
import { modules } from "../../../app.ts";

/** Keeps something of a tenant outside its tables; the purge waits, or fails, when a test says so. */
const shelf = new Map<string, string>();
const steering = { waits: null as Promise<void> | null, fails: 0, calls: 0 };
const keeper: Module = {
  name: "export",
  about: "A planted service.",
  async purge(_kernel, tenantId) {
    steering.calls++;
    await steering.waits;
    if (steering.fails-- > 0) throw new Error("planted failure");
    shelf.delete(tenantId);
  },
};
const options = { modules: [...modules, keeper] };
const server = await startServer(options);
const house = await buildHouse(server);
const { p, q, a, pAdm, qAdm } = house;
const dayMs = 86_400_000;

const news = (subject: string) =>
  server.sql("select type, tenant_id, data from kernel.told where subject = $1 order by id", [subject]);
const types = async (subject: string) => (await news(subject)).map(({ type }) => type.replace("demarc.access.", ""));
const trail = (tenantId: string, itemId: string) =>
  server.sql(
    "select action, actor, on_behalf_of, changes from access.audit where tenant_id = $1 and item_id = $2 order by position",
    [tenantId, itemId],
  );
const remove = (
  id: string,
  confirm: string | undefined,
  ask: Parameters<typeof server.delete>[1] = { key: qAdm.key },
) => server.delete(`/v1/tenant/${id}${confirm === undefined ? "" : `?confirm=${confirm}`}`, ask);
const operation = async (id: string, key = qAdm.key) => (await server.get(`/v1/operation/${id}`, { key })).body;
const ended = (id: string) =>
  eventually(async () => {
    const found = await operation(id, pAdm.key);
    return found.finishedAt && found;
  });

let names = 0;
/** A customer with something in every drawer that can be filled from outside. */
async function customer() {
  const administrator = { username: "boss", email: "boss@x.example", fullname: "Boss" };
  const made = await server.post(
    "/v1/tenant",
    { name: `Gone ${++names}`, kind: "customer", administrator },
    { key: qAdm.key },
  );
  assert.equal(made.status, 201, made.text);
  const { id, code, name } = made.body;
  const key = await server.key(id, "tenant_administrator");
  const at = (path: string, body: unknown) => server.post(path, body, { key });
  const folder = (await at("/v1/folder", { name: "North" })).body;
  await at("/v1/folder", { name: "Deeper", parentFolderId: folder.id });
  const location = (await at("/v1/location", { name: "Depot", folderId: folder.id })).body;
  const watch = await server.post(
    "/v1/watch",
    {
      name: "w",
      locationId: location.id,
      watchType: "Bearer",
      accessInKbps: 1,
      accessOutKbps: 1,
      snmp: { version: "v2c", community: "hidden" },
    },
    { key, headers: { "idempotency-key": "one" } },
  );
  assert.equal(watch.status, 201, watch.text);
  await at("/v1/key", { title: "sync" });
  await at("/v1/client", { kind: "service", name: "sync" });
  await at("/v1/watch/activate", { ids: [watch.body.id] });
  await server.kernel.activity.flush();
  return { id, code, name, key, folder, watch: watch.body };
}
const suspend = (id: string) => server.post(`/v1/tenant/${id}/suspend`, { reason: "Left" }, { key: qAdm.key });

/** Every table with rows of tenants, by the catalogue, and how many of a tenant's it has. */
async function rowsOf(tenantId: string): Promise<Record<string, number>> {
  const tables = await server.sql(`
    select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')
      and exists (select from pg_attribute where attrelid = c.oid and attname = 'tenant_id' and not attisdropped)`);
  const counts: Record<string, number> = {};
  for (const { name } of tables) {
    const [{ count }] = await server.sql(`select count(*)::int as count from ${name} where tenant_id = $1`, [tenantId]);
    if (count > 0) counts[name] = count;
  }
  return counts;
}

test("8. an active tenant, one with others below, the provider and the own tenant are not deleted", async () => {
  const c = await customer();
  const active = await remove(c.id, c.code);
  assert.deepEqual([active.status, active.body.code], [409, "tenant_not_suspended"]);
  await suspend(c.id);
  for (const confirm of [undefined, "", "wrong", c.code.toUpperCase()]) {
    const wrong = await remove(c.id, confirm);
    assert.deepEqual([wrong.status, wrong.body.errors[0].parameter], [400, "confirm"]);
  }
  const [{ code: rootCode }] = await server.sql("select code from access.tenant where id = $1", [p]);
  const root = await remove(p, rootCode, { key: pAdm.key });
  assert.deepEqual([root.status, root.body.code], [409, "tenant_is_root"]);
  const [{ code: ownCode }] = await server.sql("select code from access.tenant where id = $1", [q]);
  const own = await remove(q, ownCode);
  assert.deepEqual([own.status, own.body.code], [403, "above_only"]);
  const parent = await server.tenant(p, "partner", "Parent");
  await server.tenant(parent, "customer", "Child");
  await server.post(`/v1/tenant/${parent}/suspend`, {}, { key: pAdm.key });
  const [{ code: parentCode }] = await server.sql("select code from access.tenant where id = $1", [parent]);
  const full = await remove(parent, parentCode, { key: pAdm.key });
  assert.deepEqual([full.status, full.body.code], [409, "tenant_has_children"]);
  const reader = await server.key(q, ["tenant.manage"]);
  assert.deepEqual((await remove(c.id, c.code, { key: reader })).body.permission, "tenant.delete");
  const stale = await remove(c.id, c.code, { key: qAdm.key, headers: { "if-match": '"old"' } });
  assert.equal(stale.status, 412);
  const { token } = await userTokens(server, q, qAdm.id, {
    authTime: new Date(server.clock.now().getTime() - 900_000),
  });
  const old = await remove(c.id, c.code, { token });
  assert.deepEqual([old.status, old.body.code], [403, "reauthentication_required"]);
  assert.equal((await server.get(`/v1/tenant/${c.id}`, { key: qAdm.key })).body.status, "suspended");
});

test("8. deletion waits thirty days in the queue, and cancelling it leaves the tenant suspended as it was", async () => {
  const c = await customer();
  await suspend(c.id);
  const asked = await remove(c.id, c.code);
  assert.equal(asked.status, 202, asked.text);
  const purgeAt = new Date(server.clock.now().getTime() + 30 * dayMs).toISOString();
  assert.deepEqual(
    [asked.body.kind, asked.body.status, asked.body.subject, asked.body.notBefore],
    ["access.deleteTenant", "queued", c.id, purgeAt],
  );
  assert.equal(asked.headers.get("location"), `/v1/operation/${asked.body.id}`);
  const again = await remove(c.id, c.code);
  assert.deepEqual([again.status, again.body.id], [202, asked.body.id], "repeated: the same operation");
  const shown = (await server.get(`/v1/tenant/${c.id}`, { key: qAdm.key })).body;
  assert.deepEqual([shown.status, shown.purgeAt, shown.statusReason], ["deleting", purgeAt, "Left"]);
  const listed = await server.get("/v1/tenant?status=deleting", { key: qAdm.key });
  assert.deepEqual(
    listed.body.items.map(({ id }: { id: string }) => id),
    [c.id],
  );
  const refused = await server.get("/v1/ping", { key: c.key });
  assert.deepEqual([refused.status, refused.body.code], [403, "tenant_suspended"]);
  const resumed = await server.post(`/v1/tenant/${c.id}/resume`, {}, { key: qAdm.key });
  assert.deepEqual([resumed.status, resumed.body.code], [409, "tenant_deleting"]);
  const stranger = await server.post(`/v1/operation/${asked.body.id}/cancel`, undefined, { key: c.key });
  assert.equal(stranger.status, 403);

  const cancelled = await server.post(`/v1/operation/${asked.body.id}/cancel`, undefined, { key: qAdm.key });
  assert.deepEqual([cancelled.status, cancelled.body.status], [200, "cancelled"]);
  const back = (await server.get(`/v1/tenant/${c.id}`, { key: qAdm.key })).body;
  assert.deepEqual([back.status, back.purgeAt, back.statusReason], ["suspended", null, "Left"]);
  assert.deepEqual((await types(c.id)).slice(-3), [
    "tenant.suspended",
    "tenant.deletion_scheduled",
    "tenant.deletion_cancelled",
  ]);
  for (const tenantId of [c.id, q]) {
    const actions = (await trail(tenantId, c.id)).map(({ action }) => action);
    assert.deepEqual(actions.slice(-2), ["deletion_scheduled", "deletion_cancelled"]);
  }
  server.clock.advance(31 * dayMs);
  assert.equal((await server.post(`/v1/tenant/${c.id}/resume`, {}, { key: qAdm.key })).status, 200);
  assert.equal((await server.get("/v1/ping", { key: c.key })).status, 200, "all is there again");
});

test("8. thirty days on every route on it is 404, its sealed values do not open, no table has a row of it, and the parent keeps name, id and head", async () => {
  const c = await customer();
  const sealedAt = { table: "monitoring.watch", column: "snmp_sealed", rowId: c.watch.id };
  const [{ snmp_sealed: sealed }] = await server.sql("select snmp_sealed from monitoring.watch where id = $1", [
    c.watch.id,
  ]);
  assert.ok(await server.kernel.secrets.open(c.id, sealedAt, sealed));
  shelf.set(c.id, "something");
  // Of those above: a role within a folder of the tenant, and one within the tenant.
  const far = await house.person(p, `far${names}`, "read_only", { kind: "folder", id: c.folder.id });
  const near = await house.person(q, `near${names}`, "read_only", { kind: "tenant", id: c.id });
  await server.sql(
    "insert into access.audit_head (tenant_id, seq, hash, at, kid, signature) values ($1, 7, '\\x0102', now(), 'k', 's')",
    [c.id],
  );
  await eventually(async () => (await rowsOf(c.id))["kernel.event"]);
  const had = await rowsOf(c.id);
  for (const table of [
    "monitoring.watch",
    'directory."user"',
    "access.key",
    "kernel.idempotency",
    "kernel.data_key",
    "access.activity",
    "access.audit",
  ])
    assert.ok(had[table], `nothing to delete in ${table}`);
  await suspend(c.id);
  const asked = await remove(c.id, c.code);
  assert.equal(asked.status, 202, asked.text);
  // Who asked for it is gone by then.
  server.clock.advance(30 * dayMs - 1);
  server.kernel.operations.wake();
  assert.equal((await operation(asked.body.id)).status, "queued");
  server.clock.advance(1);
  server.kernel.operations.wake();
  const done = await ended(asked.body.id);
  assert.deepEqual([done.status, done.result.data], ["succeeded", { tenantId: c.id, name: c.name, code: c.code }]);
  assert.deepEqual(await rowsOf(c.id), {});
  assert.equal(shelf.has(c.id), false);
  await assert.rejects(server.kernel.secrets.open(c.id, sealedAt, sealed), SealedValueError);
  for (const path of ["", "/usage", "/auth-policy"])
    assert.equal((await server.get(`/v1/tenant/${c.id}${path}`, { key: pAdm.key })).status, 404);
  assert.equal((await server.get("/v1/tenant", { key: pAdm.key, headers: { "demarc-tenant": c.id } })).status, 404);
  assert.equal((await server.get(`/v1/watch/${c.watch.id}`, { key: pAdm.key })).status, 404);
  assert.equal((await server.get("/v1/ping", { key: c.key })).status, 401);
  const [entry] = (await trail(q, c.id)).slice(-1);
  assert.deepEqual([entry.action, entry.actor.kind, entry.on_behalf_of.id], ["deleted", "system", qAdm.id]);
  const head = entry.changes.find(({ field }: { field: string }) => field === "auditHead").old;
  assert.deepEqual([head.seq, head.hash], [7, "0102"]);
  const [last] = (await news(c.id)).slice(-1);
  assert.deepEqual([last.type, last.tenant_id, last.data.resource], ["demarc.access.tenant.deleted", q, null]);
  for (const { id, assignmentId } of [far, near]) {
    assert.deepEqual(await server.sql("select 1 from access.assignment where principal_id = $1", [id]), []);
    assert.deepEqual(await types(assignmentId!), ["assignment.deleted"]);
  }
  const [{ count }] = await server.sql(
    "select count(*)::int as count from access.tenant_ancestor where ancestor_id = $1",
    [c.id],
  );
  assert.equal(count, 0);
  const same = await server.post("/v1/tenant", { name: c.name, kind: "customer" }, { key: qAdm.key });
  assert.equal(same.status, 201, "the name is free");
});

test("a purge that fails, or whose server dies, goes on where it was; once begun it is not cancelled", async () => {
  const c = await customer();
  await suspend(c.id);
  const asked = await remove(c.id, c.code);
  const first = await startServer({ ...options, beside: server, startsAt: server.clock.now().toISOString() });
  let release = () => {};
  steering.waits = new Promise((resolve) => {
    release = resolve;
  });
  const before = steering.calls;
  server.clock.advance(30 * dayMs);
  server.kernel.operations.wake();
  await eventually(() => steering.calls > before);
  const late = await server.post(`/v1/operation/${asked.body.id}/cancel`, undefined, { key: qAdm.key });
  assert.deepEqual([late.status, late.body.code], [409, "operation_not_cancellable"]);
  // Its server is gone: as a kill leaves it, some tables are empty, and the lease runs out.
  await server.sql("delete from monitoring.watch_test where tenant_id = $1", [c.id]);
  await server.sql("delete from kernel.data_key where tenant_id = $1", [c.id]);
  await server.sql("update kernel.operation set lease_holder = 'dead', tries = 50, lease_until = $2 where id = $1", [
    asked.body.id,
    server.clock.now(),
  ]);
  steering.waits = null;
  first.clock.set(server.clock.now());
  first.kernel.operations.wake();
  const done = await ended(asked.body.id);
  assert.equal(done.status, "succeeded", JSON.stringify(done));
  release();
  assert.deepEqual(await rowsOf(c.id), {});
  await first.close();

  const d = await customer();
  await suspend(d.id);
  const failing = await remove(d.id, d.code);
  steering.fails = 1;
  server.clock.advance(30 * dayMs);
  server.kernel.operations.wake();
  assert.equal((await ended(failing.body.id)).status, "failed");
  assert.equal((await server.get(`/v1/tenant/${d.id}`, { key: qAdm.key })).body.status, "deleting");
  const again = await remove(d.id, d.code);
  assert.equal(again.status, 202);
  assert.notEqual(again.body.id, failing.body.id);
  assert.equal((await ended(again.body.id)).status, "succeeded");
  assert.deepEqual(await rowsOf(d.id), {});
});

/** A transaction of a call that came in before, and is slow. */
async function slowCall(acting: string, text: string, values: unknown[]): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: server.databaseUrl, options: "-c role=demarc_server" });
  await client.connect();
  await client.query("begin");
  await client.query("select set_config('demarc.tenant', $1, true)", [acting]);
  await client.query(text, values);
  return async () => {
    await client.query("commit");
    await client.end();
  };
}

test("from the beginning of its purge a tenant is out of everybody's sight: no call keeps filling it, and nothing of a slow one is left", async () => {
  const [c, d] = [await customer(), await customer()];
  for (const { id } of [c, d]) await suspend(id);
  const [asked, later] = [await remove(c.id, c.code), await remove(d.id, d.code)];
  const at = server.clock.now();
  await server.sql("update kernel.operation set not_before = $2 where id = $1", [later.body.id, "2100-01-01"]);
  const commit = await slowCall(
    q,
    `insert into kernel.idempotency (tenant_id, record_key, actor_id, fingerprint, status, headers, completed_at)
     values ($1, 'slow', 'x', 'x', 200, '{}', now())`,
    [c.id],
  );
  let release = () => {};
  steering.waits = new Promise((resolve) => {
    release = resolve;
  });
  const before = steering.calls;
  server.clock.advance(30 * dayMs);
  server.kernel.operations.wake();
  await eventually(() => steering.calls > before);
  const inside = { key: qAdm.key, headers: { "demarc-tenant": c.id } };
  for (const late of [
    await server.get(`/v1/tenant/${c.id}`, { key: qAdm.key }),
    await server.get("/v1/folder", inside),
    await server.post("/v1/folder", { name: "Late" }, inside),
    await server.post("/v1/client", { kind: "service", name: "Late" }, inside),
    await server.patch(`/v1/watch/${c.watch.id}`, { description: "Late" }, { key: qAdm.key }),
  ])
    assert.equal(late.status, 404, late.text);
  assert.equal((await server.get("/v1/ping", { key: c.key })).status, 401);
  const [{ code }] = await server.sql("select code from access.tenant where id = $1", [q]);
  await server.post(`/v1/tenant/${q}/suspend`, {}, { key: pAdm.key });
  assert.equal((await remove(q, code, { key: pAdm.key })).body.code, "tenant_has_children");
  await server.post(`/v1/tenant/${q}/resume`, {}, { key: pAdm.key });
  // Work of the tenant whose server died, older than all else in the queue.
  await server.sql(
    `insert into kernel.operation (tenant_id, id, kind, status, owner_id, owner, exclusive, input, lease_until, created_at, updated_at)
     values ($1, $2, 'access.deleteTenant', 'running', 'x', '{}', false, '{}', $3, '2020-01-01', $3)`,
    [c.id, newId("opn"), at],
  );
  await server.sql("update kernel.operation set not_before = $2 where id = $1", [later.body.id, at]);
  server.kernel.operations.wake();
  await eventually(() => steering.calls > before + 1);
  release();
  const isWaitedFor = async () =>
    (
      await server.sql(
        "select 1 from pg_stat_activity where query like '%virtualxid%' and datname = current_database() and pid <> pg_backend_pid()",
      )
    ).length > 0;
  await eventually(async () => (await operation(asked.body.id)).finishedAt || (await isWaitedFor()));
  await commit();
  for (const { body } of [asked, later]) assert.equal((await ended(body.id)).status, "succeeded");
  for (const { id } of [c, d]) assert.deepEqual(await rowsOf(id), {});
});

test("a purge that was due while no server ran is done late, also when who asked for it is gone", async () => {
  const c = await customer();
  await suspend(c.id);
  const leaver = await house.person(q, `leaver${names}`, "tenant_administrator");
  const asked = await remove(c.id, c.code, { key: leaver.key });
  await server.sql('update directory."user" set deleted_at = $2 where id = $1', [leaver.id, server.clock.now()]);
  await server.kernel.forget();
  server.clock.advance(60 * dayMs);
  server.kernel.operations.wake();
  assert.equal((await ended(asked.body.id)).status, "succeeded");
  assert.deepEqual(await rowsOf(c.id), {});
});

test("with no days to wait the purge begins at once", async () => {
  const hasty = await startServer({ ...options, settings: { tenantPurgeDays: 0 } });
  const partner = await hasty.tenant(hasty.rootId, "partner", "Partner");
  const id = await hasty.tenant(partner, "customer", "Brief");
  const key = await hasty.key(partner, "tenant_administrator");
  await hasty.post(`/v1/tenant/${id}/suspend`, {}, { key });
  const { code } = (await hasty.get(`/v1/tenant/${id}`, { key })).body;
  const asked = await hasty.delete(`/v1/tenant/${id}?confirm=${code}`, { key });
  assert.equal(asked.status, 202, asked.text);
  await eventually(async () => (await hasty.get(`/v1/tenant/${id}`, { key })).status === 404);
});

test("nothing is made below, or moved below, a tenant that is being deleted", async () => {
  const leaving = await server.tenant(q, "partner", "Leaving");
  await suspend(leaving);
  const { code } = (await server.get(`/v1/tenant/${leaving}`, { key: qAdm.key })).body;
  assert.equal((await remove(leaving, code)).status, 202);
  const made = await server.post(
    "/v1/tenant",
    { name: "Late", kind: "customer", parentId: leaving },
    { key: qAdm.key },
  );
  assert.deepEqual([made.status, made.body.code], [409, "tenant_deleting"]);
  const moved = await server.patch(`/v1/tenant/${a}`, { parentId: leaving }, { key: qAdm.key });
  assert.deepEqual([moved.status, moved.body.code], [409, "tenant_deleting"]);
});
