import { sql } from "kysely";
import type { Static } from "typebox";
import { changesOf } from "#kernel/audit";
import { type Context, Reply } from "#kernel/contract";
import { query, tables, violates } from "#kernel/db";
import { knownTypes, typesOf } from "#kernel/event-filter";
import { findPlace } from "#kernel/event-reader";
import { isId, newId } from "#kernel/ids";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import type { Permission } from "#kernel/permissions";
import { type Fault, invalid, notFound, Problem, problem, refuse } from "#kernel/problem";
import { instant } from "#kernel/schema";
import { faultsOf } from "#kernel/validate";
import { inReach } from "#kernel/wall";
import { tellProcesses } from "../stomp/channel.ts";
import { type Chosen, positionsOf, readParked } from "../stomp-durable/operations.ts";
import { queueCreated, queueDeleted, queueParked, queueUnparked, queueUpdated } from "./events.ts";
import { type NewStompQueue, StompQueue, type StompQueueChange } from "./schema.ts";

export const queueNameTaken = problem("queue_name_taken", 409, "A queue of this name exists in the tenant.");

type Row = {
  tenant_id: string;
  id: string;
  name: string;
  types: string[];
  include_below: boolean;
  created_at: Date;
  updated_at: Date;
  version: number;
};
type Full = Row & { ready: number; taken: number; parked: number };
type Queue = Static<typeof StompQueue>;
const rows = tables<{ "notifications.queue": Row }>();
const recorded = ["name", "types", "includeBelow"];

/** What lies in the log beyond the place up to which consumers have looked: as ready as the items are. */
const ahead = sql`(select count(*)::int from (select from kernel.event e
  where e.position > q.position and (e.tenant_id = q.tenant_id or (q.include_below and e.tenant_id in
      (select tenant_id from access.tenant_ancestor where ancestor_id = q.tenant_id)))
    and exists (select from unnest(q.types) as p where e.type = p or (right(p, 1) = '*' and starts_with(e.type, left(p, -1))))
  limit 100000) as waiting)`;

function visible({ who }: Context, permission: Permission) {
  const count = (state: string) =>
    sql<number>`(select count(*)::int from notifications.queue_item i where i.queue_id = q.id and i.state = ${state})`;
  return rows
    .selectFrom("notifications.queue as q")
    .where(inReach(who, permission, sql.ref("q.tenant_id")))
    .selectAll("q")
    .select([
      sql<number>`(${count("ready")} + ${ahead})`.as("ready"),
      count("taken").as("taken"),
      count("parked").as("parked"),
    ]);
}

function queueOf(row: Full): Queue {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    name: row.name,
    types: row.types,
    includeBelow: row.include_below,
    readyCount: row.ready,
    takenCount: row.taken,
    parkedCount: row.parked,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

const tagOf = ({ version }: Row) => `"${version}"`;

type Page = { limit?: number; cursor?: string; sort?: string[]; count?: boolean };

export function listQueues(ctx: Context, input: Page & { name?: string[] }) {
  let from = visible(ctx, "notification.subscribe");
  if (input.name) from = from.where("q.name", "in", input.name);
  const sorts = { createdAt: sql.ref("q.created_at"), name: sql.ref("q.name") };
  return readPage(ctx, input, { from, sorts, by: "createdAt", id: sql.ref("q.id"), item: (row: Full) => queueOf(row) });
}

async function find(ctx: Context, id: string, permission: Permission, change = false): Promise<Full> {
  const from = visible(ctx, permission).where("q.id", "=", id);
  const row = await ctx.db.first(change ? from.forUpdate("q") : from);
  if (!row) throw refuse(notFound);
  return row as Full;
}

export async function getQueue(ctx: Context, id: string) {
  const row = await find(ctx, id, "notification.subscribe");
  return { body: queueOf(row), etag: tagOf(row) };
}

function checkTypes(ctx: Context, types: readonly string[]): void {
  const known = knownTypes(ctx.eventLog.versions, ctx.call.version);
  const faults = types.flatMap((pattern, index): Fault[] => {
    try {
      typesOf([pattern], known);
      return [];
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return (error.refusal.errors ?? []).map(({ parameter: _, ...fault }) => ({
        ...fault,
        pointer: `/types/${index}`,
      }));
    }
  });
  if (faults.length > 0) throw invalid(faults);
}

async function beginningOf(ctx: Context, from = "now"): Promise<number> {
  const { eventLog, who } = ctx;
  if (from === "now" || from === "start") return (await findPlace(eventLog, who, { from }, "from")).position;
  if (isId("evt", from)) return (await findPlace(eventLog, who, { eventId: from }, "from")).position;
  if (faultsOf(instant, from).length === 0)
    return (await findPlace(eventLog, who, { at: new Date(from) }, "from")).position;
  const message = "Must be start, now, an instant, or the id of an event.";
  throw invalid([{ pointer: "/from", rule: "format", message }]);
}

/** The place is found outside the transaction: two connections for one call would starve the others. */
export async function createQueue(ctx: Context, input: Static<typeof NewStompQueue>) {
  checkTypes(ctx, input.types);
  const position = await beginningOf(ctx, input.from);
  return ctx.transaction((inner) => insertQueue(inner, input, position));
}

async function insertQueue(ctx: Context, input: Static<typeof NewStompQueue>, position: number) {
  const tenantId = ctx.who.acting.id;
  const id = newId("que", ctx.now.getTime());
  const { name, types, includeBelow = false } = input;
  await unlessTaken(
    ctx.db.run(
      query(sql`insert into notifications.queue (tenant_id, id, name, types, include_below, position, created_at, updated_at)
        values (${tenantId}, ${id}, ${name}, ${types}, ${includeBelow}, ${position}, ${ctx.now}, ${ctx.now})`),
    ),
  );
  const row = await find(ctx, id, "notification.manage");
  const queue = queueOf(row);
  ctx.emit(queueCreated, { ...placeOf(row), resource: queue, previous: null, changed: [] });
  record(ctx, row, "created", changesOf(null, queue, recorded));
  return new Reply(201, queue, { location: `/stomp-queue/${id}`, etag: tagOf(row) });
}

async function unlessTaken(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw violates(error, "queue_tenant_id_name_key") ? refuse(queueNameTaken) : error;
  }
}

export async function updateQueue(ctx: Context, id: string, input: Static<typeof StompQueueChange>) {
  const row = await find(ctx, id, "notification.manage", true);
  const before = queueOf(row);
  requireMatch(ctx, StompQueue, before, tagOf(row));
  if (input.types) checkTypes(ctx, input.types);
  const changes = changesOf(before, { ...before, ...input }, recorded);
  if (changes.length === 0) return { body: before, etag: tagOf(row) };
  const { name, types, includeBelow } = { ...before, ...input };
  await unlessTaken(
    ctx.db.run(
      query(sql`update notifications.queue set name = ${name}, types = ${types}, include_below = ${includeBelow},
        updated_at = ${ctx.now}, version = version + 1 where id = ${id}`),
    ),
  );
  await tellProcesses(ctx.db, { kind: "ready", queueId: id });
  const after = await find(ctx, id, "notification.manage");
  const previous = Object.fromEntries(changes.map(({ field, old }) => [field, old]));
  const changed = changes.map(({ field }) => field);
  ctx.emit(queueUpdated, { ...placeOf(row), resource: queueOf(after), previous, changed });
  record(ctx, after, "updated", changes);
  return { body: queueOf(after), etag: tagOf(after) };
}

export async function deleteQueue(ctx: Context, id: string): Promise<void> {
  const row = await find(ctx, id, "notification.manage", true);
  requireMatch(ctx, StompQueue, queueOf(row), tagOf(row));
  await ctx.db.run(rows.deleteFrom("notifications.queue").where("id", "=", id));
  await tellProcesses(ctx.db, { kind: "ready", queueId: id });
  ctx.emit(queueDeleted, { ...placeOf(row), resource: null, previous: queueOf(row), changed: [] });
  record(ctx, row, "deleted", changesOf(queueOf(row), null, recorded));
}

const placeOf = ({ tenant_id, id }: Row) => ({ tenantId: tenant_id, subject: id, path: `/stomp-queue/${id}` });

function record(ctx: Context, row: Row, action: string, changes: ReturnType<typeof changesOf>): void {
  const item = { kind: "stompQueue", id: row.id, name: row.name };
  ctx.audit({ tenantId: row.tenant_id, type: "stompQueue", action, item, changes });
}

export async function listQueueParked(ctx: Context, id: string, input: Page) {
  await find(ctx, id, "notification.manage");
  return readParked(ctx, input, sql`notifications.queue_item p where p.queue_id = ${id} and p.state = 'parked'`);
}

/** Tells that a consumer's refusal has parked something; its reader need not hold more than a consumer does. */
export async function tellParked(ctx: Context, id: string): Promise<void> {
  const row = await find(ctx, id, "notification.subscribe");
  ctx.emit(queueParked, { ...placeOf(row), resource: queueOf(row), previous: null, changed: [] });
}

export async function unparkQueue(ctx: Context, id: string, chosen: Chosen): Promise<{ count: number }> {
  const row = await find(ctx, id, "notification.manage", true);
  const count = await ctx.db.run(
    query(sql`update notifications.queue_item p set state = 'ready', refused_by = null, deliveries = 0
      where p.queue_id = ${id} and p.state = 'parked' and ${positionsOf(chosen)}`),
  );
  if (count > 0) {
    await tellProcesses(ctx.db, { kind: "ready", queueId: id });
    const after = await find(ctx, id, "notification.manage");
    ctx.emit(queueUnparked, { ...placeOf(row), resource: queueOf(after), previous: null, changed: [] });
    record(ctx, row, "unparked", []);
  }
  return { count };
}
