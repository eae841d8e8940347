import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";

const server = await startServer();
const { q, a, b } = await buildHouse(server);

/** Every table that has rows of tenants, by the catalogue. */
const tables: { name: string; forced: boolean; enabled: boolean; readable: boolean; policies: string[] }[] =
  await server.sql(`
  select (select coalesce(array_agg(p.polname::text), '{}') from pg_policy p
      where p.polrelid = c.oid and 'demarc_server'::regrole = any(p.polroles)) as policies, format('%I.%I', n.nspname, c.relname) as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
    has_table_privilege('demarc_server', c.oid, 'select') as readable
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')
    and exists (select from pg_attribute where attrelid = c.oid and attname = 'tenant_id' and not attisdropped)`);

async function asServer<T>(tenantId: string | null, part: (query: (text: string) => Promise<any[]>) => Promise<T>) {
  const client = new pg.Client({ connectionString: server.databaseUrl, options: "-c role=demarc_server" });
  await client.connect();
  try {
    if (tenantId !== null) await client.query("select set_config('demarc.tenant', $1, false)", [tenantId]);
    return await part(async (text) => (await client.query(text)).rows);
  } finally {
    await client.end();
  }
}

test("10. without a tenant set the server's role sees no row of any tenant's table", async () => {
  assert.ok(tables.length >= 15, `${tables.length} tables`);
  for (const { name, enabled, forced, readable, policies } of tables) {
    assert.ok(enabled, `${name} has no row policies`);
    // What the server's role may not read at all needs none.
    if (readable) assert.ok(policies.includes("tenant_wall"), `${name} has no policy for the server`);
    // Of the closure table's owner the triggers that keep it are made.
    if (name !== "access.tenant_ancestor") assert.ok(forced, `${name} lets its owner through`);
  }
  for (const unset of [null, ""]) {
    await asServer(unset, async (query) => {
      for (const { name, readable } of tables) {
        if (readable) assert.deepEqual(await query(`select 1 from ${name} limit 1`), [], name);
      }
    });
  }
});

test("10. with a tenant set it sees rows of that tenant and those below, in every table", async () => {
  const own = new Map<string, string>([
    [q, "partner"],
    [a, "customer"],
  ]);
  for (const [tenantId] of own) {
    const below = new Set(
      (await server.sql("select tenant_id from access.tenant_ancestor where ancestor_id = $1", [tenantId])).map(
        (row) => row.tenant_id,
      ),
    );
    await asServer(tenantId, async (query) => {
      for (const { name, readable } of tables) {
        if (!readable || name === "access.tenant_ancestor" || name === "access.activity") continue;
        for (const row of await query(`select distinct tenant_id from ${name}`))
          assert.ok(below.has(row.tenant_id), `${name} shows ${row.tenant_id} to ${tenantId}`);
      }
      const seen = await query("select tenant_id from access.assignment");
      assert.ok(seen.length > 0);
    });
  }
});

test("10. the server's role cannot write into a tenant out of reach, nor ask for what such a tenant inherits", async () => {
  await asServer(a, async (query) => {
    assert.deepEqual(await query(`update access.tenant set name = 'Mine' where id = '${b}' returning id`), []);
    await assert.rejects(
      query(
        `insert into access.plan (tenant_id, id, name, lanes, created_at, updated_at) values ('${b}', 'pln_x', 'x', '{}', now(), now())`,
      ),
      /row-level security/,
    );
    assert.deepEqual(await query(`select access.lineage('${b}') as lineage`), [{ lineage: null }]);
    const [mine] = await query(`select access.lineage('${a}') as lineage`);
    assert.equal(mine.lineage.length, 3);
  });
});
