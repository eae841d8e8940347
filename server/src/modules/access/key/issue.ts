/** The rows of a new key, whoever makes it. */
import type { Context } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import { access, type BoundTo } from "../tables.ts";
import { keyCreated } from "./events.ts";
import { storeRoles } from "./given-roles.ts";
import { titleTaken } from "./place.ts";
import { record } from "./record.ts";
import { addSecret } from "./rotation.ts";
import { keyOf, keyTag, type RoleFound, readKey, tellOfKey } from "./rows.ts";
import type { IssuedKey, Key } from "./schema.ts";

/** A resource with the tag that its reply carries. */
export type Tagged<T> = { body: T; etag: string };
export type KeyToStore = Pick<Key, "id" | "tenantId" | "kind" | "title"> &
  Partial<Pick<Key, "description" | "userId" | "responsibleUserId" | "readOnly" | "expiresAt" | "allowedAddresses">> & {
    scopes: string[];
    roles: readonly RoleFound[];
    bound?: BoundTo;
    value?: string;
  };

/** Stores a key with its secret and roles, tells of it and records it. Rights, faults and places are the caller's. */
export async function storeKey(ctx: Context, key: KeyToStore): Promise<Tagged<IssuedKey>> {
  const { id, tenantId, kind } = key;
  const bound = key.bound ?? null;
  const made = await ctx.db.first(
    access
      .insertInto("access.key")
      .values({
        tenant_id: tenantId,
        id,
        kind,
        title: key.title.normalize("NFC"),
        description: key.description ?? null,
        user_id: key.userId ?? null,
        responsible_user_id: key.responsibleUserId ?? null,
        scopes: key.scopes,
        read_only: key.readOnly ?? false,
        expires_at: key.expiresAt ? new Date(key.expiresAt) : null,
        allowed_addresses: key.allowedAddresses ?? [],
        disabled_reason: null,
        bound: bound && (JSON.stringify(bound) as never),
        created_by: ctx.who.actor.id,
        created_at: ctx.now,
        updated_at: ctx.now,
        last_used_at: null,
        last_used_address: null,
        deleted_at: null,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returning("id"),
  );
  if (!made) throw await titleTaken(ctx, { tenant_id: tenantId, kind, user_id: key.userId ?? null, bound }, key.title);
  // Sent at once, run in order.
  const [secret, , row] = await Promise.all([
    addSecret(ctx, { kind: "key", tenantId, id }, key.value),
    storeRoles(ctx, { tenantId, kind: "key", id }, [], key.roles),
    readKey(ctx, id),
  ]);
  const shown = keyOf(row);
  tellOfKey(ctx, keyCreated as EventKind, shown);
  const imported = { field: "value", old: null, new: "***" };
  record(ctx, "created", null, shown, { more: key.value === undefined ? [] : [imported] });
  return { body: { ...shown, secret }, etag: keyTag(row) };
}
