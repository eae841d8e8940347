/** What other modules ask about tenants and assignments; they never name this module's tables. */
import type { Db } from "#kernel/db";
import { access } from "./tables.ts";

/** Whether a principal is homed on one of these nodes (ids of tenants, folders, ...), by an assignment of any role. */
export async function isAssignedWithin(db: Db, principalId: string, nodeIds: readonly string[]): Promise<boolean> {
  const found = await db.first(
    access
      .selectFrom("access.assignment")
      .select("id")
      .where("principal_id", "=", principalId)
      .where("within_id", "in", nodeIds)
      .limit(1),
  );
  return found !== undefined;
}

/** The IANA zone of a tenant; undefined where there is none of this id in reach. */
export async function timeZoneOf(db: Db, tenantId: string): Promise<string | undefined> {
  const tenant = await db.first(access.selectFrom("access.tenant").select("time_zone").where("id", "=", tenantId));
  return tenant?.time_zone;
}

/** The zones of these tenants, of those in reach. */
export async function timeZonesOf(db: Db, tenantIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await db.rows(
    access.selectFrom("access.tenant").select(["id", "time_zone"]).where("id", "in", tenantIds),
  );
  return new Map(rows.map((row) => [row.id, row.time_zone]));
}
