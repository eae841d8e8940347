/** What the activity log keeps of a call (access, section 8). */
import type { IncomingMessage } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { ActivityEntry } from "./activity.ts";
import type { Visit } from "./door.ts";
import type { Kernel } from "./kernel.ts";

/** Fastify calls `onResponse` for a reply that was written; a caller that hangs up before is in the activity log too. */
export function recordIfUnheard(kernel: Kernel, request: FastifyRequest, reply: FastifyReply): void {
  if (reply.raw.destroyed) {
    recordVisit(kernel, request, reply);
    return;
  }
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) recordVisit(kernel, request, reply);
  });
}

export function recordVisit(kernel: Kernel, request: FastifyRequest, reply: FastifyReply): void {
  if (!request.visit) return;
  recordCall(kernel, request.visit, request.raw, {
    route: request.routeOptions.url ?? null,
    target: targets(request.params as Record<string, string> | undefined),
    status: reply.statusCode,
    bytesOut: Number(reply.getHeader("content-length") ?? 0),
  });
}

/** Writes down a call, or a handshake, that has been answered. `route` where the visit met no entry of the route table. */
export function recordCall(
  kernel: Kernel,
  visit: Visit,
  request: IncomingMessage,
  answer: Pick<ActivityEntry, "route" | "target" | "status" | "bytesOut">,
): void {
  const { who, entry } = visit;
  const tenantId = who?.tenant.id ?? visit.ownerTenantId ?? "";
  kernel.activity.record({
    at: kernel.now(),
    requestId: visit.requestId,
    tenantId,
    actingTenantId: who?.acting.id ?? tenantId,
    actor: who ? who.actor : null,
    via: who ? who.via : null,
    service: entry?.service ?? null,
    version: visit.version?.label ?? null,
    operationId: entry?.route.id ?? null,
    method: request.method ?? "",
    route: entry?.template ?? answer.route,
    target: answer.target,
    status: answer.status,
    code: visit.code,
    reason: visit.reason,
    durationMs: Math.round((performance.now() - visit.startedAtMs) * 1000) / 1000,
    address: visit.address,
    userAgent: request.headers["user-agent"]?.slice(0, 200) ?? null,
    bytesIn: visit.bytesIn,
    bytesOut: answer.bytesOut,
  });
}

/** Ids among the path parameters; anything else in a path (a user name, a key) stays out of the log. */
function targets(params: Record<string, string> | undefined): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(params ?? {}))
    if (/^[a-z]{3}_[0-9a-z]{26}$/.test(value)) found[name] = value;
  return found;
}
