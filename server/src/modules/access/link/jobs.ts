import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { JobKind } from "#kernel/jobs";
import { deleteUser } from "#modules/directory";
import { endLinks } from "./link.ts";

const keptMs = 90 * 86_400_000;
type Due = { tenant_id: string; user_id: string };

/** An administrator made with its tenant whose invitation is over: it goes, unless somebody gave it a way in meanwhile. */
async function dropUninvited(ctx: Context, userId: string): Promise<void> {
  const row = await ctx.db.first(
    query<{
      used: boolean;
    }>(sql`select exists (select from access.login where user_id = ${userId} and password is not null)
      or exists (select from access.key where user_id = ${userId} and deleted_at is null) as used`),
  );
  await endLinks(ctx, userId);
  if (!row!.used) await deleteUser(ctx, userId);
}

export const linkJobs: readonly JobKind[] = [
  {
    name: "sweep_links",
    summary:
      "Deletes administrators made with their tenant who let their invitation pass, and forgets links 90 days after their end.",
    cron: "29 * * * *",
    async run(kernel) {
      const now = kernel.now();
      const due = await kernel.system.in("").rows(
        query<Due>(sql`select tenant_id, user_id from access.link
          where takes_user and ended_at is null and expires_at <= ${now} order by tenant_id, id limit 1000`),
      );
      for (const { tenant_id: tenantId, user_id: userId } of due) {
        const tenant = await kernel.gate.tenant(tenantId);
        if (!tenant) continue;
        await inTransaction(kernel, systemCaller(kernel, tenant, "sweep_links"), (ctx) => dropUninvited(ctx, userId));
      }
      const since = new Date(now.getTime() - keptMs);
      await kernel.system
        .in("")
        .run(query(sql`delete from access.link where kind <> 'setup' and expires_at <= ${since}`));
    },
  },
];
