/** What a tenant has from those above it: features, plan, and how much of its sources a reader sees. */
import type { Lane, LaneName, Principal } from "#kernel/principal";
import { reachOf } from "#kernel/principal";
import { type Features, featureNames } from "./schema.ts";

/** One step of `access.lineage`: the tenant itself first, then upwards to the root. */
export type Ancestor = {
  id: string;
  features: Record<string, boolean>;
  plan: { id: string; tenantId: string; name: string; lanes: Record<LaneName, Lane> } | null;
};
export type Lineage = readonly Ancestor[];
/** At least the tenant itself. */
export const idsOf = (lineage: Lineage): string[] => lineage.map((step) => step.id);

/** A switch counts where it is on in the tenant and in every one above. */
export function effectiveFeatures(lineage: Lineage): Features {
  return Object.fromEntries(
    featureNames.map((name) => [name, lineage.every((step) => step.features[name] === true)]),
  ) as Features;
}

/** The tenant's own plan, else that of the nearest tenant above which has one. */
export function appliedPlan(lineage: Lineage): NonNullable<Ancestor["plan"]> {
  const plan = lineage.find((step) => step.plan !== null)?.plan;
  if (!plan) throw new Error(`No plan applies to the tenant ${lineage[0]?.id}: the root has lost its own.`);
  return plan;
}

/** Whether the reader sees a tenant of this lineage; with null for the tenant itself, as its events are written. */
export function seenBy(who: Principal | null, lineage: Lineage): (tenantId: string) => boolean {
  const ids = idsOf(lineage);
  if (who === null) return (tenantId) => tenantId === ids[0];
  const { all, nodes } = reachOf(who, "tenant.read");
  const tops = all ? [who.acting.id] : nodes.map((node) => node.id);
  const acting = ids.indexOf(who.acting.id);
  const highest = Math.min(acting, Math.max(...tops.map((top) => ids.indexOf(top))));
  return (tenantId) => {
    const place = ids.indexOf(tenantId);
    return place >= 0 && place <= highest;
  };
}
