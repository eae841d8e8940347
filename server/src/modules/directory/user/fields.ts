/** What may be written of a user: how a body becomes columns, and what a schema alone cannot say of it. */

import type { Fault } from "#kernel/problem";
import { isTimeZone } from "#kernel/time-zone";
import { emailKey, fold } from "../names.ts";
import { languages, type UserRead } from "./rows.ts";
import type { NewUser, UserChange } from "./schema.ts";

/** The columns that a caller's write can change. */
export type Fields = Pick<
  UserRead,
  | "username"
  | "username_key"
  | "fullname"
  | "email"
  | "email_key"
  | "default_orgunit_id"
  | "user_type"
  | "is_support_rep"
  | "is_current"
  | "not_current_reason"
  | "log_in_method"
  | "is_manager"
  | "time_zone"
  | "language"
  | "date_format"
  | "expires_at"
>;

/** Columns and the names they have in the resource. */
export const shownAs = {
  username: "username",
  fullname: "fullname",
  email: "email",
  default_orgunit_id: "defaultOrgUnitExternalId",
  user_type: "userType",
  is_support_rep: "isSupportRep",
  is_current: "isCurrent",
  not_current_reason: "notCurrentReason",
  log_in_method: "logInMethod",
  is_manager: "isManager",
  time_zone: "timezone",
  language: "language",
  date_format: "dateFormat",
  expires_at: "expiresAt",
} as const satisfies Partial<Record<keyof Fields, string>>;

type Blank = Omit<Fields, "username" | "username_key" | "fullname" | "email" | "email_key" | "default_orgunit_id">;
const blank: Blank = {
  user_type: "full",
  is_support_rep: false,
  is_current: true,
  not_current_reason: null,
  log_in_method: "password",
  is_manager: false,
  time_zone: null,
  language: null,
  date_format: "DD/MM/YYYY",
  expires_at: null,
};

/** A new user's columns; `unitId` is that of the unit the body names. */
export function newFields(given: NewUser, unitId: string): Fields {
  const start: Fields = {
    ...blank,
    username: given.username,
    username_key: fold(given.username),
    fullname: given.fullname,
    email: given.email,
    email_key: emailKey(given.email),
    default_orgunit_id: unitId,
  };
  return changedFields(start, given, unitId);
}

/** The columns after a write: absent keeps, null puts a field with a default back to it (A4.4). */
export function changedFields(current: Fields, given: UserChange, unitId: string): Fields {
  const isCurrent = given.isCurrent ?? current.is_current;
  const or = <T>(value: T | null | undefined, kept: T, otherwise: T): T =>
    value === undefined ? kept : (value ?? otherwise);
  return {
    username: given.username ?? current.username,
    username_key: given.username === undefined ? current.username_key : fold(given.username),
    fullname: given.fullname ?? current.fullname,
    email: given.email ?? current.email,
    email_key: given.email === undefined ? current.email_key : emailKey(given.email),
    default_orgunit_id: unitId,
    user_type: or(given.userType, current.user_type, blank.user_type),
    is_support_rep: or(given.isSupportRep, current.is_support_rep, blank.is_support_rep),
    is_current: isCurrent,
    not_current_reason: isCurrent ? null : (current.not_current_reason ?? "deactivated"),
    log_in_method: or(given.logInMethod, current.log_in_method, blank.log_in_method),
    is_manager: or(given.isManager, current.is_manager, blank.is_manager),
    time_zone: or(given.timezone, current.time_zone, blank.time_zone),
    language: or(given.language, current.language, blank.language),
    date_format: or<string>(given.dateFormat, current.date_format, blank.date_format),
    expires_at: given.expiresAt === undefined ? current.expires_at : instantOf(given.expiresAt),
  };
}

const instantOf = (text: string | null) => (text === null ? null : new Date(text));

/** The columns in which two states differ. */
export function differing(before: Fields, after: Fields): (keyof typeof shownAs)[] {
  const value = (one: unknown) => (one instanceof Date ? one.getTime() : one);
  return (Object.keys(shownAs) as (keyof typeof shownAs)[]).filter(
    (name) => value(before[name]) !== value(after[name]),
  );
}

/** Faults that need more than a schema: zones, languages, domains, and what does not go together. */
export function fieldFaults(given: UserChange, after: Pick<Fields, "user_type" | "is_support_rep">): Fault[] {
  const faults: Fault[] = [];
  if (given.email !== undefined && emailKey(given.email) === "") {
    faults.push({ pointer: "/email", rule: "pattern", message: "The domain of the e-mail address is not valid." });
  }
  if (given.timezone && !isTimeZone(given.timezone)) {
    faults.push({ pointer: "/timezone", rule: "enum", message: "Must be the name of an IANA time zone." });
  }
  if (given.language && !languages.includes(given.language)) {
    faults.push({ pointer: "/language", rule: "enum", message: `Must be one of ${languages.join(", ")}.` });
  }
  if (after.is_support_rep && after.user_type !== "full") {
    faults.push({
      pointer: given.isSupportRep ? "/isSupportRep" : "/userType",
      rule: "support_rep_is_full",
      message: "A support rep has the userType full.",
    });
  }
  return faults;
}
