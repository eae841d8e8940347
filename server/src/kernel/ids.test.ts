import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { idKind, isId, newId, timeOfId } from "./ids.ts";

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

/** The UUID in an id's last 26 characters: TypeID decoding written anew, on big integers. */
function uuidOf(id: string): string {
  const digits = [...id.slice(-26)].map((char) => BigInt(alphabet.indexOf(char)));
  const hex = digits
    .reduce((value, digit) => value * 32n + digit, 0n)
    .toString(16)
    .padStart(32, "0");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const timeOf = (id: string): number => Number.parseInt(uuidOf(id).slice(0, 13).replace("-", ""), 16);
const counterOf = (id: string): number => Number.parseInt(uuidOf(id).slice(15, 18), 16);

/** Ids never go back in time, so each case takes a time after all earlier ones. */
let clock = 1_800_000_000_000;
function laterMs(): number {
  clock += 1_000_000;
  return clock;
}

function assertRise(ids: string[]): void {
  for (let i = 1; i < ids.length; i++)
    assert.ok(ids[i - 1]!.slice(-26) < ids[i]!.slice(-26), `${ids[i - 1]} ${ids[i]}`);
}

test("the example pairs of the TypeID specification have the form of an id, and a value without a prefix is none", () => {
  const pairs: [string, string, string][] = [
    ["", "00000000000000000000000000", "00000000-0000-0000-0000-000000000000"],
    ["", "00000000000000000000000001", "00000000-0000-0000-0000-000000000001"],
    ["", "0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"],
    ["", "0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"],
    ["", "00000000000000000000000010", "00000000-0000-0000-0000-000000000020"],
    ["", "7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    ["prefix", "prefix_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"],
    ["prefix", "prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"],
    ["pre_fix", "pre_fix_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"],
  ];
  for (const [prefix, value, uuid] of pairs) {
    assert.equal(uuidOf(value), uuid);
    assert.equal(idKind(value), prefix || null, value);
    assert.equal(isId(prefix, value), prefix !== "", value);
    assert.equal(isId("wch", `wch_${value.slice(-26)}`), true, value);
  }
});

test("the invalid examples of the TypeID specification are no ids", () => {
  const zeros = "0".repeat(26);
  const values = [
    `PREFIX_${zeros}`,
    `12345_${zeros}`,
    `pre.fix_${zeros}`,
    `préfix_${zeros}`,
    `  prefix_${zeros}`,
    `abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl_${zeros}`,
    `_${zeros}`,
    "_",
    "prefix_1234567890123456789012345",
    "prefix_123456789012345678901234567",
    "prefix_1234567890123456789012345 ",
    "prefix_0123456789ABCDEFGHJKMNPQRS",
    "prefix_123456789-123456789-123456",
    "prefix_ooooooiiiiiiuuuuuuulllllll",
    "prefix_i23456789ol23456789oi23456",
    "prefix_123456789-0123456789-0123456",
    "prefix_8zzzzzzzzzzzzzzzzzzzzzzzzz",
    `_prefix_${zeros}`,
    `prefix__${zeros}`,
    "",
    `prefix-${zeros}`,
    ...["i", "l", "o", "u", "A", "-", "é"].map((char) => `prefix_0123${char}${zeros.slice(5)}`),
    `prefix_${zeros}\n`,
  ];
  for (const value of values) {
    assert.equal(idKind(value), null, value);
    assert.equal(isId("prefix", value), false, value);
  }
});

test("an id has the form of its own prefix and of no other", () => {
  const anyPrefix = fc.stringMatching(/^[a-z]([a-z_]{0,61}[a-z])?$/);
  fc.assert(
    fc.property(anyPrefix, anyPrefix, (prefix, other) => {
      const id = newId(prefix, laterMs());
      assert.equal(idKind(id), prefix);
      assert.equal(isId(prefix, id), true);
      assert.equal(isId(other, id), other === prefix);
      assert.equal(isId(prefix.slice(1), id), false);
    }),
  );
});

test("an id is a UUID of version 7 and variant 10 that carries its millisecond", () => {
  fc.assert(
    fc.property(fc.nat(999_999), (ms) => {
      const nowMs = laterMs() + ms;
      const id = newId("wch", nowMs);
      assert.match(uuidOf(id), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      assert.equal(timeOf(id), nowMs);
      assert.equal(timeOfId(id), nowMs);
    }),
  );
});

test("without a time an id carries the clock's", (t) => {
  const now = laterMs();
  t.mock.timers.enable({ apis: ["Date"], now });
  assert.equal(timeOf(newId("evt")), now);
});

test("ids rise strictly whatever the clock does and whatever their prefixes, and never fall behind it", () => {
  const offsets = fc.array(
    fc.oneof(fc.nat(3), fc.integer({ min: -500, max: 500 }), fc.double({ min: 0, max: 3, noNaN: true })),
  );
  fc.assert(
    fc.property(offsets, (steps) => {
      const base = laterMs();
      let latest = 0;
      const ids = steps.map((step, i) => {
        const id = newId(i % 2 === 0 ? "zzz" : "aaa", base + step);
        latest = Math.max(latest, Math.floor(base + step));
        assert.equal(timeOf(id), latest);
        return id;
      });
      assertRise(ids);
    }),
  );
});

test("100,000 ids of one millisecond rise strictly and run ahead of the clock by less than 50 ms", () => {
  const now = laterMs();
  const ids = Array.from({ length: 100_000 }, () => newId("dlv", now));
  assertRise(ids);
  const ahead = timeOf(ids.at(-1)!) - now;
  assert.ok(ahead >= 24 && ahead < 50, `${ahead} ms ahead`);
});

test("any millisecond has room for 2048 ids, counted up from a random start", () => {
  const starts = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const now = laterMs();
    const ids = Array.from({ length: 2048 }, () => newId("act", now));
    assert.equal(timeOf(ids.at(-1)!), now);
    assert.equal(counterOf(ids.at(-1)!), counterOf(ids[0]!) + 2047);
    starts.add(counterOf(ids[0]!));
  }
  assert.ok(starts.size > 10);
});

test("all 62 bits after the variant are random in every id, past the end of the pool of random bytes too", () => {
  const tails = Array.from({ length: 5_000 }, () =>
    BigInt(`0x${uuidOf(newId("req", clock)).slice(19).replace("-", "")}`),
  );
  assert.equal(new Set(tails).size, tails.length);
  for (let bit = 0n; bit < 62n; bit++) {
    const ones = tails.filter((tail) => (tail >> bit) & 1n).length;
    // 2,500 expected; 500 away is fourteen standard deviations.
    assert.ok(ones > 2_000 && ones < 3_000, `bit ${bit} is set in ${ones} of 5000`);
    const likeNext = tails.filter((tail) => ((tail >> bit) & 1n) === ((tail >> (bit + 1n)) & 1n)).length;
    assert.ok(bit === 61n || (likeNext > 2_000 && likeNext < 3_000), `bit ${bit} is tied to the next`);
  }
});

test("the last millisecond of 48 bits is written in full", () => {
  const id = newId("wch", 2 ** 48 - 1);
  assert.equal(id.slice(0, 14), "wch_7zzzzzzzzz");
  assert.equal(timeOf(id), 2 ** 48 - 1);
});
