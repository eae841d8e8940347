/** What is valid and impossible now (directory, A5): 400 here, in this order when there are several. */
import { type Fault, invalid, type Problem, type ProblemKind, problem } from "#kernel/problem";

export const emailInUse = problem("email_in_use", 400, "The e-mail address is used by another user.");
export const usernameInUse = problem("username_in_use", 400, "The user name is used by another user.");
export const orgUnitUnknown = problem("org_unit_unknown", 400, "There is no such org unit.");
export const orgUnitInactive = problem("org_unit_inactive", 400, "The org unit is not current.");
export const lastAdministrator = problem("last_administrator", 400, "The tenant would be left without administrator.");
export const expiryInPast = problem("expiry_in_past", 400, "The expiry is not in the future.");

export const userProblems = [
  emailInUse,
  usernameInUse,
  orgUnitUnknown,
  orgUnitInactive,
  lastAdministrator,
  expiryInPast,
] as const;

export type StateFault = { kind: ProblemKind; fault: Fault };

/** One refusal for all state faults of a write; its code is the first in the order of A5. */
export function impossible(faults: readonly StateFault[]): Problem {
  const place = ({ kind }: StateFault) => (userProblems as readonly ProblemKind[]).indexOf(kind);
  const sorted = [...faults].sort((a, b) => place(a) - place(b));
  return invalid(
    sorted.map(({ fault }) => fault),
    sorted[0]!.kind,
  );
}
