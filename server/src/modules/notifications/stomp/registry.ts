/** The table of sessions: how many there are, which process has them, and what they hold. */
import { sql } from "kysely";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import type { Principal } from "#kernel/principal";
import { tellProcesses } from "./channel.ts";
import { letGoDurables } from "./durable.ts";
import { gathering } from "./gathering.ts";
import { releaseItems } from "./queue.ts";

export type Entered = {
  id: string;
  who: Principal;
  address: string;
  stompVersion: string;
  label: string;
  expiresAtMs: number;
};

export type Registry = {
  /** Writes a session down, unless its principal or tenant has as many as it may have. */
  enter(session: Entered): Promise<boolean>;
  /** Strikes a session out, and gives back what it holds in the tenants that it acted in. */
  leave(tenantId: string, sessionId: string, queues: readonly { id: string; tenantId: string }[]): Promise<void>;
};

/** When many come or go at once, those of a tenant do so together: the database has a tenant's changes wait in line. */
export function createRegistry(kernel: Kernel): Registry {
  const enter = gathering((tenantId, sessions: Entered[]) => enterSessions(kernel, tenantId, sessions));
  const leave = gathering((tenantId, sessionIds: string[]) => leaveSessions(kernel, tenantId, sessionIds));
  return {
    enter: (session) => enter(session.who.tenant.id, session),
    async leave(tenantId, sessionId, queues) {
      for (const { id, tenantId: actingId } of queues)
        await kernel.db.transaction(actingId, (tx) => releaseItems(tx, id, sessionId));
      await leave(tenantId, sessionId);
    },
  };
}

async function enterSessions(kernel: Kernel, tenantId: string, sessions: readonly Entered[]): Promise<boolean[]> {
  const { sessions: most } = kernel.settings.stomp;
  const now = kernel.now();
  const wanted = sessions.map(({ id, who: { actor }, address, stompVersion, label, expiresAtMs }) => ({
    id,
    principal_id: actor.id,
    principal_kind: actor.kind,
    principal_name: actor.name,
    address,
    stomp_version: stompVersion,
    label,
    connected_at: now,
    expires_at: Number.isFinite(expiresAtMs) ? new Date(expiresAtMs) : null,
  }));
  const rows = await kernel.db.in(tenantId).rows(
    query<{ entered: string }>(sql`select entered
      from notifications.enter_sessions(${tenantId}, ${kernel.processes.id}, ${JSON.stringify(wanted)}::jsonb, ${most.principal}, ${most.tenant})`),
  );
  const entered = new Set(rows.map((row) => row.entered));
  return sessions.map(({ id }) => entered.has(id));
}

async function leaveSessions(kernel: Kernel, tenantId: string, sessionIds: readonly string[]): Promise<undefined[]> {
  await kernel.db.transaction(tenantId, async (tx) => {
    await letGoDurables(tx, sessionIds, null, kernel.now());
    await tx.run(query(sql`delete from notifications.stomp_session where id = any(${[...sessionIds]})`));
  });
  return sessionIds.map(() => undefined);
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
        from jsonb_to_recordset(${marks}::jsonb) as m(id text, at timestamptz) where s.id = m.id
          and m.at > s.last_seen_at + interval '1 second'`),
    );
    const rows = await tx.rows(
      query<{ id: string }>(sql`select id from notifications.stomp_session where process_id = ${kernel.processes.id}`),
    );
    return new Set(rows.map(({ id }) => id));
  });
}
