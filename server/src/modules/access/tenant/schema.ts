import { type Static, type TSchema, Type } from "typebox";
import { id, instant, line, nullable, object, oneOf, text } from "#kernel/schema";
import { AppliedPlan } from "../plan/schema.ts";

/** Every feature of a tenant (access, section 1). */
export const featureNames = [
  "api",
  "beta",
  "passwordGrant",
  "monitoring",
  "desk",
  "directory",
  "exchange",
  "exchangeProvider",
  "notifications",
  "export",
] as const;
export type FeatureName = (typeof featureNames)[number];
export type Features = Record<FeatureName, boolean>;
export const tenantKinds = ["provider", "partner", "customer"] as const;
export const tenantStatuses = ["active", "suspended", "deleting"] as const;

/** One schema per feature; the type says which features there are. */
const featuresOf = <S extends TSchema>(one: S) =>
  object(Object.fromEntries(featureNames.map((name) => [name, one])) as Record<FeatureName, S>);

const code = Type.String({
  minLength: 2,
  maxLength: 32,
  pattern: "^[a-z0-9-]+$",
  "x-pattern": "Small letters a-z, digits and hyphens.",
  description:
    "Names the tenant at log-in and in `Demarc-Tenant`. Chosen by the provider alone, else made from the name.",
  examples: ["acme-7k2q"],
});
const timeZone = Type.String({
  minLength: 1,
  maxLength: 64,
  description: "Name of an IANA time zone.",
  examples: ["Europe/London"],
});
const reference = nullable(text(100, { description: "The parent's own id for the tenant." }));
const planId = nullable(id("pln", { description: "null: the plan of the nearest tenant above applies." }));
const limits = {
  maxKeys: Type.Integer({ minimum: 1, maximum: 1_000 }),
  maxIntegrationKeys: Type.Integer({ minimum: 0, maximum: 1_000 }),
};
const LimitsChange = object({
  maxKeys: Type.Optional(limits.maxKeys),
  maxIntegrationKeys: Type.Optional(limits.maxIntegrationKeys),
});
const FeaturesChange = featuresOf(Type.Optional(Type.Boolean()));

const tenant = {
  id: id("tnt"),
  kind: oneOf(tenantKinds, { "x-closed": true }),
  parentId: nullable(id("tnt", { description: "null where you cannot see the tenant above." })),
  name: text(100),
  code,
  reference,
  timeZone,
  planId,
  plan: AppliedPlan,
  features: featuresOf(Type.Boolean()),
  effectiveFeatures: featuresOf(Type.Boolean({ description: "On here and in every tenant above." })),
  limits: object(limits),
  status: oneOf(tenantStatuses),
  statusReason: nullable(Type.String({ description: "As given with the suspension." })),
  purgeAt: nullable(instant),
  createdAt: instant,
  updatedAt: instant,
};
export const Tenant = object(tenant, { title: "Tenant" });
export type Tenant = Static<typeof Tenant>;

export const CreatedTenant = object(
  {
    ...tenant,
    administratorId: nullable(id("usr", { description: "The user made from `administrator`." })),
    invitation: nullable(
      object(
        { url: Type.String({ format: "uri", "x-secret": true }), expiresAt: instant },
        {
          description:
            "Link by which the administrator sets its password: once, within 45 days, or the user is deleted. null where it was mailed, and in a replay after 10 minutes.",
        },
      ),
    ),
  },
  { title: "CreatedTenant" },
);
export type CreatedTenant = Static<typeof CreatedTenant>;

const serverSet = [
  "id",
  "plan",
  "effectiveFeatures",
  "status",
  "statusReason",
  "purgeAt",
  "createdAt",
  "updatedAt",
  "authPolicy",
];
export const NewTenant = object(
  {
    name: line(100),
    kind: oneOf(["partner", "customer"]),
    parentId: Type.Optional(id("tnt", { description: "The acting tenant, if left out." })),
    code: Type.Optional(code),
    reference: Type.Optional(reference),
    timeZone: Type.Optional(timeZone),
    planId: Type.Optional(planId),
    features: Type.Optional(FeaturesChange),
    limits: Type.Optional(LimitsChange),
    administrator: Type.Optional(
      object({
        username: Type.String({ minLength: 1, maxLength: 254 }),
        email: Type.String({ minLength: 3, maxLength: 254 }),
        fullname: text(200),
        sendInvitation: Type.Optional(Type.Boolean({ default: true, description: "false: the reply holds the link." })),
      }),
    ),
  },
  { "x-read-only": serverSet },
);
export type NewTenant = Static<typeof NewTenant>;

export const TenantChange = object(
  {
    name: Type.Optional(line(100)),
    code: Type.Optional(code),
    reference: Type.Optional(reference),
    timeZone: Type.Optional(timeZone),
    planId: Type.Optional(planId),
    features: Type.Optional(FeaturesChange),
    limits: Type.Optional(LimitsChange),
    parentId: Type.Optional(
      id("tnt", { description: "Moves the tenant, with all below it: the caller's reach covers both parents." }),
    ),
  },
  { "x-read-only": [...serverSet, "kind"] },
);
export type TenantChange = Static<typeof TenantChange>;

export const Suspension = object({
  reason: Type.Optional(nullable(text(500, { description: "Kept with the tenant and in the audit trail." }))),
});

const authPolicy = {
  mfa: oneOf(["off", "optional", "required"], { description: "The second factor of users who log in." }),
  sessionIdleMinutes: Type.Integer({ minimum: 5, maximum: 1_440 }),
  sessionMaxHours: Type.Integer({ minimum: 1, maximum: 168 }),
  selfServiceKeys: Type.Boolean({ description: "Users may issue personal keys to themselves." }),
};
export const AuthPolicy = object({ tenantId: id("tnt"), ...authPolicy }, { title: "AuthPolicy", "x-etag": true });
export type AuthPolicy = Static<typeof AuthPolicy>;
export const AuthPolicyChange = object(
  {
    mfa: Type.Optional(authPolicy.mfa),
    sessionIdleMinutes: Type.Optional(authPolicy.sessionIdleMinutes),
    sessionMaxHours: Type.Optional(authPolicy.sessionMaxHours),
    selfServiceKeys: Type.Optional(authPolicy.selfServiceKeys),
  },
  { "x-read-only": ["tenantId"] },
);
export type AuthPolicyChange = Static<typeof AuthPolicyChange>;

const calls = Type.Integer({ minimum: 0 });
const LaneUsage = object({
  burstLeft: Type.Integer({ minimum: 0, description: "Calls that this server would admit at this instant." }),
  usedToday: nullable(Type.Integer({ minimum: 0, description: "null: the lane has no limit per day." })),
  leftToday: nullable(calls),
});
export const TenantUsage = object(
  {
    tenantId: id("tnt"),
    plan: AppliedPlan,
    localDate: Type.String({ format: "date", description: "Today in the tenant's time zone." }),
    resetsAt: instant,
    lanes: object({ api: LaneUsage, scim: LaneUsage, publish: LaneUsage }),
    keys: Type.Array(object({ keyId: id("key"), calls, refused: calls }), {
      description: "Today's calls by key, the busiest 200, as the activity log has them.",
    }),
    days: Type.Array(object({ date: Type.String({ format: "date" }), calls, refused: calls }), {
      description: "The last 30 days that had calls, newest first, as the activity log has them.",
    }),
  },
  { title: "TenantUsage" },
);
export type TenantUsage = Static<typeof TenantUsage>;

/** What the events on a tenant's quota tell. */
export const Quota = object(
  {
    tenantId: id("tnt"),
    lane: oneOf(["api", "scim", "publish"]),
    localDate: Type.String({ format: "date" }),
    perDay: Type.Integer(),
  },
  { title: "Quota" },
);
