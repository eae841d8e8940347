/** Introspection (RFC 7662): of live access tokens of the client's tenant and those below it. */
import type { FastifyRequest } from "fastify";
import { holds, holdsIn } from "#kernel/principal";
import { usernameOf } from "#modules/directory";
import { OAuthError } from "./error.ts";
import { type Form, invalidRequest } from "./form.ts";
import { type AuthorizationServer, clientOf, requireOpenTenant } from "./server.ts";

export async function answerIntrospection(
  server: AuthorizationServer,
  request: FastifyRequest,
  form: Form,
): Promise<Record<string, unknown>> {
  const { kernel } = server;
  const client = await clientOf(server, request, form);
  const missing = new OAuthError("unauthorized_client", "The client lacks the permission token.introspect.", {
    code: "permission_missing",
    status: 403,
  });
  if (client.tenantId === null) throw missing;
  const own = await kernel.gate.tenant(client.tenantId);
  requireOpenTenant(own, client.id);
  const actor = await kernel.gate.principalOf({ kind: "client", id: client.id }, client.tenantId);
  if (!actor) throw missing;
  const who = { ...actor, scopes: client.scopes };
  request.visit.who = who;
  if (!holds(who, "token.introspect")) throw missing;

  const token = form.get("token");
  if (token === undefined) throw invalidRequest("token is needed.");
  const read = await server.readToken(token, kernel.now());
  if (typeof read === "string") return { active: false };
  const { claims, found } = read;
  const tenant = await kernel.gate.tenant(found.tenantId);
  const inReach = tenant?.lineage.includes(own.id) && holdsIn(who, "token.introspect", tenant);
  const live = inReach && (await kernel.gate.principalOf(found.actor, found.tenantId));
  if (!live) return { active: false };
  const username = found.actor.kind === "user" ? await usernameOf(kernel.system.in(""), found.actor.id) : undefined;
  return {
    active: true,
    // Without what its client has lost since.
    scope: found.scopes.join(" "),
    client_id: claims.client_id,
    ...(username === undefined ? {} : { username }),
    token_type: "Bearer",
    exp: claims.exp,
    iat: claims.iat,
    sub: claims.sub,
    aud: claims.aud,
    iss: claims.iss,
    jti: claims.jti,
    tenant: claims.tenant,
  };
}
