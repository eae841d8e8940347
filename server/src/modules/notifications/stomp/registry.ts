/** The table of sessions: how many there are, which process has them, and what they hold. */
import { sql } from "kysely";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import type { Principal } from "#kernel/principal";
import { tellProcesses } from "./channel.ts";
import { letGoDurables } from "./durable.ts";
import { releaseItems } from "./queue.ts";

export type Entered = { id: string; address: string; stompVersion: string; label: string; expiresAtMs: number };

/** Writes a session down, unless its principal or tenant has as many as it may have. */
export function enterSession(kernel: Kernel, who: Principal, session: Entered): Promise<boolean> {
  const { tenant, actor } = who;
  const { sessions: most } = kernel.settings.stomp;
  const now = kernel.now();
  const expiresAt = Number.isFinite(session.expiresAtMs) ? new Date(session.expiresAtMs) : null;
  return kernel.db.transaction(tenant.id, async (tx) => {
    await tx.run(query(sql`select pg_advisory_xact_lock(hashtextextended(${`stomp ${tenant.id}`}, 0))`));
    // Those of a process that died are no burden to the clients that come back.
    const live = sql`from notifications.stomp_session s where s.tenant_id = ${tenant.id} and exists (select from kernel.process p
      where p.id = s.process_id and p.heartbeat_at > clock_timestamp() - interval '3 seconds')`;
    const counts = (await tx.first(
      query<{ own: number; all: number }>(
        sql`select count(*)::int as all, count(*) filter (where s.principal_id = ${actor.id})::int as own ${live}`,
      ),
    ))!;
    if (counts.own >= most.principal || counts.all >= most.tenant) return false;
    await tx.run(
      query(sql`insert into notifications.stomp_session (tenant_id, id, principal_id, principal_kind, principal_name, process_id, address, stomp_version, label, connected_at, expires_at, last_seen_at)
        values (${tenant.id}, ${session.id}, ${actor.id}, ${actor.kind}, ${actor.name}, ${kernel.processes.id}, ${session.address}, ${session.stompVersion},
          ${session.label}, ${now}, ${expiresAt}, ${now})`),
    );
    return true;
  });
}

/** Strikes a session out, and gives back what it holds in the tenants that it acted in. */
export async function leaveSession(
  kernel: Kernel,
  tenantId: string,
  sessionId: string,
  queues: readonly { id: string; tenantId: string }[],
): Promise<void> {
  for (const { id, tenantId: actingId } of queues)
    await kernel.db.transaction(actingId, (tx) => releaseItems(tx, id, sessionId));
  await kernel.db.transaction(tenantId, async (tx) => {
    await letGoDurables(tx, sessionId, null, kernel.now());
    await tx.run(query(sql`delete from notifications.stomp_session where id = ${sessionId}`));
  });
}

/** Gives back what processes that died still hold, and says which of this process's sessions are still to be. */
export async function lookRound(kernel: Kernel, seen: ReadonlyMap<string, Date>): Promise<Set<string>> {
  return kernel.system.transaction("", async (tx) => {
    const released = await tx.first(
      query<{ queues: string[] }>(sql`select queues from notifications.release_sessions(${kernel.now()})`),
    );
    for (const queueId of released?.queues ?? []) await tellProcesses(tx, { kind: "ready", queueId });
    const marks = JSON.stringify([...seen].map(([id, at]) => ({ id, at })));
    await tx.run(
      query(sql`update notifications.stomp_session s set last_seen_at = m.at
        from jsonb_to_recordset(${marks}::jsonb) as m(id text, at timestamptz) where s.id = m.id`),
    );
    const rows = await tx.rows(
      query<{ id: string }>(sql`select id from notifications.stomp_session where process_id = ${kernel.processes.id}`),
    );
    return new Set(rows.map(({ id }) => id));
  });
}
