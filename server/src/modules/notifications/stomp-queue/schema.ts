import { Type } from "typebox";
import { anyOf, id, instant, object, text } from "#kernel/schema";

const name = Type.String({ minLength: 1, maxLength: 64, pattern: "^[A-Za-z0-9_.-]+$", examples: ["billing"] });
const types = Type.Array(text(100, { description: "A whole type, a prefix that ends in `.*`, or `*`." }), {
  minItems: 1,
  maxItems: 50,
});
const includeBelow = Type.Boolean({ description: "Also events of the tenants below." });

export const StompQueue = object(
  {
    id: id("que"),
    tenantId: id("tnt"),
    name,
    types,
    includeBelow,
    readyCount: Type.Integer({
      description: "Events that wait for a consumer; of those that no consumer has come to yet, 100,000 are counted.",
    }),
    takenCount: Type.Integer({ description: "Events that are with a consumer." }),
    parkedCount: Type.Integer({ description: "Events that were refused too often." }),
    createdAt: instant,
    updatedAt: instant,
  },
  { title: "StompQueue" },
);

export const NewStompQueue = object(
  {
    name,
    types,
    includeBelow: Type.Optional(includeBelow),
    from: Type.Optional(
      text(64, { description: "`now` (default), `start`, an instant, or the id of an event.", examples: ["now"] }),
    ),
  },
  { "x-read-only": ["id", "tenantId", "readyCount", "takenCount", "parkedCount", "createdAt", "updatedAt"] },
);

export const StompQueueChange = object(
  { name: Type.Optional(name), types: Type.Optional(types), includeBelow: Type.Optional(includeBelow) },
  { "x-read-only": ["id", "tenantId", "readyCount", "takenCount", "parkedCount", "createdAt", "updatedAt"] },
);

export const queueFilters = { name: anyOf(text(64)) };
