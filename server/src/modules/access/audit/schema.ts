import { type Static, Type } from "typebox";
import { listOf, listQuery } from "#kernel/page";
import { anyOf, id, instant, nullable, object, text } from "#kernel/schema";
import { csvQuery, period } from "../record/schema.ts";

const anything = Type.Unsafe<unknown>({});

export const Audit = object(
  {
    id: id("aud"),
    seq: nullable(Type.Integer({ description: "Place in the tenant's chain; null until the entry is sealed." })),
    at: instant,
    tenantId: id("tnt", { description: "The tenant that owns the thing." }),
    type: Type.String({ description: "What kind of thing was changed.", examples: ["watch"] }),
    action: Type.String({ examples: ["updated"] }),
    item: object({ kind: Type.String(), id: Type.String(), name: Type.String() }),
    actor: object({ kind: Type.String(), id: Type.String(), name: Type.String(), tenantName: Type.String() }),
    onBehalfOf: nullable(object({ id: Type.String(), name: Type.String() })),
    via: nullable(
      object({
        kind: Type.String(),
        id: Type.String(),
        hint: nullable(Type.String()),
        clientId: nullable(Type.String()),
      }),
    ),
    requestId: nullable(Type.String()),
    changes: Type.Array(object({ field: Type.String(), old: anything, new: anything }), {
      description: "Secret and sensitive fields are `***` on both sides.",
    }),
    comment: nullable(Type.String()),
    prevHash: nullable(Type.String({ description: "Hexadecimal; null until the entry is sealed." })),
    hash: nullable(Type.String({ description: "Hexadecimal; null until the entry is sealed." })),
  },
  { title: "Audit" },
);
export type Audit = Static<typeof Audit>;

const word = text(100);
const filters = {
  ...period,
  q: text(200, { minLength: 2, description: "Part of actor, item or details, ignoring case." }),
  type: anyOf(word),
  action: anyOf(word),
  actorId: anyOf(word),
  itemId: anyOf(word),
  requestId: anyOf(word),
  tenantId: anyOf(id("tnt")),
};

export const AuditQuery = listQuery(filters, ["at"], Audit);
export type AuditQuery = Static<typeof AuditQuery>;
export const AuditList = listOf(Audit);
export const AuditCsvQuery = csvQuery(filters);
export type AuditCsvQuery = Static<typeof AuditCsvQuery>;

export const AuditHead = object(
  {
    tenantId: id("tnt"),
    seq: Type.Integer({ description: "Of the last entry that the signature covers." }),
    hash: Type.String({ description: "Of that entry, hexadecimal." }),
    at: instant,
    kid: Type.String({ description: "Names a key of `/.well-known/demarc-audit-keys.json`." }),
    starts: Type.Optional(
      Type.Boolean({
        description: "`true`: entries up to this one are past their keeping, the chain begins behind it.",
      }),
    ),
    signature: Type.String({ description: "Ed25519 over the canonical JSON of the other members; base64url." }),
  },
  { title: "AuditHead" },
);
export type AuditHead = Static<typeof AuditHead>;

export const AuditHeadQuery = listQuery(
  {
    ...period,
    tenantId: anyOf(id("tnt")),
    starts: Type.Boolean({ description: "`true`: only heads that a chain begins behind." }),
  },
  ["at"],
  AuditHead,
);
export type AuditHeadQuery = Static<typeof AuditHeadQuery>;
export const AuditHeadList = listOf(AuditHead);
