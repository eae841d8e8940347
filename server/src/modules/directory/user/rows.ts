import { type RawBuilder, type Selectable, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { isId } from "#kernel/ids";
import type { Permission } from "#kernel/permissions";
import { lacking, type Principal } from "#kernel/principal";
import { notFound, refuse } from "#kernel/problem";
import { inReach } from "#kernel/wall";
import { timeZonesOf } from "#modules/access";
import { fold } from "../names.ts";
import { directory, type UserRow } from "../tables.ts";
import type { User } from "./schema.ts";

/** What a tenant has until it has a directory setting of its own. */
export const defaultLanguage = "en-GB";
export const languages = ["en-GB", "en-US", "de-DE", "es-ES", "fr-FR", "it-IT", "nl-NL", "pl-PL", "pt-PT", "sv-SE"];

/** A user with the key of its default unit. */
export type UserRead = Selectable<UserRow> & { unit: string };

/** Every user that is not deleted, with its unit; never without a wall beside it. */
export function users() {
  return directory
    .selectFrom("directory.user as u")
    .innerJoin("directory.orgunit as o", "o.id", "u.default_orgunit_id")
    .selectAll("u")
    .select("o.external_id as unit")
    .where("u.deleted_at", "is", null);
}

const within = (who: Principal, permission: Permission) => inReach(who, permission, sql.ref("u.tenant_id"));

/** Users that the caller may read. */
export const visible = (ctx: Pick<Context, "who">) => users().where(within(ctx.who, "user.read"));

/** The user of this id, or of this user name in the acting tenant: a caller's own key is never looked up below. */
export function named(who: Principal, key: string): RawBuilder<boolean> {
  return isId("usr", key)
    ? sql<boolean>`u.id = ${key}`
    : sql<boolean>`(u.tenant_id = ${who.acting.id} and u.username_key = ${fold(key)})`;
}

export async function readUser(ctx: Context, key: string): Promise<UserRead> {
  const row = await ctx.db.first(visible(ctx).where(named(ctx.who, key)));
  if (!row) throw refuse(notFound);
  return row;
}

/** The user to change, locked: 404 for what the caller may not see either, 403 for what it may only read. */
export async function lockUser(ctx: Context, key: string, permission: Permission = "user.write"): Promise<UserRead> {
  const writable = within(ctx.who, permission);
  const row = await ctx.db.first(
    users()
      .where(named(ctx.who, key))
      .where(sql<boolean>`(${writable} or ${within(ctx.who, "user.read")})`)
      .select(writable.as("writable"))
      .forUpdate("u"),
  );
  if (!row) throw refuse(notFound);
  if (!row.writable) throw lacking(permission);
  return row;
}

/** A user of the acting tenant by its own key, locked; undefined where there is none. */
export function lockByUsername(ctx: Context, usernameKey: string): Promise<UserRead | undefined> {
  return ctx.db.first(
    users().where("u.tenant_id", "=", ctx.who.acting.id).where("u.username_key", "=", usernameKey).forUpdate("u"),
  );
}

/** The zones of tenants; that of the acting tenant is known by heart. */
export async function zonesOf(ctx: Context, tenantIds: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const { acting } = ctx.who;
  const others = [...new Set(tenantIds)].filter((id) => id !== acting.id);
  const zones = new Map(others.length > 0 ? await timeZonesOf(ctx.db, others) : []);
  return zones.set(acting.id, acting.timeZone);
}

/** The resource of a row; `zone` is that of the user's tenant. */
export function userOf(row: UserRead, zone: string): User {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    number: row.number,
    username: row.username,
    fullname: row.fullname,
    email: row.email,
    defaultOrgUnitExternalId: row.unit,
    userType: row.user_type,
    isSupportRep: row.is_support_rep,
    isCurrent: row.is_current,
    notCurrentReason: row.not_current_reason,
    logInMethod: row.log_in_method,
    isManager: row.is_manager,
    timezone: row.time_zone ?? zone,
    language: row.language ?? defaultLanguage,
    dateFormat: row.date_format as User["dateFormat"],
    expiresAt: row.expires_at?.toISOString() ?? null,
    source: row.source,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
