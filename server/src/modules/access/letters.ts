/** The letters by which Highlight names permissions (access, section 3). */
import { type Permission, withImplied } from "#kernel/permissions";

const byLetter: Record<string, Permission | null> = {
  A: "watch.approve",
  // Known there, and grants nothing here.
  B: null,
  C: "folder.write",
  E: "user.write",
  F: "loginReport.read",
  G: "application.write",
  M: "maintenance.write",
  R: "report.read",
  S: "pending.read",
  U: "watch.activate",
  W: "watch.write",
  X: "authPolicy.manage",
};
const nothing = "H";
const base: Permission = "watch.read";

/**
 * The permissions that letters stand for, closed under implication: the base `watch.read`, which also a user without
 * letters has, and one per letter. `H` alone is nothing at all. A string tells what is wrong with the letters.
 */
export function permissionsOfLetters(letters: string): ReadonlySet<Permission> | string {
  if (letters === nothing) return new Set();
  if (letters.includes(nothing)) return "H means nothing at all, so it stands alone.";
  const unknown = [...letters].find((letter) => !Object.hasOwn(byLetter, letter));
  if (unknown) return `${unknown} is not one of the letters ${Object.keys(byLetter).join("")}${nothing}.`;
  return withImplied([base, ...[...letters].flatMap((letter) => byLetter[letter] ?? [])]);
}

/** The letters of what somebody holds, in alphabetical order; `H` for who has not even the base. */
export function lettersOf(holds: (permission: Permission) => boolean): string {
  const letters = Object.entries(byLetter).flatMap(([letter, name]) => (name && holds(name) ? [letter] : []));
  return letters.length === 0 && !holds(base) ? nothing : letters.join("");
}
