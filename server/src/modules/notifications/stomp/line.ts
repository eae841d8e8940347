/** What the activity log keeps of a session (notifications, part B): CONNECT, SUBSCRIBE and every fault, one line each. */
import type { Kernel } from "#kernel/kernel";
import type { Principal } from "#kernel/principal";
import type { Handshake } from "./session.ts";
import type { Refused } from "./standing.ts";

export type Line = {
  method: "CONNECT" | "SUBSCRIBE" | "ERROR";
  /** Null: it went well. */
  code: string | null;
  startedMs: number;
  version: string;
  who: Principal | null;
  /** Whom a refused credential belongs to: the line is for its owner. */
  refusedAs: Pick<Refused, "tenantId" | "reason"> | null;
  sessionId: string | null;
};

export function recordLine(kernel: Kernel, { requestId, address, userAgent }: Handshake, line: Line): void {
  const { method, code, startedMs, version, who, refusedAs, sessionId } = line;
  const tenantId = who?.tenant.id ?? refusedAs?.tenantId ?? "";
  kernel.activity.record({
    at: kernel.now(),
    requestId,
    tenantId,
    actingTenantId: who?.acting.id ?? tenantId,
    actor: who?.actor ?? null,
    via: who?.via ?? null,
    service: "notifications",
    version,
    operationId: "connectStomp",
    method,
    route: "/{label}/stomp",
    target: sessionId === null ? {} : { session: sessionId },
    status: code === null ? 200 : 400,
    code,
    reason: refusedAs?.reason ?? null,
    durationMs: Math.round((performance.now() - startedMs) * 1000) / 1000,
    address,
    userAgent,
    bytesIn: 0,
    bytesOut: 0,
  });
}
