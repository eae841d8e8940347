/** The limits and the namespace of a tenant's keys, both kept under a lock on the tenant's row. */
import { type SqlBool, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { notFound, problem, refuse } from "#kernel/problem";
import { access, type BoundTo } from "../tables.ts";
import type { KeyFound } from "./rows.ts";
import type { NewKey } from "./schema.ts";

export const keyTitleTaken = problem("key_title_taken", 409, "A key of this kind has this title already.");
export const keyLimitReached = problem("key_limit_reached", 409, "There is no place for another key of this kind.");

const personalKeys = 5;

/** Counts under the lock, so that no race makes one key too many; expired and disabled ones count. */
export async function requirePlace(
  ctx: Context,
  kind: NonNullable<NewKey["kind"]>,
  userId: string | null,
): Promise<void> {
  const tenantId = ctx.who.acting.id;
  let keys = access
    .selectFrom("access.key")
    .select(sql<number>`count(*)::int`.as("count"))
    .where("tenant_id", "=", tenantId)
    .where("kind", "=", kind)
    .where("deleted_at", "is", null);
  if (kind === "personal") keys = keys.where("user_id", "=", userId);
  // Sent at once, run in order: the count sees what was committed before the lock was got.
  const [tenant, counted] = await Promise.all([lockTenant(ctx, tenantId), ctx.db.first(keys)]);
  const { maxKeys, maxIntegrationKeys } = tenant.limits;
  const most = kind === "standard" ? maxKeys : kind === "integration" ? maxIntegrationKeys : personalKeys;
  if (counted!.count < most) return;
  throw refuse(keyLimitReached, {
    detail: `There may be ${most} ${kind} keys${kind === "personal" ? " per user" : ""}; delete one first.`,
    members: { limit: most },
  });
}

/** The same for the keys of one thing of another module. */
export async function requireBoundPlace(ctx: Context, tenantId: string, bound: BoundTo, most: number): Promise<void> {
  const keys = access
    .selectFrom("access.key")
    .select(sql<number>`count(*)::int`.as("count"))
    .where("tenant_id", "=", tenantId)
    .where("kind", "=", "bound")
    .where(sql<SqlBool>`bound ->> 'id' = ${bound.id}`)
    .where("deleted_at", "is", null);
  const [, counted] = await Promise.all([lockTenant(ctx, tenantId), ctx.db.first(keys)]);
  if (counted!.count < most) return;
  throw refuse(keyLimitReached, {
    detail: `There may be ${most} keys of this ${bound.kind}; delete one first.`,
    members: { limit: most },
  });
}

/** Lets one caller at a time count or rename what belongs to a tenant. */
export async function lockTenant(ctx: Context, tenantId: string) {
  const tenant = await ctx.db.first(
    access.selectFrom("access.tenant").select("limits").where("id", "=", tenantId).forNoKeyUpdate(),
  );
  if (!tenant) throw refuse(notFound);
  return tenant;
}

type Namespace = Pick<KeyFound, "tenant_id" | "kind" | "user_id" | "bound">;

function ofTitle(ctx: Context, space: Namespace, title: string) {
  return ctx.db.first(
    access
      .selectFrom("access.key")
      .select("id")
      .where("tenant_id", "=", space.tenant_id)
      .where("kind", "=", space.kind)
      .where(sql<SqlBool>`coalesce(user_id, '') = ${space.user_id ?? ""}`)
      .where(sql<SqlBool>`coalesce(bound ->> 'id', '') = ${space.bound?.id ?? ""}`)
      .where(sql<SqlBool>`lower(title) = lower(${title.normalize("NFC")})`)
      .where("deleted_at", "is", null),
  );
}

/** The refusal of a title, naming the key that has it. */
export async function titleTaken(ctx: Context, space: Namespace, title: string) {
  const existing = await ofTitle(ctx, space, title);
  return refuse(keyTitleTaken, { members: { existingId: existing?.id ?? null } });
}

/** Refuses a new title that another key of the namespace has. */
export async function requireTitle(ctx: Context, row: KeyFound, title: string): Promise<void> {
  const [, existing] = await Promise.all([lockTenant(ctx, row.tenant_id), ofTitle(ctx, row, title)]);
  if (existing && existing.id !== row.id) throw refuse(keyTitleTaken, { members: { existingId: existing.id } });
}
