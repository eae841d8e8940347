/** A webhook acts for its owner: with its rights as they are at the moment, within the scopes it had when it took it. */
import type { LogAccess } from "#kernel/event-reader";
import type { Standing } from "#kernel/kernel";
import type { WebhookRow } from "../tables.ts";

/** The owner as a reader of the webhook's tenant. `gone` also when it has no right left. */
export async function ownerNow(
  { gate }: Pick<LogAccess, "gate">,
  { owner, tenant_id }: Pick<WebhookRow, "owner" | "tenant_id">,
): Promise<Standing> {
  const [who, acting] = await Promise.all([gate.standingOf(owner, owner.tenantId), gate.tenant(tenant_id)]);
  if (typeof who === "string") return who;
  if (!acting || who.grants.length === 0) return "gone";
  return acting.suspended ? "off" : { ...who, acting, scopes: owner.scopes };
}
