/** A webhook acts for its owner: with its rights as they are at the moment, within the scopes it had when it took it. */
import type { LogAccess } from "#kernel/event-reader";
import type { Principal } from "#kernel/principal";
import type { WebhookRow } from "../tables.ts";

/** The owner as a reader of the webhook's tenant; null when it is gone, or has no right left. */
export async function ownerNow(
  { gate }: Pick<LogAccess, "gate">,
  { owner, tenant_id }: Pick<WebhookRow, "owner" | "tenant_id">,
): Promise<Principal | null> {
  const [who, acting] = await Promise.all([gate.principalOf(owner, owner.tenantId), gate.tenant(tenant_id)]);
  if (!who || !acting || who.grants.length === 0) return null;
  return { ...who, acting, scopes: owner.scopes };
}
