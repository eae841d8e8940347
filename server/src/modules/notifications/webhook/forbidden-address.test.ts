import assert from "node:assert/strict";
import { createSocket, type RemoteInfo } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { createOutbound } from "#kernel/outbound";
import { createAddressGuard, createLookup } from "#kernel/outbound-guard";
import { startServer } from "../../../../test/harness.ts";

const server = await startServer({ settings: { outboundAllow: [] } });
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const key = await server.key(tenant, "tenant_administrator");

/** Whoever is reached here has been reached by a forbidden way. */
const trap = createServer();
let reached = 0;
trap.on("connection", (socket) => {
  reached++;
  socket.destroy();
});
trap.listen(0, "127.0.0.1");
await once(trap, "listening");
const { port } = trap.address() as AddressInfo;
after(() => void trap.close());

const loopback = [
  "127.0.0.1",
  "127.1",
  "127.0.1",
  "127.0.0.1.",
  "2130706433",
  "0x7f000001",
  "0x7F.0.0.1",
  "0x7f.1",
  "0177.0.0.1",
  "0177.1",
  "017700000001",
  "127.0.0.2",
  "127.255.255.254",
  "127.000.000.001",
  "%31%32%37.0.0.1",
  "127%2e0%2e0%2e1",
  "①②⑦.0.0.1",
  "127。0。0。1",
  "127．0．0．1",
  "127｡0｡0｡1",
  "１２７.０.０.１",
  "0x7f.0x0.0x0.0x1",
  "0177.0x0.0.01",
  "localhost",
  "LOCALHOST",
  "localhost.",
  "a.localhost",
  "ⓛocalhost",
  "loc\u00adalhost",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "[0000::0001]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::127.0.0.1]",
  "[::ffff:0:127.0.0.1]",
  "[64:ff9b::127.0.0.1]",
  "[64:ff9b:1::7f00:1]",
  "[2002:7f00:1::]",
  "[::1%25lo]",
  "[fe80::1%25eth0]",
  "[::]",
  "0.0.0.0",
  "0",
  "0x0",
  "00",
  "0.1",
  "[::0.0.0.0]",
];
const elsewhere = [
  "10.0.0.1",
  "10.1",
  "167772161",
  "0xa000001",
  "012.0.0.1",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.0.1",
  "192.168.1",
  "0xc0a80001",
  "3232235521",
  "0300.0250.0.1",
  "169.254.169.254",
  "2852039166",
  "0xa9fea9fe",
  "0xa9.0xfe.0xa9.0xfe",
  "0251.0376.0251.0376",
  "169.254.43518",
  "[::ffff:169.254.169.254]",
  "[::ffff:a9fe:a9fe]",
  "[fd00:ec2::254]",
  "100.64.0.1",
  "100.100.100.200",
  "168.63.129.16",
  "192.0.0.192",
  "192.0.2.1",
  "198.18.0.1",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "239.255.255.250",
  "240.0.0.1",
  "255.255.255.255",
  "[fc00::1]",
  "[fd12:3456::1]",
  "[fe80::1]",
  "[fec0::1]",
  "[ff02::1]",
  "[2001:db8::1]",
  "[2001::1]",
  "[100::1]",
  "[3fff::1]",
  "[64:ff9b::a00:1]",
  "[::ffff:10.0.0.1]",
  "[::a00:1]",
  "metadata.google.internal",
  "intranet",
  "printer.local",
  "db.internal",
  "router.localhost",
  "[2002:a00:1::]",
  "[2002:c0a8:101::1]",
];
const odd = [
  `https://user:secret@127.0.0.1:${port}/`,
  `https://example.com@127.0.0.1:${port}/`,
  `https://127.0.0.1:${port}#@example.com/`,
  `https://example.com\\@127.0.0.1:${port}/`,
  `https://127.0.0.1:${port}\\.example.com/`,
  `http://example.com/`,
  "ftp://127.0.0.1/",
  "file:///etc/passwd",
  "gopher://127.0.0.1:70/_x",
  "javascript:alert(1)",
  "//127.0.0.1/",
  "https:127.0.0.1",
  "https:/127.0.0.1/",
  "https:///127.0.0.1/",
  ` https://127.0.0.1:${port}/`,
  `https://127.0.0.1:${port}/\t`,
  `https://127.0.0.1\u0000.example.com/`,
  "https://",
  "https://[::1",
  "https://[]/",
  "https://exa mple.com/",
  "https://999.999.999.999/",
  "https://1.2.3.4.5/",
  `https://127.0.0.1 :${port}/`,
  "https://a..b/",
  `data:text/plain,x`,
  `http://127.0.0.1:${port}/`,
  `https://${"a".repeat(2_100)}.example/`,
];

test("every spelling of a forbidden address is refused when a webhook is made, and no packet is sent", async () => {
  const urls = [
    ...loopback.map((host) => `https://${host}:${port}/`),
    ...elsewhere.map((host) => `https://${host}/`),
    ...odd,
  ];
  assert.ok(urls.length >= 100, String(urls.length));
  for (const url of urls) {
    const answer = await server.post("/v1/webhook", { url, types: ["*"] }, { key });
    assert.equal(answer.status, 400, `${JSON.stringify(url)} was admitted`);
    assert.ok(["url_not_allowed", "validation_failed"].includes(answer.body.code), url);
    assert.equal(answer.body.errors[0].pointer, "/url");
  }
  assert.equal(reached, 0);
  assert.deepEqual((await server.get("/v1/webhook", { key })).body.items, []);
});

/** A name server whose answers the test writes: per name, a list of addresses for each question in turn. */
async function startNameServer(zones: Record<string, string[][]>) {
  const socket = createSocket("udp4");
  const asked: string[] = [];
  socket.on("message", (message: Buffer, from: RemoteInfo) => {
    let at = 12;
    const labels: string[] = [];
    for (let length = message[at]!; length > 0; length = message[at]!) {
      labels.push(message.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    const question = message.subarray(12, at + 5);
    const isA = message.readUInt16BE(at + 1) === 1;
    const name = labels.join(".").toLowerCase();
    const turn = isA ? asked.push(name) && asked.filter((one) => one === name).length - 1 : 0;
    const answers = isA ? (zones[name]?.[Math.min(turn, zones[name].length - 1)] ?? []) : [];
    const header = Buffer.from([message[0]!, message[1]!, 0x85, 0x80, 0, 1, 0, answers.length, 0, 0, 0, 0]);
    const records = answers.map((address) =>
      Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split(".").map(Number)]),
    );
    socket.send(Buffer.concat([header, question, ...records]), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  after(() => void socket.close());
  const resolver = new Resolver({ timeout: 1_000, tries: 1 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  return { asked, lookup: createLookup(resolver, async () => []) };
}

test("a name is judged by the addresses of each attempt: private, mixed, changing between check and connect", async () => {
  const names = await startNameServer({
    "private.example": [["127.0.0.1"]],
    "mixed.example": [["93.184.216.34", "127.0.0.1"]],
    "metadata.example": [["169.254.169.254"]],
    // The first answer is public, all later ones are not: what is checked is what is connected to.
    "rebinds.example": [["10.0.0.1"], ["127.0.0.1"]],
    "zero.example": [["0.0.0.0"]],
  });
  const outbound = createOutbound({
    guard: createAddressGuard({ allow: [], lookup: names.lookup }),
    userAgent: "Demarc/test",
    connectTimeoutMs: 300,
  });
  after(() => outbound.close());
  for (const name of ["private", "mixed", "metadata", "rebinds", "rebinds", "zero"]) {
    const reply = await outbound.call({ method: "POST", url: `https://${name}.example:${port}/`, body: "x" });
    assert.deepEqual([name, reply.ok, !reply.ok && reply.reason], [name, false, "address_not_allowed"]);
  }
  assert.ok(names.asked.length >= 6, "each attempt asks anew");
  assert.equal(reached, 0);
});

test("a name that rebinds after the check is not asked for again: the connection goes to the checked address", async () => {
  const listed = await startNameServer({ "moves.example": [["127.0.0.9"], ["127.0.0.1"]] });
  const outbound = createOutbound({
    guard: createAddressGuard({ allow: ["127.0.0.9/32"], lookup: listed.lookup }),
    userAgent: "Demarc/test",
  });
  after(() => outbound.close());
  const first = await outbound.call({ method: "POST", url: `http://moves.example:${port}/`, body: "x" });
  assert.deepEqual([first.ok, first.address], [false, "127.0.0.9"]);
  const second = await outbound.call({ method: "POST", url: `http://moves.example:${port}/`, body: "x" });
  assert.deepEqual([second.ok, !second.ok && second.reason], [false, "address_not_allowed"]);
  assert.equal(listed.asked.length, 2);
  assert.equal(reached, 0);
});
