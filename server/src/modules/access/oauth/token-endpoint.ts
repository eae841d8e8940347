/** The token endpoint. Order of checks: form, client, grant type, scope, grant; nothing later is looked at once one fails. */
import type { FastifyRequest } from "fastify";
import { asActor } from "./caller.ts";
import { deviceGrant, type GrantType, grantTypes, type OAuthClient } from "./client.ts";
import { codeGrant } from "./code-grant.ts";
import { deviceCodeGrant } from "./device-grant.ts";
import { OAuthError } from "./error.ts";
import { type Form, invalidRequest } from "./form.ts";
import { issueTokens, type TokenReply } from "./issue.ts";
import { passwordGrant } from "./password-grant.ts";
import { refreshGrant } from "./refresh-grant.ts";
import { readScope } from "./scope.ts";
import { type AuthorizationServer, clientOf, requireOpenTenant } from "./server.ts";

/** The grants of this installation. */
export function grantTypesOffered({ kernel }: Pick<AuthorizationServer, "kernel">): GrantType[] {
  return grantTypes.filter((type) => type !== "password" || kernel.settings.passwordGrant);
}

export async function answerToken(
  server: AuthorizationServer,
  request: FastifyRequest,
  form: Form,
): Promise<TokenReply> {
  const asked = form.get("grant_type");
  if (asked === undefined) throw invalidRequest("grant_type is needed.");
  const client = await clientOf(server, request, form);
  const type = grantTypesOffered(server).find((offered) => offered === asked);
  if (!type) throw new OAuthError("unsupported_grant_type", `There is no grant type ${asked}.`);
  if (!client.grants.includes(type)) {
    throw new OAuthError("unauthorized_client", `This client is not registered for the grant type ${type}.`);
  }
  const scopes = readScope(form.get("scope"), client.scopes);
  await requireClientsTenant(server, client);
  if (type === "client_credentials") return clientCredentials(server, request, client, scopes);
  if (type === "password") return passwordGrant(server, request, client, form, scopes);
  if (type === "authorization_code") return codeGrant(server, request, client, form);
  if (type === deviceGrant) return deviceCodeGrant(server, request, client, form);
  return refreshGrant(server, request, client, form);
}

async function requireClientsTenant({ kernel }: AuthorizationServer, client: OAuthClient): Promise<void> {
  if (client.tenantId === null) return;
  const tenant = await kernel.gate.tenant(client.tenantId);
  requireOpenTenant(tenant, client.id);
}

async function clientCredentials(
  server: AuthorizationServer,
  request: FastifyRequest,
  client: OAuthClient,
  scopes: readonly string[],
): Promise<TokenReply> {
  const tenant = await server.kernel.gate.tenant(client.tenantId!);
  request.visit.who = asActor(tenant!, { kind: "client", id: client.id, name: client.name }, client.id);
  return issueTokens(server, {
    tenantId: client.tenantId!,
    actor: { kind: "client", id: client.id },
    clientId: client.id,
    scopes,
    lifetimeSeconds: client.accessTokenSeconds,
  });
}
