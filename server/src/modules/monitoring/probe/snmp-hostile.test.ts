import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, test } from "node:test";
import fc from "fast-check";
import { type AgentOptions, startSnmpAgent } from "../../../../test/snmp-agent.ts";
import { encode, encodeNumber, encodeText, tags } from "../../../../test/snmp-wire.ts";
import { probeSnmp, type SnmpLimits } from "./snmp.ts";
import type { SnmpSettings } from "./snmp-session.ts";

const never = new AbortController().signal;
const community = "c0mmunity-s3cret";
const authPassphrase = "auth-passphrase";
const privPassphrase = "priv-passphrase";
const quick: Partial<SnmpLimits> = { timeoutMs: 100, retries: 1 };
const closing: (() => Promise<void>)[] = [];
after(() => Promise.all(closing.map((close) => close())));

const users = [
  { name: "open" },
  { name: "closed", authProtocol: "SHA", authPassphrase, privProtocol: "AES-128", privPassphrase },
] as const;
const plain = { version: "v2c", community } as const;
const open = { version: "v3", userName: "open", securityLevel: "noAuthNoPriv" } as const;
const closed = {
  version: "v3",
  userName: "closed",
  securityLevel: "authPriv",
  authProtocol: "SHA",
  authPassphrase,
  privProtocol: "AES-128",
  privPassphrase,
} as const;

async function startAgent(options: AgentOptions) {
  const agent = await startSnmpAgent({ community, users, system: { name: "true-name" }, interfaces: 1, ...options });
  closing.push(agent.close);
  return agent;
}

type Agent = Awaited<ReturnType<typeof startAgent>>;

const probe = (agent: Agent, settings: Omit<SnmpSettings, "port">, limits: Partial<SnmpLimits> = quick) =>
  probeSnmp(agent.address, { ...settings, port: agent.port }, never, limits);

async function nameOrReason(agent: Agent, settings: Omit<SnmpSettings, "port">) {
  const outcome = await probe(agent, settings);
  return outcome.outcome === "failed" ? outcome.reason : outcome.system.name;
}

function replaceBytes(message: Buffer, bytes: Buffer, by: Buffer): Buffer {
  const changed = Buffer.from(message);
  const at = message.indexOf(bytes);
  if (at >= 0) by.copy(changed, at);
  return changed;
}

test("an answer from another port does not count, though it comes first and fits the request", async (t) => {
  const other = createSocket("udp4").bind(0, "127.0.0.1");
  t.after(() => other.close());
  await once(other, "listening");
  let forged = 0;
  const agent = await startAgent({
    deliver: (reply, send, asker) => {
      const forgery = replaceBytes(reply, Buffer.from("true-name"), Buffer.from("fake-name"));
      if (!forgery.equals(reply)) forged++;
      other.send(forgery, asker.port, asker.address, () => send(reply));
    },
  });
  assert.equal(await nameOrReason(agent, plain), "true-name");
  assert.equal(await nameOrReason(agent, open), "true-name");
  assert.equal(forged, 2);
});

test("an answer with another request id does not count", async () => {
  const agent = await startAgent({
    deliver: (reply, send) => {
      const pdu = reply.indexOf(tags.response, 0);
      const changed = Buffer.from(reply);
      changed[pdu + 4] = changed[pdu + 4]! ^ 1;
      send(changed);
    },
  });
  assert.equal(await nameOrReason(agent, plain), "snmp_timeout");
});

test("an answer in clear to a user with authentication is refused", async () => {
  const agent = await startAgent({ answersUnsecured: true });
  assert.equal(await nameOrReason(agent, closed), "snmp_auth_failed");
});

test("datagrams that are not SNMP are passed over while the true answer is awaited", async () => {
  const agent = await startAgent({
    deliver: (reply, send) => {
      send(Buffer.from("GET / HTTP/1.1"));
      send(Buffer.alloc(0));
      send(Buffer.from([tags.sequence, 0x84, 0xff, 0xff, 0xff, 0xff]));
      send(reply);
    },
  });
  assert.equal(await nameOrReason(agent, plain), "true-name");
  assert.equal(await nameOrReason(agent, closed), "true-name");
});

test("a digest in reply to a user without authentication ends the probe, not the process", async () => {
  const flags = (value: number) => Buffer.from([tags.octets, 1, value, tags.integer, 1, 3]);
  const agent = await startAgent({ deliver: (reply, send) => send(replaceBytes(reply, flags(0), flags(1))) });
  assert.equal(await nameOrReason(agent, open), "snmp_timeout");
});

test("a device that answers with reports for ever gets a bounded number of datagrams", async () => {
  const agent = await startAgent({ reportsForever: true });
  assert.equal(await nameOrReason(agent, open), "snmp_timeout");
  assert.equal(agent.datagrams(), 30);
});

test("a clock that no encryption can be made with is the device's failure", async () => {
  const agent = await startAgent({
    deliver: (reply, send) => {
      // The boots of the report, 7, as -7.
      send(replaceBytes(reply, Buffer.from([tags.integer, 1, 7]), Buffer.from([tags.integer, 1, 0xf9])));
    },
  });
  const outcome = await probe(agent, closed);
  assert.equal(outcome.outcome, "failed");
});

test("an answer that quotes another community gives no name, and no text of the failure quotes ours", async () => {
  const agent = await startAgent({
    deliver: (reply, send) => send(replaceBytes(reply, Buffer.from(community), Buffer.from("another-16-chars"))),
  });
  const outcome = await probe(agent, plain);
  assert.equal(outcome.outcome, "failed");
  assert.ok(!JSON.stringify(outcome).includes(community));
});

test("a string that is longer than its message is no text, and the rest of the device is read", async () => {
  const name = (length: number) => Buffer.concat([Buffer.from([tags.octets, length]), Buffer.from("true-name")]);
  const agent = await startAgent({ deliver: (reply, send) => send(replaceBytes(reply, name(9), name(100))) });
  const outcome = await probe(agent, plain);
  assert.ok(outcome.outcome === "answered");
  assert.deepEqual([outcome.system.name, outcome.interfaces[0]?.ifName], [null, "Gi0/1"]);
});

test("an answer to a walk that holds nothing ends the column", async () => {
  const agent = await startAgent({
    deliver: (reply, send) => {
      if (agent.requests.at(-1)?.pdu === "get") return send(reply);
      const id = reply.subarray(reply.indexOf(tags.response));
      const idElement = id.subarray(2 + (id[1]! > 127 ? id[1]! - 128 : 0)).subarray(0, 6);
      const body = encode(
        tags.response,
        idElement.subarray(0, 2 + idElement[1]!),
        encodeNumber(0),
        encodeNumber(0),
        encode(tags.sequence),
      );
      send(encode(tags.sequence, encodeNumber(1), encodeText(community), body));
    },
  });
  const outcome = await probe(agent, plain);
  assert.deepEqual(outcome.outcome === "answered" && outcome.interfaces, []);
});

test("whatever bytes of its answers a device changes, the probe ends with an outcome", async () => {
  let changes: [at: number, value: number][] = [];
  const agent = await startAgent({
    deliver: (reply, send) => {
      const changed = Buffer.from(reply);
      for (const [at, value] of changes) changed[at % changed.length] = value;
      send(changed);
    },
  });
  const change = fc.tuple(fc.nat({ max: 200 }), fc.nat({ max: 255 }));
  const settings = fc.constantFrom(plain, { ...plain, version: "v1" } as const, open, closed);
  await fc.assert(
    fc.asyncProperty(settings, fc.array(change, { minLength: 1, maxLength: 3 }), async (how, bytes) => {
      changes = bytes;
      const outcome = await probe(agent, how, { timeoutMs: 5, retries: 0, deadlineMs: 100 });
      assert.ok(outcome.outcome === "answered" || outcome.message.length > 0);
    }),
    { numRuns: 150 },
  );
});
