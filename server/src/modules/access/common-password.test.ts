import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { isCommonPassword } from "./common-password.ts";

const COMMON = {
  "a favourite with digits": [
    "password1234",
    "Welcome12345",
    "administrator1",
    "letmein123456",
    "iloveyou2024",
    "Summer2025!!!",
  ],
  "favourites in a row": ["passwordpassword", "adminpassword", "changemeplease", "superadmin1234", "football!1234"],
  disguised: ["P@$$w0rd1234", "4dm1n1strat0r", "p455w0rdp455w0rd", "Pa55word!2026"],
  "a walk over the keyboard": [
    "qwertyuiop123",
    "1qaz2wsx3edc",
    "1q2w3e4r5t6y",
    "zxcvbnm,./123",
    "qwertzuiop12",
    "azertyuiop12",
    "POIUYTREWQ99",
  ],
  "a run": ["123456789012", "abcdefghijkl", "zyxwvutsrqpo", "0987654321098", "abc123456789"],
  "few characters": ["aaaaaaaaaaaa", "112211221122", "abcdabcdabcd", "000000000000!", "АБАБАБАБАБАБ"],
  "itself again": ["tester!tester!", "qwerty12qwerty12", "letmein1letmein1letmein1"],
  "a famous passphrase": ["correcthorsebatterystaple", "CorrectHorseBatteryStaple1"],
};

for (const [kind, passwords] of Object.entries(COMMON)) {
  test(`a password is common that is ${kind}`, () => {
    assert.deepEqual(
      passwords.filter((password) => !isCommonPassword(password)),
      [],
    );
  });
}

test("passphrases and sentences with something of one's own are not common", () => {
  const own = [
    "gravel orchid tuba lantern",
    "password of the third clerk",
    "Meine Oma fährt im Hühnerstall",
    "correct horse",
    "qwerty-marmalade",
    "x7-Kettle-Bravo",
    "summer winter spring autumn monday",
    "271828459045",
    "password-271828459045",
  ];
  assert.deepEqual(own.filter(isCommonPassword), []);
});

test("random passwords are not common, whatever their alphabet", () => {
  for (let i = 0; i < 300; i++) {
    assert.equal(isCommonPassword(randomBytes(9).toString("base64")), false);
    assert.equal(isCommonPassword(randomBytes(10).toString("hex")), false);
  }
});

test("case and Unicode form make no difference", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 300 }), (password) => {
      assert.equal(isCommonPassword(password.normalize("NFD")), isCommonPassword(password.normalize("NFC")));
    }),
  );
  assert.equal(isCommonPassword("PASSWORD1234"), isCommonPassword("password1234"));
});
