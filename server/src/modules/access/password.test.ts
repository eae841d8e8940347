import assert from "node:assert/strict";
import { test } from "node:test";
import { hash, parseOptions } from "@node-rs/argon2";
import { brokenPasswordRules, createHashGate, hashPassword, needsRehash, verifyPassword } from "./password.ts";

const NOBODY = { username: null, email: null };
const GOOD = "gravel orchid tuba";
/** Compares in microseconds: for tests that need many comparisons, not strong ones. */
const CHEAP = { memoryCost: 8, timeCost: 1, parallelism: 1 };

async function phcOf(password: string): Promise<string> {
  const hashed = await hashPassword(password);
  assert.ok(hashed !== "busy");
  return hashed.phc;
}

test("a password is stored as argon2id with 19 MiB, 2 passes, 1 lane and 16 octets of salt, salted anew each time", async () => {
  const [phc, again] = [await phcOf(GOOD), await phcOf(GOOD)];
  assert.match(phc, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  assert.equal(parseOptions(phc).saltLen, 16);
  assert.notEqual(phc, again);
  assert.equal(await verifyPassword(phc, GOOD), "right");
  assert.equal(await verifyPassword(phc, `${GOOD} `), "wrong");
});

test("a password typed in another Unicode form is the same password", async () => {
  const phc = await phcOf("Hühnerstall-Oma");
  assert.equal(await verifyPassword(phc, "Hühnerstall-Oma".normalize("NFD")), "right");
});

test("without a stored password every password is wrong", async () => {
  assert.equal(await verifyPassword(null, GOOD), "wrong");
  assert.equal(await verifyPassword(null, ""), "wrong");
});

test("length is 12 to 256 code points after NFC, counted neither in UTF-16 units nor in octets", () => {
  const rulesOf = (password: string) => brokenPasswordRules(password, NOBODY);
  const letters = (count: number) =>
    Array.from({ length: count }, (_, i) => String.fromCodePoint(0x1f600 + (i % 60))).join("");
  assert.deepEqual(rulesOf(letters(11)), ["too_short"]);
  assert.deepEqual(rulesOf(letters(12)), []);
  assert.deepEqual(rulesOf(letters(256)), []);
  assert.deepEqual(rulesOf(letters(257)), ["too_long"]);
  assert.deepEqual(rulesOf("éàüñçøåêîôû".normalize("NFD")), ["too_short"]);
});

test("blanks count and are never trimmed, and no kinds of characters are demanded", () => {
  for (const password of ["kettle marmalade", "KETTLEMARMALADE", "  kettle m  ", "κλειδί-σπιτιού"]) {
    assert.deepEqual(brokenPasswordRules(password, NOBODY), [], password);
  }
});

test("the own user name and e-mail address are refused by name, in any case", () => {
  const owner = { username: "Zoë.Marmalade", email: "zoe.m@example.net" };
  assert.deepEqual(brokenPasswordRules("zoË.marmalade", owner), ["equals_user_name"]);
  assert.deepEqual(brokenPasswordRules("ZOE.M@example.net", owner), ["equals_email"]);
  assert.deepEqual(brokenPasswordRules("zoe.m@example.net2", owner), []);
  const both = { username: "administrator1", email: null };
  assert.deepEqual(brokenPasswordRules("Administrator1", both), ["common", "equals_user_name"]);
});

test("a common password is refused by that name", () => {
  assert.deepEqual(brokenPasswordRules("Password12345", NOBODY), ["common"]);
});

test("a stored hash is renewed when it is weaker than today's setting, and only then", async () => {
  assert.equal(needsRehash(await phcOf(GOOD)), false);
  const now = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
  assert.equal(needsRehash(await hash(GOOD, { ...now, timeCost: 3 })), false);
  assert.equal(needsRehash(await hash(GOOD, { ...now, memoryCost: 19_455 })), true);
  assert.equal(needsRehash(await hash(GOOD, { ...now, timeCost: 1 })), true);
  assert.equal(needsRehash(await hash(GOOD, { ...CHEAP, algorithm: 1 })), true);
  assert.equal(needsRehash(await hash(GOOD, { ...now, salt: Buffer.alloc(8) })), true);
});

test("4 comparisons run and 64 wait; the next is refused as busy, and afterwards there is room again", async () => {
  const phc = await hash(GOOD, CHEAP);
  const answers = await Promise.all(Array.from({ length: 70 }, () => verifyPassword(phc, GOOD)));
  assert.deepEqual(answers.slice(0, 68), Array(68).fill("right"));
  assert.deepEqual(answers.slice(68), ["busy", "busy"]);
  assert.equal(await verifyPassword(phc, GOOD), "right");
  const held = Array.from({ length: 68 }, () => verifyPassword(phc, GOOD));
  assert.equal(await hashPassword(GOOD), "busy");
  // Without a user too: the dummy hash takes its place in the queue like any other.
  assert.equal(await verifyPassword(null, GOOD), "busy");
  await Promise.all(held);
});

test("the gate runs tasks in order, never more at a time than it may, and goes on after a failure", async () => {
  const gate = createHashGate(2, 3);
  const started: number[] = [];
  const settle: { done(): void; fail(): void }[] = [];
  const results = Array.from({ length: 6 }, (_, i) =>
    gate.run(() => {
      started.push(i);
      return new Promise<number>((resolve, reject) => {
        settle[i] = { done: () => resolve(i), fail: () => reject(new Error("broken hash")) };
      });
    }),
  );
  assert.equal(results[5], "busy");
  assert.deepEqual(started, [0, 1]);
  settle[1]!.fail();
  await assert.rejects(results[1] as Promise<number>, /broken hash/);
  await Promise.resolve();
  assert.deepEqual(started, [0, 1, 2]);
  settle[0]!.done();
  await results[0];
  await Promise.resolve();
  assert.deepEqual(started, [0, 1, 2, 3]);
  for (const i of [2, 3]) settle[i]!.done();
  await Promise.all([results[2], results[3]]);
  await Promise.resolve();
  settle[4]!.done();
  assert.equal(await results[4], 4);
  assert.notEqual(
    gate.run(async () => 6),
    "busy",
  );
});
