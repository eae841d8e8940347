import assert from "node:assert/strict";
import { test } from "node:test";
import { type JsonFault, type JsonReading, pointerOf, readJson } from "./json.ts";

const read = (text: string): JsonReading => readJson(Buffer.from(text));
const hex = (bytes: string): Buffer => Buffer.from(bytes.replaceAll(/\s/g, ""), "hex");

function faultOf(reading: JsonReading): JsonFault {
  assert.ok(!reading.ok, "the body was accepted");
  return reading.fault;
}

/** Rule, pointer and offset of the fault. */
function brief(reading: JsonReading): [string, string | null, number | null] {
  const { rule, pointer, offset } = faultOf(reading);
  return [rule, pointer, offset];
}

test("an empty body is a json fault of its own, also after a byte-order mark", () => {
  const empty = { ok: false, fault: { rule: "json", pointer: null, offset: null, message: "The body is empty." } };
  assert.deepEqual(readJson(new Uint8Array()), empty);
  assert.deepEqual(readJson(hex("efbbbf")), empty);
});

test("bad JSON is refused with what was expected, what was found, line, column and offset", () => {
  const cases: [string, string][] = [
    [" ", "Expected a value, found the end of the text, at line 1, column 2 (offset 1)."],
    ['{"a":1,\r\n "b" 2}', 'Expected ":", found "2", at line 2, column 6 (offset 14).'],
    ['{\n"a":1,\n}', 'Expected a key in double quotes, found "}", at line 3, column 1 (offset 9).'],
    ["{1:2}", 'Expected a key in double quotes, found "1", at line 1, column 2 (offset 1).'],
    ['{"a":}', 'Expected a value, found "}", at line 1, column 6 (offset 5).'],
    ['{"a":1]', 'Expected "," or "}", found "]", at line 1, column 7 (offset 6).'],
    ["[1 2]", 'Expected "," or "]", found "2", at line 1, column 4 (offset 3).'],
    ["[1,]", 'Expected a value, found "]", at line 1, column 4 (offset 3).'],
    ["[01]", 'Expected "," or "]", found "1", at line 1, column 3 (offset 2).'],
    ["1.e5", 'Expected a digit, found "e", at line 1, column 3 (offset 2).'],
    ["-", "Expected a digit, found the end of the text, at line 1, column 2 (offset 1)."],
    ["1e+", "Expected a digit, found the end of the text, at line 1, column 4 (offset 3)."],
    ["trUe", 'Expected the word true, found "U", at line 1, column 3 (offset 2).'],
    ["null 1", 'Expected the end of the text, found "1", at line 1, column 6 (offset 5).'],
    ["[]]", 'Expected the end of the text, found "]", at line 1, column 3 (offset 2).'],
    ["\u00a01", "Expected a value, found U+00A0, at line 1, column 1 (offset 0)."],
    ['"ab', "Expected the closing quote of the string, found the end of the text, at line 1, column 4 (offset 3)."],
    ['"😀\0"', "Expected an escape in place of the control character, found U+0000, at line 1, column 4 (offset 3)."],
    ['"\n"', "Expected an escape in place of the control character, found U+000A, at line 1, column 2 (offset 1)."],
    ['"\\x"', 'Expected an escape (one of " \\ / b f n r t u), found "x", at line 1, column 3 (offset 2).'],
    ['"\\u12', "Expected four hexadecimal digits, found the end of the text, at line 1, column 6 (offset 5)."],
    ['"\\u00G0"', 'Expected four hexadecimal digits, found "G", at line 1, column 6 (offset 5).'],
  ];
  for (const [text, message] of cases) {
    const offset = Number(/offset (\d+)/.exec(message)![1]);
    assert.deepEqual(faultOf(read(text)), { rule: "json", pointer: null, offset, message }, text);
  }
});

test("one leading byte-order mark is skipped and not counted in offsets, a second one is refused", () => {
  assert.deepEqual(read("\ufeff[1]"), { ok: true, value: [1] });
  assert.deepEqual(brief(read("\ufeff[1")), ["json", null, 2]);
  assert.deepEqual(brief(read("\ufeff\ufeff[1]")), ["json", null, 0]);
});

test("bytes that are not UTF-8 are an encoding fault at the first bad character, true U+FFFD before it or not", () => {
  const cases: [string, number][] = [
    ["ff", 0],
    ["22 c3", 1],
    ["22 c3 22", 1],
    ["ef bb bf 22 80 22", 1],
    ["22 ef bf bd ef bf 22", 2],
    ["22 ef bf", 1],
    ["22 f0 9f 98 80 f0 9f 22", 3],
    ["22 c0 80 22", 1],
    ["22 ed a0 80 22", 1],
  ];
  for (const [bytes, offset] of cases) {
    const message = `The body is not UTF-8, at line 1, column ${offset + 1} (offset ${offset}).`;
    assert.deepEqual(faultOf(readJson(hex(bytes))), { rule: "encoding", pointer: null, offset, message }, bytes);
  }
});

test("escaped lone surrogates and U+0000 are an encoding fault at their value; pairs are read", () => {
  assert.deepEqual(faultOf(read('{"a":["x","\\uD800"]}')), {
    rule: "encoding",
    pointer: "/a/1",
    offset: 11,
    message: "\\uD800 is half a surrogate pair, at line 1, column 12 (offset 11).",
  });
  assert.deepEqual(faultOf(read('"a\\u0000"')), {
    rule: "encoding",
    pointer: "",
    offset: 2,
    message: "The character U+0000 is not accepted, at line 1, column 3 (offset 2).",
  });
  assert.deepEqual(brief(read('{"a":{"b":1,"\\udc00":2}}')), ["encoding", "/a", 13]);
  for (const half of [
    "\\udfff\\ud800",
    "\\ud800\\ud800\\udc00",
    "\\udc00\\udc00",
    "\\ud800xudc00",
    "\\ud800\\ndc00",
    "\\ud800\\ue000",
    "\\ud800x",
    "\\ud800\\n",
    "\\ud800\\u0041",
    "\\ud83d😀",
  ]) {
    assert.deepEqual(brief(read(`"${half}"`)), ["encoding", "", 1], half);
  }
  assert.deepEqual(read('"\\ud83d\\uDE00\\ud800\\udc00"'), { ok: true, value: "😀\u{10000}" });
});

test("a key twice in one object is refused whatever its spelling, and named by pointer and place", () => {
  assert.deepEqual(faultOf(read('{"a":1,\n"\\u0061":2}')), {
    rule: "duplicate_key",
    pointer: "/a",
    offset: 8,
    message: "The key stands twice in its object, at line 2, column 1 (offset 8).",
  });
  assert.deepEqual(brief(read('{"x/y":[0,{"~":1,"~":2}]}')), ["duplicate_key", "/x~1y/1/~0", 17]);
  assert.deepEqual(brief(read('{"":1,"":2}')), ["duplicate_key", "/", 6]);
});

test("a repeated key is found among few and among many, and never confused with a key of another object", () => {
  const members = (count: number) => Array.from({ length: count }, (_, i) => `"k${i}":{"k${i}":${i}}`).join(",");
  for (const count of [1, 14, 15, 16, 17, 18, 40]) {
    const large = `{${members(count)}}`;
    assert.ok(read(`[${large},${large},{"k0":1},${large}]`).ok, `${count} keys, several objects`);
    for (const twin of [0, count - 1]) {
      const reading = read(`[${large},{${members(count)},"k${twin}":0}]`);
      assert.deepEqual(brief(reading).slice(0, 2), ["duplicate_key", `/1/k${twin}`], `${count} keys, twin ${twin}`);
    }
  }
});

test("the keys __proto__, constructor and prototype are refused at any depth, also escaped, and accepted as text", () => {
  for (const key of ["__proto__", "constructor", "prototype"]) {
    assert.deepEqual(faultOf(read(`{"a":[{"${key}":{}}]}`)), {
      rule: "json",
      pointer: `/a/0/${key}`,
      offset: 7,
      message: `The key "${key}" is not accepted, at line 1, column 8 (offset 7).`,
    });
    const escaped = `\\u00${key.charCodeAt(0).toString(16)}${key.slice(1)}`;
    assert.deepEqual(brief(read(`{"${escaped}":1}`)), ["json", `/${key}`, 1]);
    assert.deepEqual(read(`["${key}"]`), { ok: true, value: [key] });
  }
});

test("64 levels are read, the 65th is refused", () => {
  for (const [open, close] of [
    ["[", "]"],
    ['{"a":', "}"],
  ] as const) {
    const nest = (levels: number) => `${open.repeat(levels)}1${close.repeat(levels)}`;
    assert.ok(read(nest(64)).ok);
    assert.equal(faultOf(read(nest(65))).message.split(",")[0], "Nested deeper than 64 levels");
    assert.deepEqual(brief(read(nest(65))), ["json", null, 64 * open.length]);
  }
  assert.ok(read(`[${"[[]],".repeat(100)}1]`).ok, "levels that were closed do not count");
});

test("a number past the range of a double is refused, one within it is read however it is written", () => {
  for (const text of ["1e400", "-1E+400", "1".repeat(400), `-${"9".repeat(310)}.5`, "0.1e999"]) {
    assert.deepEqual(brief(read(`[0,${text}]`)), ["json", "/1", 3], text);
  }
  for (const text of ["1.7976931348623157e308", `1${"0".repeat(308)}`, "1e-400", "-0", `0.${"1".repeat(400)}`]) {
    assert.deepEqual(read(text), { ok: true, value: Number(text) }, text);
  }
});

test("pointers are written as in RFC 6901, section 5", () => {
  assert.equal(pointerOf([]), "");
  assert.equal(pointerOf(["foo", 0]), "/foo/0");
  assert.equal(pointerOf(["", "a/b", "m~n", "~1", " "]), "//a~1b/m~0n/~01/ ");
});
