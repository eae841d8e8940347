import { event } from "#kernel/events";
import { Assignment } from "./assignment/schema.ts";
import { Plan } from "./plan/schema.ts";
import { AuthPolicy, Quota, Tenant } from "./tenant/schema.ts";

/** Tenants are shown in events as they see themselves: without the source of what comes from above. */
const ofTenant = (name: string, summary: string) =>
  event("access", `tenant.${name}`, { permission: "tenant.read", summary, resource: Tenant });
export const tenantEvents = {
  created: ofTenant("created", "A tenant was made."),
  updated: ofTenant("updated", "Name, code, reference, time zone or limits of a tenant changed."),
  featuresChanged: ofTenant("features_changed", "A tenant's own feature switches changed."),
  planChanged: ofTenant("plan_changed", "A tenant was given another usage plan, or none of its own."),
  suspended: ofTenant("suspended", "A tenant, and with it all below, was suspended."),
  resumed: ofTenant("resumed", "A tenant's suspension ended."),
  moved: ofTenant("moved", "A tenant, and with it all below, was hung under another parent."),
  deletionScheduled: ofTenant("deletion_scheduled", "A tenant will be deleted for good at its `purgeAt`."),
  deletionCancelled: ofTenant("deletion_cancelled", "A tenant is suspended, and no longer to be deleted."),
  deleted: ofTenant("deleted", "A tenant was deleted for good; told to the one above it."),
};

export const authPolicyUpdated = event("access", "auth_policy.updated", {
  permission: "tenant.read",
  summary: "A tenant's rules for log-in changed.",
  resource: AuthPolicy,
});

const ofPlan = (name: string, summary: string) =>
  event("access", `plan.${name}`, { permission: "plan.read", summary, resource: Plan });
export const planEvents = {
  created: ofPlan("created", "A usage plan was made."),
  updated: ofPlan("updated", "A usage plan changed."),
  deleted: ofPlan("deleted", "A usage plan was deleted."),
};

const ofAssignment = (name: string, summary: string) =>
  event("access", `assignment.${name}`, { permission: "role.read", summary, resource: Assignment });
export const assignmentEvents = {
  created: ofAssignment("created", "A role was assigned."),
  deleted: ofAssignment("deleted", "An assigned role was taken away."),
};

const ofQuota = (name: string, summary: string) =>
  event("access", `quota.${name}`, { permission: "usage.read", summary, resource: Quota });
export const quotaEvents = {
  warned: ofQuota("warned", "80 % of a day's calls of a lane are spent; once a day."),
  exhausted: ofQuota("exhausted", "A day's calls of a lane are spent; once a day."),
};
