import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { idKind } from "#kernel/ids";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import { permissions } from "#kernel/permissions";
import { holds, holdsIn, lacking } from "#kernel/principal";
import { type Fault, invalid, notFound, Problem, referenceNotFound, refuse, stale, userNeeded } from "#kernel/problem";
import { endLogIn, forgetUser, takesLastAdministrator } from "#modules/access";
import { userDeleted } from "../events.ts";
import { emailKey, fold } from "../names.ts";
import { directory } from "../tables.ts";
import { shownAs } from "./fields.ts";
import { impossible, lastAdministrator } from "./problems.ts";
import { lockByUsername, lockUser, readUser, userOf, users, visible, zonesOf } from "./rows.ts";
import { type NewUser, type OwnUser, User, type UserChange, type UserQuery } from "./schema.ts";
import { changeUser, insertUser, record, shown, tell, type Written } from "./write.ts";

/**
 * Makes the user of this name in the acting tenant, or writes what is given of it (A4.1). Any number of equal calls at
 * once make one user; the others find it unchanged. `If-None-Match: *` only makes, `If-Match: *` only changes.
 */
export async function upsertUser(ctx: Context, given: NewUser): Promise<Written> {
  const { acting } = ctx.who;
  if (!holdsIn(ctx.who, "user.write", acting)) throw lacking("user.write");
  const key = fold(given.username);
  let current = await lockByUsername(ctx, key);
  if (!current) {
    if (ctx.call.ifMatch) throw refuse(stale);
    const user = await insertUser(ctx, acting.id, given);
    if (user) return { user, outcome: "created" };
    current = await lockByUsername(ctx, key);
    if (!current) throw new Error(`The user ${given.username} came and went within one call.`);
  }
  const before = await shown(ctx, current);
  if (ctx.call.ifNoneMatch?.includes("*")) throw refuse(stale);
  requireMatch(ctx, User, before);
  // The spelling of the key stays as first sent; a rename is a PATCH.
  const { username: _, ...rest } = given;
  return changeUser(ctx, current, rest);
}

export async function listUsers(ctx: Context, input: UserQuery) {
  const faults = await tenantFaults(ctx, input.tenantId ?? []);
  if (faults.length > 0) throw invalid(faults);
  let rows = visible(ctx);
  if (input.username) {
    rows = rows.where("u.tenant_id", "=", ctx.who.acting.id).where("u.username_key", "in", input.username.map(fold));
  }
  if (input.email) rows = rows.where("u.email_key", "in", input.email.map(emailKey));
  if (input.isCurrent !== undefined) rows = rows.where("u.is_current", "=", input.isCurrent);
  if (input.userType) rows = rows.where("u.user_type", "in", input.userType);
  if (input.isSupportRep !== undefined) rows = rows.where("u.is_support_rep", "=", input.isSupportRep);
  if (input.source) rows = rows.where("u.source", "in", input.source);
  if (input.orgUnitExternalId) {
    rows = rows.where("u.tenant_id", "=", ctx.who.acting.id).where("o.external_id", "in", input.orgUnitExternalId);
  }
  if (input.number) rows = rows.where("u.number", "in", input.number);
  if (input.tenantId) rows = rows.where("u.tenant_id", "in", input.tenantId);
  if (input.updatedSince) rows = rows.where("u.updated_at", ">=", new Date(input.updatedSince));
  if (input.q) {
    const part = sql`lower(normalize(${input.q}, NFC))`;
    rows = rows.where(
      sql<boolean>`strpos(lower(normalize(concat_ws(e'\n', u.username, u.fullname, u.email), NFC)), ${part}) > 0`,
    );
  }
  const page = await readPage(ctx, input, {
    from: rows,
    sorts: {
      createdAt: sql.ref("u.created_at"),
      updatedAt: sql.ref("u.updated_at"),
      username: sql.ref("u.username_key"),
      fullname: sql.ref("u.fullname"),
    },
    by: "createdAt",
    id: sql.ref("u.id"),
    item: (row) => row,
  });
  const zones = await zonesOf(
    ctx,
    page.items.map((row) => row.tenant_id),
  );
  return { ...page, items: page.items.map((row) => userOf(row, zones.get(row.tenant_id)!)) };
}

async function tenantFaults(ctx: Context, ids: readonly string[]): Promise<Fault[]> {
  if (ids.some((id) => idKind(id) !== "tnt")) {
    return [{ parameter: "tenantId", rule: "id_kind", message: "The id of a tenant (tnt_...) is expected." }];
  }
  const seen = await zonesOf(ctx, ids);
  return ids.every((id) => seen.has(id)) ? [] : [referenceNotFound({ parameter: "tenantId" })];
}

/** A user by its id, or by its user name in the acting tenant. */
export async function getUser(ctx: Context, key: string): Promise<User> {
  return shown(ctx, await readUser(ctx, key));
}

/** The caller's own user, with what it may do. It may always be read, whatever its roles. */
export async function getOwnUser(ctx: Context): Promise<OwnUser> {
  const { actor } = ctx.who;
  if (actor.kind !== "user") throw refuse(userNeeded);
  const row = await ctx.db.first(users().where("u.id", "=", actor.id));
  // The call acts in a tenant below the user's own.
  if (!row) throw refuse(notFound);
  return { ...(await shown(ctx, row)), permissions: permissions.filter((name) => holds(ctx.who, name)) };
}

export async function updateUser(ctx: Context, key: string, given: UserChange): Promise<Written> {
  const current = await lockUser(ctx, key);
  requireMatch(ctx, User, await shown(ctx, current));
  return changeUser(ctx, current, given);
}

/** Switches a user off: it keeps roles and history, and has no way in from the next call on. Repeats harmlessly. */
export async function deactivateUser(ctx: Context, key: string, note?: string): Promise<Written> {
  return changeUser(ctx, await lockUser(ctx, key), { isCurrent: false }, note);
}

/** Switches a user on again; every check of creation holds. No credential that ended comes back. */
export async function reactivateUser(ctx: Context, key: string, note?: string): Promise<Written> {
  return changeUser(ctx, await lockUser(ctx, key), { isCurrent: true }, note);
}

/** Deletes for good; a tombstone keeps id and time. `absent`: there is nothing, or nothing that the caller may see. */
export async function deleteUser(ctx: Context, key: string): Promise<"deleted" | "absent"> {
  const current = await lockUser(ctx, key).catch((error: unknown) => {
    if (error instanceof Problem && error.kind === notFound) return null;
    throw error;
  });
  if (!current) return "absent";
  const user = await shown(ctx, current);
  requireMatch(ctx, User, user);
  if (current.is_current && (await takesLastAdministrator(ctx, user.tenantId, { userId: user.id }))) {
    const message = `'${user.username}' is the last administrator of the tenant.`;
    throw impossible([{ kind: lastAdministrator, fault: { pointer: "", rule: "last_administrator", message } }]);
  }
  await ctx.db.run(
    directory
      .updateTable("directory.user")
      .set({
        username: "",
        username_key: "",
        fullname: "Deleted user",
        email: "",
        email_key: "",
        is_current: false,
        deleted_at: ctx.now,
        updated_at: ctx.now,
        version: current.version + 1,
      })
      .where("id", "=", user.id),
  );
  await endLogIn(ctx, user);
  await ctx.clearUser(user.id);
  await forgetUser(ctx, user.id);
  tell(ctx, userDeleted, user, null, [], null);
  // No name outlives its user, not in the event log either.
  await ctx.redactEvents(user.tenantId, user.id);
  record(ctx, "deleted", user, user, Object.values(shownAs));
  return "deleted";
}
