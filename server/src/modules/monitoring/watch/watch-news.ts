/** What a change of a watch tells and leaves on record, whoever makes it: one call, a bulk call, reconcile. */
import type { AuditField } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { viewOfTenant } from "../scope.ts";
import { watchCreated, watchDeleted, watchUpdated } from "./events.ts";
import type { Watch } from "./schema.ts";
import { type WatchSeen, watchOf } from "./watch-state.ts";

const stamps: ReadonlySet<string> = new Set(["updatedAt", "updatedBy", "changedAt"]);

/** Names of the fields in which two bodies differ, but for who wrote last and when. */
export function changedFields(before: Watch, after: Watch): (keyof Watch)[] {
  const names = Object.keys(after) as (keyof Watch)[];
  return names.filter((name) => !stamps.has(name) && JSON.stringify(before[name]) !== JSON.stringify(after[name]));
}

type Teller = Pick<Context, "emit" | "audit">;

function place(row: WatchSeen) {
  return { tenantId: row.tenant_id, subject: row.id, path: `/watch/${row.id}` };
}

function record(ctx: Teller, row: WatchSeen, action: string, changes: readonly AuditField[]): void {
  ctx.audit({
    tenantId: row.tenant_id,
    type: "watch",
    action,
    item: { kind: "watch", id: row.id, name: row.name },
    changes,
  });
}

export function tellCreated(ctx: Teller, row: WatchSeen, changes: readonly AuditField[]): void {
  ctx.emit(watchCreated, {
    ...place(row),
    resource: watchOf(row, viewOfTenant(row.tenant_id)),
    previous: null,
    changed: [],
  });
  record(ctx, row, "created", changes);
}

export function tellUpdated(ctx: Teller, before: WatchSeen, row: WatchSeen, changes: readonly AuditField[]): void {
  const view = viewOfTenant(row.tenant_id);
  const [old, now] = [watchOf(before, view), watchOf(row, view)];
  const changed = changedFields(old, now);
  const previous = Object.fromEntries(changed.map((name) => [name, old[name]]));
  ctx.emit(watchUpdated, { ...place(row), resource: now, previous, changed });
  record(ctx, row, "updated", changes);
}

export function tellDeleted(ctx: Teller, before: WatchSeen, changes: readonly AuditField[]): void {
  ctx.emit(watchDeleted, {
    ...place(before),
    resource: null,
    previous: watchOf(before, viewOfTenant(before.tenant_id)),
    changed: [],
  });
  record(ctx, before, "deleted", changes);
}
