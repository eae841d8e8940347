import { type Static, Type } from "typebox";
import { anyOf, id, instant, nullable, object, oneOf, text } from "#kernel/schema";
import { withinKinds } from "../assignment/schema.ts";

export const keyKinds = ["standard", "integration", "personal", "bound"] as const;

const title = text(100, {
  description:
    "Unique among the keys of its kind, ignoring case. Of standard and personal keys 1 to 32 of letters, digits, `_` and `-`.",
  examples: ["HR_Sync-01"],
});
const description = nullable(Type.String({ maxLength: 500 }));
export const roleId = Type.String({
  minLength: 1,
  maxLength: 64,
  description: "Name of a built-in role, or id of a custom one.",
  examples: ["integrator"],
});
export const scopesSchema = Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
  minItems: 1,
  maxItems: 200,
  uniqueItems: true,
  description: "`*`, `read`, a service (`desk`), a service's reads (`desk:read`), or permissions.",
  examples: [["*"]],
});
const withinId = Type.String({ minLength: 1, maxLength: 100 });
export const Role = object({ roleId, within: object({ kind: oneOf(withinKinds), id: withinId }) });
export const rolesSchema = Type.Array(Role, { description: "Roles of its own, each with the place it counts for." });
export const newRolesSchema = Type.Array(
  object({
    roleId,
    within: Type.Optional(
      object(
        { kind: oneOf(withinKinds), id: Type.Optional(withinId) },
        { description: "Default: the credential's tenant; `groups` for support_rep, `own` for requester." },
      ),
    ),
  }),
  { maxItems: 100 },
);
export type NewRole = Static<typeof newRolesSchema>[number];
export const Secret = object({
  hint: Type.String({
    description: "The part that may be shown: it stands in logs too.",
    examples: ["dmk_AbCdEf0123"],
  }),
  createdAt: instant,
  expiresAt: nullable(instant),
});
const expiresAt = nullable({ ...instant, description: "At this instant it is over; null: never." } as typeof instant);
const readOnly = Type.Boolean({ description: "Opens only routes that read." });
const allowedAddresses = Type.Array(Type.String({ minLength: 2, maxLength: 50 }), {
  maxItems: 50,
  description: "IPv4 and IPv6 addresses or CIDR ranges from which the key counts; empty: any.",
  examples: [["192.0.2.0/24"]],
});

const members = {
  id: id("key"),
  tenantId: id("tnt"),
  kind: oneOf(keyKinds),
  title,
  description,
  userId: nullable(id("usr", { description: "Whose key it is: personal keys." })),
  responsibleUserId: nullable(id("usr", { description: "On whose behalf it acts: standard and integration keys." })),
  roles: rolesSchema,
  scopes: scopesSchema,
  readOnly,
  expiresAt,
  allowedAddresses,
  enabled: Type.Boolean(),
  disabledReason: nullable(
    oneOf(["owner_gone"], { description: "`owner_gone`: the responsible user's log-in has ended." }),
  ),
  secrets: Type.Array(Secret, { description: "The live ones: two while a rotation overlaps." }),
  lastUsedAt: nullable(instant),
  lastUsedAddress: nullable(Type.String()),
  createdBy: Type.String({ description: "Id of the principal." }),
  createdAt: instant,
  updatedAt: instant,
};
const written = ["title", "description", "roles", "scopes", "readOnly", "expiresAt", "allowedAddresses"];
const readOnlyMembers = (...writable: string[]) =>
  [...Object.keys(members), "secret"].filter((name) => !writable.includes(name));

export const Key = object(members, { title: "Key" });
export type Key = Static<typeof Key>;
const secret = nullable(
  Type.String({ description: "The credential itself: here and nowhere else. Null in a replay after 10 minutes." }),
);
/** A key with a secret that was just made. */
export const IssuedKey = object({ ...members, secret }, { title: "IssuedKey" });
export type IssuedKey = Static<typeof IssuedKey>;

const newMembers = {
  kind: Type.Optional(oneOf(["standard", "integration", "personal"], { default: "standard" })),
  title,
  description: Type.Optional(description),
  userId: Type.Optional(id("usr", { description: "Personal keys: whose key it is." })),
  responsibleUserId: Type.Optional(
    nullable(id("usr", { description: "Of the key's tenant; null: the key answers for itself." })),
  ),
  roles: Type.Optional(newRolesSchema),
  scopes: Type.Optional(scopesSchema),
  readOnly: Type.Optional(readOnly),
  expiresAt: Type.Optional(expiresAt),
  allowedAddresses: Type.Optional(allowedAddresses),
  value: Type.Optional(
    Type.String({
      "x-secret": true,
      description:
        "A key that programs of another system hold: it goes on working here. Of the provider's credentials alone; 32 to 256 visible characters.",
    }),
  ),
};
export const NewKey = object(newMembers, {
  title: "NewKey",
  "x-read-only": readOnlyMembers("kind", "userId", "responsibleUserId", ...written),
});
export type NewKey = Static<typeof NewKey>;

export const KeyChange = object(
  {
    title: Type.Optional(title),
    description: newMembers.description,
    roles: newMembers.roles,
    scopes: newMembers.scopes,
    readOnly: newMembers.readOnly,
    expiresAt: newMembers.expiresAt,
    allowedAddresses: newMembers.allowedAddresses,
    enabled: Type.Optional(Type.Boolean()),
  },
  { title: "KeyChange", "x-read-only": readOnlyMembers("enabled", ...written) },
);
export type KeyChange = Static<typeof KeyChange>;

export const Reassignment = object(
  {
    responsibleUserId: nullable(id("usr", { description: "Of the key's tenant; null: the key answers for itself." })),
    comment: Type.Optional(nullable(text(500, { description: "Why; it stands in the audit trail." }))),
  },
  { title: "Reassignment" },
);
export type Reassignment = Static<typeof Reassignment>;

export const Rotation = object(
  {
    overlapMinutes: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 10_080,
        default: 1_440,
        description: "How long the old secret works on; 0: it is over at once.",
      }),
    ),
  },
  { title: "Rotation" },
);
export type Rotation = Static<typeof Rotation>;

export const keyFilters = {
  kind: anyOf(oneOf(keyKinds)),
  enabled: Type.Boolean(),
  tenantId: anyOf(id("tnt")),
  userId: anyOf(id("usr")),
  title: Type.String({ minLength: 1, maxLength: 100 }),
  expiresBefore: instant,
  unusedSince: { ...instant, description: "Keys neither used nor made at or after this instant." } as typeof instant,
  updatedSince: instant,
  q: Type.String({ minLength: 1, maxLength: 200, description: "Part of title, description or hint, ignoring case." }),
};
