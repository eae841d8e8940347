import type { Context } from "#kernel/contract";
import { problem, refuse } from "#kernel/problem";

export const reauthenticationRequired = problem(
  "reauthentication_required",
  403,
  "This change needs a log-in of the last 15 minutes.",
);

const freshMs = 15 * 60_000;

/**
 * Refuses a user's token whose log-in is 15 minutes old or older (access, section 5.2): for issuing keys and client
 * secrets, changing roles, factors or policy, and deleting tenants. Keys and service accounts have no one to ask.
 */
export function requireRecentLogIn(ctx: Pick<Context, "who" | "now">): void {
  const { authTime } = ctx.who;
  if (authTime && ctx.now.getTime() - authTime.getTime() >= freshMs) {
    throw refuse(reauthenticationRequired, {
      detail: "Log in again, then repeat this call: its kind of change needs a log-in of the last 15 minutes.",
    });
  }
}
