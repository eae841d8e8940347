import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { inNetworks } from "#kernel/address";
import { canonicalNetwork } from "./faults.ts";

test("a range is kept by its first address, an address by its one spelling, and mapped IPv4 as IPv4", () => {
  for (const [given, kept] of [
    ["192.0.2.77/24", "192.0.2.0/24"],
    ["192.0.2.77/32", "192.0.2.77"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["::ffff:192.0.2.77/120", "192.0.2.0/24"],
    ["::ffff:192.0.2.77", "192.0.2.77"],
    ["2001:DB8:0:0::1/48", "2001:db8::/48"],
  ])
    assert.equal(canonicalNetwork(given!), kept);
});

test("what is no address and no range is refused, also what lenient parsers take for one", () => {
  const bad = [
    "",
    "1",
    "127.1",
    "0x7f.0.0.1",
    "010.0.0.1",
    "192.0.2.1/33",
    "192.0.2.1/-1",
    "192.0.2.1/",
    "192.0.2.1/08",
  ];
  for (const text of [
    ...bad,
    "fe80::1%eth0",
    "::1/129",
    "::ffff:192.0.2.1/95",
    "192.0.2.1/24/1",
    "example.net",
    " ::1",
  ])
    assert.equal(canonicalNetwork(text), null, text);
});

test("a range holds the address it was made from, and its spelling is stable", () => {
  const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }));
  const v6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 }));
  fc.assert(
    fc.property(fc.oneof(v4, v6), ([address, bits]) => {
      const network = canonicalNetwork(`${address}/${bits}`);
      // A mapped range wider than all of IPv4 has no IPv4 spelling.
      fc.pre(network !== null);
      assert.equal(canonicalNetwork(network!), network);
      assert.ok(inNetworks(address, [network!]), `${address} in ${network}`);
    }),
  );
});
