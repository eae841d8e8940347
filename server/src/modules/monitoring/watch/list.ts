/** Search for watches (monitoring, 3.1). */
import { type RawBuilder, type SelectQueryBuilder, sql } from "kysely";
import { type Static, Type } from "typebox";
import type { Context } from "#kernel/contract";
import { listOf, listQuery, readPage } from "#kernel/page";
import { holds, lacking, reachOf } from "#kernel/principal";
import { invalid } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { anyOf, id, oneOf, text } from "#kernel/schema";
import { inActing } from "#kernel/wall";
import { anyHolds, listFaults } from "../filter.ts";
import { treeFilters } from "../folder/schema.ts";
import { homePlace, rootFolderOf, viewOf, visibleFolders, visibleLocations, visibleWatches } from "../scope.ts";
import { monitoring } from "../tables.ts";
import { tombstone } from "../tombstone.ts";
import { readDeviceAddress } from "./device-address.ts";
import { readSites, watchColumns } from "./rows.ts";
import { knownTypes, statuses, testStates, Watch, WatchTombstone } from "./schema.ts";
import { asciiLower, type Site, type StoredWatch, watchOf } from "./watch-state.ts";

const noControls = "^[^\\u0000-\\u001f\\u007f]*$";
const orNone = (max: number) =>
  Type.String({ maxLength: max, pattern: noControls, description: "An empty value finds watches without one." });
const principalId = anyOf(text(100));
const bandwidth = anyOf(Type.Integer({ minimum: 1, maximum: 1_000_000_000 }));

export const WatchQuery = listQuery(
  {
    name: text(100, { description: "ASCII case is ignored." }),
    deviceAddress: orNone(253),
    interface: orNone(255),
    reference: orNone(50),
    customerReference: orNone(100),
    productType: orNone(20),
    watchType: anyOf(oneOf(knownTypes)),
    status: anyOf(oneOf(statuses)),
    testState: anyOf(oneOf(testStates)),
    group: orNone(50),
    locationId: anyOf(id("loc")),
    folderId: anyOf(id("fld", { description: "With everything below." })),
    pollingMinutes: anyOf(Type.Unsafe<1 | 3 | 5>({ type: "integer", enum: [1, 3, 5] })),
    siteLink: Type.Boolean(),
    dormant: Type.Boolean(),
    accessInKbps: bandwidth,
    accessOutKbps: bandwidth,
    createdBy: principalId,
    updatedBy: principalId,
    ...treeFilters,
  },
  ["name", "createdAt", "updatedAt", "changedAt", "deviceAddress", "status"],
  Watch,
);
export type WatchQuery = Static<typeof WatchQuery>;
export const WatchList = listOf(Type.Union([Watch, WatchTombstone]));

const sorts = {
  name: sql`w.name`,
  createdAt: sql`w.created_at`,
  updatedAt: sql`w.updated_at`,
  changedAt: sql`w.changed_at`,
  deviceAddress: sql`coalesce(w.device_address, '')`,
  status: sql`w.status`,
};

type Condition = RawBuilder<boolean>;
type Listed = Omit<StoredWatch, "snmp_sealed">;

/** Watches that the caller sees and the filters admit. A filter on what a tombstone does not show admits none of them. */
export async function listWatches(ctx: Context, query: WatchQuery) {
  if (query.status?.includes("pending") && !holds(ctx.who, "pending.read")) throw lacking("pending.read");
  await checkReferences(ctx, query);
  const living = livingConditions(query);
  const which =
    query.includeDeleted === true && living.length === 0 && query.customerReference === undefined ? "all" : "living";
  let rows = listedWatches(ctx, which);
  for (const condition of [...living, ...sharedConditions(query), ...(await placeConditions(ctx, query))])
    rows = rows.where(condition);
  const view = viewOf(ctx.who);
  const siteOf = createSiteLoader(ctx);
  return readPage(ctx, query, {
    from: rows,
    sorts,
    by: "createdAt",
    id: sql`w.id`,
    async item(row: Listed) {
      if (row.deleted_at) return tombstone(row, { locationId: row.location_id });
      return watchOf({ ...row, ...(await siteOf(row.location_id)) }, view);
    },
  });
}

/**
 * Visible watches, for lists: of one table where the caller sees whole tenants, as nearly every caller does, since
 * planning joins costs more than running them for one page.
 */
// biome-ignore lint/suspicious/noExplicitAny: with or without the joined tables
function listedWatches(ctx: Context, which: "living" | "all"): SelectQueryBuilder<any, any, Listed> {
  const { who } = ctx;
  const pending = reachOf(who, "pending.read");
  const isWhole = reachOf(who, "watch.read").all && (pending.all || !holds(who, "pending.read"));
  if (!isWhole) return visibleWatches(ctx, "watch.read", which).select(watchColumns);
  let rows = monitoring
    .selectFrom("monitoring.watch as w")
    .select(watchColumns)
    .where(inActing(who, sql.ref("w.tenant_id")));
  if (which === "living") rows = rows.where("w.deleted_at", "is", null);
  if (!pending.all) rows = rows.where("w.status", "<>", "pending");
  return rows;
}

/** Gives the places of a page's watches, all with one statement. */
function createSiteLoader(ctx: Context): (locationId: string) => Promise<Site> {
  let batch: { ids: Set<string>; sites: Promise<Map<string, Site>> } | undefined;
  return async (locationId) => {
    if (!batch) {
      const ids = new Set<string>();
      batch = { ids, sites: Promise.resolve().then(() => readSites(ctx, [...ids])) };
    }
    batch.ids.add(locationId);
    return (await batch.sites).get(locationId)!;
  };
}

async function checkReferences(ctx: Context, query: WatchQuery): Promise<void> {
  const { locationId, folderId, deviceAddress, updatedSince } = query;
  const faults = await listFaults(ctx, query, [
    filterFaults("locationId", "loc", locationId, (ids) =>
      ctx.db.rows(visibleLocations(ctx).select("l.id").where("l.id", "in", ids)),
    ),
    filterFaults("folderId", "fld", folderId, (ids) =>
      ctx.db.rows(visibleFolders(ctx).select("f.id").where("f.id", "in", ids)),
    ),
  ]);
  const address = deviceAddress ? readDeviceAddress(deviceAddress) : null;
  if (address?.ok === false) faults.push({ parameter: "deviceAddress", rule: "format", message: address.message });
  // A leap second has the form of a time, but JavaScript knows no such instant.
  if (updatedSince && Number.isNaN(Date.parse(updatedSince)))
    faults.push({ parameter: "updatedSince", rule: "format", message: "No such time." });
  if (faults.length > 0) throw invalid(faults);
}

/** Conditions on what only a living watch shows. */
function livingConditions(query: WatchQuery): Condition[] {
  const conditions: Condition[] = [];
  const same = (column: string, value: string | undefined) => {
    if (value !== undefined)
      conditions.push(value === "" ? sql`${sql.ref(column)} is null` : sql`${sql.ref(column)} = ${value}`);
  };
  const among = (column: string, values: readonly unknown[] | undefined) => {
    if (values) conditions.push(sql`${sql.ref(column)} = any(${values})`);
  };
  const is = (column: string, value: boolean | undefined) => {
    if (value !== undefined) conditions.push(sql`${sql.ref(column)} = ${value}`);
  };
  same("w.device_address", query.deviceAddress && canonical(query.deviceAddress));
  same("w.reference", query.reference);
  same("w.product_type", query.productType);
  same("w.group_name", query.group);
  if (query.interface !== undefined) conditions.push(onInterface(query.interface));
  among("w.watch_type", query.watchType);
  among("w.status", query.status);
  among("w.test_state", query.testState);
  among("w.polling_minutes", query.pollingMinutes);
  among("w.access_in_kbps", query.accessInKbps);
  among("w.access_out_kbps", query.accessOutKbps);
  among("w.created_by", query.createdBy);
  among("w.updated_by", query.updatedBy);
  is("w.site_link", query.siteLink);
  is("w.dormant", query.dormant);
  return conditions;
}

function canonical(text: string): string {
  const read = readDeviceAddress(text);
  return read.ok ? read.address : text;
}

/** The wanted value, or any name of the interface that it was found to be. */
function onInterface(value: string): Condition {
  if (value === "") return sql`w.interface_match is null`;
  const names = ["ifName", "ifDescr", "ifAlias", "ifIndex"].map(
    (name) => sql`w.interface_resolved ->> ${sql.lit(name)} = ${value}`,
  );
  return sql`(w.interface_value = ${value} or ${sql.join(names, sql` or `)})`;
}

/** Conditions on what a tombstone shows too. */
function sharedConditions({ name, numericId, locationId, tenantId, updatedSince }: WatchQuery): Condition[] {
  const conditions: Condition[] = [];
  if (name !== undefined) conditions.push(sql`w.name_key = ${asciiLower(name)}`);
  if (numericId) conditions.push(sql`w.numeric_id = any(${numericId})`);
  if (locationId) conditions.push(sql`w.location_id = any(${locationId})`);
  if (tenantId) conditions.push(sql`w.tenant_id = any(${tenantId})`);
  // Years that PostgreSQL cannot read lie before anything that changed.
  if (updatedSince && Date.parse(updatedSince) > 0)
    conditions.push(sql`w.changed_at >= ${new Date(updatedSince)}::timestamptz`);
  return conditions;
}

/** Conditions on where a watch is, and on what it inherits from there. */
async function placeConditions(ctx: Context, query: WatchQuery): Promise<Condition[]> {
  const { folderId, path, customerReference, q } = query;
  const conditions: Condition[] = [];
  const at = (condition: Condition) => atLocations(ctx, condition);
  if (folderId && !seesAllOf(ctx, folderId)) conditions.push(await at(sql`f.path_ids && ${folderId}::text[]`));
  if (path) conditions.push(await at(sql`f.path_names[${homePlace(ctx.who)} + 1:] = ${path}::text[]`));
  if (customerReference !== undefined) {
    const value = customerReference === "" ? null : customerReference;
    const inherited = await at(sql`f.effective_reference is not distinct from ${value}`);
    const own = value === null ? sql`false` : sql`w.customer_reference = ${value}`;
    conditions.push(sql`(${own} or (w.customer_reference is null and ${inherited}))`);
  }
  if (q) {
    const named = await at(anyHolds([sql`l.name`], q));
    const inheriting = await at(anyHolds([sql`f.effective_reference`], q));
    const inherits = sql`w.customer_reference is null and w.deleted_at is null and ${inheriting}`;
    conditions.push(sql`(strpos(w.search, lower(${q}::text)) > 0 or ${named} or (${inherits}))`);
  }
  return conditions;
}

/** Whether a folder is the root of all that the caller sees. */
function seesAllOf({ who }: Context, folderIds: readonly string[]): boolean {
  return reachOf(who, "folder.read").all && folderIds.includes(rootFolderOf(who.acting.id));
}

const fewLocations = 100;

/**
 * Watches at the locations that fit: as a list of ids while they are few, so that the planner sees how many watches
 * they stand for and takes the fitting index.
 */
async function atLocations(ctx: Context, condition: Condition): Promise<Condition> {
  const locations = visibleLocations(ctx, "folder.read", "all").select("l.id").where(condition);
  const ids = (await ctx.db.rows(locations.limit(fewLocations + 1))).map(({ id }) => id);
  if (ids.length === 0) return sql`false`;
  if (ids.length <= fewLocations) return sql`w.location_id = any(${ids})`;
  return sql`w.location_id in (${locations})`;
}
