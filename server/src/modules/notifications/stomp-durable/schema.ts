import { Type } from "typebox";
import { anyOf, id, instant, nullable, object, text } from "#kernel/schema";

export const StompDurable = object(
  {
    id: id("dur"),
    name: Type.String(),
    principalId: Type.String({ description: "Id of the user, key or client that it is kept for." }),
    destination: Type.String({ examples: ["/topic/event"] }),
    types: nullable(Type.Array(Type.String(), { description: "null: all types." })),
    tenant: Type.String({ description: "The tenant that it acts in." }),
    includeBelow: Type.Boolean(),
    lag: Type.Integer({ description: "Positions of the log that lie ahead; not all need be events for it." }),
    parkedCount: Type.Integer({ description: "Events that were refused too often, and are passed over." }),
    sessionId: nullable(Type.String({ description: "The session that has it now." })),
    createdAt: instant,
    lastUsedAt: instant,
  },
  { title: "StompDurable" },
);

export const durableFilters = { principal: anyOf(text(100)), name: anyOf(text(64)) };
