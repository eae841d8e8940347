import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import { invalid, problem, refuse } from "#kernel/problem";
import { access } from "../tables.ts";
import { keyReassigned } from "./events.ts";
import type { Tagged } from "./issue.ts";
import { userFaults } from "./owner.ts";
import { record } from "./record.ts";
import { lockKey } from "./rights.ts";
import { keyOf, keyTag, readKey, tellOfKey } from "./rows.ts";
import type { Key, Reassignment } from "./schema.ts";

export const keyNotReassignable = problem("key_not_reassignable", 409, "A key of this kind has its holder for good.");

/**
 * Hands a standard or integration key over to another responsible user, or to nobody: it then answers for itself. Its
 * value stays. One that was disabled because its user had gone may be enabled again afterwards.
 */
export async function reassignKey(
  ctx: Context,
  keyId: string,
  { responsibleUserId, comment }: Reassignment,
): Promise<Tagged<Key>> {
  const row = await lockKey(ctx, keyId, "key.manage");
  if (row.kind !== "standard" && row.kind !== "integration") {
    throw refuse(keyNotReassignable, { detail: `A ${row.kind} key is not handed over: issue another one.` });
  }
  const before = keyOf(row);
  if (responsibleUserId === before.responsibleUserId) return { body: before, etag: keyTag(row) };
  if (responsibleUserId !== null) {
    const faults = await userFaults(ctx, row.tenant_id, responsibleUserId, "/responsibleUserId");
    if (faults.length > 0) throw invalid(faults);
  }
  await ctx.db.run(
    access
      .updateTable("access.key")
      .set({
        responsible_user_id: responsibleUserId,
        disabled_reason: null,
        updated_at: ctx.now,
        version: sql`version + 1`,
      })
      .where("id", "=", keyId),
  );
  const stored = await readKey(ctx, keyId);
  const key = keyOf(stored);
  const fields = (["responsibleUserId", "disabledReason"] as const).filter((field) => before[field] !== key[field]);
  tellOfKey(ctx, keyReassigned as EventKind, key, { before, fields });
  record(ctx, "reassigned", before, key, { comment: comment ?? undefined });
  // Calls from now on are made on behalf of the new one.
  ctx.forget();
  return { body: key, etag: keyTag(stored) };
}
