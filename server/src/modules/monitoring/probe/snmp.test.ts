import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Authentication } from "net-snmp";
import { type AgentInterface, type AgentOptions, startSnmpAgent } from "../../../../test/snmp-agent.ts";
import { probeSnmp, type SnmpLimits } from "./snmp.ts";
import type { SnmpSettings } from "./snmp-session.ts";

const never = new AbortController().signal;
/** For devices that are silent to something: one try and one retry. */
const quick: Partial<SnmpLimits> = { timeoutMs: 150, retries: 1 };
const closing: (() => Promise<void>)[] = [];
after(() => Promise.all(closing.map((close) => close())));

const secrets = ["c0mmunity-s3cret", "auth-passphrase", "priv-passphrase", "wrong-passphrase", "wrong-c0mmunity"];
const [community, authPassphrase, privPassphrase, wrongPassphrase, wrongCommunity] = secrets as [
  string,
  string,
  string,
  string,
  string,
];

const system = {
  descr: "Test router\r\nversion 1",
  objectId: "1.3.6.1.4.1.9.1.1745",
  upTimeTicks: 4_000_000_000,
  contact: "noc@example.net",
  name: "hq-router",
  location: Buffer.from([0x42, 0xfc, 0x72, 0x6f]),
};

async function startAgent(options: AgentOptions) {
  const agent = await startSnmpAgent({ community, system, ...options });
  closing.push(agent.close);
  return agent;
}

type Agent = Awaited<ReturnType<typeof startAgent>>;

/** Probes the agent and holds every outcome to the promise that it shows no secret. */
async function probe(agent: Agent, settings: Partial<SnmpSettings>, limits?: Partial<SnmpLimits>) {
  const complete: SnmpSettings = { version: "v2c", port: agent.port, ...settings };
  if (complete.version !== "v3") complete.community ??= community;
  const outcome = await probeSnmp(agent.address, complete, never, limits);
  const shown = JSON.stringify(outcome);
  for (const secret of secrets) assert.ok(!shown.includes(secret));
  return outcome;
}

async function reasonOf(agent: Agent, settings: Partial<SnmpSettings>, limits = quick) {
  const outcome = await probe(agent, settings, limits);
  return outcome.outcome === "failed" ? outcome.reason : outcome.outcome;
}

const authPriv = {
  version: "v3",
  userName: "watcher",
  securityLevel: "authPriv",
  authProtocol: "SHA-256",
  authPassphrase,
  privProtocol: "AES-128",
  privPassphrase,
} as const satisfies Partial<SnmpSettings>;
const authNoPriv = {
  version: "v3",
  userName: "watcher",
  securityLevel: "authNoPriv",
  authProtocol: "SHA-256",
  authPassphrase,
} as const;
const noAuthNoPriv = { version: "v3", userName: "watcher", securityLevel: "noAuthNoPriv" } as const;
const user = {
  name: "watcher",
  authProtocol: "SHA-256",
  authPassphrase,
  privProtocol: "AES-128",
  privPassphrase,
} as const;

const rows: AgentInterface[] = [
  { ifIndex: 10, ifDescr: "GigabitEthernet0/1", ifType: 6, ifSpeed: 4_294_967_295, ifAdminStatus: 1, ifOperStatus: 7 },
  { ifIndex: 2, ifDescr: "lo\u0000", ifType: 24, ifSpeed: 0, ifAdminStatus: 9, ifOperStatus: 2 },
];
Object.assign(rows[0]!, { ifName: "Gi0/1", ifHCInOctets: 2n ** 63n, ifHighSpeed: 10_000, ifAlias: "circuit 17" });

const gigabit = {
  ifIndex: 10,
  ifName: "Gi0/1",
  ifDescr: "GigabitEthernet0/1",
  ifAlias: "circuit 17",
  ifType: 6,
  ifSpeedBps: 4_294_967_295,
  ifHighSpeedMbps: 10_000,
  adminStatus: "up",
  operStatus: "lowerLayerDown",
  has64BitCounters: true,
};
const loopback = {
  ifIndex: 2,
  ifName: null,
  ifDescr: "lo",
  ifAlias: null,
  ifType: 24,
  ifSpeedBps: 0,
  ifHighSpeedMbps: null,
  adminStatus: null,
  operStatus: "down",
  has64BitCounters: false,
};
const systemRead = { ...system, descr: "Test router version 1", location: "Büro" };

test("v2c reads the system group and all interfaces by GETBULK of 20, and asks for nothing else", async () => {
  const agent = await startAgent({ interfaces: rows });
  const outcome = await probe(agent, {});
  assert.deepEqual(outcome, {
    outcome: "answered",
    system: systemRead,
    interfaces: [loopback, gigabit],
    truncated: false,
  });
  const [first, ...walk] = agent.requests;
  assert.deepEqual([first?.pdu, first?.oids.length], ["get", 6]);
  assert.ok(walk.every(({ pdu, repetitions }) => pdu === "getBulk" && repetitions === 20));
});

test("v1 reads the same by GETNEXT, and can have no 64-bit counters", async () => {
  const agent = await startAgent({ interfaces: rows });
  const outcome = await probe(agent, { version: "v1" });
  const interfaces = [loopback, { ...gigabit, has64BitCounters: false }];
  assert.deepEqual(outcome, { outcome: "answered", system: systemRead, interfaces, truncated: false });
  assert.ok(agent.requests.slice(1).every(({ pdu }) => pdu === "getNext"));
});

test("v1 reads the rest of the system group when one object is missing", async () => {
  const { contact: _contact, ...others } = system;
  const agent = await startAgent({ system: others });
  const outcome = await probe(agent, { version: "v1" });
  assert.deepEqual(outcome.outcome === "answered" && outcome.system, { ...systemRead, contact: null });
});

test("a device without ifXTable gives its interfaces without name, alias, high speed and 64-bit counters", async () => {
  const agent = await startAgent({ interfaces: rows, ifXTable: false });
  const outcome = await probe(agent, {});
  const bare = { ...gigabit, ifName: null, ifAlias: null, ifHighSpeedMbps: null, has64BitCounters: false };
  assert.deepEqual(outcome.outcome === "answered" && outcome.interfaces, [loopback, bare]);
});

test("a device that shows its system group and no interface has answered, with an empty list", async () => {
  const agent = await startAgent({ interfaces: 0 });
  const outcome = await probe(agent, {});
  assert.deepEqual(outcome.outcome === "answered" && outcome.interfaces, []);
});

for (const authProtocol of ["MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"] as const) {
  test(`v3 reads a device by ${authProtocol} alone and with every privacy protocol`, async () => {
    for (const privProtocol of ["DES", "AES-128", "AES-256", "AES-256-C"] as const) {
      const agent = await startAgent({ users: [{ ...user, authProtocol, privProtocol }], interfaces: 25 });
      for (const settings of [
        { ...authPriv, authProtocol, privProtocol },
        { ...authNoPriv, authProtocol },
      ]) {
        const outcome = await probe(agent, settings);
        assert.equal(outcome.outcome, "answered", `${authProtocol} ${privProtocol} ${settings.securityLevel}`);
        assert.equal(outcome.outcome === "answered" && outcome.interfaces.length, 25);
      }
    }
  });
}

test("v3 reads a device without authentication, and in a context", async () => {
  const agent = await startAgent({ users: [{ name: "watcher" }], contextName: "vrf-7" });
  assert.equal(await reasonOf(agent, { ...noAuthNoPriv, contextName: "vrf-7" }), "answered");
});

test("a device that tells its clock only after authentication is read after one resynchronisation", async () => {
  const agent = await startAgent({ users: [user], hidesClock: true });
  assert.equal(await reasonOf(agent, authPriv), "answered");
});

test("a device that restarts during the walk is read to the end", async () => {
  let replies = 0;
  const agent = await startAgent({
    users: [user],
    interfaces: 50,
    deliver: (reply, send) => {
      if (++replies === 6) agent.restart();
      send(reply);
    },
  });
  const outcome = await probe(agent, authPriv);
  assert.equal(outcome.outcome === "answered" && outcome.interfaces.length, 50);
});

test("a silent device is snmp_timeout; on v1 and v2c the text names a wrong community, which looks the same", async () => {
  const agent = await startAgent({ silent: true });
  for (const settings of [{ version: "v1" }, { version: "v2c" }, authPriv] as const) {
    const outcome = await probe(agent, settings, quick);
    assert.equal(outcome.outcome === "failed" && outcome.reason, "snmp_timeout");
    const message = outcome.outcome === "failed" ? outcome.message : "";
    assert.equal(/community/.test(message), settings.version !== "v3");
  }
  // One try and one retry for each of the three, and no further question to a device that was never heard.
  assert.equal(agent.datagrams(), 6);
  agent.change({ silent: false });
  assert.equal(await reasonOf(agent, { community: wrongCommunity }), "snmp_timeout");
});

test("a port where nothing listens is snmp_timeout", async () => {
  const agent = await startSnmpAgent();
  await agent.close();
  assert.equal(await reasonOf(agent, {}), "snmp_timeout");
});

test("each fault of a v3 user has its reason", async () => {
  const agent = await startAgent({ users: [user, { name: "no-privacy", authProtocol: "SHA-256", authPassphrase }] });
  assert.equal(await reasonOf(agent, { ...authPriv, authPassphrase: wrongPassphrase }), "snmp_auth_failed");
  assert.equal(await reasonOf(agent, { ...authPriv, authProtocol: "SHA" }), "snmp_auth_failed");
  assert.equal(await reasonOf(agent, { ...authPriv, userName: "nobody" }), "snmp_unknown_user");
  assert.equal(await reasonOf(agent, { ...noAuthNoPriv, userName: "nobody" }), "snmp_unknown_user");
  assert.equal(await reasonOf(agent, { ...authPriv, privPassphrase: wrongPassphrase }), "snmp_privacy_failed");
  assert.equal(await reasonOf(agent, { ...authPriv, privProtocol: "DES" }), "snmp_privacy_failed");
  assert.equal(await reasonOf(agent, { ...authPriv, userName: "no-privacy" }), "snmp_level_refused");
});

test("a device that drops what it cannot decrypt is snmp_privacy_failed, asked by an empty GET", async () => {
  const agent = await startAgent({ users: [user], dropsUndecipherable: true });
  assert.equal(await reasonOf(agent, { ...authPriv, privPassphrase: wrongPassphrase }), "snmp_privacy_failed");
  assert.deepEqual(agent.requests, [{ pdu: "get", oids: [], repetitions: 0 }]);
});

test("a device that drops a context it does not know is snmp_no_view", async () => {
  const agent = await startAgent({ users: [user], dropsUndecipherable: true });
  assert.equal(await reasonOf(agent, { ...authPriv, contextName: "vrf-7" }), "snmp_no_view");
  assert.equal(await reasonOf(agent, { ...authNoPriv, contextName: "vrf-7" }), "snmp_no_view");
  const both = { ...authPriv, contextName: "vrf-7", privPassphrase: wrongPassphrase };
  assert.equal(await reasonOf(agent, both), "snmp_privacy_failed");
});

test("no access is snmp_level_refused below the highest level and snmp_no_view at it", async () => {
  const agent = await startAgent({ users: [{ ...user, needs: "authPriv" }], system: {}, interfaces: 0 });
  assert.equal(await reasonOf(agent, authNoPriv), "snmp_level_refused");
  assert.equal(await reasonOf(agent, noAuthNoPriv), "snmp_level_refused");
  assert.equal(await reasonOf(agent, authPriv), "snmp_no_view");
});

test("a device that answers and shows nothing is snmp_no_view on v1 and v2c", async () => {
  const agent = await startAgent({ system: {}, interfaces: 0 });
  assert.equal(await reasonOf(agent, { version: "v1" }), "snmp_no_view");
  assert.equal(await reasonOf(agent, { version: "v2c" }), "snmp_no_view");
});

test("a device that falls silent during the walk is snmp_timeout", async () => {
  const agent = await startAgent({ deliver: (reply, send) => agent.requests.length < 4 && send(reply) });
  assert.equal(await reasonOf(agent, {}), "snmp_timeout");
});

test("an agent that gives the same row again ends the walk with the rows so far", async () => {
  const agent = await startAgent({ interfaces: 5, stuck: true });
  for (const [version, requestsPerColumn] of [
    ["v1", 2],
    ["v2c", 1],
  ] as const) {
    agent.requests.length = 0;
    const outcome = await probe(agent, { version });
    assert.deepEqual(outcome.outcome === "answered" && outcome.interfaces.map(({ ifIndex }) => ifIndex), [1]);
    const walked = agent.requests.filter(({ pdu }) => pdu !== "get");
    assert.equal(walked.length, requestsPerColumn * (version === "v1" ? 8 : 9));
  }
});

test("of 2,001 interfaces the first 2,000 are kept and the list says that it is truncated", async () => {
  const agent = await startAgent({ interfaces: 2001, ifXTable: false });
  const outcome = await probe(agent, {});
  assert.ok(outcome.outcome === "answered");
  assert.deepEqual(
    [outcome.interfaces.length, outcome.interfaces.at(-1)?.ifIndex, outcome.truncated],
    [2000, 2000, true],
  );
  agent.change({ interfaces: 2000 });
  const full = await probe(agent, {});
  assert.deepEqual(full.outcome === "answered" && [full.interfaces.length, full.truncated], [2000, false]);
});

test("the deadline ends a device that answers, but not in time", async () => {
  const agent = await startAgent({ silent: true });
  assert.equal(await reasonOf(agent, {}, { deadlineMs: 50 }), "deadline");
});

test("settings that are not complete throw before a packet is sent, and net-snmp's own defaults never go out", async () => {
  const agent = await startAgent({ community: "public" });
  const { authPassphrase: _a, ...noAuthPassphrase } = authPriv;
  const { privPassphrase: _p, ...noPrivPassphrase } = authPriv;
  for (const settings of [{ version: "v2c" } as const, noAuthPassphrase, noPrivPassphrase]) {
    await assert.rejects(probeSnmp(agent.address, { port: agent.port, ...settings }, never), TypeError);
  }
  assert.equal(agent.datagrams(), 0);
});

test("no passphrase and no key is kept after a probe", async () => {
  const agent = await startAgent({ users: [user] });
  await probe(agent, authPriv);
  assert.deepEqual(Authentication.authToKeyCache, {});
});
