import type { EventKind } from "#kernel/events";
import { event } from "#kernel/events";
import { Webhook } from "./schema.ts";

const told = (verb: string, summary: string) =>
  event("notifications", `webhook.${verb}`, { permission: "webhook.read", resource: Webhook, summary }) as EventKind;

export const webhookCreated = told("created", "A webhook was made.");
export const webhookUpdated = told("updated", "A webhook was changed.");
export const webhookDeleted = told("deleted", "A webhook was deleted.");
export const webhookSecretRotated = told("secret_rotated", "A webhook has a new secret.");
export const webhookWarned = told("warned", "A webhook's receiver has only failed for 24 h, or for 96 h.");
export const webhookDisabled = told("disabled", "A webhook was disabled, by somebody or because of its receiver.");
export const webhookEnabled = told("enabled", "A webhook is active again.");

export const webhookEvents = [
  webhookCreated,
  webhookUpdated,
  webhookDeleted,
  webhookSecretRotated,
  webhookWarned,
  webhookDisabled,
  webhookEnabled,
];
