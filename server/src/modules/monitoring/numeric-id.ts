/** Whole-number ids: one number space for folders, locations and watches (monitoring, 2.1). */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { hot, query } from "#kernel/db";

// Random, because a sequence would tell tenants of each other's growth. A number that is taken, also one of a thing long
// removed or of a tenant that this role cannot see, is passed over and drawn again.
const draw = hot<{ tenantIds: string[]; ids: string[] }, { id: string; numeric_id: number }>(
  "monitoring_draw_numbers",
  (p) =>
    query(sql`insert into monitoring.numeric_id (numeric_id, tenant_id, id)
    select 1 + floor(random() * 2147483647)::int, made.tenant_id, made.id from unnest(${p.tenantIds}::text[], ${p.ids}::text[]) as made (tenant_id, id)
    on conflict (numeric_id) do nothing returning id, numeric_id`),
);

/** Draws a numeric id for each thing that is being made, all in one statement, by id. */
export async function drawNumericIds(
  ctx: Pick<Context, "db">,
  things: readonly { tenantId: string; id: string }[],
): Promise<Map<string, number>> {
  const numbers = new Map<string, number>();
  while (numbers.size < things.length) {
    const open = things.filter(({ id }) => !numbers.has(id));
    const drawn = await ctx.db.rows(
      draw({ tenantIds: open.map(({ tenantId }) => tenantId), ids: open.map(({ id }) => id) }),
    );
    for (const row of drawn) numbers.set(row.id, row.numeric_id);
  }
  return numbers;
}

/** Draws the numeric id of one thing that is being made. */
export async function drawNumericId(ctx: Pick<Context, "db">, tenantId: string, id: string): Promise<number> {
  return (await drawNumericIds(ctx, [{ tenantId, id }])).get(id)!;
}
