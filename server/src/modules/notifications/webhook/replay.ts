/** Replaying what a webhook was sent, or missed while it was disabled: counted dry, or done as an operation. */
import { sql } from "kysely";
import { type Context, Reply } from "#kernel/contract";
import { type Db, query } from "#kernel/db";
import { enqueue, replayDeliveries } from "#kernel/delivery/store";
import { dayOf, type Place } from "#kernel/event-cursor";
import { knownTypes, typesOf } from "#kernel/event-filter";
import { findPlace, readEvents } from "#kernel/event-reader";
import { accepted } from "#kernel/operation-store";
import { type OperationKind, type OperationWork, operationRunning } from "#kernel/operations";
import { type Fault, invalid, problem, refuse, unauthenticated } from "#kernel/problem";
import { instant } from "#kernel/schema";
import { faultsOf } from "#kernel/validate";
import { requireActive } from "../webhook-delivery/operations.ts";
import { ownerNow } from "./owner.ts";
import { findWebhook, matchesTypes, readWebhook, type WebhookFound } from "./rows.ts";
import { type WebhookReplay, WebhookReplayCount } from "./schema.ts";

export const countChanged = problem("count_changed", 409, "There is another number of them than was expected.");

/** Deliveries let go at once; the next ones follow when most of these have been tried, so that news are not held up. */
const chunk = 50;
const mostWaiting = 25;
const lookMs = 100;

type Input = {
  webhookId: string;
  scope: NonNullable<WebhookReplay["scope"]>;
  since: Place | null;
  until: number | null;
  types: string[] | null;
};
/** What is to be replayed: the delivery, or the event that there is none for. */
type Found = { id: string; about: string; ordinal: number; at: Date };
type Count = { count: number; oldest: string | null; newest: string | null; byType: Record<string, number> };

/** 200 with the count of a dry run, or 202 with the operation. */
export async function replayWebhook(ctx: Context, webhookId: string, ask: WebhookReplay): Promise<Reply> {
  const row = await findWebhook(ctx, webhookId, "webhook.replay");
  const input = await understood(ctx, row, ask);
  const needsCount = ask.dryRun || ask.expectedCount !== undefined;
  const count = needsCount ? await countAll(ctx, row, input) : null;
  if (ask.dryRun) return new Reply(200, count);
  await requireActive(ctx, webhookId);
  if (count && count.count !== ask.expectedCount) {
    throw refuse(countChanged, {
      detail: `There are ${count.count}, not ${ask.expectedCount}. Nothing is sent.`,
      members: { count: count.count },
    });
  }
  const start = { tenantId: row.tenant_id, subject: webhookId, input };
  const { id, started } = await ctx.startOperation(webhookReplay, start);
  if (!started)
    throw refuse(operationRunning, { detail: "A replay of this webhook is under way.", members: { operationId: id } });
  ctx.audit({
    tenantId: row.tenant_id,
    type: "webhook",
    action: "replayed",
    item: { kind: "webhook", id: webhookId, name: new URL(row.url).host },
    changes: [{ field: "scope", old: null, new: input.scope }],
  });
  return accepted(ctx, id);
}

async function understood(ctx: Context, row: WebhookFound, ask: WebhookReplay): Promise<Input> {
  const known = knownTypes(ctx.eventLog.versions, row.api_version);
  typesOf(ask.types, known, (index) => ({ pointer: `/types/${index}` }));
  const since = ask.since === undefined ? null : await placeOf(ctx, row, ask.since, "/since");
  const until = ask.until === undefined ? null : await placeOf(ctx, row, ask.until, "/until");
  const scope = ask.scope ?? "failed";
  return { webhookId: row.id, scope, since, until: until?.position ?? null, types: ask.types ?? null };
}

async function placeOf(ctx: Context, row: WebhookFound, text: string, pointer: string): Promise<Place> {
  if (!/[:]/.test(text)) return ctx.eventLog.events.cursors.read(text, row.tenant_id, pointer);
  const faults: Fault[] = faultsOf(instant, text).map((fault) => ({ ...fault, pointer }));
  if (faults.length > 0) throw invalid(faults);
  return findPlace(ctx.eventLog, ctx.who, { at: new Date(text) }, pointer);
}

async function countAll(ctx: Context, row: WebhookFound, input: Input): Promise<Count> {
  const count = emptyCount();
  for await (const found of batches(ctx, row, input)) for (const one of found) add(count, one);
  return count;
}

const emptyCount = (): Count => ({ count: 0, oldest: null, newest: null, byType: {} });
function add(count: Count, { about, at }: Found): void {
  count.count++;
  count.oldest ??= at.toISOString();
  count.newest = at.toISOString();
  count.byType[about] = (count.byType[about] ?? 0) + 1;
}

type Reading = { db: Db; eventLog: Context["eventLog"] };

/** All of it, oldest first, in batches. Each is read when it is asked for. */
function batches(reading: Reading, row: WebhookFound, input: Input): AsyncGenerator<Found[]> {
  return input.scope === "missed" ? missed(reading, row, input) : sent(reading, input);
}

async function* sent({ db }: Reading, { webhookId, scope, since, until, types }: Input): AsyncGenerator<Found[]> {
  const statuses = scope === "failed" ? ["dead"] : ["dead", "delivered"];
  let after = since?.position ?? 0;
  for (;;) {
    const found = await db.rows(
      query<Found>(sql`select d.id, d.about, d.ordinal, d.created_at as at from kernel.delivery d
        where d.target_id = ${webhookId} and d.status = any(${statuses}) and d.ordinal > ${after}
          and (${until}::bigint is null or d.ordinal <= ${until})
          and (${types}::text[] is null or ${matchesTypes(sql.ref("d.about"), sql`${types}::text[]`)})
        order by d.ordinal limit ${chunk}`),
    );
    if (found.length > 0) yield found;
    if (found.length < chunk) return;
    after = found.at(-1)!.ordinal;
  }
}

/** Events that the webhook wants and its owner may see, without a delivery. */
async function* missed({ db, eventLog }: Reading, row: WebhookFound, input: Input): AsyncGenerator<Found[]> {
  const reader = async () => {
    const who = await ownerNow(eventLog, row);
    if (typeof who !== "string") return who;
    throw refuse(unauthenticated, { detail: "The owner of the webhook is gone, or may not act." });
  };
  const kinds = typesOf(row.types, knownTypes(eventLog.versions, row.api_version));
  const state = (await db.first(
    query<{ epoch: number; position: number }>(
      sql`select s.epoch, p.position from kernel.log_state s cross join notifications.webhook_place p`,
    ),
  ))!;
  // What lies beyond is about to be made into deliveries anyway.
  const until = Math.min(input.until ?? Number.POSITIVE_INFINITY, state.position);
  const made = { epoch: state.epoch, position: row.from_position, day: dayOf(row.created_at) };
  let place = input.since ?? row.missed_from ?? made;
  const filter = { kinds, includeBelow: row.include_below };
  for (;;) {
    const batch = await readEvents(eventLog, reader, { place, filter, limit: 500 });
    const events = batch.events.filter(({ position }) => position <= until);
    const found = await db.rows(
      query<{ id: string }>(sql`select e.id from kernel.event e
        where e.id = any(${events.map(({ id }) => id)}) and e.subject <> ${row.id} and e.data #>> '{resource,webhookId}' is distinct from ${row.id}
          and ${matchesTypes(sql.ref("e.type"), sql`${input.types ?? ["*"]}::text[]`)} and ${matchesTypes(sql.ref("e.type"), sql`${row.types}::text[]`)}
          and not exists (select from kernel.delivery d where d.target_id = ${row.id} and d.message_id = e.id)`),
    );
    const wanted = new Set(found.map(({ id }) => id));
    const all = events.filter(({ id }) => wanted.has(id));
    for (let at = 0; at < all.length; at += chunk)
      yield all
        .slice(at, at + chunk)
        .map(({ id, type, position, logged_at }) => ({ id, about: type, ordinal: position, at: logged_at }));
    if (batch.atEnd || batch.next.position >= until) return;
    place = batch.next;
  }
}

export const webhookReplay: OperationKind<Input> = {
  kind: "notifications.webhook_replay",
  summary: "Sends a webhook once more what it was sent, or what it missed.",
  result: WebhookReplayCount,
  restart: "again",
  exclusive: true,
  maxMinutes: 600,
  cancellable: true,
  async run(work, input) {
    const count = emptyCount();
    const row = await work.transaction((ctx) => readWebhook(ctx, input.webhookId));
    if (!row) return { url: null, data: count };
    const reading = await work.transaction(async ({ eventLog }) => ({ db: work.db, eventLog }));
    for await (const found of batches(reading, row, input)) {
      await work.transaction((ctx) => letGo(ctx, work.id, input, found));
      for (const one of found) add(count, one);
      await work.progress(count.count, null);
      await mostTried(work);
    }
    return {
      url: `/webhook/${input.webhookId}`,
      data: count,
      // All of it was made up for.
      store: async (ctx) => {
        if (input.scope !== "missed" || input.since || input.until !== null || input.types) return;
        await ctx.db.run(
          query(
            sql`update notifications.webhook set missed_from = null where id = ${input.webhookId} and status <> 'disabled'`,
          ),
        );
      },
    };
  },
  async ended(ctx, { id }) {
    await ctx.db.run(
      query(sql`update kernel.delivery set status = 'discarded', next_attempt_at = null, updated_at = ${ctx.now}
        where replay_id = ${id} and status = 'pending' and lease_until is null`),
    );
  },
};

async function letGo(ctx: Context, replayId: string, input: Input, found: readonly Found[]): Promise<void> {
  await requireActive(ctx, input.webhookId);
  if (input.scope !== "missed") {
    const ids = found.map(({ id }) => id);
    await replayDeliveries(ctx.db, input.webhookId, ids, replayId, ctx.now);
    return;
  }
  const messages = found.map(({ id, about, ordinal }) => ({ messageId: id, about, ordinal }));
  await enqueue(
    ctx.db,
    messages.map((message) => ({ ...message, targetId: input.webhookId, replayId })),
    ctx.now,
  );
}

/** Waits until few of what was let go have not been tried; ends with the operation. */
async function mostTried(work: OperationWork): Promise<void> {
  for (;;) {
    work.signal.throwIfAborted();
    const waiting = await work.db.first(
      query<{ count: number }>(
        sql`select count(*)::int as count from kernel.delivery where replay_id = ${work.id} and status = 'pending'`,
      ),
    );
    if (waiting!.count < mostWaiting) return;
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}
