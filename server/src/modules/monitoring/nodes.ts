import type { Context } from "#kernel/contract";
import { visibleFolders, visibleLocations } from "./scope.ts";

/** Folders and locations as nodes that an assignment may be limited to: id -> tenant, of those that the caller sees. */
export const treeNodes = {
  kinds: ["folder", "location"],
  async find(ctx: Context, kind: string, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const rows =
      kind === "folder"
        ? visibleFolders(ctx).select(["f.id", "f.tenant_id"]).where("f.id", "in", ids)
        : visibleLocations(ctx).select(["l.id", "l.tenant_id"]).where("l.id", "in", ids);
    const found = await ctx.db.rows<{ id: string; tenant_id: string }>(rows);
    return new Map(found.map((row) => [row.id, row.tenant_id]));
  },
};
