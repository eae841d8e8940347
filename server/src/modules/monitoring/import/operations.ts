/** Import by path (monitoring, 4.4): folders and locations found by name, made or merged; the same again changes nothing. */
import { below, runBulk } from "#kernel/bulk";
import type { Context } from "#kernel/contract";
import { lacking } from "#kernel/principal";
import { type Fault, refuse } from "#kernel/problem";
import type { ImportedFolder } from "../folder/schema.ts";
import { changeFolder, fieldFaults, holdFolder } from "../folder/store.ts";
import type { ImportedLocation } from "../location/schema.ts";
import { changeLocation, holdLocation } from "../location/store.ts";
import { findOrMakeLocation, findOrMakePath, startOfPath } from "../place/place.ts";
import type { FolderRow } from "../tables.ts";
import { categoryConflict, lockTree } from "../tree.ts";
import { ImportItem, type TreeImport } from "./schema.ts";

type Outcome = "created" | "updated" | "unchanged";
const blank: { folderId: string | null; locationId: string | null; createdFolderIds: (string | null)[] } = {
  folderId: null,
  locationId: null,
  createdFolderIds: [],
};

/** Imports a tree. Nobody else reshapes or adds to it meanwhile, so paths that were found stay true. */
export async function importTree(ctx: Context, body: TreeImport) {
  const start = await startOfPath(ctx, body.underFolderId, "");
  await lockTree(ctx, start.id, true);
  // What earlier items found, and where they put locations: the locks of a failed item are gone with it, so only whole
  // items are remembered.
  const known = new Map<string, FolderRow>();
  const held = new Map<string, FolderRow>();
  const wouldBe = new Set<string>();
  const shown = (id: string) => (wouldBe.has(id) ? null : id);

  async function perform(own: Context, item: ImportItem) {
    const name = JSON.stringify(item.path);
    const step = await importFolder(own, start, item, item.folder ? undefined : known.get(name));
    const { folder } = step;
    const parent = step.outcome === "updated" ? undefined : held.get(folder.id);
    const site = item.location ? await importLocation(own, folder, item.location, parent) : undefined;
    if (step.outcome === "updated") {
      known.clear();
      held.clear();
    }
    known.set(name, folder);
    if (site?.outcome === "created") held.set(folder.id, folder);
    const outcomes = [step.outcome, site?.outcome];
    const outcome = (["created", "updated"] as const).find((word) => outcomes.includes(word)) ?? ("unchanged" as const);
    if (body.dryRun) for (const id of step.createdIds) wouldBe.add(id);
    if (body.dryRun && site?.outcome === "created") wouldBe.add(site.id);
    return {
      status: outcome === "created" ? 201 : 200,
      outcome,
      folderId: shown(folder.id),
      locationId: site ? shown(site.id) : null,
      createdFolderIds: step.createdIds.map(shown),
    };
  }
  return runBulk(ctx, body, { item: ImportItem, check: faultsOfItem, perform, blank });
}

function faultsOfItem({ folder = {}, location }: ImportItem): Fault[] {
  const placed = (base: string, faults: Fault[]) =>
    faults.map((fault) => ({ ...fault, pointer: base + fault.pointer }));
  return [...placed("/folder", fieldFaults(folder)), ...(location ? placed("/location", fieldFaults(location)) : [])];
}

type ImportedStep = { folder: FolderRow; outcome: Outcome; createdIds: string[] };

async function importFolder(
  ctx: Context,
  start: FolderRow,
  { path, folder: fields }: ImportItem,
  known: FolderRow | undefined,
): Promise<ImportedStep> {
  if (known) return { folder: known, outcome: "unchanged", createdIds: [] };
  const { folder, made } = await below("/folder", () => findOrMakePath(ctx, start, path, fields));
  if (made.length > 0) return { folder, outcome: "created", createdIds: made.map((row) => row.id) };
  const merged = fields ? await below("/folder", () => mergeFolder(ctx, folder, fields)) : folder;
  return { folder: merged, outcome: merged === folder ? "unchanged" : "updated", createdIds: [] };
}

/** Returns the very row it was given where nothing changed. */
async function mergeFolder(
  ctx: Context,
  found: FolderRow,
  { category, ...fields }: ImportedFolder,
): Promise<FolderRow> {
  const held = await holdFolder(ctx, found.id, "update");
  if (!held?.writable) throw lacking("folder.write");
  if (category && category !== held.category)
    throw refuse(categoryConflict, { detail: `The folder is of the category ${held.category}, which stays.` });
  const { writable: _, ...before } = held;
  const after = await changeFolder(ctx, before, fields);
  return after === before ? found : after;
}

async function importLocation(
  ctx: Context,
  folder: FolderRow,
  fields: ImportedLocation,
  parent: FolderRow | undefined,
): Promise<{ id: string; outcome: Outcome }> {
  return below("/location", async () => {
    const { location, made } = await findOrMakeLocation(ctx, folder, fields, "update", parent);
    if (made) return { id: location.id, outcome: "created" };
    const { name: _, ...change } = fields;
    if (Object.keys(change).length === 0) return { id: location.id, outcome: "unchanged" };
    if (!(await holdLocation(ctx, location.id, "update"))?.writable) throw lacking("folder.write");
    const after = await changeLocation(ctx, location, change, folder);
    return { id: location.id, outcome: after === location ? "unchanged" : "updated" };
  });
}
