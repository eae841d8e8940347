/** Who may do what to which key. */
import type { Context } from "#kernel/contract";
import type { Permission } from "#kernel/permissions";
import { holdsIn, lacking, scopeCovers } from "#kernel/principal";
import { notFound, refuse, stale } from "#kernel/problem";
import { isForDeskKeysOnly } from "../hand-out.ts";
import { access } from "../tables.ts";
import { providerOnlyProperty } from "../tenant/rows.ts";
import { type KeyFound, visibleKeys, withParts } from "./rows.ts";
import type { NewKey } from "./schema.ts";

/**
 * Refuses who may not issue a key of this kind in the acting tenant: `key.issue` is needed, which desk administrators
 * hold over desk keys alone; a user may issue its own where the tenant's `authPolicy.selfServiceKeys` says so.
 */
export async function requireMayIssue(
  ctx: Pick<Context, "who" | "db">,
  { kind = "standard", userId }: Pick<NewKey, "kind" | "userId">,
): Promise<void> {
  const { who } = ctx;
  const grants = kind === "integration" ? who.grants : who.grants.filter((grant) => !isForDeskKeysOnly(grant));
  if (holdsIn({ ...who, grants }, "key.issue", who.acting)) return;
  const forItself = kind === "personal" && who.actor.kind === "user" && who.actor.id === userId;
  if (forItself && who.acting.id === who.tenant.id && scopeCovers(who.scopes, "key.issue")) {
    const tenant = await ctx.db.first(
      access.selectFrom("access.tenant").select("auth_policy").where("id", "=", who.acting.id),
    );
    if (tenant?.auth_policy.selfServiceKeys) return;
  }
  throw lacking("key.issue");
}

/** Values from elsewhere are the provider's to bring: it answers for their being hard to guess. */
export function requireMayImport({ who }: Pick<Context, "who">): void {
  if (who.tenant.kind === "provider") return;
  throw refuse(providerOnlyProperty, {
    detail: "Keys from other systems are imported by the provider's credentials alone.",
    members: { property: "value" },
  });
}

/** A key to be changed, locked: 404 where it may not be read either, 403 where it may be read alone. */
export async function lockKey(
  ctx: Context,
  keyId: string,
  permission: Permission,
  which: "living" | "all" = "living",
): Promise<KeyFound> {
  const [row, seen] = await Promise.all([
    ctx.db.first(
      withParts(visibleKeys(ctx, permission, which), ctx.now)
        .where("k.id", "=", keyId)
        .forNoKeyUpdate("k"),
    ),
    ctx.db.first(visibleKeys(ctx, "key.read", which).select("k.id").where("k.id", "=", keyId)),
  ]);
  if (row) return row;
  throw seen ? lacking(permission) : refuse(notFound);
}

/** Of `If-Match` the version counts, not the use: `"<version>-<use>"`. */
export function requireVersion(ctx: Context, { version }: { version: number }): void {
  const { ifMatch } = ctx.call;
  if (ifMatch && !ifMatch.some((tag) => tag === "*" || new RegExp(`^"${version}-\\d+"$`).test(tag)))
    throw refuse(stale);
}
