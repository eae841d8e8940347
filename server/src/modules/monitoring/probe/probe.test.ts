import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { after, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { startSnmpAgent } from "../../../../test/snmp-agent.ts";
import { probeDevice } from "./probe.ts";

const agent = await startSnmpAgent({ community: "s3cret", system: { name: "hq-router" } });
after(() => agent.close());
const snmp = { version: "v2c", port: agent.port, community: "s3cret" } as const;
const address = "127.0.0.1";
const signal = new AbortController().signal;

test("each probe that was asked for has its result, the others null", async () => {
  const server = createServer().listen(0, address);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const limits = { icmp: { program: "no-such-program" } };
  const all = await probeDevice({ address, snmp, icmp: true, tcpPort: port, signal }, limits);
  server.close();
  assert.equal(all.snmp?.outcome === "answered" && all.snmp.system.name, "hq-router");
  assert.deepEqual([all.icmp, all.tcp], [{ outcome: "not_available" }, { port, outcome: "open" }]);
  const none = await probeDevice({ address, snmp: null, icmp: false, tcpPort: null, signal });
  assert.deepEqual(none, { snmp: null, icmp: null, tcp: null });
});

test("a name in place of a numeric address is refused before anything is looked up or sent", async () => {
  for (const wrong of ["localhost", "-c1", "127.0.0.1/8", ""]) {
    const probing = probeDevice({ address: wrong, snmp, icmp: true, tcpPort: 22, signal });
    await assert.rejects(probing, TypeError);
  }
});

test("settings that are not complete throw without naming a secret", async () => {
  const broken = {
    version: "v3",
    port: 161,
    userName: "u",
    securityLevel: "authNoPriv",
    authPassphrase: "s3cret-pass",
  };
  const probing = probeDevice({ address, snmp: broken as never, icmp: false, tcpPort: null, signal });
  await assert.rejects(probing, (error: Error) => !error.message.includes("s3cret"));
});

/** Open sockets, processes and running timers; a closed socket goes away only in a later turn of the event loop. */
async function countHandles(): Promise<number> {
  for (let turns = 0; turns < 5; turns++) await turn();
  return process.getActiveResourcesInfo().filter((name) => /UDP|TCP|Process|Pipe|^Timeout/.test(name)).length;
}

test("an abort rejects with its reason at once and leaves no socket or timer behind", async () => {
  const before = await countHandles();
  agent.change({ silent: true });
  const controller = new AbortController();
  const heard = agent.datagrams();
  const probing = probeDevice({ address, snmp, icmp: false, tcpPort: null, signal: controller.signal });
  while (agent.datagrams() === heard) await turn();
  assert.ok((await countHandles()) > before);
  controller.abort(new Error("cancelled by the caller"));
  await assert.rejects(probing, /cancelled by the caller/);
  // At once: a probe that waited for its time-out would have tried again.
  assert.equal(agent.datagrams(), heard + 1);
  assert.equal(await countHandles(), before);
  agent.change({ silent: false });
});

test("a signal that is aborted already sends nothing", async () => {
  const heard = agent.datagrams();
  const probing = probeDevice({ address, snmp, icmp: true, tcpPort: 22, signal: AbortSignal.abort(new Error("over")) });
  await assert.rejects(probing, /over/);
  await probeDevice({ address, snmp: null, icmp: false, tcpPort: null, signal });
  assert.equal(agent.datagrams(), heard);
});

test("a probe that ends by itself leaves no socket or timer behind", async () => {
  const before = await countHandles();
  await probeDevice({ address, snmp, icmp: false, tcpPort: 9, signal });
  assert.equal(await countHandles(), before);
});
