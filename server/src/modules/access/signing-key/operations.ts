import type { Static } from "typebox";
import type { Context } from "#kernel/contract";
import { notFound, refuse } from "#kernel/problem";
import { signingKeyRotated } from "./events.ts";
import { makeSigningKey, publishedKeys, type SigningKeyRow, stateOf, turnSigningKeys } from "./keys.ts";
import type { SigningKey } from "./schema.ts";

type ShownKey = Static<typeof SigningKey>;

export async function listSigningKeys(ctx: Context): Promise<{ items: ShownKey[] }> {
  const keys = await ctx.db.rows(publishedKeys(ctx.now));
  return { items: keys.map((key) => shown(key, ctx.now)) };
}

/** Rotates; the pairs are made before the transaction. The algorithm stays: it is the configuration's to change. */
export async function rotateSigningKeys(ctx: Context, emergency: boolean): Promise<{ items: ShownKey[] }> {
  const { acting } = ctx.who;
  // The keys are the installation's: within a tenant below the root there are none to rotate.
  if (acting.parentId !== null) throw refuse(notFound);
  const before = await ctx.db.rows(publishedKeys(ctx.now));
  const algorithm = before.at(-1)?.algorithm ?? "RS256";
  const spares = await Promise.all([
    makeSigningKey(ctx.secrets, acting.id, algorithm),
    makeSigningKey(ctx.secrets, acting.id, algorithm),
  ]);
  return ctx.transaction(async (tx) => {
    const changed = await turnSigningKeys(tx.db, acting.id, tx.now, emergency ? "emergency" : "rotate", spares);
    const keys = await tx.db.rows(publishedKeys(tx.now));
    const items = keys.map((key) => shown(key, tx.now));
    if (changed) {
      tellRotation(tx, items, emergency);
      // Every process keeps whose turn it is to sign.
      tx.forget();
    }
    return { items };
  });
}

/** The news and the record of a rotation: which key signs now, and which follows. */
export function tellRotation(ctx: Context, items: readonly ShownKey[], emergency: boolean): void {
  const active = items.find((key) => key.state === "active")!;
  ctx.emit(signingKeyRotated, {
    tenantId: ctx.who.acting.id,
    subject: active.kid,
    path: "/signing-key",
    resource: active,
    previous: null,
    changed: [],
  });
  const next = items.find((key) => key.state === "next");
  ctx.audit({
    tenantId: ctx.who.acting.id,
    type: "signingKey",
    action: "rotated",
    item: { kind: "signing_key", id: active.kid, name: active.kid },
    changes: [
      { field: "next", old: null, new: next ? { kid: next.kid, activeFrom: next.activeFrom } : null },
      { field: "emergency", old: null, new: emergency },
    ],
  });
}

export function shown(key: SigningKeyRow, at: Date): ShownKey {
  return {
    kid: key.kid,
    state: stateOf(key, at),
    algorithm: key.algorithm,
    publishedAt: key.published_at.toISOString(),
    activeFrom: key.active_from.toISOString(),
    retiredFrom: key.retired_from?.toISOString() ?? null,
    goneAt: key.gone_at?.toISOString() ?? null,
  };
}
