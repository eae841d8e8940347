/** The writes of a user that every way in shares: the state it must fit, the row, the news, the record. */
import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { query, violates } from "#kernel/db";
import type { EventKind } from "#kernel/events";
import { newId } from "#kernel/ids";
import { invalid, type ProblemKind } from "#kernel/problem";
import { endLogIn, moveMailbox, takesLastAdministrator } from "#modules/access";
import { userCreated, userDeactivated, userReactivated, userUpdated } from "../events.ts";
import { directory } from "../tables.ts";
import { changedFields, differing, type Fields, fieldFaults, newFields, shownAs } from "./fields.ts";
import {
  emailInUse,
  expiryInPast,
  impossible,
  lastAdministrator,
  orgUnitInactive,
  orgUnitUnknown,
  type StateFault,
  usernameInUse,
} from "./problems.ts";
import { type UserRead, userOf, zonesOf } from "./rows.ts";
import type { NewUser, User, UserChange } from "./schema.ts";

type Unit = { id: string; external_id: string; is_current: boolean };
export type Written = { user: User; outcome: "created" | "updated" | "unchanged" };

/** Makes a user of a tenant; null when another call has just made one of this user name. */
export async function insertUser(ctx: Context, tenantId: string, given: NewUser): Promise<User | null> {
  const unit = await findUnit(ctx, tenantId, given.defaultOrgUnitExternalId);
  const fields = newFields(given, unit?.id ?? "");
  const schemaFaults = fieldFaults(given, fields);
  if (schemaFaults.length > 0) throw invalid(schemaFaults);
  const number = await ctx.db.first(nextNumber(tenantId));
  // Only now: whoever makes a user of this tenant at the same moment is done, and what it took shows.
  const rivals = await findRivals(ctx, tenantId, "", fields);
  if (rivals.some((rival) => rival.username_key === fields.username_key)) return null;
  const faults = await stateFaults(ctx, { tenantId, current: null, given, next: fields, unit, rivals });
  if (faults.length > 0) throw impossible(faults);
  const values = { ...fields, tenant_id: tenantId, id: newId("usr", ctx.now.getTime()), number: number!.last };
  const row = await ctx.db.first(
    directory
      .insertInto("directory.user")
      .values({ ...values, created_at: ctx.now, updated_at: ctx.now })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll(),
  );
  // The number's lock leaves only a change of another user to this very name or address.
  if (!row) throw impossible([emailTaken(given.email)]);
  const user = await shown(ctx, { ...row, unit: unit!.external_id });
  tell(ctx, userCreated, user, null, []);
  record(ctx, "created", user, null, Object.values(shownAs));
  return user;
}

/** Writes what is given of a locked user. Nothing differs: nothing happens. `note` stands in the audit trail. */
export async function changeUser(ctx: Context, current: UserRead, given: UserChange, note?: string): Promise<Written> {
  const key = given.defaultOrgUnitExternalId ?? current.unit;
  const unit = await findUnit(ctx, current.tenant_id, key);
  const fields = changedFields(current, given, unit?.id ?? "");
  const schemaFaults = fieldFaults(given, fields);
  if (schemaFaults.length > 0) throw invalid(schemaFaults);
  const changed = differing(current, fields);
  const before = await shown(ctx, current);
  if (changed.length === 0) return { user: before, outcome: "unchanged" };
  const isRenamed = fields.email_key !== current.email_key || fields.username_key !== current.username_key;
  const rivals = isRenamed ? await findRivals(ctx, current.tenant_id, current.id, fields) : [];
  const faults = await stateFaults(ctx, { tenantId: current.tenant_id, current, given, next: fields, unit, rivals });
  if (faults.length > 0) throw impossible(faults);
  if (changed.includes("email")) await moveMailbox(ctx, before);
  const row = await store(ctx, current, fields, given);
  const user = await shown(ctx, { ...row, unit: unit!.external_id });
  tellChange(ctx, before, user, changed, note);
  const lostLogIn =
    (current.is_current && !fields.is_current) ||
    (current.log_in_method === "password" && fields.log_in_method !== "password");
  if (lostLogIn) await endLogIn(ctx, user);
  // What is cached of the user was worked out with its expiry.
  if (changed.includes("expires_at")) ctx.forget();
  return { user, outcome: "updated" };
}

async function store(ctx: Context, current: UserRead, fields: Fields, given: UserChange) {
  const updatedAt = ctx.now > current.updated_at ? ctx.now : current.updated_at;
  try {
    const row = await ctx.attempt(() =>
      ctx.db.first(
        directory
          .updateTable("directory.user")
          .set({ ...fields, updated_at: updatedAt, version: current.version + 1 })
          .where("id", "=", current.id)
          .returningAll(),
      ),
    );
    return row!;
  } catch (error) {
    if (violates(error, "user_email")) throw impossible([emailTaken(given.email ?? current.email)]);
    if (violates(error, "user_username")) throw impossible([nameTaken(given.username ?? current.username)]);
    throw error;
  }
}

type Attempt = {
  tenantId: string;
  current: UserRead | null;
  given: UserChange;
  next: Fields;
  unit: Unit | undefined;
  rivals: readonly Rival[];
};

/** What is valid and impossible now; all of it. */
async function stateFaults(ctx: Context, attempt: Attempt): Promise<StateFault[]> {
  const { tenantId, current, given, next, unit, rivals } = attempt;
  const faults: StateFault[] = [];
  if (rivals.some((rival) => rival.email_key === next.email_key)) faults.push(emailTaken(next.email));
  if (rivals.some((rival) => rival.username_key === next.username_key)) faults.push(nameTaken(next.username));
  const key = given.defaultOrgUnitExternalId ?? current?.unit;
  const unitFault = (kind: ProblemKind, rule: string, message: string) =>
    faults.push({ kind, fault: { pointer: "/defaultOrgUnitExternalId", rule, message } });
  const filed = unit?.id !== current?.default_orgunit_id;
  const comesBack = next.is_current && !current?.is_current;
  if (!unit) unitFault(orgUnitUnknown, "not_found", `There is no org unit '${key}'.`);
  else if (!unit.is_current && (filed || comesBack)) {
    unitFault(orgUnitInactive, "org_unit_inactive", `The org unit '${key}' is not current.`);
  }
  const goesOff = current && losesStanding(current, next);
  if (goesOff && (await takesLastAdministrator(ctx, tenantId, { userId: current.id }))) {
    const message = `'${current.username}' is the last administrator of the tenant.`;
    faults.push({
      kind: lastAdministrator,
      fault: { pointer: pointerOfLoss(given), rule: "last_administrator", message },
    });
  }
  const expiryMatters = given.expiresAt !== undefined || comesBack;
  if (expiryMatters && next.expires_at && next.expires_at <= ctx.now) {
    const message = `The expiry ${next.expires_at.toISOString()} is not in the future.`;
    faults.push({ kind: expiryInPast, fault: { pointer: "/expiresAt", rule: "expiry_in_past", message } });
  }
  return faults;
}

/** Whether a user stops being one who logs in and stays. */
function losesStanding(current: Fields, next: Fields): boolean {
  const stands = (one: Fields) => one.is_current && one.log_in_method === "password" && one.expires_at === null;
  return stands(current) && !stands(next);
}

function pointerOfLoss(given: UserChange): string {
  if (given.isCurrent === false) return "/isCurrent";
  return given.expiresAt ? "/expiresAt" : "/logInMethod";
}

const emailTaken = (email: string): StateFault => ({
  kind: emailInUse,
  fault: {
    pointer: "/email",
    rule: "not_unique",
    message: `The e-mail address '${email}' is already used by another user.`,
  },
});
const nameTaken = (username: string): StateFault => ({
  kind: usernameInUse,
  fault: {
    pointer: "/username",
    rule: "not_unique",
    message: `The user name '${username}' is already used by another user.`,
  },
});

type Rival = Pick<Fields, "email_key" | "username_key">;

/** Other users of the tenant, current or not, that have this name or address. */
function findRivals(ctx: Context, tenantId: string, ownId: string, fields: Fields): Promise<Rival[]> {
  return ctx.db.rows(
    directory
      .selectFrom("directory.user")
      .select(["email_key", "username_key"])
      .where("tenant_id", "=", tenantId)
      .where("deleted_at", "is", null)
      .where("id", "!=", ownId)
      .where((eb) => eb.or([eb("email_key", "=", fields.email_key), eb("username_key", "=", fields.username_key)])),
  );
}

function findUnit(ctx: Context, tenantId: string, externalId: string): Promise<Unit | undefined> {
  return ctx.db.first(
    directory
      .selectFrom("directory.orgunit")
      .select(["id", "external_id", "is_current"])
      .where("tenant_id", "=", tenantId)
      .where("external_id", "=", externalId),
  );
}

const nextNumber = (tenantId: string) =>
  query<{ last: number }>(sql`insert into directory.user_number as n (tenant_id, last) values (${tenantId}, 1)
    on conflict (tenant_id) do update set last = n.last + 1 returning n.last`);

/** The resource of a row. */
export async function shown(ctx: Context, row: UserRead): Promise<User> {
  const zones = await zonesOf(ctx, [row.tenant_id]);
  return userOf(row, zones.get(row.tenant_id)!);
}

const switches = ["isCurrent", "notCurrentReason"];

/** A change may be two news: of its fields, and of a user switched on or off. */
function tellChange(
  ctx: Context,
  before: User,
  after: User,
  columns: readonly (keyof typeof shownAs)[],
  note?: string,
): void {
  const names = columns.map((column) => shownAs[column]);
  const fields = names.filter((name) => !switches.includes(name));
  if (fields.length > 0) {
    tell(ctx, userUpdated, after, before, fields);
    record(ctx, "updated", after, before, fields, note);
  }
  if (before.isCurrent === after.isCurrent) return;
  tell(ctx, after.isCurrent ? userReactivated : userDeactivated, after, before, switches);
  record(ctx, after.isCurrent ? "reactivated" : "deactivated", after, before, switches, note);
}

/** Tells of a user; `resource` null: it is gone. */
export function tell(
  ctx: Context,
  kind: EventKind,
  user: User,
  before: User | null,
  changed: readonly string[],
  resource: User | null = user,
): void {
  ctx.emit(kind, {
    tenantId: user.tenantId,
    subject: user.id,
    path: `/user/${user.id}`,
    resource,
    previous: before && Object.fromEntries(changed.map((name) => [name, before[name as keyof User]])),
    changed,
  });
}

export function record(
  ctx: Context,
  action: string,
  user: User,
  before: User | null,
  fields: readonly string[],
  comment?: string,
): void {
  ctx.audit({
    tenantId: user.tenantId,
    type: "user",
    action,
    item: { kind: "user", id: user.id, name: user.fullname },
    changes: changesOf(before, user, fields),
    comment,
  });
}
