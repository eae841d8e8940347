/** Revocation (RFC 7009). Whatever is not the client's own live token: 200, empty, and nothing changed. */
import type { FastifyRequest } from "fastify";
import { inTransaction } from "#kernel/context";
import { asActor, callerOf } from "./caller.ts";
import type { OAuthClient } from "./client.ts";
import { denyTokens } from "./deny-list.ts";
import { type Form, invalidRequest } from "./form.ts";
import { endGrant, findRefreshToken } from "./grant.ts";
import { type AuthorizationServer, clientOf } from "./server.ts";

export async function answerRevocation(
  server: AuthorizationServer,
  request: FastifyRequest,
  form: Form,
): Promise<void> {
  const { kernel } = server;
  const client = await clientOf(server, request, form);
  const token = form.get("token");
  if (token === undefined) throw invalidRequest("token is needed.");
  // The type hint is but a hint: the two kinds cannot be taken for each other.
  if (token.split(".").length === 3) {
    const read = await server.readToken(token, kernel.now());
    if (typeof read === "string" || read.found.clientId !== client.id) return;
    const { tenantId, tokenId } = read.found;
    return inTenant(server, request, client, tenantId, async (ctx) => {
      await denyTokens(ctx.db, ctx.now, [{ tenantId, kind: "jti", value: tokenId }]);
      ctx.forget();
    });
  }
  const refresh = await findRefreshToken(kernel.system, token);
  if (!refresh || refresh.client_id !== client.id) return;
  return inTenant(server, request, client, refresh.tenant_id, async (ctx) => {
    await endGrant(ctx, refresh.id, "revoked");
  });
}

async function inTenant(
  { kernel }: AuthorizationServer,
  request: FastifyRequest,
  client: OAuthClient,
  tenantId: string,
  part: Parameters<typeof inTransaction<void>>[2],
): Promise<void> {
  const tenant = await kernel.gate.tenant(tenantId);
  const who = asActor(tenant!, { kind: "client", id: client.id, name: client.name }, client.id);
  request.visit.ownerTenantId = tenantId;
  await inTransaction(kernel, callerOf(kernel, request, who), part);
}
