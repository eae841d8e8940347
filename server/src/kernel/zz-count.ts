import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { after, test } from "node:test";
import { createOutbound } from "./outbound.ts";
import { createAddressGuard, createLookup } from "./outbound-guard.ts";

/** What the name server says: addresses by name, no such name, or nothing at all. Any other name leads to loopback. */
const zone: Record<string, string[] | "unknown" | "silent"> = {
  "public.example": ["8.8.8.8", "2606:4700::1111"],
  "mixed.example": ["10.0.0.1", "8.8.4.4", "fd00::1"],
  "device.example": ["10.20.0.7"],
  "six.example": ["2606:4700::1111"],
  "xn--bcher-kva.example": ["8.8.8.8"],
  "unknown.example": "unknown",
  "silent.example": "silent",
};
const asked: string[] = [];
const nameServer = createSocket("udp4", (query, peer) => {
  const name: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    name.push(query.toString("latin1", at + 1, at + 1 + length).toLowerCase());
    at += 1 + length;
  }
  const type = query.readUInt16BE(at + 1);
  asked.push(name.join("."));
  const entry = zone[name.join(".")] ?? ["127.0.0.1", "::1"];
  if (entry === "silent") return;
  const found = entry === "unknown" ? [] : entry.filter((address) => address.includes(":") === (type === 28));
  const records = found.map((address) => {
    const data = type === 28 ? sixteenBytes(address) : Buffer.from(address.split(".").map(Number));
    const head = [0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length];
    return Buffer.concat([Buffer.from(head), data]);
  });
  const head = Buffer.from([0, 0, 0x81, entry === "unknown" ? 0x83 : 0x80, 0, 1, 0, found.length, 0, 0, 0, 0]);
  query.copy(head, 0, 0, 2);
  nameServer.send(Buffer.concat([head, query.subarray(12, at + 5), ...records]), peer.port, peer.address);
});
nameServer.bind(0, "127.0.0.1");
await once(nameServer, "listening");
after(() => nameServer.close());

function sixteenBytes(address: string): Buffer {
  const [head = "", tail = ""] = address.split("::");
  const [front, back] = [head.split(":").filter(Boolean), tail.split(":").filter(Boolean)];
  const groups = [...front, ...Array(8 - front.length - back.length).fill("0"), ...back];
  return Buffer.from(groups.map((part) => part.padStart(4, "0")).join(""), "hex");
}

const askedOfSystem: string[] = [];
async function system(name: string): Promise<string[]> {
  askedOfSystem.push(name);
  return ["127.0.0.1"];
}
const dns = new Resolver({ timeout: 300, tries: 1 });
dns.setServers([`127.0.0.1:${nameServer.address().port}`]);
const lookup = createLookup(dns, system);

const strict = createAddressGuard({ allow: [], lookup });
/** A list that helps none of the forbidden hosts, but makes the guard look http and local names up. */
const elsewhere = createAddressGuard({ allow: ["10.99.0.0/16"], lookup });
const opened = createAddressGuard({ allow: ["10.20.0.0/16", "127.0.0.0/8"], lookup });

/** Spellings of hosts that must not be called. Those that are names lead to loopback by the name server above. */
const forbiddenHosts = `
  127.0.0.1 127.1 127.0.1 127.000.000.001 2130706433 017700000001 0x7f000001 0X7F000001 0x7f.0.0.1 0x7f.1 0177.0.0.1
  0177.1 0177.0x0.0.1 0x7f.0.1 00000177.0.0.01 127.0.0.0x1 127.255.255.254 127.0.0.1. 2130706433. 0x7f.1. 0 0x0 0.0.0.0
  00 0. 0x 0.0 10.0.0.1 012.0.0.1 0xa.1 167772161 172.16.0.1 172.31.255.255 0xac100001 192.168.0.1 192.168.1 3232235521
  0xc0a80001 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 100.64.0.1 100.127.255.254
  100.100.100.200 198.18.0.1 192.0.0.192 192.0.2.1 198.51.100.1 203.0.113.1 192.88.99.1 224.0.0.1 239.255.255.250
  240.0.0.1 255.255.255.255 4294967295 168.63.129.16
  [::1] [::] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0.0.0.1] [::ffff:127.0.0.1] [::FFFF:7F00:1]
  [::ffff:0:127.0.0.1] [::127.0.0.1] [::ffff:10.0.0.1] [::ffff:169.254.169.254] [::ffff:8.8.8.8] [64:ff9b::127.0.0.1]
  [64:ff9b::a9fe:a9fe] [64:ff9b:1::1] [2002:7f00:1::] [2002:a00:1::1] [2001::1] [2001:0:4136:e378:8000:63bf:3fff:fdd2]
  [fe80::1] [febf::1] [fec0::1] [fc00::1] [fd00:ec2::254] [ff02::1] [ff0e::1] [100::1] [2001:2::1] [2001:10::1]
  [2001:20::1] [2001:db8::1] [3fff::1] [5f00::1] [4000::1] [fe80::1%eth0] [fe80::1%25eth0] [::1%25lo] [::1%lo] ::1
  １２７.０.０.１ 127。0。0。1 127．0．0．1 127｡0｡0｡1 ①②⑦.⓪.⓪.① ①②⑦.1 ①⑥⑨.②⑤④.①⑥⑨.②⑤④ 𝟏𝟐𝟕.𝟎.𝟎.𝟏 ¹²⁷.⁰.⁰.¹ ₁₂₇.₀.₀.₁ ０ｘ７ｆ.１
  ⓛⓞⓒⓐⓛⓗⓞⓢⓣ ｌｏｃａｌｈｏｓｔ loca\u00adlhost localhoſt loc\u200balhost %31%32%37.0.0.1 127%2e0%2e0%2e1 %6cocalhost localhost%00
  localhost LOCALHOST localhost. LocalHost. a.localhost printer.local db.internal metadata.google.internal metadata
  intranet. loopback.example 127.0.0.1.nip.example 1e100.example xn--n3h.example _x.example
  127.0.0.1.. .127.0.0.1 localhost.. a..example .example 1.2.3.4.5 256.0.0.1 0x100000000 09.0.0.1 127.0.0.1,8.8.8.8
  ${"a".repeat(64)}.example ${"a.".repeat(127)}example a!.example ☃.example`
  .trim()
  .split(/\s+/);

/** Whole URLs; `PORT` stands for the listening one. */
const forbiddenUrls = [
  "https://user@127.0.0.1:PORT/",
  "https://public.example@127.0.0.1:PORT/",
  "https://public.example:443@127.0.0.1:PORT/",
  "https://user:secret@public.example/",
  "https://@public.example/",
  "https://:@public.example/",
  "https://public.example%40127.0.0.1:PORT/",
  "https://127.0.0.1:PORT@public.example/",
  "https://127.0.0.1:PORT\\@public.example/",
  "https://public.example\\@127.0.0.1:PORT/",
  "https://1.1.1.1&@127.0.0.1:PORT#@8.8.8.8/",
  "https://127.0.0.1:PORT:\\@@8.8.8.8/",
  "https:\\\\127.0.0.1:PORT\\",
  "https:/127.0.0.1:PORT/",
  "https:127.0.0.1:PORT/",
  "https:///127.0.0.1:PORT/",
  "https:////127.0.0.1:PORT/",
  "//127.0.0.1:PORT/",
  "127.0.0.1:PORT",
  "ht\ntps://public.example/",
  "https://127.0.0\t.1:PORT/",
  "https://public.exa\nmple/",
  " https://public.example/",
  "https://public.example/ ",
  "https://public.example/a b",
  "https://public.example/\u0000",
  "https://public.example/\u00a0",
  "https://127.0.0.1:PORT#@public.example/",
  "https://127.0.0.1:PORT?@public.example/",
  "https://127.0.0.1:PORT;@public.example/",
  "https://public.example/#fragment",
  "https://public.example/#",
  "https://public.example:99999/",
  "https://[127.0.0.1]:PORT/",
  "https://[::1:PORT/",
  "https://",
  "https://?",
  "",
  `https://public.example/${"a".repeat(2_048)}`,
  "http://public.example/",
  "http://8.8.8.8/",
  "http://127.0.0.1:PORT/",
  "HTTP://127.0.0.1:PORT/",
  "ftp://127.0.0.1:PORT/",
  "ws://127.0.0.1:PORT/",
  "gopher://127.0.0.1:PORT/_x",
  "file:///etc/passwd",
  "blob:https://127.0.0.1:PORT/x",
  "view-source:https://127.0.0.1:PORT/",
  "data:text/plain,x",
  "javascript:fetch('https://127.0.0.1:PORT')",
  "unix:/run/docker.sock",
];

if (0)
  test("No odd spelling of a forbidden address gets a packet out, and each is refused with a reason", async () => {
    let accepted = 0;
    const listener = createServer((socket) => {
      accepted += 1;
      socket.destroy();
    });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const { port } = listener.address() as AddressInfo;
    let sockets = 0;
    const count = () => {
      sockets += 1;
    };
    subscribe("net.client.socket", count);
    const urls = [
      ...forbiddenHosts.flatMap((host) => [`https://${host}:${port}/`, `http://${host}:${port}/`]),
      ...forbiddenUrls.map((url) => url.replaceAll("PORT", String(port))),
    ];
    assert.ok(urls.length > 300);
    for (const guard of [strict, elsewhere]) {
      const outbound = createOutbound({ guard, userAgent: "Demarc/test" });
      for (const url of urls) {
        const reply = await outbound.call({ method: "GET", url });
        assert.equal(reply.ok, false, url);
        assert.match(reply.ok ? "" : reply.reason, /^(url|address)_not_allowed$/, url);
      }
    }
    assert.deepEqual({ sockets, accepted }, { sockets: 0, accepted: 0 });

    const trusting = createOutbound({ guard: opened, userAgent: "Demarc/test" });
    await trusting.call({ method: "GET", url: `https://0x7f.1:${port}/` });
    assert.deepEqual({ sockets, accepted }, { sockets: 1, accepted: 1 }, "the counters do not count");
    unsubscribe("net.client.socket", count);
    listener.close();
  });

if (0)
  test("A probe gets no address for any of these hosts either", async () => {
    for (const host of forbiddenHosts) {
      for (const guard of [strict, elsewhere]) assert.equal((await guard.resolve(host)).ok, false, host);
    }
  });

if (0)
  test("A public name is resolved once and pinned to its first address, IPv4 before IPv6", async () => {
    asked.length = 0;
    assert.deepEqual(await strict.resolve("Public.Example."), {
      ok: true,
      address: "8.8.8.8",
      family: 4,
      listed: false,
      othersRefused: false,
    });
    assert.deepEqual(asked, ["public.example", "public.example"], "one question for each family");
    const six = await strict.resolve("six.example");
    assert.ok(six.ok && six.address === "2606:4700::1111" && six.family === 6);
    const idn = await strict.resolveUrl("https://bücher.example/");
    assert.ok(idn.ok && idn.url.hostname === "xn--bcher-kva.example");
  });

if (0)
  test("An address is taken as it is in every spelling and asked of nobody", async () => {
    asked.length = 0;
    for (const host of ["8.8.8.8", "8.8.8.8.", "0x08080808", "010.8.8.8", "８.８.８.８"]) {
      const found = await strict.resolve(host);
      assert.ok(found.ok && found.address === "8.8.8.8" && found.family === 4, host);
    }
    for (const host of ["2606:4700::1111", "[2606:4700:0:0::1111]"]) {
      const found = await strict.resolve(host);
      assert.ok(found.ok && found.address === "2606:4700::1111" && found.family === 6, host);
    }
    assert.deepEqual(asked, []);
  });

if (0)
  test("For a probe the refused addresses of a name are dropped; for a call one of them refuses the name", async () => {
    const found = await strict.resolve("mixed.example");
    assert.ok(found.ok && found.address === "8.8.4.4" && found.othersRefused);
    const url = await strict.resolveUrl("https://mixed.example/");
    assert.ok(!url.ok && url.reason === "address_not_allowed");
  });

if (0)
  test("The allow list opens its networks to addresses and names, over http too", async () => {
    for (const host of ["10.20.0.7", "device.example", "127.1", "localhost"]) {
      const found = await opened.resolve(host);
      assert.ok(found.ok && found.listed, host);
      const url = await opened.resolveUrl(`http://${host}:8080/`);
      assert.ok(url.ok && url.listed, host);
    }
    const refused = await opened.resolve("10.21.0.7");
    assert.ok(!refused.ok && refused.reason === "address_not_allowed");
  });

if (0)
  test("http to a public address stays refused beside an allow list", async () => {
    for (const host of ["public.example", "8.8.8.8"]) {
      const url = await opened.resolveUrl(`http://${host}/`);
      assert.ok(!url.ok && url.reason === "url_not_allowed", host);
      assert.ok((await opened.resolveUrl(`https://${host}/`)).ok, host);
    }
  });

if (0)
  test("A local name needs its address on the list: being public is not enough", async () => {
    const guard = createAddressGuard({ allow: ["10.20.0.0/16"], lookup: async () => ["8.8.8.8", "10.20.0.7"] });
    const found = await guard.resolve("nms.corp.internal");
    assert.ok(found.ok && found.address === "10.20.0.7" && found.othersRefused);
  });

if (0)
  test("A URL is checked without a look-up when it is stored", () => {
    asked.length = 0;
    const check = strict.checkUrl("https://loopback.example:8443/hook?a=1");
    assert.ok(check.ok && check.url.href === "https://loopback.example:8443/hook?a=1");
    assert.equal(strict.checkUrl(`https://public.example/${"a".repeat(2_048 - 23)}`).ok, true);
    assert.equal(strict.checkUrl("http://loopback.example/").ok, false);
    assert.equal(opened.checkUrl("http://loopback.example/").ok, true);
    assert.equal(opened.checkUrl("http://db.internal/").ok, true);
    for (const url of ["https://10.0.0.1/", "https://localhost/", "https://a.local/", "https://db.internal/"]) {
      const refused = strict.checkUrl(url);
      assert.ok(!refused.ok && refused.reason === "address_not_allowed", url);
    }
    assert.deepEqual(asked, []);
  });

if (0)
  test("Local names and names that DNS does not know are asked of the system, slow ones are not", async () => {
    asked.length = 0;
    askedOfSystem.length = 0;
    assert.ok((await opened.resolve("localhost")).ok);
    assert.deepEqual(asked, []);
    assert.ok((await opened.resolve("unknown.example")).ok);
    assert.deepEqual(askedOfSystem, ["localhost", "unknown.example"]);
    const silent = await opened.resolve("silent.example");
    assert.ok(!silent.ok && silent.reason === "name_not_resolved");
    assert.deepEqual(askedOfSystem, ["localhost", "unknown.example"]);
  });

if (0)
  test("A name without an address, a failing look-up and a malformed host are not resolved", async () => {
    const failing = createAddressGuard({ allow: [], lookup: () => Promise.reject(new Error("no")) });
    const empty = createAddressGuard({ allow: [], lookup: async () => [] });
    for (const [guard, host] of [
      [failing, "a.example"],
      [empty, "a.example"],
      [strict, "a b"],
      [strict, ""],
    ] as const) {
      const found = await guard.resolve(host);
      assert.ok(!found.ok && found.reason === "name_not_resolved", host);
    }
  });

if (0)
  test("What a look-up answers that is not an address is refused", async () => {
    const guard = createAddressGuard({
      allow: ["0.0.0.0/0", "::/0"],
      lookup: async () => ["0x8.8.8.8", "fe80::1%eth0"],
    });
    const found = await guard.resolve("a.example");
    assert.ok(!found.ok && found.reason === "address_not_allowed");
  });

if (0)
  test("A refusal does not tell which address is behind the name", async () => {
    const refused = await strict.resolveUrl("https://device.example/");
    assert.ok(!refused.ok);
    assert.doesNotMatch(JSON.stringify(refused), /10\.20/);
  });

if (0)
  test("An aborted look-up rejects with the reason of the signal and waits for nothing", async () => {
    const guard = createAddressGuard({ allow: [], lookup: () => new Promise(() => {}) });
    const controller = new AbortController();
    const found = guard.resolve("a.example", controller.signal);
    controller.abort(new Error("enough"));
    await assert.rejects(found, { message: "enough" });
    await assert.rejects(guard.resolve("a.example", controller.signal), { message: "enough" });
  });

if (0)
  test("A bad entry of the allow list stops the start", () => {
    assert.throws(() => createAddressGuard({ allow: ["10.20.0.5/16"], lookup }), RangeError);
  });
console.log("COUNT", forbiddenHosts.length, forbiddenUrls.length);
