/** The refresh grant (access, section 5.3): one use per token; the second use of one ends the grant. */
import type { FastifyRequest } from "fastify";
import { inTransaction } from "#kernel/context";
import type { TenantCard } from "#kernel/principal";
import { asActor, callerOf } from "./caller.ts";
import type { OAuthClient } from "./client.ts";
import { OAuthError } from "./error.ts";
import { type Form, invalidRequest } from "./form.ts";
import { consumeRefreshToken, endGrant, findRefreshToken, type RefreshToken } from "./grant.ts";
import { issueTokens, type TokenReply } from "./issue.ts";
import { readScope } from "./scope.ts";
import { type AuthorizationServer, charge, requireOpenTenant } from "./server.ts";

const lifetimeSeconds = 600;
const refusal = "The refresh token is not known, was used before, or has expired.";

export async function refreshGrant(
  server: AuthorizationServer,
  request: FastifyRequest,
  client: OAuthClient,
  form: Form,
): Promise<TokenReply> {
  const { kernel } = server;
  const { visit } = request;
  const token = form.get("refresh_token");
  if (token === undefined) throw invalidRequest("refresh_token is needed.");
  const found = await findRefreshToken(kernel.system, token);
  if (!found || found.client_id !== client.id) throw new OAuthError("invalid_grant", refusal);

  const now = kernel.now();
  const tenant = await kernel.gate.tenant(found.tenant_id);
  if (!tenant) throw new OAuthError("invalid_grant", refusal);
  visit.ownerTenantId = tenant.id;
  if (found.consumed_at !== null) return endReused(server, request, client, tenant, found);
  if (found.ended_at !== null || now >= found.token_expires_at || now >= found.expires_at) {
    throw new OAuthError("invalid_grant", refusal);
  }
  requireOpenTenant(tenant, client.id);
  const user = await kernel.gate.principalOf({ kind: "user", id: found.user_id }, tenant.id);
  if (!user) throw new OAuthError("invalid_grant", refusal);
  visit.who = asActor(tenant, user.actor, client.id);
  if (client.public) await charge(server, found.user_id);

  const scopes = readScope(form.get("scope"), found.scopes);
  const refreshToken = await consumeRefreshToken(kernel.db.in(tenant.id), token, now);
  if (refreshToken === null) return endReused(server, request, client, tenant, found);
  return issueTokens(server, {
    tenantId: tenant.id,
    actor: { kind: "user", id: found.user_id },
    clientId: client.id,
    scopes,
    lifetimeSeconds,
    authTime: found.auth_time,
    grant: { kind: "existing", id: found.id, refreshToken },
  });
}

/** No grace period: it would blind the alarm. A reply that got lost costs one log-in. */
async function endReused(
  { kernel }: AuthorizationServer,
  request: FastifyRequest,
  client: OAuthClient,
  tenant: TenantCard,
  found: RefreshToken,
): Promise<never> {
  const who = asActor(tenant, { kind: "client", id: client.id, name: client.name }, client.id);
  await inTransaction(kernel, callerOf(kernel, request, who), (ctx) => endGrant(ctx, found.id, "reused"));
  throw new OAuthError("invalid_grant", refusal);
}
