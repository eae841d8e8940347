import { type RawBuilder, sql } from "kysely";
import type { Static } from "typebox";
import type { Context } from "#kernel/contract";
import { query, tables } from "#kernel/db";
import { readPage } from "#kernel/page";
import { invalid, notFound, problem, refuse } from "#kernel/problem";
import { inReach } from "#kernel/wall";
import { durableDeleted, durableExpired, durableUnparked, durableWarned } from "./events.ts";
import type { StompDurable } from "./schema.ts";

export const durableInUse = problem("durable_in_use", 409, "A session has this durable subscription.");
type Row = {
  tenant_id: string;
  id: string;
  principal_id: string;
  name: string;
  destination: string;
  filters: { tenant: string; types: string[] | null; includeBelow: boolean };
  position: number;
  settled_above: number[];
  delivered_to: number;
  session_id: string | null;
  created_at: Date;
  last_used_at: Date;
};
type Full = Row & { lag: number; parked_count: number };
const rows = tables<{ "notifications.durable": Row }>();

/** What can be told apart above an unparked event; beyond it, what lies in between is delivered again. */
const mostBetween = 9_000;

/** One's own need no permission. */
function visible({ who }: Context) {
  const others = inReach(who, "notification.manage", sql.ref("d.tenant_id"));
  return rows
    .selectFrom("notifications.durable as d")
    .where(sql<boolean>`(d.principal_id = ${who.actor.id} or ${others})`)
    .selectAll("d")
    .select([
      sql<number>`(select greatest(0, head_position - d.position)::int from kernel.log_state)`.as("lag"),
      sql<number>`(select count(*)::int from notifications.durable_parked p where p.durable_id = d.id)`.as(
        "parked_count",
      ),
    ]);
}

function durableOf(row: Full): Static<typeof StompDurable> {
  const { types, tenant, includeBelow } = row.filters;
  return {
    id: row.id,
    name: row.name,
    principalId: row.principal_id,
    destination: row.destination,
    types,
    tenant,
    includeBelow,
    lag: row.lag,
    parkedCount: row.parked_count,
    sessionId: row.session_id,
    createdAt: row.created_at.toISOString(),
    lastUsedAt: row.last_used_at.toISOString(),
  };
}

type Page = { limit?: number; cursor?: string; sort?: string[]; count?: boolean };

export function listDurables(ctx: Context, input: Page & { principal?: string[]; name?: string[] }) {
  let from = visible(ctx);
  if (input.principal) from = from.where("d.principal_id", "in", input.principal);
  if (input.name) from = from.where("d.name", "in", input.name);
  const sorts = { createdAt: sql.ref("d.created_at"), name: sql.ref("d.name") };
  return readPage(ctx, input, {
    from,
    sorts,
    by: "createdAt",
    id: sql.ref("d.id"),
    item: (row: Full) => durableOf(row),
  });
}

async function find(ctx: Context, id: string, change = false): Promise<Full> {
  const from = visible(ctx).where("d.id", "=", id);
  const row = await ctx.db.first(change ? from.forUpdate("d") : from);
  if (!row) throw refuse(notFound);
  return row as Full;
}

export async function getDurable(ctx: Context, id: string) {
  return durableOf(await find(ctx, id));
}

async function findFree(ctx: Context, id: string): Promise<Full> {
  const row = await find(ctx, id, true);
  if (row.session_id !== null)
    throw refuse(durableInUse, {
      detail: "End the session first, or unsubscribe.",
      members: { sessionId: row.session_id },
    });
  return row;
}

export async function deleteDurable(ctx: Context, id: string): Promise<void> {
  const row = await findFree(ctx, id);
  await ctx.db.run(rows.deleteFrom("notifications.durable").where("id", "=", id));
  ctx.emit(durableDeleted, { ...placeOf(row), resource: null, previous: durableOf(row), changed: [] });
  record(ctx, row, "deleted");
}

const placeOf = ({ tenant_id: tenantId, id, principal_id: ownerId }: Row) => ({
  tenantId,
  subject: id,
  path: `/stomp-durable/${id}`,
  ownerId,
});

/** One that nobody uses: its principal is told that it will go. */
export async function warnOfExpiry(ctx: Context, id: string): Promise<void> {
  const row = await findUnused(ctx, id);
  if (!row) return;
  await ctx.db.run(query(sql`update notifications.durable set warned_at = ${ctx.now} where id = ${id}`));
  ctx.emit(durableWarned, { ...placeOf(row), resource: durableOf(row), previous: null, changed: [] });
}

/** Removes one that nobody uses. */
export async function expireDurable(ctx: Context, id: string): Promise<void> {
  const row = await findUnused(ctx, id);
  if (!row) return;
  await ctx.db.run(rows.deleteFrom("notifications.durable").where("id", "=", id));
  ctx.emit(durableExpired, { ...placeOf(row), resource: null, previous: durableOf(row), changed: [] });
  record(ctx, row, "expired");
}

/** Undefined when it has been taken up again, or removed. */
async function findUnused(ctx: Context, id: string): Promise<Full | undefined> {
  const from = visible(ctx).where("d.id", "=", id).where("d.session_id", "is", null);
  return (await ctx.db.first(from.forUpdate("d"))) as Full | undefined;
}

function record(ctx: Context, row: Row, action: string): void {
  const item = { kind: "stompDurable", id: row.id, name: row.name };
  ctx.audit({ tenantId: row.tenant_id, type: "stompDurable", action, item, changes: [] });
}

export async function listDurableParked(ctx: Context, id: string, input: Page) {
  await find(ctx, id);
  return readParked(ctx, input, sql`notifications.durable_parked p where p.durable_id = ${id}`);
}

type ParkedRow = { position: number; id: string; type: string; subject: string; occurred_at: Date };

/** Parked events of what `from` names, as far as the log still keeps them. */
export function readParked(ctx: Context, input: Page, from: RawBuilder<unknown>) {
  const parked = tables<{ parked: ParkedRow }>();
  const source = sql<ParkedRow>`(select e.position, e.id, e.type, e.subject, e.occurred_at from kernel.event e
    where e.position in (select p.position from ${from}))`.as<"x">("x");
  const selected = parked.selectFrom(source).selectAll();
  return readPage(ctx, input, {
    from: selected,
    sorts: { sequence: sql.ref("x.position") },
    by: "sequence",
    id: sql.ref("x.id"),
    item: (row: ParkedRow) => ({
      id: row.id,
      type: row.type,
      subject: row.subject,
      time: row.occurred_at.toISOString(),
    }),
  });
}

export type Chosen = { events?: string[]; all?: true };

/** Which parked events are meant: those of some ids, or all. */
export function positionsOf({ events, all }: Chosen): RawBuilder<unknown> {
  if ((events === undefined) === (all === undefined)) {
    const message = "Give `events`, or `all`, and not both.";
    throw invalid([{ pointer: "", rule: "one_of", message }]);
  }
  return events === undefined
    ? sql`true`
    : sql`p.position in (select position from kernel.event where id = any(${[...events]}))`;
}

/** Winds the durable back to before the first of them; what was settled in between stays so. */
export async function unparkDurable(ctx: Context, id: string, chosen: Chosen): Promise<{ count: number }> {
  await find(ctx, id);
  const parked = positionsOf(chosen);
  const row = await findFree(ctx, id);
  const taken = await ctx.db.rows(
    query<{ position: number }>(
      sql`delete from notifications.durable_parked p where p.durable_id = ${id} and ${parked} returning position::float8 as position`,
    ),
  );
  if (taken.length === 0) return { count: 0 };
  const again = new Set(taken.map(({ position }) => position));
  const position = Math.min(row.position, Math.min(...again) - 1);
  const settled = new Set(row.settled_above.map(Number));
  if (row.position - position <= mostBetween) for (let at = position + 1; at <= row.position; at++) settled.add(at);
  const settledAbove = [...settled].filter((at) => !again.has(at)).sort((a, b) => a - b);
  await ctx.db.run(
    query(
      sql`update notifications.durable set position = ${position}, settled_above = ${settledAbove}::bigint[] where id = ${id}`,
    ),
  );
  const after = await find(ctx, id);
  ctx.emit(durableUnparked, { ...placeOf(row), resource: durableOf(after), previous: null, changed: [] });
  record(ctx, row, "unparked");
  return { count: taken.length };
}
