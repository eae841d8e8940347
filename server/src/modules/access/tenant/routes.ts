import type { TSchema } from "typebox";
import { Type } from "typebox";
import { etagOf } from "#kernel/answer";
import { Reply, route } from "#kernel/contract";
import { mailNotConfigured } from "#kernel/mail";
import { accepted } from "#kernel/operation-store";
import { Operation, operationEvents } from "#kernel/operations";
import { listOf, listQuery } from "#kernel/page";
import { stale } from "#kernel/problem";
import { anyOf, id, object, oneOf, text } from "#kernel/schema";
import { userCreated } from "#modules/directory";
import { assignmentEvents, authPolicyUpdated, tenantEvents } from "../events.ts";
import { grantExceedsOwn } from "../hand-out.ts";
import { invitationCreated } from "../link/events.ts";
import { grantRevoked } from "../oauth/events.ts";
import { planExceedsOwn } from "../plan/operations.ts";
import { reauthenticationRequired } from "../step-up.ts";
import { getAuthPolicy, updateAuthPolicy } from "./auth-policy.ts";
import { createTenant } from "./create.ts";
import { deleteTenant, tenantHasChildren, tenantNotSuspended } from "./end.ts";
import { tenantKind } from "./kind.ts";
import { tenantCycle } from "./move.ts";
import { getTenant, listTenants, tenantCodeTaken, updateTenant } from "./operations.ts";
import { aboveOnly, providerOnlyProperty, tenantIsRoot } from "./rows.ts";
import {
  AuthPolicy,
  AuthPolicyChange,
  CreatedTenant,
  NewTenant,
  Suspension,
  Tenant,
  TenantChange,
  TenantUsage,
  tenantKinds,
  tenantStatuses,
} from "./schema.ts";
import { tenantExists, tenantNameTaken } from "./siblings.ts";
import { setSuspended } from "./suspension.ts";
import { tenantDeleting } from "./tree.ts";
import { getTenantUsage } from "./usage.ts";

const filters = {
  kind: anyOf(oneOf(tenantKinds)),
  parentId: anyOf(id("tnt")),
  status: anyOf(oneOf(tenantStatuses)),
  reference: text(100),
  code: anyOf(Type.String({ minLength: 1, maxLength: 32 })),
  q: Type.String({ minLength: 1, maxLength: 200, description: "Part of the name, code or reference, ignoring case." }),
};
const settingProblems = [
  aboveOnly,
  providerOnlyProperty,
  tenantNameTaken,
  tenantExists,
  tenantCodeTaken,
  planExceedsOwn,
];

/** A reply whose resource has no `id` of its own, so its tag is made here. */
const tagged = <T>(schema: TSchema, body: T) => new Reply(200, body, { etag: etagOf(schema, body) });

export const tenantRoutes = [
  route({
    method: "GET",
    path: "/tenant",
    versions: "v1+",
    id: "listTenants",
    summary: "List tenants",
    description: "The acting tenant and those below it.",
    permission: "tenant.read",
    query: listQuery(filters, ["createdAt", "name", "updatedAt"], Tenant),
    replies: { 200: listOf(Tenant) },
    run: (ctx, { query }) => listTenants(ctx, query),
  }),
  route({
    method: "POST",
    path: "/tenant",
    versions: "v1+",
    id: "createTenant",
    summary: "Create a tenant",
    description:
      "With `administrator` also its first user, who holds `tenant_administrator` and is mailed an invitation, or with `sendInvitation: false` is given it by you. A `reference` that the parent has used answers 409 `tenant_exists` with `existingId`.",
    permission: "tenant.create",
    body: NewTenant,
    replies: { 201: CreatedTenant },
    secret: "invitation",
    problems: [...settingProblems, tenantKind, tenantDeleting, grantExceedsOwn, mailNotConfigured],
    // Read late: `access` and `directory` import each other.
    get emits() {
      return [tenantEvents.created, assignmentEvents.created, userCreated, invitationCreated];
    },
    run: async (ctx, { body }) => {
      const made = await createTenant(ctx, body);
      return new Reply(201, made, { location: `/tenant/${made.id}`, etag: etagOf(Tenant, made) });
    },
  }),
  route({
    method: "GET",
    path: "/tenant/{id}",
    versions: "v1+",
    id: "getTenant",
    summary: "Read a tenant",
    description: "`self` is the acting tenant, here and below.",
    permission: "tenant.read",
    replies: { 200: Tenant },
    run: (ctx, { params }) => getTenant(ctx, params.id),
  }),
  route({
    method: "PATCH",
    path: "/tenant/{id}",
    versions: "v1+",
    id: "updateTenant",
    summary: "Change a tenant",
    description:
      "Of itself a tenant may change `name` and `timeZone`; the rest is set from above. `planId` also needs `plan.assign`. `parentId` moves it with all below it: what it inherits is worked out anew, and what the tenants that are no longer above had there ends (their plans, shared roles, roles within it, grants of their applications).",
    permission: "tenant.manage",
    body: TenantChange,
    replies: { 200: Tenant },
    problems: [...settingProblems, tenantKind, tenantCycle, tenantIsRoot, tenantDeleting, stale],
    emits: [
      tenantEvents.updated,
      tenantEvents.featuresChanged,
      tenantEvents.planChanged,
      tenantEvents.moved,
      assignmentEvents.deleted,
      grantRevoked,
    ],
    run: (ctx, { params, body }) => updateTenant(ctx, params.id, body),
  }),
  route({
    method: "DELETE",
    path: "/tenant/{id}",
    versions: "v1+",
    id: "deleteTenant",
    summary: "Delete a tenant for good",
    description:
      "It must be suspended, and nobody below it; `confirm` is its code. The operation stays queued until `purgeAt`, 30 days ahead unless the installation says otherwise; cancelling it until then leaves the tenant suspended as it was. Then its secrets can no longer be opened, and nothing of it stays but name, id and the last head of its audit chain, in the trail of the tenant above.",
    permission: "tenant.delete",
    query: object({ confirm: Type.Optional(text(32, { description: "The tenant's code." })) }),
    replies: { 202: Operation },
    problems: [aboveOnly, tenantIsRoot, tenantNotSuspended, tenantHasChildren, stale, reauthenticationRequired],
    emits: [tenantEvents.deletionScheduled, operationEvents.queued],
    run: async (ctx, { params, query }) => accepted(ctx, await deleteTenant(ctx, params.id, query.confirm)),
  }),
  route({
    method: "POST",
    path: "/tenant/{id}/suspend",
    versions: "v1+",
    id: "suspendTenant",
    summary: "Suspend a tenant and all below it",
    description: "Keys get 403 `tenant_suspended`, sessions and tokens end. Repeated: the same answer.",
    permission: "tenant.suspend",
    body: Suspension,
    bodyOptional: true,
    replies: { 200: Tenant },
    problems: [aboveOnly, tenantIsRoot, tenantDeleting],
    emits: [tenantEvents.suspended],
    run: (ctx, { params, body }) => setSuspended(ctx, params.id, true, body?.reason ?? null),
  }),
  route({
    method: "POST",
    path: "/tenant/{id}/resume",
    versions: "v1+",
    id: "resumeTenant",
    summary: "End a tenant's suspension",
    description: "Brings back all but the ended sessions and tokens. Repeated: the same answer.",
    permission: "tenant.suspend",
    body: Suspension,
    bodyOptional: true,
    replies: { 200: Tenant },
    problems: [aboveOnly, tenantIsRoot, tenantDeleting],
    emits: [tenantEvents.resumed],
    run: (ctx, { params, body }) => setSuspended(ctx, params.id, false, body?.reason ?? null),
  }),
  route({
    method: "GET",
    path: "/tenant/{id}/usage",
    versions: "v1+",
    id: "getTenantUsage",
    summary: "Read what a tenant has used of its plan",
    permission: "usage.read",
    replies: { 200: TenantUsage },
    run: (ctx, { params }) => getTenantUsage(ctx, params.id),
  }),
  route({
    method: "GET",
    path: "/tenant/{id}/auth-policy",
    versions: "v1+",
    id: "getAuthPolicy",
    summary: "Read a tenant's rules for log-in",
    permission: "tenant.read",
    replies: { 200: AuthPolicy },
    run: async (ctx, { params }) => tagged(AuthPolicy, await getAuthPolicy(ctx, params.id)),
  }),
  route({
    method: "PATCH",
    path: "/tenant/{id}/auth-policy",
    versions: "v1+",
    id: "updateAuthPolicy",
    summary: "Change a tenant's rules for log-in",
    permission: "authPolicy.manage",
    body: AuthPolicyChange,
    replies: { 200: AuthPolicy },
    problems: [stale, reauthenticationRequired],
    emits: [authPolicyUpdated],
    run: async (ctx, { params, body }) => tagged(AuthPolicy, await updateAuthPolicy(ctx, params.id, body)),
  }),
];
