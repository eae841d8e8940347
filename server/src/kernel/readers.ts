/**
 * Who may read the documents and pages (setting `docs.access`). Where they are not public: whoever shows a credential as
 * everywhere, or a browser in which somebody has logged in. What one may do beyond counts for nothing here.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import { readCredential } from "./credential-header.ts";
import type { Kernel } from "./kernel.ts";
import { credentialThrottled, refuse, unauthenticated } from "./problem.ts";

/**
 * Lets a reader in. False: a browser was sent to the log-in page instead, which leads back here. Throws a 401 for
 * programs, and for whoever shows a credential that does not count.
 */
export async function admitReader(kernel: Kernel, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
  if (kernel.settings.docsAccess === "public") return true;
  reply.headers({ "cache-control": "private, no-cache", vary: "Accept, Cookie, Authorization, X-Api-Key" });
  const presented = readCredential(request.raw.rawHeaders, request.raw.url ?? "");
  if ("credential" in presented) {
    const verdict = await kernel.gate.authenticate(presented.credential, request.visit.address);
    if (!verdict.ok) {
      request.visit.reason = verdict.reason;
      request.visit.ownerTenantId = verdict.tenantId;
      if (verdict.retryAfterSeconds !== undefined)
        throw refuse(credentialThrottled, { headers: { "retry-after": String(verdict.retryAfterSeconds) } });
      throw unauthorized(verdict.hint);
    }
    request.visit.who = verdict.who;
    return true;
  }
  if (presented.refusal !== "absent") throw unauthorized(presented.hint);
  if (await kernel.hasLogIn(request)) return true;
  if (!wantsHtml(request)) throw unauthorized();
  reply.redirect(`/oauth/login?${new URLSearchParams({ to: request.raw.url ?? "/" })}`, 303);
  return false;
}

function unauthorized(hint?: string) {
  const headers = { "www-authenticate": 'Bearer realm="demarc"' };
  return refuse(unauthenticated, { headers, members: hint ? { hint } : {} });
}

/** HTML only for who likes it better than JSON: browsers, which name it (RFC 9110, section 12.5.1). */
export function wantsHtml(request: FastifyRequest): boolean {
  const weights = new Map(
    (request.headers.accept ?? "").split(",").map((range) => {
      const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
      const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
      return [type, weight === undefined ? 1 : Number(weight)];
    }),
  );
  return (weights.get("text/html") ?? 0) > (weights.get("application/json") ?? 0);
}
