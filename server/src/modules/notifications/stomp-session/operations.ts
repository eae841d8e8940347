import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { tables } from "#kernel/db";
import { readPage } from "#kernel/page";
import { notFound, refuse } from "#kernel/problem";
import { inReach } from "#kernel/wall";
import { tellProcesses } from "../stomp/channel.ts";

type Row = {
  tenant_id: string;
  id: string;
  principal_id: string;
  principal_kind: string;
  principal_name: string;
  address: string;
  stomp_version: string;
  label: string;
  connected_at: Date;
  expires_at: Date | null;
  last_seen_at: Date;
};
const rows = tables<{ "notifications.stomp_session": Row }>();

/** One's own sessions need no permission. */
function visible({ who }: Context) {
  const others = inReach(who, "notification.manage", sql.ref("s.tenant_id"));
  return rows
    .selectFrom("notifications.stomp_session as s")
    .where(sql<boolean>`(s.principal_id = ${who.actor.id} or ${others})`);
}

function sessionOf(row: Row) {
  return {
    id: row.id,
    principal: { kind: row.principal_kind, id: row.principal_id, name: row.principal_name },
    tenantId: row.tenant_id,
    address: row.address,
    stompVersion: row.stomp_version,
    label: row.label,
    connectedAt: row.connected_at.toISOString(),
    expiresAt: row.expires_at?.toISOString() ?? null,
    lastSeenAt: row.last_seen_at.toISOString(),
  };
}

type ListInput = {
  principal?: string[];
  tenant?: string[];
  limit?: number;
  cursor?: string;
  sort?: string[];
  count?: boolean;
};

export function listStompSessions(ctx: Context, input: ListInput) {
  let from = visible(ctx).selectAll("s");
  if (input.principal) from = from.where("s.principal_id", "in", input.principal);
  if (input.tenant) from = from.where("s.tenant_id", "in", input.tenant);
  const sorts = { connectedAt: sql.ref("s.connected_at") };
  return readPage(ctx, input, { from, sorts, by: "connectedAt", id: sql.ref("s.id"), item: sessionOf });
}

/** Ends a session, in whatever process it is: once the row is gone, its process gives back what it held. */
export async function deleteStompSession(ctx: Context, sessionId: string): Promise<void> {
  const row = await ctx.db.first(visible(ctx).selectAll("s").where("s.id", "=", sessionId).forUpdate());
  if (!row) throw refuse(notFound);
  await ctx.db.run(rows.deleteFrom("notifications.stomp_session").where("id", "=", sessionId));
  await tellProcesses(ctx.db, { kind: "end", sessionId });
  const item = { kind: "stompSession", id: sessionId, name: row.principal_name };
  ctx.audit({ tenantId: row.tenant_id, type: "stompSession", action: "ended", item, changes: [] });
}
