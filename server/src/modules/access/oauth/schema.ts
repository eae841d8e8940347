import { Type } from "typebox";
import { id, instant, nullable, object } from "#kernel/schema";

/** What a person allowed a client. */
export const Grant = object(
  {
    id: id("grt"),
    tenantId: id("tnt"),
    userId: id("usr"),
    clientId: Type.String({ examples: ["demarc-cli"] }),
    scopes: Type.Array(Type.String()),
    createdAt: instant,
    lastUsedAt: instant,
    expiresAt: instant,
    endedAt: nullable(instant),
  },
  { title: "Grant" },
);
