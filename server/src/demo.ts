/**
 * A demo provider for an empty database: a partner, two customers, their people and keys, and a few hundred watches.
 * Everything is made by the operations that callers use. Names and figures are the same on every machine; passwords and
 * keys are not: they are written to `demo.json` in the data directory, readable by its owner alone.
 */
import { randomBytes } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "kysely";
import { inTransaction, systemCaller } from "./kernel/context.ts";
import type { Context } from "./kernel/contract.ts";
import { query } from "./kernel/db.ts";
import type { Kernel } from "./kernel/kernel.ts";
import {
  createAssignment,
  createClient,
  createKey,
  createTenant,
  hashPassword,
  setPassword,
} from "./modules/access/index.ts";
import { makeUser } from "./modules/directory/index.ts";
import { bulkWatches, importTree } from "./modules/monitoring/index.ts";

export type Demo = {
  url: string;
  tenants: { id: string; name: string; kind: string; parent: string | null }[];
  users: { tenant: string; username: string; password: string; roles: string[] }[];
  clients: { tenant: string; clientId: string; clientSecret: string }[];
  keys: { tenant: string; title: string; key: string }[];
};

const towns = [
  "Aberdeen",
  "Bristol",
  "Cardiff",
  "Dundee",
  "Exeter",
  "Falmouth",
  "Glasgow",
  "Hull",
  "Inverness",
  "Leeds",
  "Norwich",
  "York",
];
const regions = ["North", "South"];
const products = ["FTTC", "FTTP", "Leased line", "EFM"];
const speeds = [20_000, 80_000, 100_000, 300_000, 1_000_000];

/** Makes the demo and its file. Returns it; the first key is the administrator's. */
export async function makeDemo(kernel: Kernel, rootId: string): Promise<Demo> {
  const demo: Demo = { url: kernel.settings.publicUrl, tenants: [], users: [], clients: [], keys: [] };

  async function within<T>(tenantId: string, part: (ctx: Context) => Promise<T>): Promise<T> {
    const card = (await kernel.gate.tenant(tenantId))!;
    return inTransaction(kernel, systemCaller(kernel, card, "demo"), part);
  }
  async function tenant(parentId: string, kind: "partner" | "customer", name: string, code: string): Promise<string> {
    const made = await within(rootId, (ctx) =>
      createTenant(ctx, { parentId, name, kind, code, reference: code, features: { passwordGrant: true } }),
    );
    demo.tenants.push({ id: made.id, name, kind, parent: parentId });
    return made.id;
  }
  async function user(tenantId: string, username: string, fullname: string, roleId: string): Promise<void> {
    const password = randomBytes(12).toString("base64url");
    const hashed = await hashPassword(password);
    if (hashed === "busy") throw new Error("Passwords are being hashed elsewhere.");
    await within(tenantId, async (ctx) => {
      const { id } = await makeUser(ctx, { username, fullname, email: `${username}@demo.example` });
      await setPassword(ctx, id, hashed.phc, id);
      await createAssignment(ctx, { principal: { kind: "user", id }, roleId });
    });
    demo.users.push({ tenant: tenantId, username, password, roles: [roleId] });
  }
  async function key(tenantId: string, title: string, roleId: string): Promise<void> {
    const made = await within(tenantId, (ctx) => createKey(ctx, { title, roles: [{ roleId }] }));
    demo.keys.push({ tenant: tenantId, title, key: made.body.secret! });
  }
  async function client(tenantId: string, name: string, roleId: string): Promise<void> {
    const made = await within(tenantId, (ctx) => createClient(ctx, { kind: "service", name, roles: [{ roleId }] }));
    demo.clients.push({ tenant: tenantId, clientId: made.body.id, clientSecret: made.body.secret! });
  }

  await within(rootId, async (ctx) => {
    await ctx.db.run(
      query(
        sql`update access.tenant set name = 'Northwind Networks', code = 'northwind', features = features || '{"passwordGrant": true}', updated_at = ${ctx.now} where id = ${rootId}`,
      ),
    );
    await ctx.db.run(
      query(
        sql`update monitoring.folder set name = 'Northwind Networks', path_names = array['Northwind Networks'] where tenant_id = ${rootId}`,
      ),
    );
    ctx.forget();
  });
  demo.tenants.push({ id: rootId, name: "Northwind Networks", kind: "provider", parent: null });
  const partner = await tenant(rootId, "partner", "Redshift Managed Services", "redshift");
  const acme = await tenant(partner, "customer", "Acme Logistics", "acme");
  const harbour = await tenant(partner, "customer", "Harbour Retail", "harbour");

  await user(rootId, "admin", "Ada Admin", "provider_administrator");
  await user(partner, "pat", "Pat Partner", "tenant_administrator");
  await user(acme, "alex", "Alex Acme", "tenant_administrator");
  await user(acme, "rosa", "Rosa Reader", "read_only");
  await user(harbour, "hana", "Hana Harbour", "tenant_administrator");
  await key(rootId, "administrator", "provider_administrator");
  await key(partner, "partner-automation", "tenant_administrator");
  await key(acme, "acme-automation", "tenant_administrator");
  await key(acme, "acme-reporting", "read_only");
  await key(harbour, "harbour-automation", "tenant_administrator");
  await client(rootId, "Northwind automation", "provider_administrator");
  await client(acme, "Acme automation", "tenant_administrator");
  await client(harbour, "Harbour automation", "tenant_administrator");

  await within(acme, (ctx) => makeWatches(ctx, "acme", 10, 1));
  await within(harbour, (ctx) => makeWatches(ctx, "hrb", 20, 2));
  await within(rootId, (ctx) => putSomeLive(ctx));
  writeDemoFile(kernel.settings.dataDir, demo);
  return demo;
}

/** Twelve sites in two regions, and `perSite` circuits at each, the same ones every time. */
async function makeWatches(ctx: Context, prefix: string, perSite: number, seed: number): Promise<void> {
  const places = towns.map((town, index) => ({
    path: ["Sites", regions[index % regions.length]!],
    location: {
      name: town,
      reference: `${prefix}-${town.slice(0, 3).toLowerCase()}`,
      postalAddress: `${index + 1} Station Road, ${town}`,
    },
  }));
  const { results } = await importTree(ctx, { mode: "atomic", items: places });
  const items = results.flatMap(({ locationId }, site) =>
    Array.from({ length: perSite }, (_, circuit) => {
      const pick = (site * 7 + circuit * 3 + seed) % speeds.length;
      const inKbps = speeds[pick]!;
      return {
        op: "create" as const,
        watch: {
          name: `${prefix}-${towns[site]!.slice(0, 3).toLowerCase()}-${String(circuit + 1).padStart(2, "0")}`,
          locationId: locationId!,
          description: `${towns[site]} circuit ${circuit + 1}`,
          watchType: "Bearer" as const,
          productType: products[pick % products.length]!,
          reference: `PO-${seed}${String(site).padStart(2, "0")}${String(circuit).padStart(2, "0")}`,
          accessInKbps: inKbps,
          accessOutKbps: pick < 2 ? inKbps / 4 : inKbps,
          deviceAddress: `198.51.${100 + seed}.${site * 20 + circuit + 1}`,
          snmp: { version: "v2c" as const, community: "demo-only" },
          interface: { match: "ifName" as const, value: `Gi0/0/${circuit % 4}` },
          group: circuit % 5 === 4 ? "rollout-2026-12" : null,
        },
      };
    }),
  );
  await bulkWatches(ctx, { mode: "atomic", items });
}

/** The demo's devices do not exist, so nobody can test them: most watches are shown as tested and live all the same. */
async function putSomeLive(ctx: Context): Promise<void> {
  await ctx.db.run(
    query(sql`update monitoring.watch set status = 'active', test_state = 'successful', tested_at = ${ctx.now}, activated_at = ${ctx.now},
      activated_by = 'system', updated_at = ${ctx.now}, changed_at = ${ctx.now} where group_name is null`),
  );
}

function writeDemoFile(dataDir: string, demo: Demo): void {
  const path = join(dataDir, "demo.json");
  writeFileSync(`${path}.new`, `${JSON.stringify(demo, null, 2)}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}
