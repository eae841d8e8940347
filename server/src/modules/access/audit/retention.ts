/** How long the trail is kept: whole months. The head at the cut is signed and kept as the place where the chain begins. */
import { sql } from "kysely";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import { type ChainEnd, signHeads } from "./head.ts";

/** The first instant that is kept: of the month that lies so many whole months before the running one. */
export function keptFrom(now: Date, months: number): Date {
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 1));
}

/** Per tenant the last entry before the first one that is kept, in the order of the chain. */
const findCuts = (from: Date) =>
  query<ChainEnd>(sql`select t.id as "tenantId", c.seq, c.hash from access.tenant t
    cross join lateral (select s.seq from access.audit_seal s
      join access.audit a on a.tenant_id = s.tenant_id and a.position = s.position
      where s.tenant_id = t.id and a.at >= ${from} order by s.seq limit 1) kept
    join access.audit_seal c on c.tenant_id = t.id and c.seq = kept.seq - 1
    union all
    select t.id, e.seq, e.hash from access.tenant t
    cross join lateral (select seq, hash from access.audit_seal where tenant_id = t.id order by seq desc limit 1) e
    where not exists (select from access.audit a where a.tenant_id = t.id and a.at >= ${from})`);
const startOf = (tenantId: string) =>
  query<{ seq: number }>(
    sql`select seq from access.audit_head where tenant_id = ${tenantId} and starts order by seq desc limit 1`,
  );

/** Cuts every chain where its keeping begins. May be interrupted anywhere: the next run goes on. */
export async function cutChains(kernel: Kernel): Promise<void> {
  const db = kernel.system.in("");
  const cuts = await db.rows(findCuts(keptFrom(kernel.now(), kernel.settings.auditMonths)));
  for (const cut of cuts) {
    const start = await db.first(startOf(cut.tenantId));
    if ((start?.seq ?? 0) < cut.seq) await signHeads(kernel, [cut], true);
    for (let removed = 1; removed > 0; ) {
      const row = await db.first(
        query<{ removed: number }>(sql`select access.cut_audit(${cut.tenantId}, ${cut.seq}) as removed`),
      );
      removed = row!.removed;
    }
  }
}
