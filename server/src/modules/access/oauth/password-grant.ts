/** The password grant: for tenants that switched it on, and callers that can hold a password but show no page. */
import type { FastifyRequest } from "fastify";
import type { TenantCard } from "#kernel/principal";
import { readAuthPolicy } from "../tenant/auth-policy.ts";
import { asActor } from "./caller.ts";
import type { OAuthClient } from "./client.ts";
import { comeAgain, OAuthError } from "./error.ts";
import { type Form, invalidRequest } from "./form.ts";
import { issueTokens, type TokenReply } from "./issue.ts";
import { type Proved, proveByPassword, readLoginName, record, recordSuccess, stillProves } from "./log-in.ts";
import { type AuthorizationServer, charge, requireOpenTenant } from "./server.ts";

const lifetimeSeconds = 3_600;
/** Always the same, whether the name has a tenant or not: it tells nothing about who exists. */
const refusal = "The user name or password is wrong. A name that several tenants know is given as tenant/username.";

export async function passwordGrant(
  server: AuthorizationServer,
  request: FastifyRequest,
  client: OAuthClient,
  form: Form,
  scopes: readonly string[],
): Promise<TokenReply> {
  const { kernel } = server;
  const { visit } = request;
  const username = form.get("username");
  const password = form.get("password");
  if (username === undefined || password === undefined) throw invalidRequest("username and password are both needed.");

  const typed = readLoginName(username, form.get("tenant"));
  const proof = await proveByPassword(server, request, typed, password, client.id);
  if (proof.kind === "throttled") {
    throw comeAgain("login_throttled", "Too many wrong passwords. Try again later.", proof.retryAfterSeconds);
  }
  if (proof.kind === "busy") throw comeAgain("unavailable", "Too many log-ins at once. Try again.", 1, 503);
  if (proof.kind === "wrong") throw new OAuthError("invalid_grant", refusal);

  const { user, attempt } = proof;
  const tenant = await kernel.gate.tenant(user.tenantId);
  if (!tenant) {
    await attempt.cancel();
    throw new OAuthError("invalid_grant", refusal);
  }
  const who = asActor(tenant, { kind: "user", id: user.id, name: user.fullname }, client.id);
  visit.ownerTenantId = user.tenantId;
  visit.who = who;
  let reply: TokenReply;
  try {
    await requireGranted(server, client, tenant, proof);
    reply = await issueTokens(server, {
      tenantId: user.tenantId,
      actor: { kind: "user", id: user.id },
      clientId: client.id,
      scopes,
      lifetimeSeconds,
      authTime: kernel.now(),
    });
    if (!(await stillProves(server, proof, password))) throw new OAuthError("invalid_grant", refusal);
  } catch (error) {
    // The password was right, so this is no guess; it is no log-in either.
    await attempt.cancel();
    if (error instanceof OAuthError && error.error !== "temporarily_unavailable") {
      await record(server, request, who, user, "failed", client.id, error.code);
    }
    throw error;
  }
  await recordSuccess(server, request, who, proof);
  return reply;
}

/** What a right password alone is not enough for. */
async function requireGranted(
  server: AuthorizationServer,
  client: OAuthClient,
  tenant: TenantCard,
  { user, login }: Proved,
): Promise<void> {
  // A client serves people of its own tenant and below; for others it is as if they did not exist.
  if (client.tenantId !== null && !tenant.lineage.includes(client.tenantId)) {
    throw new OAuthError("invalid_grant", refusal);
  }
  requireOpenTenant(tenant, client.id);
  if (!tenant.features.has("passwordGrant")) {
    throw new OAuthError("unauthorized_client", "The password grant is not enabled for this tenant.", {
      code: "password_grant_disabled",
    });
  }
  if (login.mfa_enabled || (await readAuthPolicy(server.kernel.system.in(""), user.tenantId)).mfa === "required") {
    throw new OAuthError(
      "invalid_grant",
      "This user needs a second factor: log in by authorization code or device code, or use a personal key.",
      { code: "mfa_required" },
    );
  }
  if (login.must_change) {
    throw new OAuthError("invalid_grant", "The password was set by someone else and must be changed first.", {
      code: "password_change_required",
    });
  }
  await charge(server, user.id);
}
