// The grammar of RFC 8259 with the narrower rules of the API, in one pass that holds no stack frame per level.

/** Containers inside each other; `[[1]]` is two deep. */
const maxDepth = 64;
/** Up to here comparing a key with every earlier one of its object is cheaper than a Set. */
const fewKeys = 16;
/** A double ends at 1.8e308, so a shorter number without an exponent is always finite. */
const finiteDigits = 308;

/** The first fault in a text: `offset` in UTF-16 units, `path` to the faulty value (null: not about one value). */
export type ScanFault = {
  rule: "json" | "encoding" | "duplicate_key";
  path: (string | number)[] | null;
  offset: number;
  message: string;
};

type Level = {
  closer: number;
  /** Member or index being read, the last step of its path; null while the key itself is read. */
  step: string | number | null;
  /** The object's keys so far: the first `keyCount` of `keys`, or all of `manyKeys` once there are many. */
  keys: string[];
  keyCount: number;
  manyKeys: Set<string> | null;
};
/**
 * The first `depth` of `levels` are open, those beyond are kept for reuse. The skip functions return the offset after
 * what they read, or -1 with `fault` set.
 */
type Scan = { text: string; levels: Level[]; depth: number; escaped: boolean; fault: ScanFault | null };

const tab = 0x09;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const minus = 0x2d;
const plus = 0x2b;
const dot = 0x2e;
const zero = 0x30;
const nine = 0x39;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const letterA = 0x61;
const letterE = 0x65;
const letterF = 0x66;
const letterN = 0x6e;
const letterT = 0x74;
const letterU = 0x75;
const lowerCaseBit = 0x20;

/**
 * Checks a text that holds no lone surrogate. Null means: `JSON.parse` takes it, and it has no duplicate key (compared
 * after unescaping), no key `__proto__`, `constructor` or `prototype`, no escaped lone surrogate or U+0000, no number
 * past the range of a double, and nests at most 64 deep. Otherwise the first of these faults. Time is linear.
 */
export function scanJson(text: string): ScanFault | null {
  const scan: Scan = { text, levels: [], depth: 0, escaped: false, fault: null };
  let at = skipSpace(text, 0);
  for (;;) {
    const first = codeAt(text, at);
    if (first === openBrace || first === openBracket) {
      at = openLevel(scan, at, first);
      if (at < 0) return scan.fault;
      if (codeAt(text, at) !== scan.levels[scan.depth - 1]!.closer) {
        if (first === openBrace) at = skipKey(scan, at);
        if (at < 0) return scan.fault;
        continue;
      }
    } else {
      at = skipScalar(scan, at, first);
      if (at < 0) return scan.fault;
      at = skipSpace(text, at);
    }
    at = closeLevels(scan, at);
    if (scan.depth === 0) {
      if (at < text.length) expected(scan, at, "the end of the text");
      return scan.fault;
    }
    at = skipComma(scan, at);
    if (at < 0) return scan.fault;
  }
}

function openLevel(scan: Scan, at: number, opener: number): number {
  if (scan.depth === maxDepth) return fail(scan, "json", null, at, `Nested deeper than ${maxDepth} levels`);
  let level = scan.levels[scan.depth];
  if (level === undefined) {
    level = { closer: closeBracket, step: null, keys: [], keyCount: 0, manyKeys: null };
    scan.levels.push(level);
  }
  scan.depth += 1;
  level.closer = opener === openBrace ? closeBrace : closeBracket;
  level.step = opener === openBrace ? null : 0;
  level.keyCount = 0;
  level.manyKeys = null;
  return skipSpace(scan.text, at + 1);
}

function closeLevels(scan: Scan, start: number): number {
  let at = start;
  while (scan.depth > 0 && codeAt(scan.text, at) === scan.levels[scan.depth - 1]!.closer) {
    scan.depth -= 1;
    at = skipSpace(scan.text, at + 1);
  }
  return at;
}

function skipComma(scan: Scan, start: number): number {
  const level = scan.levels[scan.depth - 1]!;
  if (codeAt(scan.text, start) !== comma) {
    return expected(scan, start, level.closer === closeBrace ? `"," or "}"` : `"," or "]"`);
  }
  const at = skipSpace(scan.text, start + 1);
  if (level.closer === closeBrace) return skipKey(scan, at);
  level.step = (level.step as number) + 1;
  return at;
}

/** Reads a key and its colon; the new offset is that of the value. */
function skipKey(scan: Scan, start: number): number {
  const { text } = scan;
  const level = scan.levels[scan.depth - 1]!;
  level.step = null;
  if (codeAt(text, start) !== quote) return expected(scan, start, "a key in double quotes");
  const end = skipString(scan, start);
  if (end < 0) return end;
  const key = scan.escaped ? (JSON.parse(text.slice(start, end)) as string) : text.slice(start + 1, end - 1);
  level.step = key;
  if (key === "__proto__" || key === "constructor" || key === "prototype") {
    return fail(scan, "json", pathTo(scan), start, `The key "${key}" is not accepted`);
  }
  if (!addKey(level, key))
    return fail(scan, "duplicate_key", pathTo(scan), start, "The key stands twice in its object");
  const at = skipSpace(text, end);
  if (codeAt(text, at) !== colon) return expected(scan, at, `":"`);
  return skipSpace(text, at + 1);
}

/** False when the object has the key already. */
function addKey(level: Level, key: string): boolean {
  const { keys, keyCount, manyKeys } = level;
  if (manyKeys !== null) return manyKeys.size < manyKeys.add(key).size;
  for (let i = 0; i < keyCount; i++) if (keys[i] === key) return false;
  // Never more than fewKeys long, so that at fewKeys none is left of an earlier object.
  keys[keyCount] = key;
  level.keyCount = keyCount + 1;
  if (level.keyCount === fewKeys) level.manyKeys = new Set(keys);
  return true;
}

function skipScalar(scan: Scan, at: number, first: number): number {
  if (first === quote) return skipString(scan, at);
  if (first === minus || isDigit(first)) return skipNumber(scan, at);
  if (first === letterT) return skipWord(scan, at, "true");
  if (first === letterF) return skipWord(scan, at, "false");
  if (first === letterN) return skipWord(scan, at, "null");
  return expected(scan, at, "a value");
}

function skipWord(scan: Scan, start: number, word: string): number {
  if (scan.text.startsWith(word, start)) return start + word.length;
  let same = 0;
  while (scan.text[start + same] === word[same]) same++;
  return expected(scan, start + same, `the word ${word}`);
}

/** Sets `scan.escaped` to whether the string holds an escape. */
function skipString(scan: Scan, start: number): number {
  const { text } = scan;
  const { length } = text;
  scan.escaped = false;
  let at = start + 1;
  while (at < length) {
    const code = text.charCodeAt(at);
    if (code === quote) return at + 1;
    if (code === backslash) {
      scan.escaped = true;
      at = skipEscape(scan, at);
      if (at < 0) return at;
    } else if (code < space) {
      return expected(scan, at, "an escape in place of the control character");
    } else {
      at += 1;
    }
  }
  return expected(scan, at, "the closing quote of the string");
}

function skipEscape(scan: Scan, start: number): number {
  const { text } = scan;
  const code = codeAt(text, start + 1);
  if (code !== letterU) {
    const known = `"\\/bfnrt`.includes(String.fromCharCode(code));
    return known ? start + 2 : expected(scan, start + 1, 'an escape (one of " \\ / b f n r t u)');
  }
  const unit = hexAt(text, start + 2);
  if (unit < 0) {
    let at = start + 2;
    while (hexDigit(codeAt(text, at)) >= 0) at++;
    return expected(scan, at, "four hexadecimal digits");
  }
  if (unit === 0) return fail(scan, "encoding", pathTo(scan), start, "The character U+0000 is not accepted");
  if ((unit & 0xf800) !== 0xd800) return start + 6;
  const paired =
    unit < 0xdc00 &&
    codeAt(text, start + 6) === backslash &&
    codeAt(text, start + 7) === letterU &&
    (hexAt(text, start + 8) & 0xfc00) === 0xdc00;
  if (paired) return start + 12;
  return fail(scan, "encoding", pathTo(scan), start, `${text.slice(start, start + 6)} is half a surrogate pair`);
}

/** The value of four hexadecimal digits, or -1. */
function hexAt(text: string, at: number): number {
  const high = (hexDigit(codeAt(text, at)) << 4) | hexDigit(codeAt(text, at + 1));
  const low = (hexDigit(codeAt(text, at + 2)) << 4) | hexDigit(codeAt(text, at + 3));
  return high < 0 || low < 0 ? -1 : (high << 8) | low;
}

function hexDigit(code: number): number {
  if (isDigit(code)) return code - zero;
  const letter = code | lowerCaseBit;
  return letter >= letterA && letter <= letterF ? letter - letterA + 10 : -1;
}

function skipNumber(scan: Scan, start: number): number {
  const { text } = scan;
  const whole = codeAt(text, start) === minus ? start + 1 : start;
  let at = codeAt(text, whole) === zero ? whole + 1 : skipDigits(text, whole);
  if (at === whole) return expected(scan, at, "a digit");
  if (codeAt(text, at) === dot) {
    const fraction = at + 1;
    at = skipDigits(text, fraction);
    if (at === fraction) return expected(scan, at, "a digit");
  }
  const exponent = (codeAt(text, at) | lowerCaseBit) === letterE;
  if (exponent) {
    const sign = codeAt(text, at + 1);
    const digits = sign === plus || sign === minus ? at + 2 : at + 1;
    at = skipDigits(text, digits);
    if (at === digits) return expected(scan, at, "a digit");
  }
  if ((exponent || at - start > finiteDigits) && !Number.isFinite(Number(text.slice(start, at)))) {
    return fail(scan, "json", pathTo(scan), start, "The number is past the range of a double");
  }
  return at;
}

function skipDigits(text: string, start: number): number {
  let at = start;
  while (isDigit(codeAt(text, at))) at++;
  return at;
}

function isDigit(code: number): boolean {
  return code >= zero && code <= nine;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (isSpace(codeAt(text, at))) at++;
  return at;
}

function isSpace(code: number): boolean {
  return code === space || code === lineFeed || code === carriageReturn || code === tab;
}

/** -1 past the end: reading there with `charCodeAt` makes V8 give up its fast path. */
function codeAt(text: string, at: number): number {
  return at < text.length ? text.charCodeAt(at) : -1;
}

function pathTo(scan: Scan): (string | number)[] {
  const steps = scan.levels.slice(0, scan.depth).map((level) => level.step);
  return steps.filter((step) => step !== null);
}

function expected(scan: Scan, at: number, what: string): -1 {
  return fail(scan, "json", null, at, `Expected ${what}, found ${nameOf(scan.text.codePointAt(at))}`);
}

function nameOf(codePoint: number | undefined): string {
  if (codePoint === undefined) return "the end of the text";
  if (codePoint > 0x20 && codePoint < 0x7f) return `"${String.fromCodePoint(codePoint)}"`;
  return `U+${codePoint.toString(16).toUpperCase().padStart(4, "0")}`;
}

function fail(scan: Scan, rule: ScanFault["rule"], path: ScanFault["path"], offset: number, message: string): -1 {
  scan.fault = { rule, path, offset, message };
  return -1;
}
