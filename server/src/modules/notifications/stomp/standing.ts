/** Who a session is at this moment, and why it may no longer be one. */
import type { Kernel, RefusalReason } from "#kernel/kernel";
import { holds, type Principal } from "#kernel/principal";
import type { FaultCode, Refusal } from "../../../stomp/faults.ts";

/** What a session proves itself by, and how it came. */
export type Bearing = { credential: string; address: string; label: string };

export function nameOfBearing({ credential, address, label }: Bearing): string {
  return `${credential} ${address} ${label}`;
}

export type Standing = { ok: true; who: Principal; expiresAtMs: number } | Refused;
/** `tenantId` and `reason` are for the activity log of whom the credential belongs to, never for the caller. */
export type Refused = {
  ok: false;
  code: FaultCode;
  reason: RefusalReason | null;
  tenantId: string | null;
  retryAfterSeconds?: number;
};

/** A session that is over for a reason of its caller's rights: what the reader of events throws. */
export class Over extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.code);
    this.refusal = refusal;
  }
}

/** The front door's steps 3 to 5 for a session. */
export async function standingOf(kernel: Kernel, { credential, address, label }: Bearing): Promise<Standing> {
  const verdict = await kernel.gate.authenticate(credential, address);
  if (!verdict.ok) {
    const { reason, tenantId, retryAfterSeconds } = verdict;
    return { ok: false, code: "authentication_failed", reason, tenantId, retryAfterSeconds };
  }
  const { who, expiresAtMs } = verdict;
  const code = barrier(who, label);
  return code === null ? { ok: true, who, expiresAtMs } : { ok: false, code, reason: null, tenantId: who.tenant.id };
}

function barrier(who: Principal, label: string): FaultCode | null {
  const { tenant, via } = who;
  if (tenant.suspended) return "tenant_suspended";
  if (label === "beta" && !tenant.features.has("beta")) return "version_unknown";
  if (!tenant.features.has("api") && via.clientId !== "demarc-console") return "api_not_enabled";
  return tenant.features.has("notifications") ? null : "service_not_enabled";
}

/** What ends an open session whose caller is refused by now. */
export function endOf({ reason }: Refused): "token_expired" | "session_ended" {
  return reason === "expired" ? "token_expired" : "session_ended";
}

export function maySubscribe(who: Principal): boolean {
  return holds(who, "notification.subscribe");
}

/** Gives the caller as it is now, acting where a subscription acts. Throws `Over`. */
export function readerOf(kernel: Kernel, bearing: Bearing, tenant: string | null): () => Promise<Principal> {
  return async () => {
    const standing = await standingOf(kernel, bearing);
    if (!standing.ok) throw new Over({ code: endOf(standing) });
    return actIn(kernel, standing.who, tenant);
  };
}

/** The caller in the tenant that it names, if it may act there. Throws `Over`. */
export async function actIn(kernel: Kernel, who: Principal, tenant: string | null): Promise<Principal> {
  const acting = tenant === null ? who.acting : await kernel.gate.tenant(tenant);
  if (!acting?.lineage.includes(who.tenant.id) || !acting.features.has("notifications"))
    throw new Over({ code: "destination_not_available" });
  return acting.id === who.acting.id ? who : { ...who, acting };
}
