import { Type } from "typebox";
import { anyOf, id, instant, nullable, object, text } from "#kernel/schema";

export const StompSession = object(
  {
    id: id("ses"),
    principal: object({ kind: Type.String(), id: Type.String(), name: Type.String() }),
    tenantId: id("tnt"),
    address: Type.String(),
    stompVersion: Type.String({ examples: ["1.2"] }),
    label: Type.String({ examples: ["v1"] }),
    connectedAt: instant,
    expiresAt: nullable(Type.String({ format: "date-time", description: "When its credential ends." })),
    lastSeenAt: Type.String({ format: "date-time", description: "When something was last heard of it, within 10 s." }),
  },
  { title: "StompSession" },
);

export const sessionFilters = {
  principal: anyOf(text(100, { description: "Id of a user, key or client." })),
  tenant: anyOf(id("tnt")),
};
