import { Reply, route } from "#kernel/contract";
import { scopeMissing, userNeeded } from "#kernel/problem";
import { grantExceedsOwn } from "../hand-out.ts";
import { reauthenticationRequired } from "../step-up.ts";
import { loginThrottled } from "../user/own.ts";
import { mfaDisabled, mfaEnabled, mfaReset } from "./events.ts";
import { beginTotp, codeWrong, confirmTotp, ownFactor, removeTotp, resetMfa } from "./operations.ts";
import { FactorCode, RecoveryCodes, TotpCode, TotpSecret } from "./schema.ts";
import { mfaEnabledAlready, mfaNotBegun, mfaNotEnabled, mfaSwitchedOff } from "./totp.ts";

const done = () => new Reply(204, undefined);
const refusals = [userNeeded, scopeMissing, reauthenticationRequired];

export const mfaRoutes = [
  route({
    method: "POST",
    path: "/mfa/totp",
    versions: "v1+",
    id: "beginTotp",
    summary: "Begin to set up one's own second factor",
    description:
      "Time-based codes (RFC 6238): SHA-1, 6 digits, 30 s. The secret counts once a code of it has been confirmed, within an hour; begun again, it is another one.",
    permission: "any",
    replies: { 200: TotpSecret },
    secret: ["secret", "uri"],
    problems: [...refusals, mfaEnabledAlready, mfaSwitchedOff],
    emits: { none: "A secret that is not confirmed changes nothing that others may read." },
    run: (ctx) => beginTotp(ctx),
  }),
  route({
    method: "POST",
    path: "/mfa/totp/confirm",
    versions: "v1+",
    id: "confirmTotp",
    summary: "Show the first code of one's own second factor",
    description: "From here on a log-in asks for a code. The reply alone holds the recovery codes.",
    permission: "any",
    body: TotpCode,
    replies: { 200: RecoveryCodes },
    secret: "recoveryCodes",
    problems: [...refusals, codeWrong, mfaNotBegun, mfaEnabledAlready],
    emits: [mfaEnabled],
    run: (ctx, { body }) => confirmTotp(ctx, body.code),
  }),
  route({
    method: "DELETE",
    path: "/mfa/totp",
    versions: "v1+",
    id: "removeTotp",
    summary: "Remove one's own second factor",
    description: "With a code of it, or a recovery code. A wrong one counts as a failed log-in.",
    permission: "any",
    body: FactorCode,
    replies: { 204: null },
    problems: [...refusals, codeWrong, mfaNotEnabled, loginThrottled],
    emits: [mfaDisabled],
    run: (ctx, { body }) => removeTotp(ctx, body.code).then(done),
  }),
  route({
    method: "DELETE",
    path: "/user/{id}/mfa",
    versions: "v1+",
    id: "resetMfa",
    summary: "Take a user's second factor away",
    description:
      "By id or user name, for somebody who has lost it. The caller must hold all that the user holds. Repeats harmlessly.",
    permission: "mfa.reset",
    replies: { 204: null },
    problems: [grantExceedsOwn, reauthenticationRequired, ownFactor],
    emits: [mfaReset],
    run: (ctx, { params }) => resetMfa(ctx, params.id).then(done),
  }),
];
