/** The authorization code grant (RFC 6749, section 4.1.3; RFC 7636): what a log-in at the pages becomes. */
import type { FastifyRequest } from "fastify";
import { inTransaction } from "#kernel/context";
import type { TenantCard } from "#kernel/principal";
import { holdSession } from "../session/store.ts";
import { asActor, callerOf } from "./caller.ts";
import type { OAuthClient } from "./client.ts";
import { consumeCode, findCode, noteGrant, verifierFits } from "./code.ts";
import { OAuthError } from "./error.ts";
import { type Form, invalidRequest } from "./form.ts";
import { endGrant, isServed, openGrant } from "./grant.ts";
import { issueTokens, type TokenReply } from "./issue.ts";
import { type AuthorizationServer, charge, requireOpenTenant } from "./server.ts";

/** One wording: whoever has found a code learns nothing about it. */
const invalid = () =>
  new OAuthError(
    "invalid_grant",
    "The code is not known, was used before, has expired, or was not made for this call.",
  );

export async function codeGrant(
  server: AuthorizationServer,
  request: FastifyRequest,
  client: OAuthClient,
  form: Form,
): Promise<TokenReply> {
  const { kernel } = server;
  const { visit } = request;
  const [code, redirectUri, verifier] = ["code", "redirect_uri", "code_verifier"].map((name) => form.get(name));
  if (code === undefined || redirectUri === undefined || verifier === undefined)
    throw invalidRequest("code, redirect_uri and code_verifier are all needed.");
  const found = await findCode(kernel.system, code);
  if (!found || found.client_id !== client.id) throw invalid();
  const tenant = await kernel.gate.tenant(found.tenant_id);
  if (!tenant) throw invalid();
  visit.ownerTenantId = tenant.id;
  if (found.consumed_at !== null) return endReused(server, request, client, tenant, code);
  const now = kernel.now();
  const fits = found.redirect_uri === redirectUri && verifierFits(verifier, found.code_challenge);
  if (!fits || now >= found.expires_at || !found.sessionLives) throw invalid();
  requireOpenTenant(tenant, client.id);
  const user = await kernel.gate.principalOf({ kind: "user", id: found.user_id }, tenant.id);
  if (!user) throw invalid();
  visit.who = asActor(tenant, user.actor, client.id);
  if (client.public) await charge(server, found.user_id);

  const opened = await kernel.db.transaction(tenant.id, async (tx) => {
    if (!(await isServed(tx, client, tenant.id))) throw invalid();
    if (!(await holdSession(tx, found.session_id))) throw invalid();
    if (!(await consumeCode(tx, code, now))) return null;
    const grant = {
      tenantId: tenant.id,
      userId: found.user_id,
      clientId: client.id,
      scopes: found.scopes,
      authTime: found.auth_time,
      sessionId: found.session_id,
    };
    const made = await openGrant(tx, now, grant, client.grants.includes("refresh_token"));
    await noteGrant(tx, code, made.grantId);
    return made;
  });
  if (!opened) return endReused(server, request, client, tenant, code);
  return issueTokens(server, {
    tenantId: tenant.id,
    actor: { kind: "user", id: found.user_id },
    clientId: client.id,
    scopes: found.scopes,
    lifetimeSeconds: client.accessTokenSeconds,
    authTime: found.auth_time,
    grant: { kind: "existing", id: opened.grantId, refreshToken: opened.refreshToken },
  });
}

/** The second user of a code may be its owner, and the first one the thief: the grant ends for both. */
async function endReused(
  { kernel }: AuthorizationServer,
  request: FastifyRequest,
  client: OAuthClient,
  tenant: TenantCard,
  code: string,
): Promise<never> {
  const grantId = (await findCode(kernel.system, code))?.grant_id;
  if (grantId) {
    const who = asActor(tenant, { kind: "client", id: client.id, name: client.name }, client.id);
    await inTransaction(kernel, callerOf(kernel, request, who), (ctx) => endGrant(ctx, grantId, "reused"));
  }
  throw invalid();
}
