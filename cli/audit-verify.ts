/**
 * Verifies an audit chain offline, from its written format alone (docs/the-record.md): nothing here is the server's. One
 * pass over the chain in constant memory; a second one only where something is wrong, to tell what it is.
 */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { canonicalJson } from "./canonical-json.ts";

export type Trouble = "edited" | "missing" | "reordered" | "inserted" | "truncated" | "head_signature";
export type Verdict =
  | { sound: true; tenantId: string; from: number; to: number; entries: number; heads: number; provenTo: number }
  | { sound: false; tenantId: string; seq: number; kind: Trouble; message: string };

/** The files cannot be used at all: missing, unreadable, of another form, or of another tenant. */
export class UnusableInput extends Error {}

type Entry = { seq: number; tenantId: string; prevHash: string; hash: string; whole: boolean; rest: object };
type Head = { tenantId: string; seq: number; hash: string; at: string; kid: string; starts?: true; signature: string };

const sha256 = (...parts: (string | Buffer)[]): string =>
  parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isHash = (value: unknown): value is string => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UnusableInput(`${where} is not JSON: ${(error as Error).message}`);
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UnusableInput((error as Error).message);
  }
}

/** Ends a line at U+000A alone: `node:readline` would also do so at U+2028, which names may hold. */
async function* linesOf(file: string): AsyncGenerator<string> {
  let rest = "";
  try {
    for await (const chunk of createReadStream(file, "utf8")) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      yield* lines;
    }
  } catch (error) {
    throw new UnusableInput((error as Error).message);
  }
  yield rest;
}

async function* entriesOf(file: string): AsyncGenerator<Entry> {
  let count = 0;
  for await (const line of linesOf(file)) {
    count++;
    const text = line.trim();
    if (text !== "") yield entryOf(text, `${file}, line ${count},`);
  }
}

function entryOf(line: string, where: string): Entry {
  const value = parse(line, where);
  if (!isObject(value)) throw new UnusableInput(`${where} is not a JSON object.`);
  const { hash, ...rest } = value;
  const { seq, prevHash, tenantId } = rest;
  if (
    !Number.isSafeInteger(seq) ||
    typeof tenantId !== "string" ||
    typeof hash !== "string" ||
    typeof prevHash !== "string"
  )
    throw new UnusableInput(`${where} has not the members of an entry of a chain: seq, tenantId, prevHash, hash.`);
  // A member that stands twice would be read by people and by this program in different ways.
  const whole = JSON.stringify(value).length === line.length;
  return { seq: seq as number, tenantId, prevHash, hash, whole, rest };
}

/** Heads as the file of heads has them, an object a line, or as the API lists them. */
function headsOf(file: string): Head[] {
  const text = read(file).trim();
  let items: unknown[];
  const whole = text.startsWith("{") && !/\}\s*\n\s*\{/.test(text) ? parse(text, file) : undefined;
  if (isObject(whole) && Array.isArray(whole.items)) items = whole.items;
  else
    items = text
      .split(/\r?\n/)
      .flatMap((line, at) => (line.trim() === "" ? [] : [parse(line, `${file}, line ${at + 1},`)]));
  return items.map((item, at) => {
    const fits =
      isObject(item) &&
      typeof item.tenantId === "string" &&
      Number.isSafeInteger(item.seq) &&
      typeof item.signature === "string";
    if (!fits) throw new UnusableInput(`${file}: the head number ${at + 1} has not the members of one.`);
    return item as Head;
  });
}

function keysOf(file: string): Map<string, KeyObject> {
  const set = parse(read(file), file);
  if (!isObject(set) || !Array.isArray(set.keys)) throw new UnusableInput(`${file} is not a set of keys (JWKS).`);
  const keys = new Map<string, KeyObject>();
  for (const jwk of set.keys as unknown[]) {
    if (!isObject(jwk) || jwk.kty !== "OKP" || jwk.crv !== "Ed25519" || typeof jwk.kid !== "string") continue;
    try {
      keys.set(jwk.kid, createPublicKey({ key: jwk, format: "jwk" }));
    } catch {
      throw new UnusableInput(`${file}: the key ${jwk.kid} cannot be read.`);
    }
  }
  if (keys.size === 0) throw new UnusableInput(`${file} holds no Ed25519 key.`);
  return keys;
}

function isSigned({ signature, ...head }: Head, keys: ReadonlyMap<string, KeyObject>): boolean {
  const key = keys.get(head.kid);
  if (!key || !isHash(head.hash)) return false;
  return verify(null, Buffer.from(canonicalJson(head)), key, Buffer.from(signature, "base64url"));
}

/** Whose chain it is: by the heads where they are of one tenant, else as most of the first entries say. */
async function tenantOf(chain: string, heads: readonly Head[]): Promise<string> {
  const named = new Set(heads.map((head) => head.tenantId));
  const first: string[] = [];
  for await (const entry of entriesOf(chain)) {
    if (first.push(entry.tenantId) === 3) break;
  }
  if (named.size === 1) {
    const [only] = named as Set<string>;
    if (first.length < 3 || first.includes(only!)) return only!;
  }
  if (first.length === 0) throw new UnusableInput("The chain is empty, and the heads are not those of one tenant.");
  return first.find((id, at) => first.indexOf(id) < at) ?? first[0]!;
}

/** What an entry is hashed to, with its own number or with the one that its place asks for. */
const hashOf = (entry: Entry, seq = entry.seq) =>
  isHash(entry.prevHash) ? sha256(Buffer.from(entry.prevHash, "hex"), canonicalJson({ ...entry.rest, seq })) : "";

/**
 * Verifies a chain against signed heads and the public keys.
 * @throws UnusableInput where the files say nothing either way.
 */
export async function verifyChain(files: { chain: string; heads: readonly string[]; keys: string }): Promise<Verdict> {
  const keys = keysOf(files.keys);
  const allHeads = files.heads.flatMap(headsOf);
  const tenantId = await tenantOf(files.chain, allHeads);
  const heads = allHeads.filter((head) => head.tenantId === tenantId).sort((a, b) => a.seq - b.seq);
  if (heads.length === 0)
    throw new UnusableInput(`No head is of the chain's tenant ${tenantId}: there is nothing to hold it against.`);
  const signed = new Set(heads.filter((head) => isSigned(head, keys)));
  const forged = heads.find((head) => !signed.has(head));
  const chain = await walk(files.chain, tenantId, [...signed]);
  if (forged && (chain.sound || forged.seq < chain.seq))
    return fault(
      tenantId,
      forged.seq,
      "head_signature",
      `The head at ${forged.seq} of ${forged.at} is not signed by the key ${forged.kid}.`,
    );
  return chain;
}

const fault = (tenantId: string, seq: number, kind: Trouble, message: string): Verdict => ({
  sound: false,
  tenantId,
  seq,
  kind,
  message,
});

async function walk(chain: string, tenantId: string, heads: readonly Head[]): Promise<Verdict> {
  const proven = new Map<number, Set<string>>();
  for (const { seq, hash } of heads) proven.set(seq, (proven.get(seq) ?? new Set()).add(hash));
  const starts = heads.filter((head) => head.starts === true);
  let last: { seq: number; hash: string } | undefined;
  let from = 0;
  let entries = 0;
  for await (const entry of entriesOf(chain)) {
    if (!last) {
      last = starts.findLast((head) => head.seq < entry.seq) ?? { seq: 0, hash: sha256("demarc-audit-v1", tenantId) };
      from = last.seq + 1;
    }
    const expected = last.seq + 1;
    const fits = entry.seq === expected && entry.tenantId === tenantId && entry.whole;
    if (!fits || entry.prevHash !== last.hash || hashOf(entry) !== entry.hash)
      return judge(chain, tenantId, { entry, last, from, isProven: proven.has(last.seq) });
    const signed = proven.get(expected);
    if (signed && (signed.size > 1 || !signed.has(entry.hash)))
      return fault(
        tenantId,
        expected,
        "edited",
        `The entry ${expected} or one before it is not what was signed: it was changed, and the hashes after it were made anew.`,
      );
    last = { seq: expected, hash: entry.hash };
    entries++;
  }
  const end = last ?? starts.at(-1) ?? { seq: 0, hash: "" };
  const provenTo = heads.at(-1)?.seq ?? 0;
  if (provenTo > end.seq)
    return fault(
      tenantId,
      end.seq + 1,
      "truncated",
      `The chain ends at ${end.seq}, but its head at ${provenTo} was signed.`,
    );
  return {
    sound: true,
    tenantId,
    from: from || end.seq + 1,
    to: end.seq,
    entries,
    heads: new Set(heads.map(({ signature }) => signature)).size,
    provenTo,
  };
}

type Broken = { entry: Entry; last: { seq: number; hash: string }; from: number; isProven: boolean };

/** What was done at the first place that does not fit, from what the rest of the chain holds. */
async function judge(chain: string, tenantId: string, { entry, last, from, isProven }: Broken): Promise<Verdict> {
  const expected = last.seq + 1;
  const say = (seq: number, kind: Trouble, message: string) => fault(tenantId, seq, kind, message);
  if (entry.seq !== expected && hashOf(entry, expected) === entry.hash)
    return say(expected, "edited", `The entry ${expected} was given the number ${entry.seq}.`);
  const near = await neighbours(chain, tenantId, expected, entry);
  if (entry.seq === expected) {
    if (near.sameNumber > 1)
      return say(expected, "inserted", `The number ${expected} stands ${near.sameNumber} times.`);
    const isOwn = entry.whole && entry.tenantId === tenantId && hashOf(entry) === entry.hash;
    // Itself as it was, and so is what follows: the one before it was changed and hashed anew.
    if (isOwn && near.followed && !isProven && last.seq >= from)
      return say(last.seq, "edited", `The entry ${last.seq} is not the one that ${expected} was hashed behind.`);
    return say(expected, "edited", `The entry ${expected} is not what its hash says.`);
  }
  if (entry.seq < expected || near.sameNumber > 1)
    return say(entry.seq, "inserted", `An entry with the number ${entry.seq} stands where ${expected} is due.`);
  if (near.holdsExpected === 0) {
    const gap =
      entry.seq - expected === 1 ? `The entry ${expected} is` : `The entries ${expected} to ${entry.seq - 1} are`;
    return say(expected, "missing", `${gap} missing.`);
  }
  if (hashOf(entry) !== entry.hash || near.between < entry.seq - expected)
    return say(entry.seq, "inserted", `An entry with the number ${entry.seq} stands where ${expected} is due.`);
  return say(expected, "reordered", `The entry ${entry.seq} stands where ${expected} is due, which comes later.`);
}

/** How often the number of a misplaced entry and the one due in its place occur, how many of those between, and who follows. */
async function neighbours(chain: string, tenantId: string, expected: number, entry: Entry) {
  let [sameNumber, holdsExpected] = [0, 0];
  let followed = true;
  const between = new Set<number>();
  for await (const { seq, prevHash, tenantId: of } of entriesOf(chain)) {
    if (seq === entry.seq) sameNumber++;
    if (seq === expected) holdsExpected++;
    if (seq >= expected && seq < entry.seq) between.add(seq);
    if (seq === expected + 1 && of === tenantId) followed = prevHash === entry.hash;
  }
  return { sameNumber, holdsExpected, between: between.size, followed };
}
