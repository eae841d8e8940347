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
