/** The locations that items state, by id or by place: looked up for a thousand items with a constant number of statements. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import { type Fault, Problem, referenceNotFound } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { homeFolder, pathAmbiguous } from "../place/place.ts";
import type { Place } from "../place/schema.ts";
import { allowsOnFolder, allowsOnLocation, visibleFolders, visibleLocations } from "../scope.ts";
import type { EstateWatch } from "./schema.ts";
import { inScopeFolder, type Scope } from "./scope.ts";

/** `key` is the location's id, or stands for the place where it is not there: items that state one place have one key. */
export type FoundSite = { locationId: string | null; key: string; isInScope: boolean; faults?: undefined };
export type Site = FoundSite | { faults: Fault[] };

const ambiguousFault: Fault = {
  pointer: "/place/path",
  rule: pathAmbiguous.code,
  message: pathAmbiguous.title,
};

/** What the items state of their locations; undefined for those that state none. */
export async function findSites(
  ctx: Context,
  scope: Scope,
  watches: readonly (EstateWatch | null)[],
): Promise<(Site | undefined)[]> {
  const locationIds = watches.flatMap((watch) => (watch?.locationId === undefined ? [] : [watch.locationId]));
  const places = watches.flatMap((watch) => (watch?.place ? [watch.place] : []));
  const byId = await findLocations(ctx, scope, locationIds);
  const byPlace = await findPlaces(ctx, scope, places);
  return watches.map((watch) => {
    if (watch?.place) return byPlace.get(watch.place)!;
    return watch?.locationId === undefined ? undefined : byId.get(watch.locationId)!;
  });
}

async function findLocations(ctx: Context, scope: Scope, ids: readonly string[]): Promise<Map<string, Site>> {
  const sites = new Map<string, Site>();
  const asked = new Set<string>();
  for (const id of ids) {
    const wrong = idFault("loc", id, { pointer: "/locationId" });
    sites.set(id, { faults: [wrong ?? referenceNotFound({ pointer: "/locationId" })] });
    if (!wrong) asked.add(id);
  }
  if (asked.size === 0) return sites;
  const isInScope = sql<boolean>`${allowsOnLocation(ctx, "pending.read")} and ${inScopeFolder(scope)}`.as("in_scope");
  const rows = visibleLocations(ctx)
    .select(["l.id", isInScope])
    .where(sql<boolean>`l.id = any(${[...asked]})`);
  for (const { id, in_scope } of await ctx.db.rows(rows))
    sites.set(id, { locationId: id, key: id, isInScope: in_scope });
  return sites;
}

async function findPlaces(ctx: Context, scope: Scope, places: readonly Place[]): Promise<Map<Place, Site>> {
  const sites = new Map<Place, Site>();
  if (places.length === 0) return sites;
  const starts = await findStarts(ctx, places);
  const asked = new Map<string, { n: number; start_id: string; path: string[]; location: string }>();
  const keys = new Map<Place, string>();
  for (const place of places) {
    const start = starts.get(place.underFolderId ?? null)!;
    if (typeof start !== "string") {
      sites.set(place, { faults: [start] });
      continue;
    }
    const key = JSON.stringify([start, place.path, place.location]);
    keys.set(place, key);
    if (!asked.has(key)) asked.set(key, { n: asked.size, start_id: start, path: place.path, location: place.location });
  }
  const found = await followPaths(ctx, scope, [...asked.values()]);
  for (const [place, key] of keys)
    sites.set(place, siteOf(key, asked.get(key)!.path.length, found.get(asked.get(key)!.n)));
  return sites;
}

/** The folders in which paths begin, by `underFolderId`; null is the caller's own. */
async function findStarts(ctx: Context, places: readonly Place[]): Promise<Map<string | null, string | Fault>> {
  const starts = new Map<string | null, string | Fault>();
  const at = { pointer: "/place/underFolderId" };
  for (const { underFolderId: id = null } of places) {
    if (id !== null) starts.set(id, idFault("fld", id, at) ?? referenceNotFound(at));
    else if (!starts.has(null)) starts.set(null, await ownFolder(ctx, at.pointer));
  }
  const ids = [...starts.keys()].filter((id) => id !== null);
  if (ids.length === 0) return starts;
  const rows = visibleFolders(ctx).select("f.id").where(sql<boolean>`f.id = any(${ids})`);
  for (const { id } of await ctx.db.rows(rows)) starts.set(id, id);
  return starts;
}

async function ownFolder(ctx: Context, pointer: string): Promise<string | Fault> {
  try {
    return (await homeFolder(ctx, pointer)).id;
  } catch (error) {
    if (error instanceof Problem && error.refusal.errors?.[0]) return error.refusal.errors[0];
    throw error;
  }
}

type Step = { n: number; level: number; fits: number; location_id: string | null; in_scope: boolean };

/**
 * As `findPath` follows one: each step compares exactly, and where two children fit it ends. Of many that fit, a few are
 * enough to know that.
 */
async function followPaths(ctx: Context, scope: Scope, asked: readonly object[]): Promise<Map<number, Step>> {
  const deepest = new Map<number, Step>();
  if (asked.length === 0) return deepest;
  const steps = await ctx.db.rows(
    query<Step>(sql`with recursive asked as (
        select * from jsonb_to_recordset(${JSON.stringify(asked)}::jsonb) as a(n integer, start_id text, path text[], location text)
      ), step as (
        select a.n, 0 as level, f.id, 1::bigint as fits from asked a join monitoring.folder f on f.id = a.start_id and f.deleted_at is null
        union all
        select s.n, s.level + 1, c.id, count(*) over (partition by s.n) from step s join asked a on a.n = s.n cross join lateral (
          select id from monitoring.folder c where c.parent_id = s.id and c.name = a.path[s.level + 1] and c.deleted_at is null limit 2
        ) c where s.fits = 1 and s.level < cardinality(a.path)
      )
      select s.n, s.level, s.fits, l.id as location_id, ${allowsOnFolder(ctx, "pending.read")} and ${inScopeFolder(scope)} as in_scope
      from step s join asked a on a.n = s.n join monitoring.folder f on f.id = s.id
      left join monitoring.location l on s.level = cardinality(a.path) and s.fits = 1 and l.tenant_id = f.tenant_id
        and l.folder_id = f.id and l.name = a.location and l.deleted_at is null
      order by s.level`),
  );
  for (const step of steps) deepest.set(step.n, step);
  return deepest;
}

function siteOf(key: string, length: number, step: Step | undefined): Site {
  if (!step) return { faults: [referenceNotFound({ pointer: "/place/underFolderId" })] };
  if (step.fits > 1) return { faults: [ambiguousFault] };
  const locationId = step.level === length ? step.location_id : null;
  return { locationId, key: locationId ?? key, isInScope: step.in_scope };
}
