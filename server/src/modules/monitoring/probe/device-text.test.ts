import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readDeviceText } from "./device-text.ts";

const read = (...bytes: number[]) => readDeviceText(Buffer.from(bytes));

test("UTF-8 is kept as it is, spaces included", () => {
  assert.equal(readDeviceText(Buffer.from(" Büro ☃ <b> ")), " Büro ☃ <b> ");
});

test("octets that are not UTF-8 are read as ISO 8859-1", () => {
  assert.equal(read(0x42, 0xfc, 0x72, 0x6f), "Büro");
});

test("line ends and padding of zero bytes become one space, or nothing at the ends", () => {
  assert.equal(readDeviceText(Buffer.from("\r\nCisco IOS\r\nVersion 15\u0000\u0000")), "Cisco IOS Version 15");
});

test("nothing, and nothing but control characters, is no text", () => {
  assert.equal(read(), null);
  assert.equal(read(0, 0x1b, 0x7f), null);
});

test("marks that turn the reading direction are dropped", () => {
  assert.equal(readDeviceText(Buffer.from("Gi0/\u202e1\u2069")), "Gi0/ 1");
});

test("text is cut at 255 code points, never within one", () => {
  assert.equal(readDeviceText(Buffer.from("😀".repeat(300))), "😀".repeat(255));
});

test("whatever the octets are, the text is well-formed, free of control characters and at most 255 long", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (octets) => {
      const text = readDeviceText(Buffer.from(octets));
      if (text === null) return;
      assert.ok(text.isWellFormed());
      assert.doesNotMatch(text, /[\p{Cc}\p{Zl}\p{Zp}]/u);
      assert.ok([...text].length <= 255);
    }),
  );
});
