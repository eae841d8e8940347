import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type JsonFault, type JsonReading, pointerOf, readJson } from "./json.ts";

const read = (text: string): JsonReading => readJson(Buffer.from(text));
const hex = (bytes: string): Buffer => Buffer.from(bytes.replaceAll(/\s/g, ""), "hex");

function faultOf(reading: JsonReading): JsonFault {
  assert.ok(!reading.ok, "the body was accepted");
  return reading.fault;
}

// Trees that know their own faults.

type Text = { value: string; escapeAll: boolean };
type Tree =
  | { kind: "bare"; text: string }
  | { kind: "string"; text: Text }
  | { kind: "array"; items: Tree[] }
  | { kind: "object"; members: { key: Text; value: Tree }[] };

const forbidden = new Set(["__proto__", "constructor", "prototype"]);

function printText({ value, escapeAll }: Text): string {
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return escapeAll ? `"${value.split("").map(escaped).join("")}"` : JSON.stringify(value);
}

function print(tree: Tree, space: string): string {
  if (tree.kind === "bare") return space + tree.text + space;
  if (tree.kind === "string") return space + printText(tree.text) + space;
  if (tree.kind === "array")
    return `${space}[${tree.items.map((item) => print(item, space)).join(",") || space}]${space}`;
  const members = tree.members.map(({ key, value }) => `${space}${printText(key)}${space}:${print(value, space)}`);
  return `${space}{${members.join(",") || space}}${space}`;
}

const isBadText = (value: string): boolean => !value.isWellFormed() || value.includes("\0");

/** The fault that comes first in the printed text, told from the tree alone. */
function firstFault(tree: Tree, path: (string | number)[] = []): Pick<JsonFault, "rule" | "pointer"> | null {
  const here = pointerOf(path);
  if (tree.kind === "bare") return Math.abs(Number(tree.text)) === Infinity ? { rule: "json", pointer: here } : null;
  if (tree.kind === "string") return isBadText(tree.text.value) ? { rule: "encoding", pointer: here } : null;
  if (path.length >= 64) return { rule: "json", pointer: null };
  const seen: string[] = [];
  const children = tree.kind === "array" ? tree.items : tree.members.map(({ value }) => value);
  for (const [index, child] of children.entries()) {
    const key = tree.kind === "object" ? tree.members[index]!.key.value : null;
    const way = [...path, key ?? index];
    if (key !== null) {
      if (isBadText(key)) return { rule: "encoding", pointer: here };
      if (forbidden.has(key)) return { rule: "json", pointer: pointerOf(way) };
      if (seen.includes(key)) return { rule: "duplicate_key", pointer: pointerOf(way) };
      seen.push(key);
    }
    const fault = firstFault(child, way);
    if (fault !== null) return fault;
  }
  return null;
}

const anyUnit = fc.oneof(
  { weight: 9, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 1 }).filter((unit) => unit !== "\0") },
  { weight: 1, arbitrary: fc.constantFrom("\0", "\ud800", "\udc00", "\ud83d\ude00", '"', "\\", "/", "\u2028") },
);
const anyText = fc.record({ value: fc.string({ unit: anyUnit, maxLength: 6 }), escapeAll: fc.boolean() });
const anyKey = fc.oneof(
  { weight: 8, arbitrary: fc.nat(40).map((n) => `k${n}`) },
  { weight: 1, arbitrary: fc.constantFrom("a/b~c", "", "é", "0", "__proto", ...forbidden) },
  { weight: 1, arbitrary: anyText.map(({ value }) => value) },
);
const anyBare = fc.oneof(
  fc.constantFrom("null", "true", "false", "-0", "1E5", "1e400", "-1E+999", "1e-400", "9".repeat(400), "0.10e-1"),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => JSON.stringify(n)),
  fc.bigInt().map(String),
);
const anyTree = fc
  .letrec<{ tree: Tree }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.record({ kind: fc.constant("bare" as const), text: anyBare }),
      fc.record({ kind: fc.constant("string" as const), text: anyText }),
      fc.record({ kind: fc.constant("array" as const), items: fc.array(tie("tree"), { maxLength: 5 }) }),
      fc.record({
        kind: fc.constant("object" as const),
        members: fc.array(
          fc.record({ key: fc.record({ value: anyKey, escapeAll: fc.boolean() }), value: tie("tree") }),
          { maxLength: 25 },
        ),
      }),
    ),
  }))
  .tree.chain((tree) =>
    fc
      .oneof({ weight: 9, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 58, max: 66 }) })
      .map((levels) => {
        let wrapped = tree;
        for (let i = 0; i < levels; i++) wrapped = { kind: "array", items: [{ kind: "bare", text: "1" }, wrapped] };
        return wrapped;
      }),
  );
const anySpace = fc.constantFrom("", " ", "\r\n\t ");

test("a tree of JSON reads as JSON.parse reads it, or is refused for the first rule it breaks, with the pointer", () => {
  let accepted = 0;
  let refused = 0;
  fc.assert(
    fc.property(anyTree, anySpace, (tree, space) => {
      const text = print(tree, space);
      const fault = firstFault(tree);
      const reading = read(text);
      if (fault === null) {
        assert.deepEqual(reading, { ok: true, value: JSON.parse(text) });
        accepted += 1;
      } else {
        const { rule, pointer } = faultOf(reading);
        assert.deepEqual({ rule, pointer }, fault);
        refused += 1;
      }
    }),
    { numRuns: 1000 },
  );
  assert.ok(accepted > 100 && refused > 100, `lopsided cases: ${accepted} accepted, ${refused} refused`);
});

test("whatever JSON.stringify writes of a clean value reads back as that value", () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
      const text = JSON.stringify(value);
      fc.pre(!/\\u0000|"(__proto__|constructor|prototype)":/.test(text));
      assert.deepEqual(read(text), { ok: true, value: JSON.parse(text) });
    }),
    { numRuns: 500 },
  );
});

// Any text and any bytes, against JSON.parse.

/** Whether a text that JSON.parse accepted breaks a rule of ours, told from its tokens and the parsed value. */
function breaksOurRules(text: string, value: unknown): boolean {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{}:]/g) ?? [];
  let depth = 0;
  let deepest = 0;
  for (const token of tokens) {
    if (token === "[" || token === "{") deepest = Math.max(deepest, ++depth);
    if (token === "]" || token === "}") depth--;
  }
  let members = 0;
  let broken = deepest > 64;
  const walk = (part: unknown): void => {
    if (typeof part === "string") broken ||= isBadText(part);
    if (typeof part === "number") broken ||= Math.abs(part) === Infinity;
    if (typeof part !== "object" || part === null) return;
    for (const [key, child] of Object.entries(part)) {
      if (!Array.isArray(part)) {
        members += 1;
        broken ||= forbidden.has(key) || isBadText(key);
      }
      walk(child);
    }
  };
  walk(value);
  // Each colon made a member; one that another overwrote had a twin.
  return broken || members < tokens.filter((token) => token === ":").length;
}

function assertAgrees(bytes: Uint8Array): void {
  const reading = readJson(bytes);
  const text = Buffer.from(bytes).toString();
  if (!Buffer.from(text).equals(bytes)) {
    assert.equal(faultOf(reading).rule, "encoding");
    return;
  }
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch {
    const { offset, message } = faultOf(reading);
    assert.ok(text === "" || text === "\ufeff" || (offset !== null && offset <= text.length));
    assert.match(message, /^[A-Z\\].*\.$/);
    return;
  }
  if (breaksOurRules(text, value)) faultOf(reading);
  else assert.deepEqual(reading, { ok: true, value });
}

test("texts that are nearly JSON are accepted exactly when JSON.parse accepts them and no rule of ours refuses", () => {
  const token = fc.constantFrom(
    ..."{}[],:".split(""),
    ...['"a"', '"\\u0061"', '"\\ud800"', '"\\uD83D\\ude00"', '"__proto__"', '"a\\', '"\\x"', '"\\u00g0"', '"\n"', '"'],
    ...["0", "01", "-", "-0", "1.", "1.5", ".5", "1e5", "1e", "1e400", "+1", "true", "tru", "false", "null", "NaN"],
    ...[" ", "\n", "\u00a0", "\ufeff", "\0", "é"],
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 7 }), (tokens) => assertAgrees(Buffer.from(tokens.join("")))),
    { numRuns: 3000 },
  );
});

test("JSON with bytes struck out, put in or exchanged is accepted exactly when JSON.parse accepts it and no rule of ours refuses", () => {
  const edit = fc.record({
    at: fc.nat(10_000),
    remove: fc.nat(2),
    insert: fc.oneof(
      fc.constantFrom(...'{}[],:"\\/u0159.eE+- \n\0truefalsn'.split("")).map((char) => Buffer.from(char)),
      fc.uint8Array({ maxLength: 2 }),
    ),
  });
  fc.assert(
    fc.property(anyTree, anySpace, fc.array(edit, { minLength: 1, maxLength: 3 }), (tree, space, edits) => {
      let bytes = Buffer.from(print(tree, space));
      for (const { at, remove, insert } of edits) {
        const start = at % (bytes.length + 1);
        bytes = Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)]);
      }
      assertAgrees(bytes);
    }),
    { numRuns: 1500 },
  );
});

test("random bytes never throw, and are told from UTF-8 exactly", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => assertAgrees(bytes)),
    { numRuns: 1000 },
  );
});

test("inputs nested thousands and millions deep are refused without overflowing the stack", () => {
  for (const [open, depth] of [
    ["[", 10_000],
    ["[", 10_000_000],
    ['{"a":', 2_000_000],
    ['[{"a":', 10_000],
  ] as const) {
    assert.equal(faultOf(read(open.repeat(depth))).rule, "json");
  }
});

test("the work grows in line with the length: an input costs about what its sixteen parts cost", () => {
  const list = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i)).join();
  const shapes: Record<string, (n: number) => Uint8Array> = {
    "distinct keys": (n) => Buffer.from(`{${list(n, (i) => `"k${i}":${i}`)}}`),
    "escaped keys": (n) => Buffer.from(`{${list(n, (i) => `"\\u006b${i}":${i}`)}}`),
    // Whole numbers equal in their low 24 bits, which V8 once hashed to one value.
    "colliding keys": (n) => Buffer.from(`{${list(n, (i) => `"${1e15 + i * 2 ** 24}":1`)}}`),
    "small objects": (n) => Buffer.from(`[${list(n, (i) => `{"a":${i},"b":[]}`)}]`),
    "one string of escapes": (n) => Buffer.from(`"${"\\u00e9".repeat(n)}"`),
    "lines before a fault": (n) => Buffer.from("\n".repeat(n * 20)),
    "U+FFFD before bad bytes": (n) => Buffer.concat([Buffer.from("\ufffd".repeat(n * 20)), hex("ff")]),
  };
  // CPU time of this thread, not the clock's; its unit can be a tick of 10 ms, hence the constant.
  const cpuMs = (runs: number, bytes: Uint8Array): number => {
    const before = process.threadCpuUsage();
    for (let i = 0; i < runs; i++) readJson(bytes);
    const used = process.threadCpuUsage(before);
    return (used.user + used.system) / 1000;
  };
  for (const [name, shape] of Object.entries(shapes)) {
    const small = cpuMs(16, shape(2_000));
    const large = cpuMs(1, shape(32_000));
    assert.ok(large < 6 * small + 60, `${name}: ${large} ms at once, ${small} ms in sixteen parts`);
  }
});

test("ten megabytes in one string, one number or one object of 100,000 keys are read", () => {
  const object = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`key${i}`, "x".repeat(90)]));
  for (const value of ["é".repeat(5_000_000), object]) {
    assert.deepEqual(read(JSON.stringify(value)), { ok: true, value });
  }
  assert.deepEqual(read(`0.${"1".repeat(10_000_000)}`), { ok: true, value: 0.1111111111111111 });
});
