import type { FastifyInstance } from "fastify";
import { sql } from "kysely";
import { query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import { rateLimited, refuse } from "#kernel/problem";
import { publishedHeadKeys } from "./head-key.ts";

/** The public keys with which anybody can check signed heads, as a JWK set (RFC 7517). */
export function mountAuditKeys(http: FastifyInstance, kernel: Kernel): void {
  http.get("/.well-known/demarc-audit-keys.json", async (request, reply) => {
    const wait = await kernel.throttle.chargeAddress(request.visit.address);
    if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
    const root = await kernel.system
      .in("")
      .first(query<{ id: string }>(sql`select id from access.tenant where parent_id is null`));
    const keys = await publishedHeadKeys(kernel, root!.id);
    return reply
      .headers({ "cache-control": "public, max-age=300", "access-control-allow-origin": "*" })
      .header("content-type", "application/jwk-set+json")
      .send(JSON.stringify({ keys }));
  });
}
