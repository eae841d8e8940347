/** Names and references are unique under a parent. */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { problem, refuse } from "#kernel/problem";
import { access } from "../tables.ts";

export const tenantNameTaken = problem("tenant_name_taken", 409, "A sibling has this name.");
export const tenantExists = problem("tenant_exists", 409, "The parent has a tenant of this reference.");

/** Says which tenant below a parent is in the way of another one; a repeated provisioning run finds its tenant by its reference. */
export async function refuseTaken(
  ctx: Pick<Context, "db">,
  parentId: string,
  { name, reference }: { name: string; reference?: string | null },
): Promise<void> {
  const siblings = access.selectFrom("access.tenant").select("id").where("parent_id", "=", parentId);
  if (typeof reference === "string") {
    const same = await ctx.db.first(siblings.where("reference", "=", reference));
    if (same) throw refuse(tenantExists, { members: { existingId: same.id } });
  }
  const named = await ctx.db.first(
    siblings.where(sql<boolean>`lower(normalize(name, NFC)) = lower(normalize(${name}, NFC))`),
  );
  if (named) throw nameTaken(name);
}

export function nameTaken(name: string) {
  return refuse(tenantNameTaken, { detail: `A tenant beside it is already named ${name}; capitals do not matter.` });
}
