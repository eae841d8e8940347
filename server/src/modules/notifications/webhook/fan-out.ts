/**
 * Makes deliveries of events: follows the log by a stored position, which moves in the transaction that makes them, so
 * that a crash neither loses nor doubles one. Any process may do it, one at a time does.
 */
import { sql } from "kysely";
import type { Stop } from "#kernel/contract";
import { query } from "#kernel/db";
import { enqueue } from "#kernel/delivery/store";
import type { Kernel } from "#kernel/kernel";
import { matchesTypes } from "./rows.ts";

const batchSize = 500;
const pollMs = 500;

type Row = { position: number; logged_at: Date; id: string; type: string; webhook_id: string | null };

export function startFanOut(kernel: Kernel): Stop {
  const ended = new AbortController();

  async function step(): Promise<number> {
    return kernel.system.transaction("", async (tx) => {
      const place = (await tx.first(
        query<{ position: number; logged_at: Date }>(
          sql`select position, logged_at from notifications.webhook_place for update`,
        ),
      ))!;
      const rows = await tx.rows(batchOf(place));
      const last = rows.at(-1);
      if (!last) return place.position;
      const wanted = rows.filter((row) => row.webhook_id !== null);
      const messages = wanted.map((row) => ({
        targetId: row.webhook_id!,
        messageId: row.id,
        about: row.type,
        ordinal: row.position,
      }));
      await enqueue(tx, messages, kernel.now());
      tx.fire(
        query(sql`update notifications.webhook_place set position = ${last.position}, logged_at = ${last.logged_at}`),
      );
      return last.position;
    });
  }

  async function follow(): Promise<void> {
    while (!ended.signal.aborted && !kernel.events.closing.aborted) {
      try {
        const position = await step();
        await kernel.events.newsAfter(position, pollMs, ended.signal);
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
function batchOf({ position, logged_at }: { position: number; logged_at: Date }) {
  // An event about a webhook or its deliveries never goes to that webhook.
  const isOther = sql`e.subject <> w.id and e.data #>> '{resource,webhookId}' is distinct from w.id`;
  return query<Row>(sql`with batch as materialized (
      select e.position, e.logged_at, e.id, e.tenant_id, e.type, e.subject, e.data from kernel.event e
      where e.position > ${position} and e.logged_at >= ${logged_at} order by e.position limit ${batchSize})
    select e.position, e.logged_at, e.id, e.type, w.id as webhook_id
    from batch e left join (access.tenant_ancestor a join notifications.webhook w on w.tenant_id = a.ancestor_id and w.status <> 'disabled')
      on a.tenant_id = e.tenant_id and (a.depth = 0 or w.include_below) and w.from_position < e.position
        and ${matchesTypes(sql.ref("e.type"), sql.ref("w.types"))} and ${isOther}
    order by e.position`);
}
