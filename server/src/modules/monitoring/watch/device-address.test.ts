import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readDeviceAddress } from "./device-address.ts";

const canonicalOf = (text: string) => {
  const read = readDeviceAddress(text);
  return read.ok ? read.address : undefined;
};

test("an address has one spelling: RFC 5952 for IPv6, four decimal parts for IPv4, lower-case A-labels for names", () => {
  const spellings: [string, string][] = [
    ["192.0.2.10", "192.0.2.10"],
    ["2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["0:0:1:0:0:1:1:1", "::1:0:0:1:1:1"],
    ["::1", "::1"],
    ["::ffff:192.0.2.10", "192.0.2.10"],
    ["0:0:0:0:0:FFFF:C000:020A", "192.0.2.10"],
    ["fe80::1", "fe80::1"],
    ["Router-1.Example.COM.", "router-1.example.com"],
    ["_snmp.example", "_snmp.example"],
    ["switch", "switch"],
    ["bücher.example", "xn--bcher-kva.example"],
    ["XN--BCHER-KVA.example", "xn--bcher-kva.example"],
    ["BÜCHER.example", "xn--bcher-kva.example"],
    ["10.0.0.1a", "10.0.0.1a"],
    ["127.0.0.1", "127.0.0.1"],
  ];
  for (const [spelling, canonical] of spellings) assert.equal(canonicalOf(spelling), canonical, spelling);
});

test("what is no single host is refused: ports, schemes, zones, short or octal IPv4, group and reserved addresses", () => {
  const refused = `
    192.0.2 192.0.2.010 192.0.2.256 192.0.2.10. 1 0x7f000001 0x7f.1 127.1 host.1 host.0x1f host.0x 3232235521 10.0.0.1:161 host:161 [2001:db8::1] 2001:db8::1%eth0
    2001:db8::/32 http://host host/path user@host -host host- a..b .host host..  ${"a".repeat(64)} ${"a.".repeat(127)}aa 0.0.0.0 224.0.0.1 239.1.2.3 240.0.0.1
    255.255.255.255 :: ff02::1 ::ffff:224.0.0.1 ::ffff:0.0.0.0 1.2.3.4.5 １２７.０.０.１ ①②⑦.1 xn-- ho_st!e *.example host?x host#x a\\b % : ::: 1::2::3`;
  for (const text of refused.trim().split(/\s+/)) assert.equal(canonicalOf(text), undefined, text);
  for (const text of ["", " ", "host ", " host", "a b", "host\u0000", "."])
    assert.equal(canonicalOf(text), undefined, JSON.stringify(text));
});

const ipv6 = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 });

/** Some spelling of the groups: any case, padding, and any run of zeros folded. */
const spelled = fc
  .tuple(ipv6, fc.boolean(), fc.boolean(), fc.nat(7), fc.nat(8))
  .map(([groups, upper, padded, from, length]) => {
    const words = groups.map((group) => group.toString(16).padStart(padded ? 4 : 1, "0"));
    const to = Math.min(8, from + length);
    const folds = length > 1 && groups.slice(from, to).every((group) => group === 0);
    const text = folds ? `${words.slice(0, from).join(":")}::${words.slice(to).join(":")}` : words.join(":");
    return { groups, text: upper ? text.toUpperCase() : text };
  });

test("equal IPv6 addresses meet in one spelling, whatever their spelling was", () => {
  fc.assert(
    fc.property(spelled, ({ groups, text }) => {
      const plain = groups.map((group) => group.toString(16)).join(":");
      assert.equal(canonicalOf(text), canonicalOf(plain));
      const canonical = canonicalOf(text);
      if (canonical?.includes(":")) assert.match(canonical, /^[0-9a-f:]+$/);
    }),
    { numRuns: 500 },
  );
});

test("reading a canonical spelling gives it back, for addresses, names and any other text", () => {
  const label = fc.stringMatching(/^[A-Za-z0-9_ü☃-]{1,12}$/);
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
  const any = fc.oneof(
    spelled.map(({ text }) => text),
    fc.ipV4(),
    fc.ipV4Extended(),
    fc.domain(),
    name,
    fc.string(),
    fc.string({ unit: "grapheme" }),
  );
  fc.assert(
    fc.property(any, (text) => {
      const canonical = canonicalOf(text);
      if (canonical !== undefined) assert.equal(canonicalOf(canonical), canonical);
    }),
    { numRuns: 1_000 },
  );
});
