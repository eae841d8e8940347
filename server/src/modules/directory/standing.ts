import type { Db } from "#kernel/db";
import { directory } from "./tables.ts";

/** Whether a user may act at an instant. */
export type UserStanding = {
  name: string;
  live: boolean;
  reason: "expired" | "revoked" | null;
  expiresAt: Date | null;
  /** It has a way in of its own, whichever. */
  logsIn: boolean;
};

/** How a user stands at `at`; undefined when there is no such user (any more). */
export async function userStanding(db: Db, userId: string, at: Date): Promise<UserStanding | undefined> {
  const user = await db.first(
    directory
      .selectFrom("directory.user")
      .select(["fullname", "is_current", "expires_at", "log_in_method"])
      .where("id", "=", userId)
      .where("deleted_at", "is", null),
  );
  if (!user) return undefined;
  const expired = user.expires_at !== null && user.expires_at <= at;
  return {
    name: user.fullname,
    live: user.is_current && !expired,
    reason: expired ? "expired" : user.is_current ? null : "revoked",
    expiresAt: user.expires_at,
    logsIn: user.log_in_method !== "none",
  };
}

/** The full name of a user of this very tenant; undefined when it has no such user (any more). */
export async function userNameIn(db: Db, tenantId: string, userId: string): Promise<string | undefined> {
  const user = await db.first(
    directory
      .selectFrom("directory.user")
      .select("fullname")
      .where("tenant_id", "=", tenantId)
      .where("id", "=", userId)
      .where("deleted_at", "is", null),
  );
  return user?.fullname;
}

/** Those of these users of a tenant who are current, log in with a password, and will not expire. */
export async function usersWithLogIn(db: Db, tenantId: string, userIds: readonly string[]): Promise<string[]> {
  const users = await db.rows(
    directory
      .selectFrom("directory.user")
      .select("id")
      .where("tenant_id", "=", tenantId)
      .where("id", "in", userIds)
      .where("is_current", "=", true)
      .where("log_in_method", "=", "password")
      .where("expires_at", "is", null)
      .where("deleted_at", "is", null),
  );
  return users.map((user) => user.id);
}

/** The tenant that a user belongs to; undefined when there is no such user (any more) in reach of `db`. */
export async function tenantOfUser(db: Db, userId: string): Promise<string | undefined> {
  const user = await db.first(
    directory.selectFrom("directory.user").select("tenant_id").where("id", "=", userId).where("deleted_at", "is", null),
  );
  return user?.tenant_id;
}

export type UserCard = { id: string; tenantId: string; username: string; fullname: string; email: string };

/** What other modules show of users, by id; those that are gone or out of reach are absent. */
export async function userCards(db: Db, userIds: readonly string[]): Promise<ReadonlyMap<string, UserCard>> {
  if (userIds.length === 0) return new Map();
  const users = await db.rows(
    directory
      .selectFrom("directory.user")
      .select(["id", "tenant_id as tenantId", "username", "fullname", "email"])
      .where("id", "in", userIds)
      .where("deleted_at", "is", null),
  );
  return new Map(users.map((user) => [user.id, user]));
}
