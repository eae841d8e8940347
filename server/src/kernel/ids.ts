import { randomFillSync } from "node:crypto";

// TypeID 0.3: the alphabet of Crockford's base32, read strictly; the first digit holds three bits only.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
const suffixLength = 26;
const suffixForm = /^[0-7][0-9a-hjkmnp-tv-z]{25}$/;
const prefixForm = /^[a-z](?:[a-z_]{0,61}[a-z])?$/;

const counterEnd = 0x1000;
// A counter starts in the lower half, so that at least 2048 ids fit into any millisecond.
const counterStartMask = 0x7ff;

const pool = new Uint32Array(2048);
let poolUsed = pool.length;
let lastMs = -1;
let counter = 0;
let timeDigits = "";

/**
 * A new id: `prefix`, `_`, and a UUIDv7 (RFC 9562) as 26 digits of base32 (https://github.com/jetify-com/typeid, 0.3).
 * `prefix` is one of the registered ones: 1 to 63 of a-z and inner underscores, not checked. `nowMs` is Unix time, at
 * most 2^48 - 1. Suffixes strictly rise within the process, whatever the prefix: a counter in `rand_a` (RFC 9562 6.2,
 * method 1) orders those of one millisecond, and when it is full or the clock steps back, ids go on from the last
 * one's time. The other 62 bits are random in every id.
 */
export function newId(prefix: string, nowMs: number = Date.now()): string {
  counter += 1;
  // A fraction would start the counter anew within one millisecond.
  const ms = Math.floor(nowMs);
  if (ms > lastMs) startMs(ms);
  else if (counter === counterEnd) startMs(lastMs + 1);
  return `${prefix}_${timeDigits}${randomDigits(0x7000 | counter, 0x80000000 | (randomWord() >>> 2), randomWord())}`;
}

function startMs(ms: number): void {
  lastMs = ms;
  counter = randomWord() & counterStartMask;
  timeDigits = "";
  // Two zero bits and 48 bits of time are ten digits exactly. Division: shifts end at 32 bits.
  for (let rest = ms, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) timeDigits = alphabet[rest % 32] + timeDigits;
}

function randomWord(): number {
  if (poolUsed === pool.length) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  const word = pool[poolUsed]!;
  poolUsed += 1;
  return word;
}

/** The last 80 bits of the UUID: 16 (version, `rand_a`), 32 (variant, `rand_b`) and 32 (`rand_b`). */
function randomDigits(a: number, b: number, c: number): string {
  return (
    digit(a >>> 11) +
    digit(a >>> 6) +
    digit(a >>> 1) +
    digit((a << 4) | (b >>> 28)) +
    digit(b >>> 23) +
    digit(b >>> 18) +
    digit(b >>> 13) +
    digit(b >>> 8) +
    digit(b >>> 3) +
    digit((b << 2) | (c >>> 30)) +
    digit(c >>> 25) +
    digit(c >>> 20) +
    digit(c >>> 15) +
    digit(c >>> 10) +
    digit(c >>> 5) +
    digit(c)
  );
}

function digit(bits: number): string {
  return alphabet[bits & 31]!;
}

/** Whether `value` has the form of an id of this prefix; says nothing about whether such a thing exists. */
export function isId(prefix: string, value: string): boolean {
  const suffixStart = prefix.length + 1;
  return (
    value.length === suffixStart + suffixLength &&
    value.startsWith(prefix) &&
    value[prefix.length] === "_" &&
    suffixForm.test(value.slice(suffixStart))
  );
}

/** When an id was made, in Unix milliseconds; `id` has the form of one. */
export function timeOfId(id: string): number {
  let ms = 0;
  for (const letter of id.slice(-suffixLength, -suffixLength + 10)) ms = ms * 32 + alphabet.indexOf(letter);
  return ms;
}

/** The prefix of a value that has the form of an id, registered or not; null for any other text. */
export function idKind(value: string): string | null {
  const prefix = value.slice(0, -suffixLength - 1);
  return prefixForm.test(prefix) && isId(prefix, value) ? prefix : null;
}
