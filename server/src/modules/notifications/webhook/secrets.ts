/** The secrets and headers of webhooks: sealed at rest, opened for the attempts alone. */
import type { KeyObject } from "node:crypto";
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { hot, query } from "#kernel/db";
import type { Address } from "#kernel/delivery/contract";
import { keyOfSecret, newPair, newSecret, readPrivateKey } from "#kernel/delivery/signature";
import { newId } from "#kernel/ids";
import type { Secrets } from "#kernel/secrets";
import { notificationTables, type WebhookRow, type WebhookSecretRow } from "../tables.ts";

type Place = { tenantId: string; webhookId: string };

const secretPlace = (id: string) => ({ table: "notifications.webhook_secret", column: "sealed", rowId: id });
const headersPlace = (id: string) => ({ table: "notifications.webhook", column: "headers_sealed", rowId: id });

/** Makes the key of a kind; for `v1` the secret is returned, or the given one taken. */
export async function addKey(ctx: Context, place: Place, kind: "v1" | "v1a", given?: string): Promise<string> {
  const id = newId("sec", ctx.now.getTime());
  const pair = kind === "v1a" ? newPair() : null;
  const secret = pair ? pair.privateKey : (given ?? newSecret());
  await ctx.db.run(
    notificationTables.insertInto("notifications.webhook_secret").values({
      tenant_id: place.tenantId,
      id,
      webhook_id: place.webhookId,
      kind,
      sealed: await ctx.secrets.seal(place.tenantId, secretPlace(id), secret),
      shown: pair ? pair.publicKey : secret.slice(-4),
      created_at: ctx.now,
      ends_at: null,
    }),
  );
  return secret;
}

export async function sealHeaders(ctx: Context, place: Place, headers: Record<string, string>): Promise<string | null> {
  if (Object.keys(headers).length === 0) return null;
  return ctx.secrets.seal(place.tenantId, headersPlace(place.webhookId), JSON.stringify(headers));
}

export async function openHeaders(secrets: Secrets, row: WebhookRow): Promise<Readonly<Record<string, string>>> {
  if (row.headers_sealed === null) return {};
  return secrets.openAs(row.tenant_id, headersPlace(row.id), row.headers_sealed, (plain) =>
    JSON.parse(plain.toString()),
  );
}

/** A webhook with its live secrets, newest first. */
export type Receiver = WebhookRow & { keys: WebhookSecretRow[] };

/** What is known of webhooks, for sending. `db` must see them all. */
export const findReceivers = hot<{ ids: string[]; now: Date }, Receiver>("find_receivers", ({ ids, now }) =>
  query(sql`select w.*, (select coalesce(jsonb_agg(to_jsonb(s) order by s.created_at desc, s.id desc), '[]')
      from notifications.webhook_secret s where s.webhook_id = w.id and (s.ends_at is null or s.ends_at > ${now})) as keys
    from notifications.webhook w where w.id = any(${ids})`),
);

/** Where a webhook sends to, with all that signs at this moment. */
export async function addressOf(secrets: Secrets, row: Receiver): Promise<Address> {
  const keysOf = (wanted: "v1" | "v1a", read: (stored: string) => KeyObject) =>
    Promise.all(
      row.keys
        .filter(({ kind }) => kind === wanted && row.signatures.includes(kind))
        .map(({ id, sealed }) =>
          secrets.openAs(row.tenant_id, secretPlace(id), sealed, (plain) => read(plain.toString())),
        ),
    );
  const [headers, v1, v1a] = await Promise.all([
    openHeaders(secrets, row),
    keysOf("v1", keyOfSecret),
    keysOf("v1a", readPrivateKey),
  ]);
  return { url: row.url, headers, keys: { v1, v1a } };
}
