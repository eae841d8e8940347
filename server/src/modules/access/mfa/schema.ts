import { type Static, Type } from "typebox";
import { nullable, object } from "#kernel/schema";

export const TotpSecret = object(
  {
    secret: nullable(
      Type.String({
        description: "160 bits in base32, for typing in: here and nowhere else. Null in a replay after 10 minutes.",
        "x-secret": true,
      }),
    ),
    uri: nullable(
      Type.String({
        description: "The same as an `otpauth:` address, to be shown as a QR code.",
        examples: ["otpauth://totp/Demarc:acme%2Fsam?issuer=Demarc&secret=..."],
        "x-secret": true,
      }),
    ),
  },
  { title: "TotpSecret" },
);
export type TotpSecret = Static<typeof TotpSecret>;

const code = Type.String({ minLength: 1, maxLength: 64, "x-secret": true });
export const TotpCode = object(
  { code: Type.Unsafe<string>({ ...code, description: "Six digits of the authenticator.", examples: ["287082"] }) },
  { title: "TotpCode" },
);
export const FactorCode = object(
  { code: Type.Unsafe<string>({ ...code, description: "Six digits of the authenticator, or a recovery code." }) },
  { title: "FactorCode" },
);

export const RecoveryCodes = object(
  {
    recoveryCodes: nullable(
      Type.Array(Type.String({ examples: ["k7qd-09xm-3fzt-a1bw"] }), {
        description: "Ten, each good for one log-in without the authenticator: here and nowhere else.",
        "x-secret": true,
      }),
    ),
  },
  { title: "RecoveryCodes" },
);
