import type { Context } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import { isId } from "#kernel/ids";
import { lacking } from "#kernel/principal";
import { notFound, problem, refuse } from "#kernel/problem";
import { viewOf } from "../scope.ts";
import { monitoring } from "../tables.ts";
import { lockWatch, seesWatch } from "../watch/rows.ts";
import type { Watch } from "../watch/schema.ts";
import { auditFields } from "../watch/watch-change.ts";
import { blockersOf, type WatchFull, watchOf } from "../watch/watch-state.ts";
import { watchActivated, watchDisabled, watchEnabled } from "./events.ts";
import { tellState } from "./news.ts";

export const watchNotReady = problem("watch_not_ready", 409, "The watch is not ready to go live.");
export const watchIsPending = problem("watch_is_pending", 409, "The watch has never been live.");
export const watchIsDisabled = problem("watch_is_disabled", 409, "A disabled watch goes live by enabling it.");

/** Makes a tested pending watch live, and leaves an active one as it is; `done` says which. */
export async function activateWatch(ctx: Context, id: string): Promise<{ watch: Watch; done: boolean }> {
  const before = await lockForStatus(ctx, id);
  if (before.status === "active") return { watch: watchOf(before, viewOf(ctx.who)), done: false };
  if (before.status === "disabled") throw refuse(watchIsDisabled);
  requireReady(before);
  const contactUserId = await contactOf(ctx, before);
  const change = { status: "active", group_name: null, activated_at: ctx.now, activated_by: ctx.who.actor.id } as const;
  const row = await setStatus(ctx, before, change);
  tellStatus(ctx, watchActivated, before, row, "activated", { contactUserId });
  return { watch: watchOf(row, viewOf(ctx.who)), done: true };
}

/** Takes a watch out of monitoring; it keeps everything else. */
export async function disableWatch(ctx: Context, id: string): Promise<Watch> {
  const before = await lockForStatus(ctx, id);
  if (before.status === "pending") throw refuse(watchIsPending);
  if (before.status === "disabled") return watchOf(before, viewOf(ctx.who));
  const row = await setStatus(ctx, before, { status: "disabled", disabled_at: ctx.now });
  tellStatus(ctx, watchDisabled, before, row, "disabled", {});
  return watchOf(row, viewOf(ctx.who));
}

/** Makes a disabled watch live again, on the same conditions as activating one. */
export async function enableWatch(ctx: Context, id: string): Promise<Watch> {
  const before = await lockForStatus(ctx, id);
  if (before.status === "pending") throw refuse(watchIsPending);
  if (before.status === "active") return watchOf(before, viewOf(ctx.who));
  requireReady(before);
  const row = await setStatus(ctx, before, { status: "active", disabled_at: null });
  tellStatus(ctx, watchEnabled, before, row, "enabled", {});
  return watchOf(row, viewOf(ctx.who));
}

async function lockForStatus(ctx: Context, id: string): Promise<WatchFull> {
  const row = isId("wch", id) ? await lockWatch(ctx, id, "watch.activate") : undefined;
  if (row) return row;
  throw isId("wch", id) && (await seesWatch(ctx, id, "living")) ? lacking("watch.activate") : refuse(notFound);
}

function requireReady(row: WatchFull): void {
  const blockers = blockersOf(row);
  if (blockers.length === 0) return;
  throw refuse(watchNotReady, { detail: `In the way: ${blockers.join(", ")}.`, members: { blockers } });
}

type StatusChange = Partial<Pick<WatchFull, "status" | "group_name" | "activated_at" | "activated_by" | "disabled_at">>;

async function setStatus(ctx: Context, before: WatchFull, change: StatusChange): Promise<WatchFull> {
  const at = new Date(Math.max(ctx.now.getTime(), before.updated_at.getTime(), before.changed_at.getTime()));
  const written = { ...change, updated_at: at, updated_by: ctx.who.actor.id, changed_at: at };
  await ctx.db.run(monitoring.updateTable("monitoring.watch").set(written).where("id", "=", before.id));
  return { ...before, ...written };
}

function tellStatus<D extends object>(
  ctx: Context,
  kind: EventKind<D>,
  before: WatchFull,
  row: WatchFull,
  action: string,
  adds: D,
): void {
  tellState(ctx, kind, before, row, { action, changes: auditFields(before, row, null), adds });
}

/** The contact of the nearest folder that has one, of those that the acting tenant has in its own tree. */
async function contactOf(ctx: Context, row: WatchFull): Promise<string | null> {
  const folders = await ctx.db.rows(
    monitoring
      .selectFrom("monitoring.folder")
      .select(["id", "contact_user_id"])
      .where("id", "in", row.path_ids)
      .where("contact_user_id", "is not", null),
  );
  const nearest = row.path_ids.findLast((id) => folders.some((folder) => folder.id === id));
  return folders.find(({ id }) => id === nearest)?.contact_user_id ?? null;
}
