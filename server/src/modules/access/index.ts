/**
 * Who exists, how they prove it, what they may do, how much of it, and the record of it.
 *
 * A *tenant* is a provider, a partner or a customer, in one tree per installation. A *principal* is who a credential
 * proves to be: a user, a client (service account) or a key, with the assignments that say what it may do and within
 * which tenant. Nothing of that is frozen into a credential: it is read from cached rows at every call, and the caches
 * are dropped, before the reply leaves, by every change that takes something away.
 */
import type { Module } from "#kernel/contract";
import { grantReused, grantRevoked } from "./oauth/events.ts";
import { oauthJobs } from "./oauth/jobs.ts";
import { mountOAuth } from "./oauth/mount.ts";
import { pingRoutes } from "./ping/routes.ts";
import { signingKeyRotated } from "./signing-key/events.ts";
import { signingKeyRoutes } from "./signing-key/routes.ts";
import { signingKeyJobs } from "./signing-key/tend.ts";

export { createGate } from "./gate.ts";
export { createTokenCheck } from "./oauth/access-token.ts";
export { ensureRoot } from "./root.ts";
export { isAssignedWithin, timeZoneOf } from "./standing.ts";

export const access: Module = {
  name: "access",
  about: "Tenants, credentials, limits and records.",
  routes: [...pingRoutes, ...signingKeyRoutes],
  events: [signingKeyRotated, grantRevoked, grantReused],
  jobs: [...signingKeyJobs, ...oauthJobs],
  mount: mountOAuth,
};
