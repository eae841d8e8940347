/**
 * Places by name (monitoring, 4.4): a path of folder names below a folder that the caller sees, found or made step by
 * step. A step that two children fit is refused, never guessed. Who makes one holds the parent's row, so concurrent
 * callers of one path make one folder.
 */

import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { hot, query } from "#kernel/db";
import { lacking } from "#kernel/principal";
import { type Fault, invalid, problem, referenceNotFound, refuse } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import type { ImportedFolder } from "../folder/schema.ts";
import { holdFolder, insertFolders } from "../folder/store.ts";
import type { ImportedLocation } from "../location/schema.ts";
import { insertLocation, locationNamed, type PlacedLocation } from "../location/store.ts";
import { homeFolders, visibleFolders } from "../scope.ts";
import type { FolderRow } from "../tables.ts";
import { lockTree } from "../tree.ts";
import type { Place } from "./schema.ts";

export const pathAmbiguous = problem("path_ambiguous", 409, "Several folders of this name lie on the path.");

/** The folder that a path begins in: the one named, else the caller's scope root. Faults stand at `pointer`. */
export async function startOfPath(
  ctx: Context,
  folderId: string | null | undefined,
  pointer: string,
): Promise<FolderRow> {
  const at = { pointer: `${pointer}/underFolderId` };
  if (folderId) {
    const wrong = idFault("fld", folderId, at);
    const found = wrong
      ? undefined
      : await ctx.db.first(visibleFolders(ctx).selectAll("f").where("f.id", "=", folderId));
    if (!found) throw invalid([wrong ?? referenceNotFound(at)]);
    return found;
  }
  return homeFolder(ctx, at.pointer);
}

/** The caller's scope root; whoever has none (homed on a location) or several must name a folder. */
export async function homeFolder(ctx: Context, pointer: string): Promise<FolderRow> {
  const homes = await homeFolders(ctx);
  if (homes.length === 1) return homes[0]!;
  const fault: Fault = homes.length
    ? { pointer, rule: "required", message: "Your scope has several roots: name a folder." }
    : { pointer, rule: "not_found", message: "No folder lies in your scope." };
  throw invalid([fault]);
}

type Step = FolderRow & { level: number };
const findSteps = hot<{ folderId: string; path: readonly string[] }, Step>("monitoring_find_path", (p) =>
  query(sql`with recursive step as (
      select f.id, 0 as level from monitoring.folder f where f.id = ${p.folderId} and f.deleted_at is null
      union all
      select c.id, s.level + 1 from step s join monitoring.folder c
        on c.parent_id = s.id and c.deleted_at is null and c.name = (${p.path}::text[])[s.level + 1]
    )
    select f.*, s.level from step s join monitoring.folder f on f.id = s.id order by s.level, f.created_at, f.id`),
);

/**
 * Follows a path from a folder that the caller sees (then it sees all below). `folders`: the start and what was found, in
 * order, empty when the start itself is gone; `missing`: the names left over. 409 where two children fit.
 */
export async function findPath(ctx: Pick<Context, "db">, start: FolderRow, path: readonly string[]) {
  const steps = await ctx.db.rows(findSteps({ folderId: start.id, path }));
  const folders: FolderRow[] = [];
  for (const { level, ...folder } of steps) {
    if (level < folders.length) throw ambiguous(path, level, steps);
    folders.push(folder);
  }
  return { folders, missing: path.slice(Math.max(0, folders.length - 1)) };
}

function ambiguous(path: readonly string[], level: number, steps: readonly Step[]) {
  const candidateIds = steps
    .filter((step) => step.level === level)
    .map((step) => step.id)
    .slice(0, 10);
  return refuse(pathAmbiguous, {
    detail: `Several folders are named ${path[level - 1]} here.`,
    members: { candidateIds },
  });
}

const startGone = () => invalid([referenceNotFound({ pointer: "/underFolderId" })]);

/** Follows a path and makes what is missing of it; `last` are the fields of the last folder, should it be made. */
export async function findOrMakePath(
  ctx: Context,
  start: FolderRow,
  path: readonly string[],
  last: ImportedFolder = {},
): Promise<{ folder: FolderRow; made: FolderRow[] }> {
  for (;;) {
    const { folders, missing } = await findPath(ctx, start, path);
    const deepest = folders.at(-1);
    if (!deepest) throw startGone();
    if (missing.length === 0) return { folder: deepest, made: [] };
    const [, parent] = await Promise.all([lockTree(ctx, deepest.id), holdFolder(ctx, deepest.id, "update")]);
    if (!parent) continue;
    if (!parent.writable) throw lacking("folder.write");
    // Look again behind the lock: somebody may have made the step, or removed the folder, while we waited.
    if ((await findPath(ctx, parent, missing)).folders.length > 1) continue;
    const chain = missing.map((name, index) => (index === missing.length - 1 ? { ...last, name } : { name }));
    const made = await insertFolders(ctx, parent, chain);
    return { folder: made.at(-1)!, made };
  }
}

/**
 * Finds a location by its name in a folder, locked as `hold` says, or makes it with these fields. `parent` is the folder
 * where the caller holds it already, with its tree, and may write there.
 */
export async function findOrMakeLocation(
  ctx: Context,
  folder: FolderRow,
  fields: ImportedLocation,
  hold: "share" | "update",
  parent?: FolderRow,
): Promise<{ location: PlacedLocation; made: boolean }> {
  const found = await locationNamed(ctx, folder, fields.name, hold);
  if (found) return { location: found, made: false };
  const held = parent ?? (await holdToPutIn(ctx, folder.id));
  const made = await insertLocation(ctx, held, fields);
  if (made) return { location: made, made: true };
  return { location: (await locationNamed(ctx, held, fields.name, hold))!, made: false };
}

async function holdToPutIn(ctx: Context, folderId: string): Promise<FolderRow> {
  const [, folder] = await Promise.all([lockTree(ctx, folderId), holdFolder(ctx, folderId, "share")]);
  if (!folder) throw startGone();
  if (!folder.writable) throw lacking("folder.write");
  return folder;
}

/** What was made for a place. */
type MadePlace = { folderIds: string[]; locationId: string | null };

/**
 * The location that a place names, held (`share`) until the end of the transaction. What is missing is made with
 * `createMissing`, telling and recording it: the route declares `placeEvents`. Otherwise it is 400 `not_found` on
 * `/place`. 409 `path_ambiguous`; 403 `folder.write` where something would have to be made without it.
 */
export async function findOrMakePlace(
  ctx: Context,
  place: Place,
): Promise<{ locationId: string; location: PlacedLocation; made: MadePlace }> {
  const start = await startOfPath(ctx, place.underFolderId, "/place");
  if (!place.createMissing) {
    const { folders, missing } = await findPath(ctx, start, place.path);
    const folder = missing.length === 0 ? folders.at(-1) : undefined;
    const location = folder && (await locationNamed(ctx, folder, place.location, "share"));
    if (!location)
      throw invalid([
        { pointer: "/place", rule: "not_found", message: "There is no such place, or you may not see it." },
      ]);
    return { locationId: location.id, location, made: { folderIds: [], locationId: null } };
  }
  const { folder, made } = await findOrMakePath(ctx, start, place.path);
  const { location, made: isNew } = await findOrMakeLocation(ctx, folder, { name: place.location }, "share");
  return {
    locationId: location.id,
    location,
    made: { folderIds: made.map((row) => row.id), locationId: isNew ? location.id : null },
  };
}
