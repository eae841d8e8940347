/**
 * Who exists, how they prove it, what they may do, how much of it, and the record of it.
 *
 * A *tenant* is a provider, a partner or a customer, in one tree per installation. A *principal* is who a credential
 * proves to be: a user, a client (service account) or a key, with the assignments that say what it may do and within
 * which tenant. Nothing of that is frozen into a credential: it is read from cached rows at every call, and the caches
 * are dropped, before the reply leaves, by every change that takes something away.
 */
import type { Module } from "#kernel/contract";
import { activityRoutes } from "./activity/routes.ts";
import { assignmentRoutes } from "./assignment/routes.ts";
import { auditHeadSigned } from "./audit/events.ts";
import { auditJobs } from "./audit/jobs.ts";
import { auditRoutes } from "./audit/routes.ts";
import { mountAuditKeys } from "./audit/well-known.ts";
import { clientEvents } from "./client/events.ts";
import { clientRoutes } from "./client/routes.ts";
import { assignmentEvents, authPolicyUpdated, planEvents, quotaEvents, tenantEvents } from "./events.ts";
import { guessJobs } from "./guess-guard.ts";
import { keyEvents } from "./key/events.ts";
import { keyJobs } from "./key/jobs.ts";
import { keyRoutes } from "./key/routes.ts";
import { invitationEvents } from "./link/events.ts";
import { linkJobs } from "./link/jobs.ts";
import { mountLinkPages } from "./link/pages.ts";
import { linkRoutes } from "./link/routes.ts";
import { mfaEvents } from "./mfa/events.ts";
import { mfaRoutes } from "./mfa/routes.ts";
import { grantReused, grantRevoked } from "./oauth/events.ts";
import { oauthJobs } from "./oauth/jobs.ts";
import { mountOAuth } from "./oauth/mount.ts";
import { pingRoutes } from "./ping/routes.ts";
import { planRoutes } from "./plan/routes.ts";
import { principalRoutes } from "./principal/routes.ts";
import { sessionEnded } from "./session/events.ts";
import { sessionRoutes } from "./session/routes.ts";
import { signingKeyRotated } from "./signing-key/events.ts";
import { signingKeyRoutes } from "./signing-key/routes.ts";
import { signingKeyJobs } from "./signing-key/tend.ts";
import { tenantDeletion } from "./tenant/end.ts";
import { tenantRoutes } from "./tenant/routes.ts";
import { logInEvents } from "./user/events.ts";
import { userRoutes } from "./user/routes.ts";

export { createAssignment } from "./assignment/operations.ts";
export { createSealer } from "./audit/sealer.ts";
export { createClient } from "./client/operations.ts";
export { createGate } from "./gate.ts";
export { createWrongCredentialLimiter } from "./guess-guard.ts";
export { grantExceedsOwn } from "./hand-out.ts";
export { createAddressAlarm } from "./key/address-alarm.ts";
export { mintBoundKey } from "./key/bound.ts";
export { endedUserEvents } from "./key/ended-user.ts";
export { keyCreated } from "./key/events.ts";
export { createLastUse } from "./key/last-use.ts";
export { createKey } from "./key/operations.ts";
export { takesLastAdministrator } from "./last-administrator.ts";
export { moveMailbox } from "./link/mailbox.ts";
export { awaitsSetUp, makeSetupLink } from "./link/setup.ts";
export { createTokenCheck } from "./oauth/access-token.ts";
export { hasLogIn } from "./page/visitor.ts";
export { hashPassword } from "./password.ts";
export { tellQuota } from "./quota.ts";
export {
  type CustomRole,
  findCustomRole,
  isAdministrator,
  listCustomRoles,
  type RoleFace,
  type RoleFilters,
} from "./role/rows.ts";
export { readSwitches } from "./role/switches.ts";
export { deleteCustomRole, lockRoles, mostRoles, type RoleObstacle, storeCustomRole } from "./role/write.ts";
export { ensureRoot } from "./root.ts";
export { verificationKeys } from "./signing-key/signer.ts";
export { isAssignedWithin, timeZoneOf, timeZonesOf } from "./standing.ts";
export { reauthenticationRequired } from "./step-up.ts";
export { lineageOf } from "./tenant/lineage-of.ts";
export const { deletionCancelled: tenantDeletionCancelled } = tenantEvents;
export { createTenant } from "./tenant/create.ts";
export { endLogIn, forgetUser } from "./user/end-log-in.ts";
export { setPassword } from "./user/log-in-row.ts";

export const access: Module = {
  name: "access",
  about: "Tenants, credentials, limits and records.",
  routes: [
    ...pingRoutes,
    ...principalRoutes,
    ...tenantRoutes,
    ...planRoutes,
    ...assignmentRoutes,
    ...signingKeyRoutes,
    ...keyRoutes,
    ...clientRoutes,
    ...userRoutes,
    ...sessionRoutes,
    ...mfaRoutes,
    ...linkRoutes,
    ...activityRoutes,
    ...auditRoutes,
  ],
  events: [
    ...Object.values(tenantEvents),
    authPolicyUpdated,
    ...Object.values(planEvents),
    ...Object.values(assignmentEvents),
    ...Object.values(quotaEvents),
    signingKeyRotated,
    grantRevoked,
    grantReused,
    sessionEnded,
    ...keyEvents,
    ...clientEvents,
    ...logInEvents,
    ...mfaEvents,
    ...invitationEvents,
    auditHeadSigned,
  ],
  operations: [tenantDeletion],
  jobs: [...signingKeyJobs, ...oauthJobs, ...keyJobs, ...guessJobs, ...linkJobs, ...auditJobs],
  sealed: [
    { table: "access.signing_key", column: "private_sealed", rowId: "kid" },
    { table: "access.audit_key", column: "private_sealed", rowId: "kid" },
    { table: "access.totp", column: "secret_sealed", rowId: "user_id" },
  ],
  async mount(http, kernel) {
    await http.register(async (scope) => mountOAuth(scope, kernel));
    await http.register(async (scope) => mountLinkPages(scope, kernel));
    mountAuditKeys(http, kernel);
  },
};
