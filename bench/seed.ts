/** The installation that is measured: a provider, a partner, a customer with a hundred thousand watches at a thousand sites. */
import pg from "pg";
import { newId } from "../server/src/kernel/ids.ts";
import { call, type Demarc } from "./demarc.ts";

export type Seeded = {
  customerId: string;
  /** A key of the customer's, and the provider's own. */
  key: string;
  providerKey: string;
  folderId: string;
  locationIds: string[];
  watchIds: string[];
};

const sites = 1_000;
const areas = 20;
/** High enough that no round is throttled; set all the same, so that every call is charged to bucket and day. */
const lane = { ratePerSecond: 10_000, burst: 100_000, perDay: 1_000_000_000 };

/** What an ordinary create states. */
export function newWatch(name: string, locationId: string) {
  return {
    name,
    locationId,
    description: "Primary circuit of the branch",
    watchType: "Bearer",
    productType: "FTTP",
    reference: "PO-104422",
    accessInKbps: 300_000,
    accessOutKbps: 300_000,
    deviceAddress: "198.51.100.7",
    snmp: { version: "v2c", community: "n0t-public" },
    interface: { match: "ifName", value: "Gi0/0/1" },
  };
}

/** Fills a fresh installation. What has rules is made through the API; the mass of watches by SQL, from one made so. */
export async function seed(demarc: Demarc, watches: number): Promise<Seeded> {
  const providerKey = demarc.key!;
  const { items: plans } = await call(demarc, providerKey, "GET", "/plan");
  await call(demarc, providerKey, "PATCH", `/plan/${plans[0].id}`, { lanes: { api: lane } });
  const partner = await call(demarc, providerKey, "POST", "/tenant", { kind: "partner", name: "Partner" });
  const customer = await call(demarc, providerKey, "POST", "/tenant", {
    kind: "customer",
    name: "Customer",
    parentId: partner.id,
  });
  const within = { "demarc-tenant": customer.id };
  const issued = { title: "bench", roles: [{ roleId: "tenant_administrator" }] };
  const { secret: key } = await call(demarc, providerKey, "POST", "/key", issued, within);
  const items = Array.from({ length: sites }, (_, site) => ({
    path: ["Sites", `Area ${site % areas}`],
    location: { name: `Site ${site}` },
  }));
  const { results } = await call(demarc, key, "POST", "/folder/import", { mode: "atomic", items });
  const locationIds: string[] = results.map((result: { locationId: string }) => result.locationId);
  const model = await call(demarc, key, "POST", "/watch", newWatch("model", locationIds[0]!));
  const watchIds = Array.from({ length: watches }, () => newId("wch"));
  await multiply(demarc.databaseUrl, model.id, watchIds, locationIds);
  return { customerId: customer.id, key, providerKey, folderId: results[0].folderId, locationIds, watchIds };
}

async function multiply(url: string, modelId: string, ids: string[], locationIds: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(
    `select attname from pg_attribute where attrelid = 'monitoring.watch'::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
  );
  const made: Record<string, string> = {
    id: "n.id",
    // Evenly over the number space, as random ones are. A site may have drawn one of them: no watch bears a site's number.
    numeric_id: "1 + n.place * 20000",
    name: "'hsc' || n.place",
    location_id: `($2::text[])[1 + n.place % ${locationIds.length}]`,
    description: "'Circuit ' || n.place",
    reference: "'PO-' || n.place",
    device_address: "'10.' || n.place / 65536 || '.' || n.place / 256 % 256 || '.' || n.place % 256",
    product_type: "(array['FTTC', 'FTTP', 'EFM', 'Leased line'])[1 + n.place % 4]",
    access_in_kbps: "(array[20000, 80000, 300000, 1000000])[1 + n.place % 4]",
    status: "(array['active', 'active', 'active', 'disabled', 'pending'])[1 + n.place % 5]",
    test_state: "(array['successful', 'successful', 'failed'])[1 + n.place % 3]",
    group_name: "case when n.place % 100 = 4 then 'rollout' end",
    created_at: "w.created_at - n.place * interval '5 minutes'",
    changed_at: "w.changed_at - (n.place * 7 % 100000) * interval '1 minute'",
  };
  const columns = rows.map(({ attname }) => attname as string);
  await client.query(
    `with n as (select id, place::int from unnest($1::text[]) with ordinality as n (id, place)),
       numbered as (insert into monitoring.numeric_id (numeric_id, tenant_id, id)
         select ${made.numeric_id}, w.tenant_id, n.id from n, monitoring.watch w where w.id = $3
         on conflict do nothing)
     insert into monitoring.watch (${columns.join(", ")})
     select ${columns.map((name) => made[name] ?? `w.${name}`).join(", ")} from n, monitoring.watch w where w.id = $3`,
    [ids, locationIds, modelId],
  );
  await client.query("vacuum analyze");
  await client.end();
}
