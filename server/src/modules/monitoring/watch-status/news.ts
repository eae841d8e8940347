import type { AuditField } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import type { EventKind, EventNews } from "#kernel/events";
import { viewOfTenant } from "../scope.ts";
import { changedFields } from "../watch/watch-news.ts";
import { type WatchSeen, watchOf } from "../watch/watch-state.ts";

/** Tells of a change of state that is no PATCH (a test, an activation), and records it under the past-tense `action`. */
export function tellState<D extends object>(
  ctx: Pick<Context, "emit" | "audit">,
  kind: EventKind<D>,
  before: WatchSeen,
  after: WatchSeen,
  { action, changes, adds }: { action: string; changes: readonly AuditField[]; adds?: D },
): void {
  const view = viewOfTenant(after.tenant_id);
  const [old, now] = [watchOf(before, view), watchOf(after, view)];
  const changed = changedFields(old, now);
  const news = {
    tenantId: after.tenant_id,
    subject: after.id,
    path: `/watch/${after.id}`,
    resource: now,
    previous: Object.fromEntries(changed.map((name) => [name, old[name]])),
    changed,
    adds,
  };
  ctx.emit(kind, news as unknown as EventNews<D>);
  const item = { kind: "watch", id: after.id, name: after.name };
  ctx.audit({ tenantId: after.tenant_id, type: "watch", action, item, changes });
}
