import { scanJson } from "./json-scan.ts";

/**
 * Why a body was refused; `rule` is the `rule` of the problem's `errors` entry. `pointer` (RFC 6901) names the faulty
 * value or member where the fault is about one; a fault in the spelling of a key names its object. `offset` counts
 * UTF-16 units (what `String` indexes) from the start of the text, a byte-order mark not counted; null for an empty
 * body. `message` ends with the position and repeats nothing of the body but one character, escape or refused key.
 */
export type JsonFault = {
  rule: "json" | "encoding" | "duplicate_key";
  pointer: string | null;
  offset: number | null;
  message: string;
};
export type JsonReading = { ok: true; value: unknown } | { ok: false; fault: JsonFault };

// Skips one byte-order mark, as the conventions ask (section 3).
const strictUtf8 = new TextDecoder("utf-8", { fatal: true });
const lenientUtf8 = new TextDecoder("utf-8");

/**
 * Reads a request body (api-conventions, section 3). What it accepts has exactly the value `JSON.parse` gives. It
 * refuses what `JSON.parse` refuses, and also: bytes that are not UTF-8, lone surrogates, U+0000, duplicate keys, the
 * keys `__proto__`, `constructor` and `prototype`, numbers past the range of a double, more than 64 levels. Never
 * throws; linear in the length, which the caller limits.
 */
export function readJson(bytes: Uint8Array): JsonReading {
  let text: string;
  try {
    text = strictUtf8.decode(bytes);
  } catch {
    return refuseBytes(bytes);
  }
  if (text === "") {
    return { ok: false, fault: { rule: "json", pointer: null, offset: null, message: "The body is empty." } };
  }
  const fault = scanJson(text);
  if (fault === null) return { ok: true, value: JSON.parse(text) };
  const { rule, path, offset } = fault;
  const message = `${fault.message}, at ${positionOf(text, offset)}.`;
  return { ok: false, fault: { rule, pointer: path && pointerOf(path), offset, message } };
}

function refuseBytes(bytes: Uint8Array): JsonReading {
  const text = lenientUtf8.decode(bytes);
  const offset = firstReplacement(bytes, text);
  const message = `The body is not UTF-8, at ${positionOf(text, offset)}.`;
  return { ok: false, fault: { rule: "encoding", pointer: null, offset, message } };
}

/** Where decoding first put U+FFFD for bytes that are not UTF-8; the body may hold true ones before. */
function firstReplacement(bytes: Uint8Array, text: string): number {
  const bomLength = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  const encoded = Buffer.from(text);
  let at = 0;
  while (encoded[at] === bytes[bomLength + at]) at++;
  // A cut-off sequence can share its first bytes with those of U+FFFD: back to the start of the character.
  while ((encoded[at]! & 0xc0) === 0x80) at--;
  return encoded.toString("utf8", 0, at).length;
}

function positionOf(text: string, offset: number): string {
  let line = 1;
  let lineStart = 0;
  for (let end = text.indexOf("\n"); end >= 0 && end < offset; end = text.indexOf("\n", lineStart)) {
    line += 1;
    lineStart = end + 1;
  }
  return `line ${line}, column ${offset - lineStart + 1} (offset ${offset})`;
}

/** The JSON Pointer (RFC 6901) of a way down from the root; `""` is the root itself. */
export function pointerOf(path: readonly (string | number)[]): string {
  return path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/**
 * The one text of a JSON value, to be hashed or signed as UTF-8: RFC 8785 (JCS). Members whose value is undefined are
 * left out, as `JSON.stringify` does; whatever else has no form in JSON is a TypeError: undefined elsewhere, functions,
 * symbols, big integers, NaN and the infinities, strings with a lone surrogate, objects of a class (`Date` too).
 * Recursive: for values of bounded depth, such as `readJson` gives.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string" && value.isWellFormed()) return JSON.stringify(value);
  if (typeof value === "number" && Number.isFinite(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return canonicalArray(value);
  if (typeof value === "object" && isPlain(value)) return canonicalObject(value);
  throw new TypeError(`This ${typeof value} has no form in JSON.`);
}

function isPlain(value: object): value is Record<string, unknown> {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function canonicalArray(value: unknown[]): string {
  let items = "";
  // By index: map and join would write a hole as nothing.
  for (let i = 0; i < value.length; i++) items += `${i === 0 ? "" : ","}${canonicalJson(value[i])}`;
  return `[${items}]`;
}

function canonicalObject(value: Record<string, unknown>): string {
  let members = "";
  // RFC 8785 3.2.3 orders keys by their UTF-16 units: sort without a comparer.
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member === undefined) continue;
    members += `${members === "" ? "" : ","}${canonicalJson(key)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
}
