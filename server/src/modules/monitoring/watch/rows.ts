/** The statements over watches. Those of a single read and a create are prepared, and a create is one round trip. */
import { randomInt } from "node:crypto";
import { type RawBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { hot, query } from "#kernel/db";
import type { Permission } from "#kernel/permissions";
import { holds, reachOf } from "#kernel/principal";
import { allowsOnLocation, visibleWatches } from "../scope.ts";
import { monitoring, type WatchRow } from "../tables.ts";
import type { Site, StoredWatch, WatchFull, WatchSeen } from "./watch-state.ts";

const columns = {
  tenant_id: "text",
  id: "text",
  numeric_id: "integer",
  name: "text",
  location_id: "text",
  description: "text",
  watch_type: "text",
  product_type: "text",
  reference: "text",
  customer_reference: "text",
  access_in_kbps: "integer",
  access_out_kbps: "integer",
  tier_in_kbps: "integer",
  tier_out_kbps: "integer",
  device_address: "text",
  snmp: "jsonb",
  interface_match: "text",
  interface_value: "text",
  interface_resolved: "jsonb",
  polling_minutes: "smallint",
  site_link: "boolean",
  dormant: "boolean",
  group_name: "text",
  status: "text",
  test_state: "text",
  test_reason: "text",
  tested_at: "timestamptz",
  activated_at: "timestamptz",
  activated_by: "text",
  disabled_at: "timestamptz",
  created_at: "timestamptz",
  created_by: "text",
  updated_at: "timestamptz",
  updated_by: "text",
  changed_at: "timestamptz",
  deleted_at: "timestamptz",
  deleted_by: "text",
} satisfies Record<Exclude<keyof WatchRow, "snmp_sealed">, string>;
const stored = { ...columns, snmp_sealed: "text" };
const names = Object.keys(columns) as (keyof typeof columns)[];
const storedNames = Object.keys(stored) as (keyof typeof stored)[];

/** Columns of `w` as a watch is read, without its secrets. */
export const watchColumns = names.map((name) => `w.${name}` as const);
const site = [
  "l.name as location_name",
  "l.time_zone",
  "f.path_ids",
  "f.path_names",
  "f.effective_reference",
  "f.effective_reference_folder_id",
] as const;
/** The same with its place, for a query over `w`, `l` and `f`. */
export const selectWatch = [...watchColumns, ...site] as const;

const below = (column: string, acting: string) =>
  sql<boolean>`${sql.ref(column)} in (select tenant_id from access.tenant_ancestor where ancestor_id = ${acting})`;

const everywhere = () =>
  monitoring
    .selectFrom("monitoring.watch as w")
    .innerJoin("monitoring.location as l", "l.id", "w.location_id")
    .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
    .where("w.deleted_at", "is", null);

const readOne = hot<{ id: string; acting: string; pending: boolean }, WatchSeen>("monitoring_watch", (p) =>
  everywhere()
    .select(selectWatch)
    .where("w.id", "=", p.id)
    .where(below("w.tenant_id", p.acting))
    .where(sql<boolean>`(w.status <> 'pending' or ${p.pending}::boolean)`),
);
const lockOne = hot<{ id: string; acting: string }, WatchFull>("monitoring_watch_lock", (p) =>
  everywhere()
    .select([...selectWatch, "w.snmp_sealed"])
    .where("w.id", "=", p.id)
    .where(below("w.tenant_id", p.acting))
    .forUpdate("w"),
);

const sitesById = hot<{ ids: string[] }, Site & { id: string }>("monitoring_watch_sites", (p) =>
  monitoring
    .selectFrom("monitoring.location as l")
    .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
    .select(["l.id", ...site])
    .where(sql<boolean>`l.id = any(${p.ids}::text[])`),
);

/** Where watches are that the caller was found to see, by location. */
export async function readSites(ctx: Pick<Context, "db">, locationIds: string[]): Promise<Map<string, Site>> {
  return new Map((await ctx.db.rows(sitesById({ ids: locationIds }))).map(({ id, ...row }) => [id, row]));
}

/** A watch that the caller may read; undefined for every other. */
export function findWatch(ctx: Context, id: string): Promise<WatchSeen | undefined> {
  const { who } = ctx;
  const pending = reachOf(who, "pending.read");
  if (reachOf(who, "watch.read").all && (pending.all || !holds(who, "pending.read"))) {
    return ctx.db.first(readOne({ id, acting: who.acting.id, pending: pending.all }));
  }
  return ctx.db.first(visibleWatches(ctx).select(selectWatch).where("w.id", "=", id)) as Promise<WatchSeen | undefined>;
}

/** A watch on which the caller may use `permission`, locked until the transaction ends. */
export function lockWatch(ctx: Context, id: string, permission: Permission): Promise<WatchFull | undefined> {
  if (reachOf(ctx.who, permission).all) return ctx.db.first(lockOne({ id, acting: ctx.who.acting.id }));
  const rows = visibleWatches(ctx, permission)
    .select([...selectWatch, "w.snmp_sealed"])
    .where("w.id", "=", id);
  return ctx.db.first(rows.forUpdate("w")) as Promise<WatchFull | undefined>;
}

/** A watch that the caller sees, with whether it may change it. */
export type Writable = WatchFull & { writable: boolean };

type Which =
  | { ids: readonly string[] }
  /** Location id and lower-cased name. */
  | { names: readonly (readonly [string, string])[] }
  | { references: readonly string[] };

/** Every watch that the caller sees or may change, of those named; locked. Tombstones are found by id only. */
export function lockWatches(ctx: Context, which: Which): Promise<Writable[]> {
  const writable = allowsOnLocation(ctx, "watch.write");
  const readable = sql`(${allowsOnLocation(ctx, "watch.read")} and (w.status <> 'pending' or ${allowsOnLocation(ctx, "pending.read")}))`;
  return ctx.db.rows(
    monitoring
      .selectFrom("monitoring.watch as w")
      .innerJoin("monitoring.location as l", "l.id", "w.location_id")
      .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
      .select([...selectWatch, "w.snmp_sealed", writable.as("writable")])
      .where(named(which))
      .where(sql<boolean>`(${readable} or ${writable})`)
      .orderBy("w.id")
      .forUpdate("w"),
  );
}

function named(which: Which): RawBuilder<boolean> {
  if ("ids" in which) return sql`w.id = any(${which.ids})`;
  if ("references" in which) return sql`(w.reference = any(${which.references}) and w.deleted_at is null)`;
  const [locations, lowerNames] = [which.names.map(([location]) => location), which.names.map(([, name]) => name)];
  return sql`(w.deleted_at is null and w.location_id = any(${[...new Set(locations)]})
    and (w.location_id, w.name_key) in (select * from unnest(${locations}::text[], ${lowerNames}::text[])))`;
}

/** Where watches are made or moved to. */
export type Spot = Site & { id: string; tenant_id: string; writable: boolean };

/** Locations that the caller sees, held against removal while a watch comes to them; `writable`: watches may. */
export function lockLocations(ctx: Context, ids: readonly string[]): Promise<Spot[]> {
  if (ids.length === 0) return Promise.resolve([]);
  const writable = allowsOnLocation(ctx, "watch.write");
  return ctx.db.rows(
    monitoring
      .selectFrom("monitoring.location as l")
      .innerJoin("monitoring.folder as f", "f.id", "l.folder_id")
      .select(["l.id", "l.tenant_id", ...site, sql<boolean>`${writable}`.as("writable")])
      .where("l.id", "in", [...ids])
      .where("l.deleted_at", "is", null)
      .where(sql<boolean>`(${allowsOnLocation(ctx, "folder.read")} or ${writable})`)
      .forShare("l"),
  ) as Promise<Spot[]>;
}

/** Whether the caller sees a watch at all, removed ones too. */
export async function seesWatch(ctx: Context, id: string, which: "living" | "all"): Promise<boolean> {
  return (
    (await ctx.db.first(visibleWatches(ctx, "watch.read", which).select("w.id").where("w.id", "=", id))) !== undefined
  );
}

/** The id of the watch that has a name at a location, ASCII case ignored. */
export async function holderOfName(
  ctx: Context,
  row: Pick<StoredWatch, "tenant_id" | "location_id" | "name">,
): Promise<string | undefined> {
  const holder = await ctx.db.first(
    query<{
      id: string;
    }>(sql`select id from monitoring.watch where tenant_id = ${row.tenant_id} and location_id = ${row.location_id}
      and lower(name) = lower(${row.name}) and deleted_at is null`),
  );
  return holder?.id;
}

const record = (of: Record<string, string>) =>
  sql.raw(
    Object.entries(of)
      .map(([name, type]) => `${name} ${type}`)
      .join(", "),
  );
const list = (of: readonly string[], prefix = "") => sql.raw(of.map((name) => prefix + name).join(", "));

type Inserted = Site & { id: string; tenant_id: string; numbers: number[]; made: string[] };

/**
 * A create in one statement: it holds the location against removal, takes the number, and inserts. It gives the location,
 * or nothing where the caller may not write there. The watch is left out where its number is taken (then not in
 * `numbers`), its name is (not in `made`), or the location is of another tenant than the row says.
 */
const insertion = (rows: string, locationIds: readonly string[], wall: RawBuilder<boolean>) =>
  query<Inserted>(sql`with given as (
      select * from jsonb_to_recordset(${rows}::jsonb) as r(${record(stored)})
    ), place as (
      select l.id, l.tenant_id, l.name as location_name, l.time_zone, f.path_ids, f.path_names, f.effective_reference, f.effective_reference_folder_id
      from monitoring.location l join monitoring.folder f on f.id = l.folder_id
      where l.id = any(${locationIds}::text[]) and l.deleted_at is null and ${wall}
      for share of l
    ), number as (
      insert into monitoring.numeric_id (numeric_id, tenant_id, id)
      select g.numeric_id, g.tenant_id, g.id from given g join place p on p.id = g.location_id and p.tenant_id = g.tenant_id
      on conflict do nothing returning numeric_id
    ), made as (
      insert into monitoring.watch (${list(storedNames)})
      select ${list(storedNames, "g.")} from given g join number n on n.numeric_id = g.numeric_id
      on conflict (tenant_id, location_id, lower(name)) where deleted_at is null do nothing returning id
    )
    select p.*, array(select numeric_id from number) as numbers, array(select id from made) as made from place p`);

const insertAnywhere = hot<{ rows: string; locationIds: string[]; acting: string }, Inserted>(
  "monitoring_insert_watches",
  (p) => insertion(p.rows, p.locationIds, below("l.tenant_id", p.acting)),
);

/** A number to try for a new watch; see numeric-id.ts. */
export function newNumericId(): number {
  return randomInt(1, 2 ** 31);
}

/** Inserts a watch at a location where the caller may write; see `insertion` for what leaves it out. */
export function insertWatch(ctx: Context, row: StoredWatch): Promise<Inserted | undefined> {
  const [rows, locationIds] = [JSON.stringify([bareOf(row)]), [row.location_id]];
  const { who } = ctx;
  if (reachOf(who, "watch.write").all)
    return ctx.db.first(insertAnywhere({ rows, locationIds, acting: who.acting.id }));
  return ctx.db.first(insertion(rows, locationIds, allowsOnLocation(ctx, "watch.write")));
}

const fixed = new Set<string>(["tenant_id", "id", "numeric_id", "created_at", "created_by"]);
const changing = storedNames.filter((name) => !fixed.has(name));

/** Watches whose numbers are drawn and whose locations are held; returns the ids of those whose names were free. */
const insertDrawn = hot<{ rows: string }, { id: string }>("monitoring_insert_drawn_watches", ({ rows }) =>
  query(sql`insert into monitoring.watch (${list(storedNames)})
    select ${list(storedNames, "g.")} from jsonb_to_recordset(${rows}::jsonb) as g(${record(stored)})
    on conflict (tenant_id, location_id, lower(name)) where deleted_at is null do nothing returning id`),
);

export async function insertDrawnWatches(ctx: Context, rows: readonly StoredWatch[]): Promise<number> {
  return (await ctx.db.rows(insertDrawn({ rows: JSON.stringify(rows.map(bareOf)) }))).length;
}

/** Gives watches names that nobody can have, where names change hands within one statement. */
const parkNames = hot<{ ids: string[] }, never>("monitoring_park_watch_names", ({ ids }) =>
  query(sql`update monitoring.watch set name = id where id = any(${ids}::text[])`),
);

export async function parkWatches(ctx: Context, ids: readonly string[]): Promise<void> {
  await ctx.db.run(parkNames({ ids: [...ids] }));
}

/** One statement for any number of changed rows; those in `stale` lose the interface list of the test before. */
const updateAll = hot<{ rows: string; stale: string[] }, never>("monitoring_update_watches", ({ rows, stale }) =>
  query(sql`with given as (
      select * from jsonb_to_recordset(${rows}::jsonb) as r(${record(stored)})
    ), outdated as (
      update monitoring.watch_test set interfaces = null, truncated = false where watch_id = any(${stale}::text[])
    )
    update monitoring.watch w set ${sql.raw(changing.map((name) => `${name} = g.${name}`).join(", "))} from given g where w.id = g.id`),
);

export async function updateWatches(
  ctx: Context,
  rows: readonly StoredWatch[],
  stale: readonly string[],
): Promise<void> {
  await ctx.db.run(updateAll({ rows: JSON.stringify(rows.map(bareOf)), stale: [...stale] }));
}

/** A row without its place, which other tables hold. */
function bareOf(row: StoredWatch): Record<string, unknown> {
  return Object.fromEntries(storedNames.map((name) => [name, row[name]]));
}

/** The interface lists that devices gave at their last tests, by watch. */
export async function interfaceLists(ctx: Context, ids: readonly string[]) {
  if (ids.length === 0) return new Map<string, never>();
  const rows = await ctx.db.rows(
    monitoring
      .selectFrom("monitoring.watch_test")
      .select(["watch_id", "interfaces"])
      .where("watch_id", "in", [...ids])
      .where("interfaces", "is not", null),
  );
  return new Map(rows.map((row) => [row.watch_id, row.interfaces!]));
}
