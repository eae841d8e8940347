/** Webhooks as they are stored and as they are shown. */
import { type RawBuilder, type SelectQueryBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import type { EventKind } from "#kernel/events";
import type { Permission } from "#kernel/permissions";
import { lacking } from "#kernel/principal";
import { notFound, refuse } from "#kernel/problem";
import { inReach } from "#kernel/wall";
import { notificationTables, type WebhookRow, type WebhookSecretRow } from "../tables.ts";
import type { Webhook } from "./schema.ts";

/** The live secrets of both kinds, newest first. */
export type LiveSecret = Pick<WebhookSecretRow, "id" | "kind" | "shown"> & { endsAt: string | null };
export type WebhookFound = WebhookRow & { secrets: LiveSecret[]; failing_since: Date | null };

// biome-ignore lint/suspicious/noExplicitAny: the joined tables are the kernel's
type Rows = SelectQueryBuilder<any, "w", WebhookFound>;

export function visibleWebhooks(ctx: Pick<Context, "who" | "now">, permission: Permission): Rows {
  const secrets = sql`(select coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'kind', s.kind, 'shown', s.shown, 'endsAt', s.ends_at)
      order by s.created_at desc, s.id desc), '[]')
    from notifications.webhook_secret s where s.webhook_id = w.id and (s.ends_at is null or s.ends_at > ${ctx.now}))`;
  const failing = sql`(select t.failing_since from kernel.delivery_target t where t.id = w.id and t.warnings > 0)`;
  return notificationTables
    .selectFrom("notifications.webhook as w")
    .where(inReach(ctx.who, permission, sql.ref("w.tenant_id")))
    .selectAll("w")
    .select([secrets.as("secrets"), failing.as("failing_since")] as never) as unknown as Rows;
}

export function webhookOf(ctx: Pick<Context, "eventLog">, row: WebhookFound): Webhook {
  const newest = (kind: LiveSecret["kind"]) => row.secrets.find((secret) => secret.kind === kind)?.shown;
  return {
    id: row.id,
    tenantId: row.tenant_id,
    url: row.url,
    description: row.description,
    types: row.types,
    includeBelow: row.include_below,
    apiVersion: row.api_version,
    status: row.status,
    disabledReason: row.disabled_reason,
    signatures: row.signatures,
    secretHint: newest("v1") ?? "",
    publicKey: row.signatures.includes("v1a") ? (newest("v1a") ?? null) : null,
    headers: Object.fromEntries(row.header_names.map((name) => [name, "***"])),
    ratePerSecond: row.rate_per_second,
    ownerId: row.owner.id,
    failingSince: row.failing_since?.toISOString() ?? null,
    missedFrom: row.missed_from && ctx.eventLog.events.cursors.write(row.missed_from, row.tenant_id),
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

export async function findWebhook(ctx: Context, webhookId: string, permission: Permission): Promise<WebhookFound> {
  const row = await ctx.db.first<WebhookFound>(visibleWebhooks(ctx, permission).where("w.id", "=", webhookId));
  if (row) return row;
  const seen =
    permission !== "webhook.read" &&
    (await ctx.db.first(visibleWebhooks(ctx, "webhook.read").where("w.id", "=", webhookId)));
  throw seen ? lacking(permission) : refuse(notFound);
}

/** A webhook to be changed, locked. */
export async function lockWebhook(ctx: Context, webhookId: string, permission: Permission): Promise<WebhookFound> {
  const lock = notificationTables.selectFrom("notifications.webhook as w").select("w.id").where("w.id", "=", webhookId);
  await ctx.db.first(lock.forNoKeyUpdate());
  return findWebhook(ctx, webhookId, permission);
}

/** As it is now, whoever may see it: for what the engine does to it. */
export async function readWebhook(ctx: Context, webhookId: string): Promise<WebhookFound | undefined> {
  return ctx.db.first<WebhookFound>(visibleWebhooks(ctx, "webhook.read").where("w.id", "=", webhookId));
}

export function tell(
  ctx: Context,
  kind: EventKind,
  webhook: Webhook,
  before: Webhook | null = null,
  isGone = false,
): void {
  const fields = before
    ? (Object.keys(webhook) as (keyof Webhook)[]).filter(
        (name) => JSON.stringify(before[name]) !== JSON.stringify(webhook[name]),
      )
    : [];
  ctx.emit(kind, {
    tenantId: webhook.tenantId,
    subject: webhook.id,
    path: `/webhook/${webhook.id}`,
    resource: isGone ? null : webhook,
    previous: isGone ? webhook : before && Object.fromEntries(fields.map((name) => [name, before[name]])),
    changed: fields,
  });
}

/** The condition that an event's type is among a webhook's patterns; `progressed` only where it is named in full. */
export function matchesTypes(type: RawBuilder<unknown>, patterns: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql`(${type} = any(${patterns}) or (${type} <> 'demarc.notifications.operation.progressed'
    and exists (select from unnest(${patterns}) p where p = '*' or (p like '%.*' and starts_with(${type}, left(p, -1))))))`;
}
