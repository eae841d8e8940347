/** The device code grant (RFC 8628, section 3.4): polled until a person has decided. */
import type { FastifyRequest } from "fastify";
import { holdSession } from "../session/store.ts";
import { asActor } from "./caller.ts";
import type { OAuthClient } from "./client.ts";
import { consumeDevice, pollDevice } from "./device.ts";
import { OAuthError } from "./error.ts";
import { type Form, invalidRequest } from "./form.ts";
import { isServed, openGrant } from "./grant.ts";
import { issueTokens, type TokenReply } from "./issue.ts";
import { type AuthorizationServer, requireOpenTenant } from "./server.ts";

const lifetimeSeconds = 600;
const invalid = () => new OAuthError("invalid_grant", "The device code is not known, or was used before.");

export async function deviceCodeGrant(
  server: AuthorizationServer,
  request: FastifyRequest,
  client: OAuthClient,
  form: Form,
): Promise<TokenReply> {
  const { kernel } = server;
  const { visit } = request;
  const deviceCode = form.get("device_code");
  if (deviceCode === undefined) throw invalidRequest("device_code is needed.");
  const now = kernel.now();
  const found = await pollDevice(kernel.system, deviceCode, now);
  if (!found || found.client_id !== client.id) throw invalid();
  if (now >= found.expires_at) throw new OAuthError("expired_token", "The device code has expired: begin again.");
  if (found.state === "denied") throw new OAuthError("access_denied", "The request was refused at the log-in page.");
  if (found.state === "pending") {
    if (found.hasty) throw new OAuthError("slow_down", "Polled too soon: wait 5 seconds longer from now on.");
    throw new OAuthError("authorization_pending", "Nobody has decided on the request yet.");
  }
  const { tenant_id: tenantId, user_id: userId, session_id: sessionId, auth_time: authTime } = found;
  const tenant = tenantId === null ? null : await kernel.gate.tenant(tenantId);
  if (!tenant || userId === null || sessionId === null || authTime === null || !found.sessionLives) throw invalid();
  visit.ownerTenantId = tenant.id;
  requireOpenTenant(tenant, client.id);
  const user = await kernel.gate.principalOf({ kind: "user", id: userId }, tenant.id);
  if (!user) throw invalid();
  visit.who = asActor(tenant, user.actor, client.id);
  const { scopes } = found;
  const opened = await kernel.db.transaction(tenant.id, async (tx) => {
    if (!(await isServed(tx, client, tenant.id))) return null;
    if (!(await holdSession(tx, sessionId)) || !(await consumeDevice(tx, deviceCode))) return null;
    const grant = { tenantId: tenant.id, userId, clientId: client.id, scopes, authTime, sessionId };
    return openGrant(tx, now, grant, client.grants.includes("refresh_token"));
  });
  if (!opened) throw invalid();
  return issueTokens(server, {
    tenantId: tenant.id,
    actor: { kind: "user", id: userId },
    clientId: client.id,
    scopes,
    lifetimeSeconds,
    authTime,
    grant: { kind: "existing", id: opened.grantId, refreshToken: opened.refreshToken },
  });
}
