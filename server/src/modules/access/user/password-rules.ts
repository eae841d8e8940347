/** The rules of a new password as faults of a request, and its hash. */
import { type Fault, refuse, unavailable } from "#kernel/problem";
import { brokenPasswordRules, hashPassword, type PasswordRule } from "../password.ts";

const ruleWords: Record<PasswordRule, string> = {
  too_short: "A password has at least 12 characters.",
  too_long: "A password has at most 256 characters.",
  common: "This password is among those that are guessed first.",
  equals_user_name: "The password is the user name.",
  equals_email: "The password is the e-mail address.",
};

/** The rules that a new password breaks, each as a fault of the member `new`. */
export function passwordFaults(chosen: string, owner: { username: string; email: string }): Fault[] {
  return brokenPasswordRules(chosen, owner).map((rule) => ({ pointer: "/new", rule, message: ruleWords[rule] }));
}

/** Hashes a password, outside any transaction; 503 when too many are being hashed. */
export async function hashOrRefuse(password: string): Promise<string> {
  const hashed = await hashPassword(password);
  if (hashed === "busy") throw tooBusy();
  return hashed.phc;
}

export const tooBusy = () =>
  refuse(unavailable, { detail: "Too many passwords are being checked. Try again.", headers: { "retry-after": "1" } });
