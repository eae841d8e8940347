/** Deliveries and their targets in the database. All of it takes part in the transaction of the change it belongs to. */
import { sql } from "kysely";
import { type Db, query, tables } from "../db.ts";
import { newId } from "../ids.ts";
import type { AttemptRow, DeliveryRow, TargetSettings } from "./contract.ts";

export type TargetRow = {
  tenant_id: string;
  id: string;
  kind: string;
  is_on: boolean;
  in_order: boolean;
  max_in_flight: number;
  rate_per_second: number | null;
  retry_seconds: number[];
  disable_after_hours: number;
  failures: number;
  failing_since: Date | null;
  warnings: number;
};

/** Queries over the engine's tables; modules read the rows of their own kinds. */
export const deliveryTables = tables<{
  "kernel.delivery": DeliveryRow;
  "kernel.delivery_attempt": AttemptRow;
  "kernel.delivery_target": TargetRow;
}>();

export type TargetPlace = { tenantId: string; id: string };

/** Makes a target; `isOn` false: its deliveries wait as `held`. */
export async function addTarget(
  db: Db,
  kind: string,
  { tenantId, id }: TargetPlace,
  settings: TargetSettings,
  isOn: boolean,
): Promise<void> {
  await db.run(
    query(sql`insert into kernel.delivery_target (tenant_id, id, kind, is_on, in_order, max_in_flight, rate_per_second, retry_seconds, disable_after_hours)
      values (${tenantId}, ${id}, ${kind}, ${isOn}, ${settings.strict}, ${settings.maxInFlight}, ${settings.ratePerSecond},
        ${[...settings.retrySeconds]}, ${settings.disableAfterHours})`),
  );
}

export async function setRate(db: Db, targetId: string, ratePerSecond: number | null): Promise<void> {
  await db.run(query(sql`update kernel.delivery_target set rate_per_second = ${ratePerSecond} where id = ${targetId}`));
}

/** Off: what is not delivered is held. On: it goes on, and failures are counted anew. */
export async function switchTarget(db: Db, targetId: string, isOn: boolean, now: Date): Promise<void> {
  await db.run(query(sql`select kernel.switch_target(${targetId}, ${isOn}, ${now})`));
}

/** Off: what is not delivered is held while the target's owner may not act. It goes on when it is not. */
export async function setOwnerOff(db: Db, targetId: string, isOff: boolean, now: Date): Promise<void> {
  await db.run(query(sql`select kernel.set_owner_off(${targetId}, ${isOff}, ${now})`));
}

/** Discards what is not delivered; the deliveries and their attempts stay listed. */
export async function removeTarget(db: Db, targetId: string, now: Date): Promise<void> {
  await db.run(query(sql`select id from kernel.delivery_target where id = ${targetId} for update`));
  await db.run(
    query(sql`update kernel.delivery set status = 'discarded', body = null, next_attempt_at = null, updated_at = ${now}
      where target_id = ${targetId} and status in ('pending', 'retrying', 'held')`),
  );
  await db.run(query(sql`delete from kernel.delivery_target where id = ${targetId}`));
}

export type Message = {
  targetId: string;
  /** `webhook-id`; a target gets a message once, however often it is enqueued. */
  messageId: string;
  about: string;
  ordinal: number;
  replayId?: string;
};

/** Puts messages on their way: they go out once the transaction has committed. */
export async function enqueue(db: Db, messages: readonly Message[], now: Date): Promise<void> {
  if (messages.length === 0) return;
  await db.run(query(sql`select kernel.enqueue_deliveries(${itemsOf(messages, now)}::jsonb, ${now}, null, 0)`));
}

/** Messages as \`kernel.enqueue_deliveries\` takes them: for statements that do more than enqueuing. */
export function itemsOf(messages: readonly Message[], now: Date): string {
  return JSON.stringify(messages.map((message) => ({ id: newId("dlv", now.getTime()), ...message })));
}

/** Lets final deliveries run through their schedule once more, with `replayId` in their header. Returns how many. */
export async function replayDeliveries(
  db: Db,
  targetId: string,
  ids: readonly string[],
  replayId: string | null,
  now: Date,
): Promise<number> {
  const row = await db.first(
    query<{ count: number }>(
      sql`select kernel.replay_deliveries(${targetId}, ${[...ids]}, ${replayId}, ${now}) as count`,
    ),
  );
  return row!.count;
}
