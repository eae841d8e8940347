import { sql } from "kysely";
import { changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { query } from "#kernel/db";
import type { Attempt as Made } from "#kernel/delivery/attempt";
import { defaultRetrySeconds } from "#kernel/delivery/contract";
import { addTarget, removeTarget, setRate, switchTarget } from "#kernel/delivery/store";
import type { Place } from "#kernel/event-cursor";
import { eventExample } from "#kernel/event-example";
import { knownTypes, typesOf } from "#kernel/event-filter";
import { newId } from "#kernel/ids";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import { holdsIn, lacking } from "#kernel/principal";
import { problem, refuse } from "#kernel/problem";
import { notificationTables, type WebhookOwner, type WebhookRow } from "../tables.ts";
import {
  webhookCreated,
  webhookDeleted,
  webhookDisabled,
  webhookEnabled,
  webhookSecretRotated,
  webhookUpdated,
} from "./events.ts";
import { requireValid } from "./faults.ts";
import { findWebhook, lockWebhook, readWebhook, tell, visibleWebhooks, type WebhookFound, webhookOf } from "./rows.ts";
import { type NewWebhook, Webhook, type WebhookChange, type WebhookRotation } from "./schema.ts";
import { addKey, addressOf, findReceivers, openHeaders, sealHeaders } from "./secrets.ts";

export const webhookLimitReached = problem("webhook_limit_reached", 409, "There is no place for another webhook.");
export const rotationInProgress = problem("rotation_in_progress", 409, "Two secrets are live already.");

/** The kind of deliveries and targets of this module. */
export const webhookKind = "webhook";
export const eventMediaType = "application/cloudevents+json; charset=utf-8";
const mostWebhooks = 100;
const mostAtOnce = 5;
const disableAfterHours = 120;
const shownFields = [
  "url",
  "description",
  "types",
  "includeBelow",
  "apiVersion",
  "status",
  "disabledReason",
  "signatures",
  "ratePerSecond",
  "ownerId",
] as const;

function ownerOf({ who }: Context): WebhookOwner {
  return { ...who.actor, tenantId: who.tenant.id, scopes: [...who.scopes] };
}

type ListInput = { limit?: number; cursor?: string; sort?: string[]; count?: boolean };
type Filters = { status?: Webhook["status"][]; tenantId?: string[]; updatedSince?: string };

export function listWebhooks(ctx: Context, input: ListInput & Filters) {
  let rows = visibleWebhooks(ctx, "webhook.read");
  if (input.status) rows = rows.where("w.status", "in", input.status);
  if (input.tenantId) rows = rows.where("w.tenant_id", "in", input.tenantId);
  if (input.updatedSince) rows = rows.where("w.updated_at", ">=", new Date(input.updatedSince));
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("w.created_at"), updatedAt: sql.ref("w.updated_at") },
    by: "createdAt",
    id: sql.ref("w.id"),
    item: (row: WebhookFound) => webhookOf(ctx, row),
  });
}

export async function getWebhook(ctx: Context, webhookId: string): Promise<Webhook> {
  return webhookOf(ctx, await findWebhook(ctx, webhookId, "webhook.read"));
}

/** Makes a webhook of the acting tenant. It gets what is logged from now on. */
export async function createWebhook(ctx: Context, input: NewWebhook): Promise<Webhook & { secret: string }> {
  if (!holdsIn(ctx.who, "webhook.manage", ctx.who.acting)) throw lacking("webhook.manage");
  const tenantId = ctx.who.acting.id;
  const { apiVersion, headers } = requireValid(ctx, input, {});
  await ctx.db.run(query(sql`select pg_advisory_xact_lock(hashtext(${`webhook ${tenantId}`}))`));
  const counted = await ctx.db.first(
    query<{ count: number }>(
      sql`select count(*)::int as count from notifications.webhook where tenant_id = ${tenantId}`,
    ),
  );
  if (counted!.count >= mostWebhooks) {
    throw refuse(webhookLimitReached, {
      detail: `There may be ${mostWebhooks} webhooks; delete one first.`,
      members: { limit: mostWebhooks },
    });
  }
  const id = newId("whk", ctx.now.getTime());
  const place = { tenantId, webhookId: id };
  const signatures = input.signatures ?? ["v1"];
  const head = await ctx.db.first(query<{ head: number }>(sql`select head_position as head from kernel.log_state`));
  await ctx.db.run(
    notificationTables.insertInto("notifications.webhook").values({
      tenant_id: tenantId,
      id,
      url: input.url,
      description: input.description ?? null,
      types: input.types,
      include_below: input.includeBelow ?? false,
      api_version: apiVersion ?? ctx.call.version,
      status: "active",
      disabled_reason: null,
      signatures,
      header_names: Object.keys(headers),
      headers_sealed: await sealHeaders(ctx, place, headers),
      rate_per_second: input.ratePerSecond ?? null,
      owner: JSON.stringify(ownerOf(ctx)) as unknown as WebhookOwner,
      missed_from: null,
      from_position: head!.head,
      created_at: ctx.now,
      updated_at: ctx.now,
    }),
  );
  const secret = await addKey(ctx, place, "v1", input.secret);
  if (signatures.includes("v1a")) await addKey(ctx, place, "v1a");
  const settings = {
    strict: false,
    maxInFlight: mostAtOnce,
    ratePerSecond: input.ratePerSecond ?? null,
    retrySeconds: defaultRetrySeconds,
    disableAfterHours,
  };
  await addTarget(ctx.db, webhookKind, { tenantId, id }, settings, true);
  const webhook = webhookOf(ctx, (await readWebhook(ctx, id))!);
  tell(ctx, webhookCreated, webhook);
  record(ctx, "created", null, webhook, Object.keys(headers).length > 0);
  return { ...webhook, secret };
}

/** Changes a webhook; who changes it is the one it acts for from then on, unless nothing changed. */
export async function updateWebhook(ctx: Context, webhookId: string, change: WebhookChange): Promise<Webhook> {
  const row = await lockWebhook(ctx, webhookId, "webhook.manage");
  const before = webhookOf(ctx, row);
  requireMatch(ctx, Webhook, before);
  const stored = await openHeaders(ctx.secrets, row);
  const { apiVersion, headers } = requireValid(ctx, change, stored);
  const hasNewHeaders = JSON.stringify(headers) !== JSON.stringify(stored);
  const status = change.status ?? row.status;
  const after: Partial<WebhookRow> = {
    url: change.url ?? row.url,
    description: change.description === undefined ? row.description : change.description,
    types: change.types ?? row.types,
    include_below: change.includeBelow ?? row.include_below,
    api_version: apiVersion ?? row.api_version,
    signatures: change.signatures ?? row.signatures,
    rate_per_second: change.ratePerSecond === undefined ? row.rate_per_second : change.ratePerSecond,
    status,
  };
  const names = Object.keys(after) as (keyof WebhookRow)[];
  const isSame = names.every((name) => JSON.stringify(after[name]) === JSON.stringify(row[name]));
  if (isSame && !hasNewHeaders) return before;
  const place = { tenantId: row.tenant_id, webhookId };
  if (hasNewHeaders) {
    after.header_names = Object.keys(headers);
    after.headers_sealed = await sealHeaders(ctx, place, headers);
  }
  if (row.owner.id !== ctx.who.actor.id) after.owner = JSON.stringify(ownerOf(ctx)) as unknown as WebhookOwner;
  if (status !== row.status) Object.assign(after, await switchTo(ctx, row, status));
  if (after.rate_per_second !== row.rate_per_second) await setRate(ctx.db, webhookId, after.rate_per_second ?? null);
  if (after.signatures!.includes("v1a") && !row.secrets.some(({ kind }) => kind === "v1a"))
    await addKey(ctx, place, "v1a");
  await ctx.db.run(
    notificationTables
      .updateTable("notifications.webhook")
      .set({ ...after, updated_at: ctx.now })
      .where("id", "=", webhookId),
  );
  const webhook = webhookOf(ctx, (await readWebhook(ctx, webhookId))!);
  tell(ctx, eventOf(row.status, status), webhook, before);
  record(ctx, "updated", before, webhook, hasNewHeaders);
  return webhook;
}

function eventOf(before: Webhook["status"], after: Webhook["status"]) {
  if (before === after || after === "paused") return webhookUpdated;
  return after === "active" ? webhookEnabled : webhookDisabled;
}

async function switchTo(ctx: Context, row: WebhookRow, status: Webhook["status"]): Promise<Partial<WebhookRow>> {
  await switchTarget(ctx.db, row.id, status === "active", ctx.now);
  if (status !== "disabled") return { disabled_reason: null };
  return { disabled_reason: "by_user", missed_from: await missedFrom(ctx, row) };
}

/** The place from which a webhook that is disabled now misses events; an earlier one that was not made up for stays. */
export async function missedFrom(ctx: Context, row: WebhookRow): Promise<Place> {
  if (row.missed_from) return JSON.stringify(row.missed_from) as unknown as Place;
  const place = await ctx.db.first(
    query<Place>(sql`select s.epoch, p.position, floor(extract(epoch from p.logged_at) / 86400)::int as day
      from notifications.webhook_place p cross join kernel.log_state s`),
  );
  return JSON.stringify(place) as unknown as Place;
}

export async function deleteWebhook(ctx: Context, webhookId: string): Promise<void> {
  const row = await lockWebhook(ctx, webhookId, "webhook.manage");
  const webhook = webhookOf(ctx, row);
  requireMatch(ctx, Webhook, webhook);
  await removeTarget(ctx.db, webhookId, ctx.now);
  await ctx.db.run(notificationTables.deleteFrom("notifications.webhook").where("id", "=", webhookId));
  tell(ctx, webhookDeleted, webhook, null, true);
  record(ctx, "deleted", webhook, null);
}

/** A new secret, and a new key pair where there is one; the old ones sign too until the overlap ends. */
export async function rotateWebhookSecret(ctx: Context, webhookId: string, input: WebhookRotation | undefined) {
  const row = await lockWebhook(ctx, webhookId, "webhook.manage");
  const before = webhookOf(ctx, row);
  requireValid(ctx, { secret: input?.secret }, {});
  const overlapHours = input?.overlapHours ?? 24;
  const ending = row.secrets.find(({ kind, endsAt }) => kind === "v1" && endsAt !== null);
  if (ending && !input?.force) {
    throw refuse(rotationInProgress, {
      detail: `The old secret signs until ${new Date(ending.endsAt!).toISOString()}; force ends it now.`,
    });
  }
  const previousEndsAt = overlapHours > 0 ? new Date(ctx.now.getTime() + overlapHours * 3_600_000) : null;
  await ctx.db.run(
    query(
      sql`delete from notifications.webhook_secret where webhook_id = ${webhookId} and (ends_at is not null or ${previousEndsAt === null})`,
    ),
  );
  await ctx.db.run(
    query(sql`update notifications.webhook_secret set ends_at = ${previousEndsAt} where webhook_id = ${webhookId}`),
  );
  const place = { tenantId: row.tenant_id, webhookId };
  const secret = await addKey(ctx, place, "v1", input?.secret);
  if (row.secrets.some(({ kind }) => kind === "v1a")) await addKey(ctx, place, "v1a");
  await ctx.db.run(
    notificationTables.updateTable("notifications.webhook").set({ updated_at: ctx.now }).where("id", "=", webhookId),
  );
  const webhook = webhookOf(ctx, (await readWebhook(ctx, webhookId))!);
  tell(ctx, webhookSecretRotated, webhook, before);
  ctx.audit({
    ...audited(webhook, "rotated"),
    changes: [
      { field: "secret", old: "***", new: "***" },
      { field: "overlapHours", old: null, new: overlapHours },
    ],
  });
  return { ...webhook, secret, previousEndsAt: previousEndsAt?.toISOString() ?? null };
}

/** Sends the example of a type once, whatever state the webhook is in. Changes nothing. */
export async function testWebhook(ctx: Context, webhookId: string, type: string | undefined) {
  const row = await findWebhook(ctx, webhookId, "webhook.manage");
  const known = knownTypes(ctx.eventLog.versions, row.api_version);
  const kinds = type === undefined ? typesOf(row.types, known) : typesOf([type], known, () => ({ pointer: "/type" }));
  const example = eventExample(ctx.eventLog.versions, kinds[0]!, row.api_version);
  const body = JSON.stringify({ ...example, test: true });
  const receiver = (await ctx.db.first(findReceivers({ ids: [webhookId], now: ctx.now })))!;
  const address = await addressOf(ctx.secrets, receiver);
  const made = await ctx.sendOnce(address, { contentType: eventMediaType, body }, newId("test", ctx.now.getTime()));
  return { request: { url: made.url, headers: made.requestHeaders, body }, attempt: attemptShown(made) };
}

function attemptShown({ outcome, at, durationMs, status, error, replyBody, url, requestHeaders }: Made) {
  if (outcome === "aborted") throw new Error("The server stops.");
  return { number: null, at: at.toISOString(), durationMs, outcome, status, error, replyBody, url, requestHeaders };
}

function audited(webhook: Webhook, action: string) {
  const item = { kind: "webhook", id: webhook.id, name: new URL(webhook.url).host };
  return { tenantId: webhook.tenantId, type: "webhook" as const, action, item };
}

/** The entry of a change; the URL without its query, which may hold what its owner thinks secret. */
export function record(
  ctx: Context,
  action: string,
  before: Webhook | null,
  after: Webhook | null,
  hasNewHeaders = false,
): void {
  const shown = (webhook: Webhook | null) => webhook && { ...webhook, url: webhook.url.replace(/\?.*/, "?***") };
  const changes = changesOf(shown(before), shown(after), [...shownFields]);
  if (hasNewHeaders) changes.push({ field: "headers", old: "***", new: "***" });
  ctx.audit({ ...audited((after ?? before)!, action), changes });
}
