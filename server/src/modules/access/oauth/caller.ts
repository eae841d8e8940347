import type { FastifyRequest } from "fastify";
import type { Caller } from "#kernel/context";
import { callOf } from "#kernel/door";
import type { Kernel } from "#kernel/kernel";
import type { Actor, Principal, TenantCard } from "#kernel/principal";

/**
 * Who stands behind a call, for logs and records. It holds no permission: nothing is done by its rights.
 * `sessionId`: it came by a log-in at the pages, for a client or for none.
 */
export function asActor(
  tenant: TenantCard,
  actor: Actor,
  clientId: string | null,
  sessionId: string | null = null,
): Principal {
  return {
    tenant,
    acting: tenant,
    actor,
    onBehalfOf: null,
    via: { kind: sessionId === null ? "token" : "session", id: sessionId ?? "", hint: null, clientId, grantId: null },
    scopes: [],
    readOnly: false,
    authTime: null,
    grants: [],
  };
}

export function callerOf(kernel: Kernel, request: FastifyRequest, who: Principal): Caller {
  return { who, call: callOf(request), log: kernel.log, now: kernel.now(), emits: null, warnings: [] };
}
