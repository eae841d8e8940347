import assert from "node:assert/strict";
import { test } from "node:test";
import { type Permission, withImplied } from "#kernel/permissions";
import { lettersOf, permissionsOfLetters } from "./letters.ts";

const sorted = (letters: string) => {
  const found = permissionsOfLetters(letters);
  return typeof found === "string" ? found : [...found].sort();
};

test('13. "WCSU" is four permissions, what they imply, and the base', () => {
  const named: Permission[] = ["watch.write", "folder.write", "pending.read", "watch.activate", "watch.read"];
  assert.deepEqual(sorted("WCSU"), [...withImplied(named)].sort());
  assert.deepEqual(sorted("WCSU"), [
    "folder.read",
    "folder.write",
    "pending.read",
    "watch.activate",
    "watch.read",
    "watch.write",
  ]);
});

test("13. H stands alone for nothing, B adds nothing, no letter is the base", () => {
  assert.deepEqual(sorted("H"), []);
  assert.match(String(sorted("HW")), /stands alone/);
  assert.deepEqual(sorted(""), ["folder.read", "watch.read"]);
  assert.deepEqual(sorted("B"), sorted(""));
  assert.match(String(sorted("WZ")), /^Z is not one of the letters/);
  assert.match(String(sorted("w")), /^w is not/);
});

test("letters of what somebody holds mean at most that", () => {
  const all = lettersOf(() => true);
  assert.equal(all, "ACEFGMRSUWX");
  assert.equal(
    lettersOf(() => false),
    "H",
  );
  assert.equal(
    lettersOf((name) => name === "watch.read"),
    "",
  );
  const meant = permissionsOfLetters("CSW") as ReadonlySet<Permission>;
  assert.equal(
    lettersOf((name) => meant.has(name)),
    "CSW",
  );
});
