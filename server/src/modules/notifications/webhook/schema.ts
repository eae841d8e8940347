import { type Static, Type } from "typebox";
import { anyOf, id, instant, nullable, object, oneOf, text } from "#kernel/schema";

export const webhookStatuses = ["active", "paused", "disabled"] as const;

const url = Type.String({
  minLength: 1,
  maxLength: 2_048,
  description: "https; http only to networks that the operator has opened. No user information, no fragment.",
  examples: ["https://hooks.example.com/demarc"],
});
const description = nullable(text(500));
const types = Type.Array(text(100), {
  minItems: 1,
  maxItems: 100,
  uniqueItems: true,
  description: "Whole types of event, prefixes that end in `.*`, or `*`.",
  examples: [["demarc.monitoring.watch.*"]],
});
const includeBelow = Type.Boolean({ description: "Also the events of the tenants below." });
const apiVersion = text(10, { description: "The version whose shape the events have.", examples: ["v1"] });
const status = oneOf(webhookStatuses, {
  description: "`paused`: deliveries are made and held. `disabled`: none are made.",
});
const signatures = Type.Array(oneOf(["v1", "v1a"]), {
  minItems: 1,
  maxItems: 2,
  uniqueItems: true,
  description: "Standard Webhooks: `v1` by a shared secret (HMAC-SHA256), `v1a` by a key pair (Ed25519).",
  examples: [["v1"]],
});
const headers = Type.Record(Type.String({ maxLength: 100 }), Type.String({ maxLength: 2_000 }), {
  maxProperties: 10,
  description: "Sent with every call. Values are secrets: they are shown as `***`, and `***` keeps one as it is.",
});
const ratePerSecond = nullable(
  Type.Number({ minimum: 0.1, maximum: 1_000, description: "Calls a second at most; null: as fast as it takes them." }),
);
const secret = text(120, {
  "x-secret": true,
  description: "A secret of yours: `whsec_` and base64 of 24 to 64 octets. Without it one is made.",
});

const members = {
  id: id("whk"),
  tenantId: id("tnt"),
  url,
  description,
  types,
  includeBelow,
  apiVersion,
  status,
  disabledReason: nullable(oneOf(["gone", "failing", "owner_gone", "version_retired", "by_user"])),
  signatures,
  secretHint: Type.String({ description: "The last four characters of the newest secret." }),
  publicKey: nullable(Type.String({ description: "`whpk_` and base64 of the key that verifies `v1a`." })),
  headers,
  ratePerSecond,
  ownerId: Type.String({ description: "Id of the principal whose rights say what is sent." }),
  failingSince: nullable(
    Type.String({ format: "date-time", description: "Nothing but failures since then, for 24 h or more." }),
  ),
  missedFrom: nullable(Type.String({ description: "Cursor of the place where it was disabled." })),
  createdAt: instant,
  updatedAt: instant,
};
const written = {
  description: Type.Optional(description),
  includeBelow: Type.Optional(includeBelow),
  apiVersion: Type.Optional(apiVersion),
  signatures: Type.Optional(signatures),
  headers: Type.Optional(headers),
  ratePerSecond: Type.Optional(ratePerSecond),
};
const readOnly = [
  "id",
  "tenantId",
  "disabledReason",
  "secretHint",
  "publicKey",
  "ownerId",
  "failingSince",
  "missedFrom",
  "createdAt",
  "updatedAt",
];

export const Webhook = object(members, { title: "Webhook" });
export type Webhook = Static<typeof Webhook>;
const shownOnce = nullable(Type.String({ description: "Here and nowhere else; null in a replay after 10 minutes." }));
export const IssuedWebhook = object({ ...members, secret: shownOnce }, { title: "IssuedWebhook" });
export const RotatedWebhook = object(
  {
    ...members,
    secret: shownOnce,
    previousEndsAt: nullable(Type.String({ format: "date-time", description: "Until then the old secret signs too." })),
  },
  { title: "RotatedWebhook" },
);

export const NewWebhook = object(
  { url, types, ...written, secret: Type.Optional(secret) },
  { title: "NewWebhook", "x-read-only": [...readOnly, "status"] },
);
export type NewWebhook = Static<typeof NewWebhook>;

export const WebhookChange = object(
  {
    ...written,
    url: Type.Optional(url),
    types: Type.Optional(types),
    headers: Type.Optional(Type.Record(Type.String({ maxLength: 100 }), nullable(Type.String({ maxLength: 2_000 })))),
    status: Type.Optional(status),
  },
  { title: "WebhookChange", "x-read-only": [...readOnly, "secret"] },
);
export type WebhookChange = Static<typeof WebhookChange>;

export const webhookFilters = {
  status: anyOf(oneOf(webhookStatuses)),
  tenantId: anyOf(id("tnt")),
  updatedSince: instant,
};

export const WebhookRotation = object(
  {
    overlapHours: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 168,
        default: 24,
        description: "How long the old secret signs too; 0: ends now.",
      }),
    ),
    force: Type.Optional(Type.Boolean({ description: "Ends the oldest secret where two are live." })),
    secret: Type.Optional(secret),
  },
  { title: "WebhookRotation" },
);
export type WebhookRotation = Static<typeof WebhookRotation>;

export const Attempt = object(
  {
    number: nullable(Type.Integer({ description: "Counted over all tries and replays; null of a test." })),
    at: instant,
    durationMs: Type.Integer(),
    outcome: oneOf([
      "delivered",
      "http_error",
      "timeout",
      "dns",
      "tls",
      "connection",
      "refused_address",
      "redirect",
      "throttled",
    ]),
    status: nullable(Type.Integer({ description: "Of the receiver's reply." })),
    error: nullable(Type.String()),
    replyBody: nullable(Type.String({ description: "At most 8 KiB of it." })),
    url: Type.String({ description: "Values of its query are masked." }),
    requestHeaders: Type.Record(Type.String(), Type.String(), { description: "Headers of your own as `***`." }),
  },
  { title: "DeliveryAttempt" },
);

export const WebhookTestAsk = object(
  {
    type: Type.Optional(
      text(100, { description: "A type of event; the first of the webhook's unless said otherwise." }),
    ),
  },
  { title: "WebhookTestAsk" },
);
export const WebhookTest = object(
  {
    request: object({
      url: Type.String(),
      headers: Type.Record(Type.String(), Type.String()),
      body: Type.String(),
    }),
    attempt: Attempt,
  },
  { title: "WebhookTest" },
);

const place = text(64, {
  description: "An instant, or a cursor of the event log.",
  examples: ["2026-03-01T10:00:00.000Z"],
});
export const replayScopes = ["failed", "missed", "all"] as const;
export const WebhookReplay = object(
  {
    scope: Type.Optional(
      oneOf(replayScopes, {
        default: "failed",
        description: "`failed`: dead ones. `missed`: events it got no delivery for. `all`: delivered and dead ones.",
      }),
    ),
    since: Type.Optional(place),
    until: Type.Optional(place),
    types: Type.Optional(types),
    dryRun: Type.Optional(Type.Boolean({ description: "Counts, and changes nothing." })),
    expectedCount: Type.Optional(
      Type.Integer({ minimum: 0, description: "As counted before; another number is 409 `count_changed`." }),
    ),
  },
  { title: "WebhookReplay" },
);
export type WebhookReplay = Static<typeof WebhookReplay>;
export const WebhookReplayCount = object(
  {
    count: Type.Integer(),
    oldest: nullable(instant),
    newest: nullable(instant),
    byType: Type.Record(Type.String(), Type.Integer()),
  },
  { title: "WebhookReplayCount" },
);
