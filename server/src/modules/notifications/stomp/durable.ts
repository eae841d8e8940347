/** What is stored of durables (notifications, part B). */
import { sql } from "kysely";
import { type Database, type Db, query, type Transaction } from "#kernel/db";
import type { Place } from "#kernel/event-cursor";
import { newId } from "#kernel/ids";
import type { Principal } from "#kernel/principal";
import type { Effect, Opening } from "../../../stomp/contract.ts";
import { tellProcesses } from "./channel.ts";
import { Over } from "./standing.ts";

const mostDurables = 50;

type DurableRow = {
  id: string;
  destination: string;
  filters: Filters;
  epoch: number;
  position: number;
  day: number;
  delivered_to: number;
  settled_above: number[];
  session_id: string | null;
};
type Filters = { tenant: string; types: readonly string[] | null; includeBelow: boolean };

export type OpenedDurable = { id: string; place: Place; deliveredTo: number; settledAbove: number[] };

/** Finds or makes a durable of the principal and gives it to the session; whoever holds it is told to let go. */
export function holdDurable(
  db: Database,
  who: Principal,
  sessionId: string,
  opening: Opening,
  /** Where the SUBSCRIBE says to begin, and whether that beats what is stored. */
  start: { place: Place; beats: boolean },
  now: Date,
): Promise<OpenedDurable> {
  const { name, replace } = opening.durable!;
  const destination = withoutLabel(opening.destinationText);
  const types = opening.types && [...opening.types].sort();
  const filters: Filters = { tenant: who.acting.id, types, includeBelow: opening.includeBelow };
  const tenantId = who.tenant.id;
  return db.transaction(tenantId, async (tx) => {
    await tx.run(query(sql`select pg_advisory_xact_lock(hashtextextended(${`durable ${who.actor.id}`}, 0))`));
    const row = await tx.first(
      query<DurableRow>(sql`select id, destination, filters, epoch, position::float8 as position, day, delivered_to::float8 as delivered_to,
          settled_above::float8[] as settled_above, session_id
        from notifications.durable where tenant_id = ${tenantId} and principal_id = ${who.actor.id} and name = ${name} for update`),
    );
    if (!row) return make(tx, who, sessionId, { name, destination, filters }, start.place, now);
    if (row.session_id === sessionId)
      throw new Over({ code: "subscription_open", detail: "This session has the durable subscription already." });
    const differs = row.destination !== destination || JSON.stringify(order(row.filters)) !== JSON.stringify(filters);
    if (differs && !replace) throw new Over({ code: "durable_differs" });
    const stored = { epoch: row.epoch, position: row.position, day: row.day };
    const place = start.beats ? start.place : stored;
    const deliveredTo = start.beats ? place.position : row.delivered_to;
    const settledAbove = start.beats ? [] : row.settled_above;
    await tx.run(
      query(sql`update notifications.durable set destination = ${destination}, filters = ${JSON.stringify(filters)}, epoch = ${place.epoch},
        position = ${place.position}, day = ${place.day}, delivered_to = ${deliveredTo}, settled_above = ${settledAbove}::bigint[],
        session_id = ${sessionId}, last_used_at = ${now}, warned_at = null where id = ${row.id}`),
    );
    if (row.session_id !== null) await tellProcesses(tx, { kind: "taken", sessionId: row.session_id });
    return { id: row.id, place, deliveredTo, settledAbove };
  });
}

const order = ({ tenant, types, includeBelow }: Filters): Filters => ({ tenant, types, includeBelow });

async function make(
  tx: Transaction,
  who: Principal,
  sessionId: string,
  about: { name: string; destination: string; filters: Filters },
  place: Place,
  now: Date,
): Promise<OpenedDurable> {
  const { name, destination, filters } = about;
  const count = (await tx.first(
    query<{ count: number }>(
      sql`select count(*)::int as count from notifications.durable where tenant_id = ${who.tenant.id} and principal_id = ${who.actor.id}`,
    ),
  ))!.count;
  if (count >= mostDurables)
    throw new Over({ code: "limit_exceeded", detail: `A principal has up to ${mostDurables} durable subscriptions.` });
  const id = newId("dur", now.getTime());
  await tx.run(
    query(sql`insert into notifications.durable (tenant_id, id, principal_id, name, destination, filters, epoch, position, day, delivered_to, session_id, created_at, last_used_at)
      values (${who.tenant.id}, ${id}, ${who.actor.id}, ${name}, ${destination}, ${JSON.stringify(filters)}, ${place.epoch}, ${place.position}, ${place.day},
        ${place.position}, ${sessionId}, ${now}, ${now})`),
  );
  return { id, place, deliveredTo: place.position, settledAbove: [] };
}

/** A position has no version: a durable may go on under another label. */
function withoutLabel(destination: string): string {
  return destination.replace(/^\/topic\/v[1-9][0-9]*\//, "/topic/");
}

/** Stores where a durable stands. Throws `taken_over` when another session holds it. */
export async function storeProgress(
  tx: Db,
  tenantId: string,
  durableId: string,
  sessionId: string,
  effect: Extract<Effect, { kind: "progress" }>,
  now: Date,
): Promise<void> {
  const { position, deliveredTo, settledAbove, parked } = effect;
  const held = await tx.run(
    query(sql`update notifications.durable set position = ${position}, delivered_to = ${deliveredTo},
      settled_above = ${[...settledAbove]}::bigint[], last_used_at = ${now} where id = ${durableId} and session_id = ${sessionId}`),
  );
  if (held === 0) throw new Over({ code: "taken_over" });
  if (parked.length > 0)
    await tx.run(
      query(sql`insert into notifications.durable_parked (tenant_id, durable_id, position, parked_at)
        select ${tenantId}, ${durableId}, unnest(${parked}::bigint[]), ${now} on conflict do nothing`),
    );
}

export async function letGoDurables(
  tx: Transaction,
  sessionIds: readonly string[],
  only: string[] | null,
  now: Date,
): Promise<void> {
  await tx.run(
    query(sql`update notifications.durable set session_id = null, last_used_at = ${now}
      where session_id = any(${[...sessionIds]}) ${only === null ? sql`` : sql`and id = any(${only})`}`),
  );
}
