import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { EventKind } from "#kernel/events";
import type { JobKind } from "#kernel/jobs";
import { quietMs } from "./address-alarm.ts";
import { keyExpired, keyExpiryWarned } from "./events.ts";
import { keyOf, readKey, tellOfKey } from "./rows.ts";

const warnedMs = 7 * 86_400_000;
type Due = { id: string; tenant_id: string; expired: boolean };

/** Keys whose end, or the week before it, has begun and was not told yet; a warning after the end is left out. */
const dueKeys = (now: Date) =>
  query<Due>(sql`select k.id, k.tenant_id, k.expires_at <= ${now} as expired from access.key k
    where k.deleted_at is null and k.expires_at <= ${new Date(now.getTime() + warnedMs)}
      and case when k.expires_at <= ${now} then k.expiry_told else k.warned_of end is distinct from k.expires_at
    order by k.tenant_id, k.id limit 1000`);

async function tell(ctx: Context, { id, expired }: Due): Promise<void> {
  const column = expired ? sql.ref("expiry_told") : sql.ref("warned_of");
  const done = await ctx.db.run(
    query(sql`update access.key set ${column} = expires_at
      where id = ${id} and deleted_at is null and ${column} is distinct from expires_at and (expires_at <= ${ctx.now}) = ${expired}`),
  );
  if (done > 0) tellOfKey(ctx, (expired ? keyExpired : keyExpiryWarned) as EventKind, keyOf(await readKey(ctx, id)));
}

export const keyJobs: readonly JobKind[] = [
  {
    name: "tell_key_expiry",
    summary: "Tells of keys that expire within seven days, and of those that have.",
    cron: "* * * * *",
    async run(kernel) {
      for (;;) {
        const due = await kernel.system.in("").rows(dueKeys(kernel.now()));
        for (const [tenantId, keys] of Map.groupBy(due, (key) => key.tenant_id)) {
          const card = await kernel.gate.tenant(tenantId);
          if (!card) continue;
          await inTransaction(kernel, systemCaller(kernel, card, "tell_key_expiry"), async (ctx) => {
            for (const key of keys) await tell(ctx, key);
          });
        }
        if (due.length < 1_000) break;
      }
    },
  },
  {
    name: "sweep_key_refusals",
    summary: "Forgets foreign addresses of keys that were told of more than an hour ago.",
    cron: "41 * * * *",
    async run({ system, now }) {
      const since = new Date(now().getTime() - quietMs);
      await system.in("").run(query(sql`delete from access.key_refusal where told_at <= ${since}`));
    },
  },
];
