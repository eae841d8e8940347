import { tables } from "#kernel/db";
import type { Place } from "#kernel/event-cursor";
import type { Actor } from "#kernel/principal";

export type WebhookOwner = { kind: Actor["kind"]; id: string; name: string; tenantId: string; scopes: string[] };

export type WebhookRow = {
  tenant_id: string;
  id: string;
  url: string;
  description: string | null;
  types: string[];
  include_below: boolean;
  api_version: string;
  status: "active" | "paused" | "disabled";
  disabled_reason: "gone" | "failing" | "owner_gone" | "version_retired" | "by_user" | null;
  signatures: ("v1" | "v1a")[];
  header_names: string[];
  headers_sealed: string | null;
  rate_per_second: number | null;
  owner: WebhookOwner;
  missed_from: Place | null;
  from_position: number;
  created_at: Date;
  updated_at: Date;
};

export type WebhookSecretRow = {
  tenant_id: string;
  id: string;
  webhook_id: string;
  kind: "v1" | "v1a";
  sealed: string;
  shown: string;
  created_at: Date;
  ends_at: Date | null;
};

/** Queries over this module's tables. */
export const notificationTables = tables<{
  "notifications.webhook": WebhookRow;
  "notifications.webhook_secret": WebhookSecretRow;
}>();
