/**
 * Makes deliveries of events: follows the log by a stored position, which moves in the statement that makes them, so that
 * a crash neither loses nor doubles one. Any process may do it, one at a time does: who finds that another has moved the
 * place stands by until that one lets events lie. Its own worker sends what it makes, as long as it has few under way.
 */
import { sql } from "kysely";
import type { Stop } from "#kernel/contract";
import { hot, query } from "#kernel/db";
import { claimedFrom } from "#kernel/delivery/engine";
import { itemsOf } from "#kernel/delivery/store";
import type { Kernel } from "#kernel/kernel";
import { matchesTypes } from "./rows.ts";

const batchSize = 500;
const pollMs = 500;

/** The place, who moved it last, and the next event for a webhook, if there is any. */
type Row = { place: number; moved_by: string | null } & (Next | { [name in keyof Next]: null });
type Next = { position: number; logged_at: Date; id: string; type: string; webhook_id: string | null };

export function startFanOut(kernel: Kernel): Stop {
  const { worker } = kernel.deliveries;
  const system = kernel.system.in("");
  const ended = new AbortController();
  const isEnded = () => ended.signal.aborted || kernel.events.closing.aborted;
  /** The place as this process last read it. */
  let seen: number | null = null;

  /** Waits for what may come next. */
  async function step(): Promise<void> {
    const rows = await system.rows(nextEvents({ most: batchSize }));
    const { place, moved_by } = rows[0]!;
    const isLed = moved_by !== worker.id && seen !== null && place !== seen;
    seen = place;
    const last = rows.at(-1)!;
    if (isLed) return kernel.events.newsAfter(Number.POSITIVE_INFINITY, pollMs, ended.signal);
    if (last.position === null) return kernel.events.newsAfter(place, pollMs, ended.signal);
    const next = { seen: place, reached: last.position, reachedAt: last.logged_at, items: itemsOfRows(rows) };
    const claimed = await system.rows(
      makeDeliveries({ ...next, now: kernel.now(), worker: worker.id, room: worker.room() }),
    );
    await worker.take(claimed);
  }

  function itemsOfRows(rows: readonly Row[]): string {
    const messages = rows
      .filter((row) => row.position !== null && row.webhook_id !== null)
      .map((row) => ({ targetId: row.webhook_id!, messageId: row.id!, about: row.type!, ordinal: row.position! }));
    return itemsOf(messages, kernel.now());
  }

  async function follow(): Promise<void> {
    while (!isEnded()) {
      try {
        await step();
      } catch (error) {
        kernel.log.warn({ err: error }, "webhooks wait for the database");
        await new Promise((resolve) => setTimeout(resolve, pollMs).unref());
      }
    }
  }

  const following = follow();
  return async () => {
    ended.abort();
    await following;
  };
}

/** The next events, each once per webhook that wants it; one that nobody wants comes once, without a webhook. */
const nextEvents = hot<{ most: number }, Row>("webhook_events", ({ most }) => {
  // An event about a webhook or its deliveries never goes to that webhook.
  const isOther = sql`e.subject <> w.id and e.data #>> '{resource,webhookId}' is distinct from w.id`;
  return query<Row>(sql`with batch as materialized (
      select e.position, e.logged_at, e.id, e.tenant_id, e.type, e.subject, e.data from kernel.event e
      where e.position > (select position from notifications.webhook_place)
        and e.logged_at >= (select logged_at from notifications.webhook_place) order by e.position limit ${most})
    select p.position as place, p.moved_by, n.* from notifications.webhook_place p left join (
      select e.position, e.logged_at, e.id, e.type, w.id as webhook_id
      from batch e left join (access.tenant_ancestor a join notifications.webhook w on w.tenant_id = a.ancestor_id and w.status <> 'disabled')
        on a.tenant_id = e.tenant_id and (a.depth = 0 or w.include_below) and w.from_position < e.position
          and ${matchesTypes(sql.ref("e.type"), sql.ref("w.types"))} and ${isOther}) n on true
    order by n.position`);
});

const makeDeliveries = hot(
  "make_deliveries",
  (next: { seen: number; reached: number; reachedAt: Date; items: string; now: Date; worker: string; room: number }) =>
    claimedFrom(
      sql`notifications.make_deliveries(${next.seen}, ${next.reached}, ${next.reachedAt}, ${next.items}::jsonb, ${next.now}, ${next.worker}, ${next.room})`,
    ),
);
