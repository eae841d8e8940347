/** Where a reconciliation looks, and what it may do there. */
import { type RawBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { holds, lacking } from "#kernel/principal";
import { invalid, referenceNotFound } from "#kernel/problem";
import { idFault } from "#kernel/reference";
import { visibleFolders, visibleWatches } from "../scope.ts";
import type { WatchStatus } from "../tables.ts";
import { statuses } from "../watch/schema.ts";
import type { MatchKey } from "./match.ts";
import { type Estate, matchKeys } from "./schema.ts";

export type Scope = {
  /** null: all that the caller sees. */
  folderId: string | null;
  statuses: readonly WatchStatus[];
  matchBy: readonly MatchKey[];
};

/** The scope of a request, once the caller was found to be allowed what it asks for. Needs no look at the items. */
export async function openScope(ctx: Context, estate: Estate): Promise<Scope> {
  // Not only at the door: the rights of an operation's starter may have become fewer meanwhile.
  if (!holds(ctx.who, "pending.read")) throw lacking("pending.read");
  if (estate.apply && !holds(ctx.who, "watch.write")) throw lacking("watch.write");
  const folderId = estate.scope?.folderId ?? null;
  if (folderId !== null) {
    const at = { pointer: "/scope/folderId" };
    const wrong = idFault("fld", folderId, at);
    const rows = visibleFolders(ctx, "pending.read").select("f.id").where("f.id", "=", folderId);
    if (wrong || !(await ctx.db.first(rows))) throw invalid([wrong ?? referenceNotFound(at)]);
  }
  return { folderId, statuses: estate.statuses ?? statuses, matchBy: estate.matchBy ?? matchKeys };
}

/** Whether folder `f`, or what lies in it, is in the part of the tree that the request is about. */
export function inScopeFolder({ folderId }: Scope): RawBuilder<boolean> {
  return folderId === null ? sql`true` : sql`f.path_ids && array[${folderId}]::text[]`;
}

/** The watches of the scope. Without `pending.read` on a watch a caller would take it for missing, and make a twin. */
export function watchesInScope(ctx: Pick<Context, "who">, scope: Scope) {
  const rows = visibleWatches(ctx, "pending.read").where("w.status", "in", [...scope.statuses]);
  return scope.folderId === null ? rows : rows.where(inScopeFolder(scope));
}
