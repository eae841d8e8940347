/** What is kept of a user's way in. A user may have none yet. */
import { type Selectable, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { type Db, query } from "#kernel/db";
import type { EventKind } from "#kernel/events";
import { tenantOfUser } from "#modules/directory";
import { access, type LoginRow } from "../tables.ts";
import type { LogIn } from "./schema.ts";

export type Row = Selectable<LoginRow>;

export function readLogIn(db: Db, userId: string): Promise<Row | undefined> {
  return db.first(access.selectFrom("access.login").selectAll().where("user_id", "=", userId));
}

/** The same, locked until the transaction ends. */
export function lockLogIn(db: Db, userId: string): Promise<Row | undefined> {
  return db.first(access.selectFrom("access.login").selectAll().where("user_id", "=", userId).forUpdate());
}

/** Blocks (an instant) or unblocks (null) a user. */
export async function setBlock(ctx: Context, user: { tenantId: string; id: string }, at: Date | null): Promise<Row> {
  const row = await ctx.db.first(
    query<Row>(sql`insert into access.login (tenant_id, user_id, blocked_at) values (${user.tenantId}, ${user.id}, ${at})
      on conflict (user_id) do update set blocked_at = excluded.blocked_at returning *`),
  );
  return row!;
}

/**
 * Stores a password's PHC string (see password.ts: hash it outside the transaction). `by`: who chose it; what somebody
 * else chose must be changed at the first log-in. Ends nothing and tells nobody: that is the caller's.
 */
export async function setPassword(ctx: Context, userId: string, phc: string, by: string): Promise<Row> {
  const row = await ctx.db.first(
    query<Row>(sql`insert into access.login (tenant_id, user_id, password, password_set_by, password_changed_at, must_change)
      values (${await homeOf(ctx, userId)}, ${userId}, ${phc}, ${by}, ${ctx.now}, ${by !== userId})
      on conflict (user_id) do update set password = excluded.password, password_set_by = excluded.password_set_by,
        password_changed_at = excluded.password_changed_at, must_change = excluded.must_change
      returning *`),
  );
  return row!;
}

async function homeOf(ctx: Context, userId: string): Promise<string> {
  const tenantId = await tenantOfUser(ctx.db, userId);
  if (tenantId === undefined) throw new Error(`The user ${userId} is behind the wall of the acting tenant.`);
  return tenantId;
}

export function logInOf(row: Row): LogIn {
  return {
    userId: row.user_id,
    tenantId: row.tenant_id,
    blockedAt: row.blocked_at?.toISOString() ?? null,
    passwordChangedAt: row.password_changed_at?.toISOString() ?? null,
    mfaEnabled: row.mfa_enabled,
  };
}

/** Switches the question for a second factor on or off. */
export async function setMfa(ctx: Context, user: { tenantId: string; id: string }, enabled: boolean): Promise<Row> {
  const row = await ctx.db.first(
    query<Row>(sql`insert into access.login (tenant_id, user_id, mfa_enabled) values (${user.tenantId}, ${user.id}, ${enabled})
      on conflict (user_id) do update set mfa_enabled = excluded.mfa_enabled returning *`),
  );
  return row!;
}

/** Tells of a change of a log-in. */
export function tellOfLogIn<F extends keyof LogIn>(
  ctx: Context,
  kind: EventKind,
  row: Row,
  field: F,
  old: LogIn[F],
): void {
  ctx.emit(kind, {
    tenantId: row.tenant_id,
    subject: row.user_id,
    path: `/user/${row.user_id}`,
    resource: logInOf(row),
    previous: { [field]: old },
    changed: [field],
    ownerId: row.user_id,
  });
}
