import type { Context } from "#kernel/contract";
import { permissions } from "#kernel/permissions";
import { holds, reachOf, type TenantCard } from "#kernel/principal";
import { lettersOf } from "../letters.ts";
import { type Features, featureNames } from "../tenant/schema.ts";
import type { CallingPrincipal } from "./schema.ts";

/** Who calls, as this call found it: nothing here is read from the credential alone. */
export function getPrincipal({ who }: Pick<Context, "who">): CallingPrincipal {
  return {
    actor: who.actor,
    onBehalfOf: who.onBehalfOf,
    tenant: placeOf(who.tenant),
    actingTenant: placeOf(who.acting),
    via: who.via,
    scopes: [...who.scopes],
    readOnly: who.readOnly,
    authTime: who.authTime?.toISOString() ?? null,
    permissions: permissions.flatMap((name) => {
      const { all, nodes } = reachOf(who, name);
      return all || nodes.length > 0 ? [{ name, everywhere: all, within: nodes }] : [];
    }),
    letters: lettersOf((permission) => holds(who, permission)),
    effectiveFeatures: Object.fromEntries(
      featureNames.map((name) => [name, who.tenant.features.has(name) && who.acting.features.has(name)]),
    ) as Features,
    plan: { lanes: who.tenant.plan.lanes },
  };
}

function placeOf({ id, code, name, kind, timeZone }: TenantCard): CallingPrincipal["tenant"] {
  return { id, code, name, kind, timeZone };
}
