/** Log-in names (directory, rule A4.8): who is meant by what a person types. */
import { sql } from "kysely";
import { type Db, hot, query } from "#kernel/db";
import { emailKey, fold } from "./names.ts";

export type LoginUser = {
  id: string;
  tenantId: string;
  username: string;
  fullname: string;
  email: string;
  /** Current, not expired, and one that logs in with a password. */
  live: boolean;
};
type Found = LoginUser & { byUsername: boolean };

const findByName = hot<{ tenantId: string | null; usernameKey: string; emailKey: string; at: Date }, Found>(
  "find_login",
  ({ tenantId, usernameKey, emailKey, at }) =>
    query(sql`select u.id, u.tenant_id as "tenantId", u.username, u.fullname, u.email,
        u.username_key = ${usernameKey} as "byUsername",
        u.is_current and u.log_in_method = 'password' and (u.expires_at is null or u.expires_at > ${at}) as live
      from directory."user" u
      where u.deleted_at is null and (u.username_key = ${usernameKey} or u.email_key = ${emailKey})
        and (${tenantId}::text is null or u.tenant_id = ${tenantId})
      limit 100`),
);

/**
 * The one user that a log-in name means: a user name or e-mail address, in the tenant given, else in the installation,
 * where exactly one live user must have it. Null: nobody has it, or several have. Where only users have it that cannot
 * log in, one of those is returned, so that the try can be recorded. `db` must see all tenants.
 */
export async function findLogin(db: Db, tenantId: string | null, name: string, at: Date): Promise<LoginUser | null> {
  const found = await db.rows(findByName({ tenantId, usernameKey: fold(name), emailKey: emailKey(name), at }));
  const live = found.filter((user) => user.live);
  const able = live.length > 0 ? live : found;
  // Within a tenant one user's name may be another's address: the name wins, being the key.
  const named = tenantId === null ? [] : able.filter((user) => user.byUsername);
  const meant = named.length > 0 ? named : able;
  return meant.length === 1 ? meant[0]! : null;
}

/** The user name of a user; undefined when there is no such user (any more). */
export async function usernameOf(db: Db, userId: string): Promise<string | undefined> {
  const user = await db.first(
    query<{ username: string }>(sql`select username from directory."user" where id = ${userId} and deleted_at is null`),
  );
  return user?.username;
}
