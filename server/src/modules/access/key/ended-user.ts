import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import { access } from "../tables.ts";
import { keyDeleted, keyDisabled } from "./events.ts";
import { endKey } from "./operations.ts";
import { record } from "./record.ts";
import { keyOf, readKey, tellOfKey } from "./rows.ts";

/** What `keysOfEndedUser` tells: routes of others that call it declare these. */
export const endedUserEvents: readonly EventKind[] = [keyDeleted as EventKind, keyDisabled as EventKind];

/**
 * In the transaction in which a user's log-in ends: its personal keys are deleted, for good; keys that act on its behalf
 * are disabled until they are reassigned. The user's tenant must lie in the acting one.
 */
export async function keysOfEndedUser(ctx: Context, userId: string): Promise<void> {
  const rows = await ctx.db.rows(
    access
      .selectFrom("access.key")
      .select(["id", "kind"])
      .where((where) =>
        where.or([
          where("user_id", "=", userId),
          where.and([where("responsible_user_id", "=", userId), where("enabled", "=", true)]),
        ]),
      )
      .where("deleted_at", "is", null)
      .orderBy("id")
      .forNoKeyUpdate(),
  );
  for (const { id, kind } of rows) {
    if (kind === "personal") await endKey(ctx, await readKey(ctx, id));
    else await disableOrphan(ctx, id);
  }
}

async function disableOrphan(ctx: Context, keyId: string): Promise<void> {
  const before = keyOf(await readKey(ctx, keyId));
  await ctx.db.run(
    access
      .updateTable("access.key")
      .set({ enabled: false, disabled_reason: "owner_gone", updated_at: ctx.now, version: sql`version + 1` })
      .where("id", "=", keyId),
  );
  const key = keyOf(await readKey(ctx, keyId));
  tellOfKey(ctx, keyDisabled as EventKind, key, { before, fields: ["enabled", "disabledReason"] });
  record(ctx, "disabled", before, key);
  ctx.forget();
}
