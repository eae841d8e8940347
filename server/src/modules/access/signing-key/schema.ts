import { Type } from "typebox";
import { instant, nullable, object, oneOf } from "#kernel/schema";

export const SigningKey = object(
  {
    kid: Type.String({ description: "As in the header of the tokens it signs and in the JWKS." }),
    state: oneOf(["next", "active", "retired"], {
      description: "`next` is published and does not sign yet; `active` signs; `retired` verifies what it has signed.",
    }),
    algorithm: oneOf(["RS256", "ES256"]),
    publishedAt: instant,
    activeFrom: instant,
    retiredFrom: nullable(instant),
    goneAt: nullable(instant),
  },
  { title: "SigningKey" },
);

export const SigningKeys = object({ items: Type.Array(SigningKey) });

export const Rotation = object({
  emergency: Type.Optional(
    Type.Boolean({
      default: false,
      description: "`true` drops every older key at once: all access tokens are refused from then on.",
    }),
  ),
});
