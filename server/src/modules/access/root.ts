import { sql } from "kysely";
import { type Database, query } from "#kernel/db";
import { newId } from "#kernel/ids";
import { standardLanes } from "./plan/schema.ts";
import { access } from "./tables.ts";
import { featureNames } from "./tenant/schema.ts";

export const standardLimits = { maxKeys: 30, maxIntegrationKeys: 100 };
export const standardAuthPolicy = {
  mfa: "optional",
  sessionIdleMinutes: 30,
  sessionMaxHours: 12,
  selfServiceKeys: false,
} as const;

/** The id of the root tenant; it is made, with the built-in plan, in an empty database. */
export async function ensureRoot(system: Database, now: Date, name: string, timeZone: string): Promise<string> {
  return system.transaction("", async (tx) => {
    await tx.run(query(sql`select pg_advisory_xact_lock(7301946002)`));
    const root = await tx.first(access.selectFrom("access.tenant").select("id").where("parent_id", "is", null));
    if (root) return root.id;
    const id = newId("tnt", now.getTime());
    const planId = newId("pln", now.getTime());
    await tx.run(
      access.insertInto("access.tenant").values({
        id,
        parent_id: null,
        kind: "provider",
        name,
        code: "provider",
        reference: null,
        time_zone: timeZone,
        plan_id: planId,
        features: JSON.stringify(
          // All of them on but the password grant (access, section 1).
          Object.fromEntries(featureNames.map((feature) => [feature, feature !== "passwordGrant"])),
        ) as never,
        limits: JSON.stringify(standardLimits) as never,
        auth_policy: JSON.stringify(standardAuthPolicy) as never,
        status: "active",
        status_reason: null,
        purge_at: null,
        created_at: now,
        updated_at: now,
      }),
    );
    await tx.run(
      access.insertInto("access.plan").values({
        tenant_id: id,
        id: planId,
        name: "standard",
        lanes: JSON.stringify(standardLanes) as never,
        built_in: true,
        created_at: now,
        updated_at: now,
      }),
    );
    return id;
  });
}
