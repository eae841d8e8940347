import { type Static, Type } from "typebox";
import { anyOf, id, instant, nullable, object } from "#kernel/schema";

/** A person's log-in at the pages, in one browser. */
export const Session = object(
  {
    id: id("ssn"),
    tenantId: id("tnt"),
    userId: id("usr"),
    mfa: Type.Boolean({ description: "Whether a second factor was shown." }),
    address: Type.String({ description: "Where the log-in came from.", examples: ["192.0.2.7"] }),
    userAgent: nullable(Type.String({ maxLength: 200 })),
    createdAt: instant,
    lastUsedAt: instant,
    expiresAt: { ...instant, description: "When it ends at the latest; unused, it ends before." },
  },
  { title: "Session" },
);
export type Session = Static<typeof Session>;

export const sessionFilters = { userId: anyOf(id("usr")), tenantId: anyOf(id("tnt")) };
