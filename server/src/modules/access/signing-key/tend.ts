import { sql } from "kysely";
import { inTransaction, systemCaller } from "#kernel/context";
import { query } from "#kernel/db";
import type { JobKind } from "#kernel/jobs";
import type { Kernel } from "#kernel/kernel";
import { makeSigningKey, publishedKeys, turnSigningKeys } from "./keys.ts";
import { shown, tellRotation } from "./operations.ts";

/** Sees that there is an active key and a next one of the configured algorithm, and tells when one took over. */
export async function tendSigningKeys(kernel: Kernel): Promise<void> {
  const { system, secrets, settings, gate } = kernel;
  const at = kernel.now();
  const before = await system.in("").rows(publishedKeys(at));
  const next = before.find((key) => key.active_from > at);
  if (next?.algorithm === settings.oauthAlgorithm) return;
  const root = await system
    .in("")
    .first(query<{ id: string }>(sql`select id from access.tenant where parent_id is null`));
  const card = await gate.tenant(root!.id);
  const spares = await Promise.all([
    makeSigningKey(secrets, card!.id, settings.oauthAlgorithm),
    makeSigningKey(secrets, card!.id, settings.oauthAlgorithm),
  ]);
  await inTransaction(kernel, systemCaller(kernel, card!, "tend_signing_keys"), async (ctx) => {
    const changed = await turnSigningKeys(ctx.db, card!.id, at, "tend", spares);
    // Other processes may have looked for the key just before it was made.
    if (changed) ctx.forget();
    // The first keys of an installation replace none.
    if (!changed || before.length === 0) return;
    const keys = await ctx.db.rows(publishedKeys(at));
    tellRotation(
      ctx,
      keys.map((key) => shown(key, at)),
      false,
    );
  });
}

export const signingKeyJobs: readonly JobKind[] = [
  {
    name: "tend_signing_keys",
    summary: "Publishes the next signing key when one took over, and deletes those whose last token has expired.",
    cron: "*/10 * * * *",
    async run(kernel) {
      await kernel.system.in("").run(query(sql`delete from access.signing_key where gone_at <= ${kernel.now()}`));
      await tendSigningKeys(kernel);
    },
  },
];
