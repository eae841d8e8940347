import { type Static, Type } from "typebox";
import { id, instant, nullable, object } from "#kernel/schema";

/** What `access` tells of a user; the user itself is the directory's. */
export const LogIn = object(
  {
    userId: id("usr"),
    tenantId: id("tnt"),
    blockedAt: nullable(instant),
    passwordChangedAt: nullable(instant),
    mfaEnabled: Type.Boolean({ description: "A second factor is set up." }),
  },
  { title: "LogIn" },
);
export type LogIn = Static<typeof LogIn>;

export const LogInLock = object(
  { userId: id("usr"), tenantId: id("tnt"), lockedUntil: instant },
  { title: "LogInLock" },
);

/** Long enough for whatever a client may have hashed or generated; what may be set is said by the rules, with names. */
export const password = Type.String({ minLength: 1, maxLength: 1_000, "x-secret": true });

export const PasswordChange = object(
  { current: password, new: password },
  { title: "PasswordChange", description: "A password has 12 to 256 code points of any kind." },
);
export type PasswordChange = Static<typeof PasswordChange>;
