import { type Static, Type } from "typebox";
import { listOf, listQuery } from "#kernel/page";
import { anyOf, id, instant, nullable, object, oneOf, text } from "#kernel/schema";
import { csvQuery, period } from "../record/schema.ts";

const actor = object({ kind: Type.String({ examples: ["user"] }), id: Type.String(), name: Type.String() });
const via = object({
  kind: Type.String({ examples: ["key"] }),
  id: Type.String(),
  hint: nullable(Type.String({ description: "Prefix and public id of the key." })),
  clientId: nullable(Type.String()),
});

export const Activity = object(
  {
    id: id("act"),
    at: instant,
    requestId: Type.String(),
    tenantId: id("tnt", { description: "The credential's; the root's where nobody was recognised." }),
    actingTenantId: id("tnt"),
    actor: nullable(actor),
    via: nullable(via),
    service: nullable(Type.String()),
    version: nullable(Type.String()),
    operationId: nullable(Type.String()),
    method: Type.String(),
    route: nullable(Type.String({ description: "Template; null at an unknown address." })),
    target: Type.Record(Type.String(), Type.String(), { description: "Ids among the path parameters." }),
    status: Type.Integer(),
    code: nullable(Type.String({ description: "Of the problem, where the call was refused." })),
    reason: nullable(Type.String({ description: "Why a credential was refused; the caller never learns it." })),
    durationMs: Type.Number(),
    address: Type.String(),
    userAgent: nullable(Type.String()),
    bytesIn: Type.Integer(),
    bytesOut: Type.Integer(),
  },
  { title: "Activity" },
);
export type Activity = Static<typeof Activity>;

const statusClasses = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;
const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
const reasons = ["unknown", "expired", "revoked", "disabled", "address", "blocked", "malformed"] as const;
const word = text(100);

const filters = {
  ...period,
  status: anyOf(Type.Integer({ minimum: 100, maximum: 599 })),
  statusClass: anyOf(oneOf(statusClasses)),
  method: anyOf(oneOf(methods)),
  route: text(200, { description: "A template, such as `/{label}/user/{username}`." }),
  actorId: anyOf(word),
  keyId: anyOf(word),
  address: anyOf(word),
  requestId: anyOf(word),
  code: anyOf(word),
  reason: anyOf(oneOf(reasons)),
  tenantId: anyOf(id("tnt")),
  mine: Type.Boolean({ description: "`true`: the caller's own calls, for which no permission is needed." }),
};
export const ActivityQuery = listQuery(filters, ["at"], Activity);
export type ActivityQuery = Static<typeof ActivityQuery>;
export const ActivityList = listOf(Activity);
export const ActivityCsvQuery = csvQuery(filters);
export type ActivityCsvQuery = Static<typeof ActivityCsvQuery>;
