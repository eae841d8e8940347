/** Keys that are bound to one thing of another module: minted by that module, under limits of its own (access, section 4). */
import type { Context } from "#kernel/contract";
import { newId } from "#kernel/ids";
import { invalid } from "#kernel/problem";
import type { BoundTo } from "../tables.ts";
import { expiryFaults, readNetworks, scopeFaults, titleFaults, valueFaults } from "./faults.ts";
import { storeKey, type Tagged } from "./issue.ts";
import { requireBoundPlace } from "./place.ts";
import type { RoleFound } from "./rows.ts";
import type { IssuedKey } from "./schema.ts";

export type BoundKey = {
  /** The acting tenant unless said otherwise; at or below it. */
  tenantId?: string;
  /** What it acts for; the principal of its calls carries it as `bound`. */
  bound: BoundTo;
  title: string;
  description?: string | null;
  /** What it may do. None: only what asks for no permission, such as ping. */
  roles?: readonly RoleFound[];
  scopes?: string[];
  expiresAt?: string | null;
  allowedAddresses?: readonly string[];
  /** A secret that programs know already; else one of our form is made. */
  value?: string;
  /** Keys that one thing may have, this one counted. */
  most: number;
};

/**
 * Makes a key for one thing of the calling module, in its transaction. Whether the caller may is the module's to know:
 * what a bound key can do ends at its thing. Faults point at the members of the key; 409 `key_limit_reached` and
 * `key_title_taken` (per thing). Emits `key.created`, so a route that calls it declares `keyCreated`, marks `secret`, and
 * shows the secret once.
 */
export async function mintBoundKey(ctx: Context, key: BoundKey): Promise<Tagged<IssuedKey>> {
  const { tenantId = ctx.who.acting.id, scopes = ["*"], roles = [], most, allowedAddresses, ...given } = key;
  const { networks, faults } = readNetworks(allowedAddresses ?? []);
  const all = [
    ...titleFaults("bound", given.title),
    ...scopeFaults(scopes),
    ...expiryFaults(given.expiresAt, ctx.now),
    ...valueFaults(given.value),
    ...faults,
  ];
  if (all.length > 0) throw invalid(all);
  await requireBoundPlace(ctx, tenantId, key.bound, most);
  const id = newId("key", ctx.now.getTime());
  return storeKey(ctx, { ...given, id, tenantId, kind: "bound", scopes, roles, allowedAddresses: networks });
}
