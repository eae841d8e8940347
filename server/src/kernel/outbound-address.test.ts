import assert from "node:assert/strict";
import { BlockList } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { isPublicAddress, readAllowList } from "./outbound-address.ts";

// The IANA special-purpose registries, with multicast, site-local, IPv4 in IPv6 and Azure's platform address.
const specialIpv4 = `0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12
  192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24
  192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15
  198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32`.split(/\s+/);
const specialIpv6 = `::1/128 ::/128 ::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23
  2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28
  2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10
  ff00::/8`.split(/\s+/);

// Two lists: one alone would hold every IPv4 address for a part of ::ffff:0:0/96.
const blockedIpv4 = blockList(specialIpv4, "ipv4");
const blockedIpv6 = blockList(specialIpv6, "ipv6");
const globalIpv6 = blockList(["2000::/3"], "ipv6");

const group = fc.integer({ min: 0, max: 0xffff });
const ipv4 = fc.integer({ min: 0, max: 0xffffffff }).map((bits) => dotted(bits));
/** Any address, drawn to the prefixes that matter: a network of the registries with the bits after it left to chance. */
const nearSpecialIpv6 = fc.tuple(fc.constantFrom(...specialIpv6), fc.array(group, { minLength: 8, maxLength: 8 }));

function blockList(networks: string[], family: "ipv4" | "ipv6"): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", prefix] = network.split("/");
    list.addSubnet(address, Number(prefix), family);
  }
  return list;
}

function dotted(bits: number): string {
  return [bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255].join(".");
}

function groupsOf(ipv6: string): number[] {
  const [head = "", tail = ""] = ipv6.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === "" ? [] : tail.split(":");
  const filled = [...front, ...Array(8 - front.length - back.length).fill("0"), ...back];
  return filled.map((part) => Number.parseInt(part, 16));
}

function withPrefix([network, noise]: [string, number[]]): string {
  const [address = "", prefix] = network.split("/");
  const fixed = groupsOf(address);
  const mixed = noise.map((part, index) => {
    const kept = Math.min(16, Math.max(0, Number(prefix) - 16 * index));
    const mask = (0xffff << (16 - kept)) & 0xffff;
    return ((fixed[index] ?? 0) & mask) | (part & ~mask & 0xffff);
  });
  return mixed.map((part) => part.toString(16)).join(":");
}

test("An IPv4 address is public exactly when it stands in no row of the registries", () => {
  fc.assert(fc.property(ipv4, (address) => isPublicAddress(address) === !blockedIpv4.check(address, "ipv4")));
});

test("Both ends of every IPv4 range of the registries are refused, and the public addresses around them are not", () => {
  for (const network of specialIpv4) {
    const [address = "", prefix] = network.split("/");
    const first = address.split(".").reduce((bits, octet) => bits * 256 + Number(octet), 0);
    const last = first + 2 ** (32 - Number(prefix)) - 1;
    assert.equal(isPublicAddress(dotted(first)), false, network);
    assert.equal(isPublicAddress(dotted(last)), false, network);
    for (const neighbour of [first - 1, last + 1].filter((bits) => bits >= 0 && bits <= 0xffffffff).map(dotted)) {
      assert.equal(isPublicAddress(neighbour), !blockedIpv4.check(neighbour, "ipv4"), neighbour);
    }
  }
});

test("No IPv6 address of a range of the registries is public, whatever its last bits are", () => {
  fc.assert(
    fc.property(nearSpecialIpv6.map(withPrefix), (address) => !isPublicAddress(address)),
    { numRuns: 500 },
  );
});

test("An IPv6 address in 2000::/3 is public exactly when it stands in no row of the registries", () => {
  const inGlobalSpace = fc
    .tuple(fc.integer({ min: 0x2000, max: 0x3fff }), fc.array(group, { minLength: 7, maxLength: 7 }))
    .map(([first, rest]) => [first, ...rest].map((part) => part.toString(16)).join(":"));
  fc.assert(fc.property(inGlobalSpace, (address) => isPublicAddress(address) === !blockedIpv6.check(address, "ipv6")));
});

test("Every spelling of an IPv6 address is judged like the address", () => {
  const isPublic = (address: string) => globalIpv6.check(address, "ipv6") && !blockedIpv6.check(address, "ipv6");
  const isNat64 = (address: string) => /^0*64:0*ff9b:/i.test(address);
  fc.assert(fc.property(fc.ipV6(), (address) => isNat64(address) || isPublicAddress(address) === isPublic(address)));
});

test("IPv6 space that IANA has not given out is not public", () => {
  for (const address of ["200::1", "400::1", "1fff:ffff::1", "4000::1", "6000::1", "a000::1", "e000::1", "fe00::1"]) {
    assert.equal(isPublicAddress(address), false, address);
  }
});

test("Known public hosts are public", () => {
  const hosts = `1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.167.255.255
    192.169.0.0 223.255.255.255 2606:4700:4700::1111 2001:4860:4860::8888 2001:200::1 2003::1 2620:4f:8001::1 3fff:1000::1`;
  for (const address of hosts.split(/\s+/)) assert.equal(isPublicAddress(address), true, address);
});

test("A NAT64 address is as public as the IPv4 address inside it", () => {
  fc.assert(fc.property(ipv4, (address) => isPublicAddress(`64:ff9b::${address}`) === isPublicAddress(address)));
  assert.equal(isPublicAddress("64:ff9b::8.8.8.8"), true);
  assert.equal(isPublicAddress("64:ff9b::a9fe:a9fe"), false);
  assert.equal(isPublicAddress("64:ff9b::1:808:808"), false);
});

test("A public IPv4 address written inside IPv6 in another way is refused", () => {
  const spellings = "::ffff:8.8.8.8 ::8.8.8.8 ::ffff:0:8.8.8.8 2002:808:808::1 2001:0:808:808::1 64:ff9b:1::8.8.8.8";
  for (const address of spellings.split(" ")) assert.equal(isPublicAddress(address), false, address);
});

test("Text that is not an address in its ordinary spelling is not public", () => {
  const texts = ["", " 8.8.8.8", "8.8.8.8 ", "8.8.8", "134744072", "0x8.8.8.8", "010.8.8.8", "8.8.8.8.", "８.8.8.8"];
  texts.push("[2606:4700::1]", "2606:4700::1%eth0", "2606:4700::1/64", "8.8.8.8/32", "8.8.8.8:53", "example.com");
  for (const text of texts) assert.equal(isPublicAddress(text), false, text);
});

test("The allow list admits the addresses of its networks, both families, and nothing else", () => {
  const isListed = readAllowList(["10.20.0.0/16", "fd00:1::/48", "192.168.7.9/32"]);
  for (const address of ["10.20.0.0", "10.20.255.255", "192.168.7.9", "fd00:1::1", "FD00:1:0:FFFF::1"]) {
    assert.equal(isListed(address), true, address);
  }
  for (const address of [
    "10.21.0.0",
    "192.168.7.8",
    "fd00:2::1",
    "::ffff:10.20.0.1",
    "fd00:1::1%eth0",
    "10.5121",
    "",
  ]) {
    assert.equal(isListed(address), false, address);
  }
  assert.equal(readAllowList([])("127.0.0.1"), false);
  assert.equal(readAllowList(["0.0.0.0/0"])("127.0.0.1"), true);
});

test("An entry of the allow list that is not a network is refused by name", () => {
  const bad = ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/08", "10.0.0.0/", "10/8"];
  for (const entry of [...bad, "fd00::/129", "localhost/8", "fe80::%eth0/64", "012.0.0.0/8"]) {
    assert.throws(
      () => readAllowList(["10.0.0.0/8", entry]),
      { name: "RangeError", message: /is not a network/ },
      entry,
    );
  }
  assert.throws(() => readAllowList(["10.20.0.5/16"]), { message: /the network is 10\.20\.0\.0\/16/ });
  assert.throws(() => readAllowList(["fd00::1/64"]), { message: /the network is fd00::\/64/ });
});
