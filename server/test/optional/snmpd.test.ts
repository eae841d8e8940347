import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { probeDevice } from "../../src/modules/monitoring/probe/probe.ts";
import type { SnmpSettings } from "../../src/modules/monitoring/probe/snmp-session.ts";

// The probe against Net-SNMP's snmpd, the agent of most Linux devices (Debian: package snmpd), and against the system's
// ping (iputils-ping). For the optional suite: without the two programs these tests fail, they are not skipped.

const community = "c0mmunity-s3cret";
const authPassphrase = "auth-passphrase";
const privPassphrase = "priv-passphrase";
const signal = new AbortController().signal;
const authProtocols = ["MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"] as const;
const privProtocols = ["DES", "AES-128", "AES-256", "AES-256-C"] as const;
const quick = { snmp: { timeoutMs: 500, retries: 1 } };

const users = authProtocols.flatMap((auth) => privProtocols.map((priv) => `${auth}-${priv}`));
const createUsers = authProtocols.flatMap((auth) =>
  privProtocols.map((priv) => {
    const privacy = priv === "AES-128" ? "AES" : priv;
    return `createUser ${auth}-${priv} ${auth} "${authPassphrase}" ${privacy} "${privPassphrase}"`;
  }),
);
const configuration = `
rocommunity ${community}
rocommunity6 ${community}
rocommunity system-only default 1.3.6.1.2.1.1
rocommunity nothing default 1.3.6.1.4.1.99999
sysName hq-router
sysLocation Büro
sysContact noc@example.net
${createUsers.join("\n")}
createUser no-privacy SHA "${authPassphrase}"
createUser no-view SHA "${authPassphrase}" AES "${privPassphrase}"
createUser open
${users.map((user) => `rouser ${user} auth`).join("\n")}
rouser no-privacy auth
rouser open noauth
createUser strict SHA "${authPassphrase}" AES "${privPassphrase}"
rouser strict priv
`;

let folder = "";
let port = 0;
let stopAgent = async () => {};

/** A port that was free on the loopback a moment ago: snmpd cannot be told to choose one. */
async function findPort(): Promise<number> {
  const socket = createSocket("udp6").bind(0);
  await once(socket, "listening");
  const found = socket.address().port;
  socket.close();
  await once(socket, "close");
  return found;
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "demarc-snmpd-"));
  const file = join(folder, "snmpd.conf");
  await writeFile(file, configuration, { mode: 0o600 });
  port = await findPort();
  const listen = [`udp:127.0.0.1:${port}`, `udp6:[::1]:${port}`];
  const environment = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    MIBS: "",
    SNMPCONFPATH: folder,
    SNMP_PERSISTENT_DIR: folder,
  };
  const agent = spawn("snmpd", ["-f", "-Lo", "-C", "-c", file, "-I", "-smux", ...listen], {
    stdio: ["ignore", "pipe", "inherit"],
    env: environment,
  });
  const exited = once(agent, "exit");
  stopAgent = async () => {
    agent.kill();
    await exited;
  };
  const started = new Promise<void>((resolve) => {
    let output = "";
    agent.stdout.on("data", (bytes) => {
      output += bytes;
      if (output.includes("NET-SNMP version")) resolve();
    });
  });
  const ended = exited.then(() => assert.fail("snmpd ended before it served"));
  await Promise.race([started, ended]);
  ended.catch(() => {});
});

after(async () => {
  try {
    await stopAgent();
  } finally {
    await rm(folder, { recursive: true });
  }
});

async function probe(settings: Omit<SnmpSettings, "port">, address = "127.0.0.1") {
  const request = { address, snmp: { ...settings, port }, icmp: false, tcpPort: null, signal };
  const { snmp } = await probeDevice(request, quick);
  assert.ok(snmp);
  return snmp;
}

async function reasonOf(settings: Omit<SnmpSettings, "port">) {
  const outcome = await probe(settings);
  return outcome.outcome === "failed" ? outcome.reason : outcome.outcome;
}

const authPriv = (userName: string) =>
  ({
    version: "v3",
    userName,
    securityLevel: "authPriv",
    authProtocol: "SHA",
    authPassphrase,
    privProtocol: "AES-128",
    privPassphrase,
  }) as const;

for (const [version, address] of [
  ["v1", "127.0.0.1"],
  ["v2c", "127.0.0.1"],
  ["v2c", "::1"],
] as const) {
  test(`snmpd is read by ${version} at ${address}, and its loopback interface is there`, async () => {
    const outcome = await probe({ version, community }, address);
    assert.ok(outcome.outcome === "answered");
    const { name, location, contact, objectId, upTimeTicks } = outcome.system;
    assert.deepEqual([name, location, contact], ["hq-router", "Büro", "noc@example.net"]);
    assert.match(objectId ?? "", /^1\.3\.6\.1\.4\.1\.8072\.3\.2\./);
    assert.ok(upTimeTicks !== null);
    const loopback = outcome.interfaces.find(({ ifDescr }) => ifDescr === "lo");
    assert.deepEqual([loopback?.ifName, loopback?.ifType, loopback?.operStatus], ["lo", 24, "up"]);
    assert.equal(loopback?.has64BitCounters, version !== "v1");
  });
}

for (const authProtocol of authProtocols) {
  test(`snmpd is read by ${authProtocol} alone and with every privacy protocol`, async () => {
    for (const privProtocol of privProtocols) {
      const settings = { ...authPriv(`${authProtocol}-${privProtocol}`), authProtocol, privProtocol };
      assert.equal(await reasonOf(settings), "answered", privProtocol);
    }
    const { privProtocol: _, privPassphrase: __, ...authOnly } = authPriv(`${authProtocol}-DES`);
    assert.equal(await reasonOf({ ...authOnly, securityLevel: "authNoPriv", authProtocol }), "answered");
  });
}

test("a user without authentication is read", async () => {
  assert.equal(await reasonOf({ version: "v3", userName: "open", securityLevel: "noAuthNoPriv" }), "answered");
});

test("each fault of a user or community has its reason with snmpd too", async () => {
  const good = authPriv("SHA-AES-128");
  assert.equal(await reasonOf({ version: "v2c", community: "wrong" }), "snmp_timeout");
  assert.equal(await reasonOf({ ...good, authPassphrase: "wrong-passphrase" }), "snmp_auth_failed");
  assert.equal(await reasonOf({ ...good, authProtocol: "SHA-256" }), "snmp_auth_failed");
  assert.equal(await reasonOf({ ...good, userName: "nobody" }), "snmp_unknown_user");
  assert.equal(await reasonOf({ ...good, privPassphrase: "wrong-passphrase" }), "snmp_privacy_failed");
  assert.equal(await reasonOf({ ...good, privProtocol: "DES" }), "snmp_privacy_failed");
  assert.equal(await reasonOf(authPriv("no-privacy")), "snmp_level_refused");
  const { privProtocol: _, privPassphrase: __, ...strict } = authPriv("strict");
  assert.equal(await reasonOf({ ...strict, securityLevel: "authNoPriv" }), "snmp_level_refused");
});

test("a view that holds nothing, or a context that is not there, is snmp_no_view with snmpd too", async () => {
  assert.equal(await reasonOf({ version: "v1", community: "nothing" }), "snmp_no_view");
  assert.equal(await reasonOf({ version: "v2c", community: "nothing" }), "snmp_no_view");
  assert.equal(await reasonOf(authPriv("no-view")), "snmp_no_view");
  assert.equal(await reasonOf({ ...authPriv("SHA-AES-128"), contextName: "vrf-7" }), "snmp_no_view");
});

test("a view of the system group alone is an answer without interfaces", async () => {
  for (const version of ["v1", "v2c"] as const) {
    const outcome = await probe({ version, community: "system-only" });
    assert.ok(outcome.outcome === "answered");
    assert.deepEqual([outcome.system.name, outcome.interfaces], ["hq-router", []]);
  }
});

for (const address of ["127.0.0.1", "::1"]) {
  test(`the system's ping measures four echoes to ${address}`, async () => {
    const { icmp } = await probeDevice({ address, snmp: null, icmp: true, tcpPort: null, signal });
    assert.ok(icmp?.outcome === "measured");
    assert.deepEqual([icmp.sent, icmp.received], [4, 4]);
    assert.ok(icmp.minMs! <= icmp.avgMs! && icmp.avgMs! <= icmp.maxMs!);
  });
}
