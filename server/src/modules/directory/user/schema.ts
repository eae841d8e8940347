import { type Static, Type } from "typebox";
import { listOf, listQuery } from "#kernel/page";
import { anyOf, id, instant, line, nullable, object, oneOf, text } from "#kernel/schema";

const username = Type.String({
  minLength: 1,
  maxLength: 254,
  pattern: "^(?!\\.+$)(?!(?:[mM][eE]|[bB][uU][lL][kK])$)(?![a-z]+_[0-7][0-9a-z]{25}$)[\\p{L}\\p{M}\\p{Nd}._\\-@+']+$",
  "x-pattern": "Letters, marks, digits and . _ - @ + ' only; not dots alone, not me or bulk, not shaped like an id.",
  description: "The caller's own key of the user. Compared without case; kept as first spelled.",
  examples: ["example.apiuser"],
});
const email = Type.String({
  minLength: 3,
  maxLength: 254,
  pattern:
    "^(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+=?^_`{|}~\\-]+(?:\\.[A-Za-z0-9!#$%&'*+=?^_`{|}~\\-]+)*@(?:[\\p{L}\\p{N}](?:[\\p{L}\\p{M}\\p{N}\\-]*[\\p{L}\\p{M}\\p{N}])?\\.)+[\\p{L}\\p{N}](?:[\\p{L}\\p{M}\\p{N}\\-]*[\\p{L}\\p{M}\\p{N}])?$",
  "x-pattern": "Must be an e-mail address: a local part of up to 64 characters, @, and a domain of two or more labels.",
  description: "Unique among the tenant's users; compared lower-cased, the domain as A-label.",
  examples: ["example.apiuser@evotix.example"],
});
const fullname = line(200, { examples: ["Example APIUser"] });
const unitKey = Type.String({
  minLength: 1,
  maxLength: 100,
  pattern: "^[A-Za-z0-9._:\\-]+$",
  description: "The `externalId` of an org unit of the tenant.",
  examples: ["ROOT"],
});
const timezone = Type.String({
  minLength: 1,
  maxLength: 64,
  description: "An IANA zone.",
  examples: ["Europe/London"],
});
const language = Type.String({ minLength: 2, maxLength: 35, description: "A BCP 47 tag.", examples: ["en-GB"] });

export const userTypes = ["full", "requester"] as const;
export const logInMethods = ["password", "sso", "none"] as const;
export const dateFormats = ["DD/MM/YYYY", "MM/DD/YYYY", "YYYY-MM-DD", "DD.MM.YYYY", "DD-MMM-YYYY"] as const;
export const sources = ["native", "scim", "desk"] as const;

export const User = object(
  {
    id: id("usr"),
    tenantId: id("tnt"),
    number: Type.Integer({ minimum: 1, description: "Counts the tenant's users, for tools that need integers." }),
    username,
    fullname,
    email,
    defaultOrgUnitExternalId: unitKey,
    userType: oneOf(userTypes),
    isSupportRep: Type.Boolean(),
    isCurrent: Type.Boolean(),
    notCurrentReason: nullable(oneOf(["deactivated", "expired", "scim"])),
    logInMethod: oneOf(logInMethods),
    isManager: Type.Boolean(),
    timezone,
    language,
    dateFormat: oneOf(dateFormats),
    expiresAt: nullable(instant),
    source: oneOf(sources),
    createdAt: instant,
    updatedAt: instant,
  },
  { title: "User" },
);
export type User = Static<typeof User>;

const serverFields = ["id", "tenantId", "number", "notCurrentReason", "source", "createdAt", "updatedAt"];

/** Null puts a field with a default back to it and clears the others; what is mandatory has no null. */
const optional = {
  userType: Type.Optional(nullable(oneOf(userTypes, { description: "`requester` raises own requests only." }))),
  isSupportRep: Type.Optional(nullable(Type.Boolean({ description: "Needs `userType` `full`." }))),
  isCurrent: Type.Optional(Type.Boolean()),
  logInMethod: Type.Optional(nullable(oneOf(logInMethods))),
  isManager: Type.Optional(nullable(Type.Boolean())),
  timezone: Type.Optional(nullable(timezone)),
  language: Type.Optional(nullable(language)),
  dateFormat: Type.Optional(nullable(oneOf(dateFormats))),
  expiresAt: Type.Optional(nullable(Type.String({ format: "date-time", description: "No log-in from then on." }))),
};

export const NewUser = object(
  { username, fullname, email, defaultOrgUnitExternalId: unitKey, ...optional },
  { title: "NewUser", "x-read-only": serverFields },
);
export type NewUser = Static<typeof NewUser>;

export const UserChange = object(
  {
    username: Type.Optional(username),
    fullname: Type.Optional(fullname),
    email: Type.Optional(email),
    defaultOrgUnitExternalId: Type.Optional(unitKey),
    ...optional,
  },
  { title: "UserChange", "x-read-only": serverFields },
);
export type UserChange = Static<typeof UserChange>;

export const Note = object({ note: Type.Optional(line(500)) }, { title: "Note" });
export type Note = Static<typeof Note>;

export const OwnUser = object(
  {
    ...User.properties,
    permissions: Type.Array(Type.String(), {
      description: "What the caller may do somewhere in its reach, as far as the credential's scopes let it.",
    }),
  },
  { title: "OwnUser" },
);
export type OwnUser = Static<typeof OwnUser>;

export const UserQuery = listQuery(
  {
    username: anyOf(text(254)),
    email: anyOf(text(254)),
    isCurrent: Type.Boolean(),
    userType: anyOf(oneOf(userTypes)),
    isSupportRep: Type.Boolean(),
    source: anyOf(oneOf(sources)),
    orgUnitExternalId: anyOf(unitKey),
    number: anyOf(Type.Integer({ minimum: 1 })),
    tenantId: anyOf(id("tnt")),
    updatedSince: instant,
    q: text(200, { description: "Part of a user name, full name or e-mail address, ignoring case." }),
  },
  ["createdAt", "updatedAt", "username", "fullname"],
  User,
);
export type UserQuery = Static<typeof UserQuery>;
export const UserList = listOf(User);
