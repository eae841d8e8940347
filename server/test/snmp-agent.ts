import { createSocket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import {
  type AuthProtocol,
  computeDigest,
  decode,
  decodeFirst,
  decodeNumber,
  decodeOid,
  decrypt,
  digestLength,
  type Element,
  type EngineClock,
  encode,
  encodeNumber,
  encodeOid,
  encodeText,
  encrypt,
  localizeKey,
  type PrivProtocol,
  privacyKey,
  tags,
} from "./snmp-wire.ts";

export type AgentUser = {
  name: string;
  authProtocol?: AuthProtocol;
  authPassphrase?: string;
  privProtocol?: PrivProtocol;
  privPassphrase?: string;
  /** Below this level the user is known but may see nothing; default: any level will do. */
  needs?: "authNoPriv" | "authPriv";
};

/** One row of ifTable and ifXTable; a column that is left out does not exist for this row. */
export type AgentInterface = {
  ifIndex: number;
  ifDescr?: string | Buffer;
  ifType?: number;
  ifSpeed?: number;
  ifAdminStatus?: number;
  ifOperStatus?: number;
  ifName?: string | Buffer;
  ifHCInOctets?: bigint;
  ifHighSpeed?: number;
  ifAlias?: string | Buffer;
};

export type AgentSystem = {
  descr?: string | Buffer;
  objectId?: string;
  upTimeTicks?: number;
  contact?: string | Buffer;
  name?: string | Buffer;
  location?: string | Buffer;
};

export type AgentOptions = {
  address?: "127.0.0.1" | "::1";
  /** What v1 and v2c must name; with another one, or none here, the agent is silent, as devices are. */
  community?: string;
  users?: readonly AgentUser[];
  /** The one v3 context; a request for another is not answered, as by Net-SNMP's snmpd. */
  contextName?: string;
  system?: AgentSystem;
  /** Rows, or how many to make up. */
  interfaces?: number | readonly AgentInterface[];
  /** false: none of the columns of ifXTable. */
  ifXTable?: boolean;
  /** Hears and answers nothing. */
  silent?: boolean;
  /** GETNEXT and GETBULK on a row of a table give that row again. */
  stuck?: boolean;
  /** Gives its engine id without its clock, as RFC 3414 section 4 has it; only an authentic report tells the time. */
  hidesClock?: boolean;
  /** Silent on what it cannot decrypt (as snmpd), instead of a report of usmStatsDecryptionErrors. */
  dropsUndecipherable?: boolean;
  /** Answers v3 in clear and without a digest, whatever was asked. */
  answersUnsecured?: boolean;
  /** Answers every v3 message with a report that gives no clock. */
  reportsForever?: boolean;
  /** Sends the reply its own way; `send` takes any bytes, any number of times. */
  deliver?: (reply: Buffer, send: (datagram: Buffer) => void, asker: { port: number; address: string }) => void;
};

export type SnmpAgent = {
  address: string;
  port: number;
  /** The PDUs it understood and was asked to answer, in order. */
  requests: { pdu: "get" | "getNext" | "getBulk" | "other"; oids: string[]; repetitions: number }[];
  /** How many datagrams came, of any kind. */
  datagrams: () => number;
  change(options: Partial<AgentOptions>): void;
  /** Starts the engine's clock anew with one more boot. */
  restart(): void;
  close(): Promise<void>;
};

type MibObject = { oid: string; arcs: number[]; tag: number; encoded: Buffer };

const usmStats = { level: 1, timeWindow: 2, user: 3, engineId: 4, digest: 5, decryption: 6 } as const;
const timeWindowSeconds = 150;

const columns: readonly [column: string, field: keyof AgentInterface, tag: number][] = [
  ["1.3.6.1.2.1.2.2.1.1", "ifIndex", tags.integer],
  ["1.3.6.1.2.1.2.2.1.2", "ifDescr", tags.octets],
  ["1.3.6.1.2.1.2.2.1.3", "ifType", tags.integer],
  ["1.3.6.1.2.1.2.2.1.5", "ifSpeed", tags.gauge32],
  ["1.3.6.1.2.1.2.2.1.7", "ifAdminStatus", tags.integer],
  ["1.3.6.1.2.1.2.2.1.8", "ifOperStatus", tags.integer],
  ["1.3.6.1.2.1.31.1.1.1.1", "ifName", tags.octets],
  ["1.3.6.1.2.1.31.1.1.1.6", "ifHCInOctets", tags.counter64],
  ["1.3.6.1.2.1.31.1.1.1.15", "ifHighSpeed", tags.gauge32],
  ["1.3.6.1.2.1.31.1.1.1.18", "ifAlias", tags.octets],
];

const madeUpInterface = (ifIndex: number): Required<AgentInterface> => ({
  ifIndex,
  ifDescr: `GigabitEthernet0/${ifIndex}`,
  ifType: 6,
  ifSpeed: 1_000_000_000,
  ifAdminStatus: 1,
  ifOperStatus: 1,
  ifName: `Gi0/${ifIndex}`,
  ifHCInOctets: 2n ** 40n,
  ifHighSpeed: 1000,
  ifAlias: `circuit ${ifIndex}`,
});

function encodeValue(tag: number, value: string | Buffer | number | bigint): Buffer {
  if (typeof value === "number" || typeof value === "bigint") return encodeNumber(value, tag);
  return tag === tags.oid ? encodeOid(value.toString()) : encodeText(value);
}

function compareArcs(a: readonly number[], b: readonly number[]): number {
  for (let at = 0; at < a.length && at < b.length; at++) if (a[at] !== b[at]) return a[at]! - b[at]!;
  return a.length - b.length;
}

/** Everything the agent shows, in the order of the MIB. */
function listObjects({ system = {}, interfaces = 2, ifXTable = true }: AgentOptions): MibObject[] {
  const objects: MibObject[] = [];
  const add = (oid: string, tag: number, value: string | Buffer | number | bigint | undefined) => {
    if (value === undefined) return;
    objects.push({ oid, arcs: oid.split(".").map(Number), tag, encoded: encodeValue(tag, value) });
  };
  const { descr, objectId, upTimeTicks, contact, name, location } = system;
  add("1.3.6.1.2.1.1.1.0", tags.octets, descr);
  add("1.3.6.1.2.1.1.2.0", tags.oid, objectId);
  add("1.3.6.1.2.1.1.3.0", tags.timeTicks, upTimeTicks);
  add("1.3.6.1.2.1.1.4.0", tags.octets, contact);
  add("1.3.6.1.2.1.1.5.0", tags.octets, name);
  add("1.3.6.1.2.1.1.6.0", tags.octets, location);
  const rows =
    typeof interfaces === "number"
      ? Array.from({ length: interfaces }, (_, at) => madeUpInterface(at + 1))
      : interfaces.toSorted((a, b) => a.ifIndex - b.ifIndex);
  for (const [column, field, tag] of columns) {
    if (!ifXTable && column.startsWith("1.3.6.1.2.1.31.")) continue;
    for (const row of rows) add(`${column}.${row.ifIndex}`, tag, row[field]);
  }
  return objects;
}

/** The place of the first object after `oid`. */
function placeAfter(objects: readonly MibObject[], oid: string): number {
  const arcs = oid.split(".").map(Number);
  let low = 0;
  for (let high = objects.length; low < high; ) {
    const middle = (low + high) >>> 1;
    if (compareArcs(objects[middle]!.arcs, arcs) > 0) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Starts an SNMP agent (v1, v2c, v3) on a free UDP port of the loopback. It answers GET, GETNEXT and GETBULK over the
 * system group, ifTable and ifXTable, and misbehaves as its options say. Options left out: no community, no users (so
 * silent until given one), an empty system group, two made-up interfaces.
 */
export async function startSnmpAgent(given: AgentOptions = {}): Promise<SnmpAgent> {
  const options: AgentOptions = { ...given };
  const address = options.address ?? "127.0.0.1";
  const engineId = Buffer.from("80001f8804646d7263", "hex");
  const requests: SnmpAgent["requests"] = [];
  const keys = new Map<string, Buffer>();
  let objects = listObjects(options);
  let datagrams = 0;
  let boots = 7;
  // Like a device that has been up for a day, so that no clock of the asker fits by chance.
  let startedAtMs = performance.now() - 86_400_000;

  const clock = (): EngineClock => ({ boots, time: Math.floor((performance.now() - startedAtMs) / 1000) });

  // Keys are kept: stretching a passphrase hashes a mebibyte, and a walk sends hundreds of messages.
  const cached = (name: string, make: () => Buffer): Buffer => {
    const key = keys.get(name) ?? make();
    keys.set(name, key);
    return key;
  };
  const authKey = ({ authProtocol, authPassphrase }: AgentUser) =>
    cached(`${authProtocol} ${authPassphrase}`, () => localizeKey(authProtocol!, authPassphrase!, engineId));
  const privKey = ({ authProtocol, privProtocol, privPassphrase }: AgentUser) =>
    cached(`${authProtocol} ${privProtocol} ${privPassphrase}`, () =>
      privacyKey(privProtocol!, authProtocol!, privPassphrase!, engineId),
    );

  const varbind = (oid: string, encoded: Buffer) => encode(tags.sequence, encodeOid(oid), encoded);
  const buildPdu = (tag: number, id: number, status: number, index: number, varbinds: readonly Buffer[]) =>
    encode(tag, encodeNumber(id), encodeNumber(status), encodeNumber(index), encode(tags.sequence, ...varbinds));

  function answerPdu(pdu: Buffer, version: number, refusal = 0): Buffer | null {
    const request = decodeFirst(pdu).element;
    const [id, first, second, list] = decode(request.content);
    const oids = decode(list!.content).map((entry) => decodeOid(decode(entry.content)[0]!));
    const bulk = request.tag === tags.getBulk;
    const name = bulk
      ? "getBulk"
      : request.tag === tags.getNext
        ? "getNext"
        : request.tag === tags.get
          ? "get"
          : "other";
    requests.push({ pdu: name, oids, repetitions: bulk ? decodeNumber(second!) : 0 });
    if (name === "other" || (bulk && version === 0)) return null;
    const echo = (status: number, index: number) =>
      buildPdu(
        tags.response,
        decodeNumber(id!),
        status,
        index,
        decode(list!.content).map((e) => encode(e.tag, e.content)),
      );
    if (refusal) return echo(refusal, 0);

    // A Counter64 does not exist for v1: RFC 3584 section 4.2.2.1.
    const visible = version === 0 ? objects.filter(({ tag }) => tag !== tags.counter64) : objects;
    const place = (oid: string) => {
      const after = placeAfter(visible, oid);
      return options.stuck && visible[after - 1]?.oid === oid && !oid.endsWith(".0") ? after - 1 : after;
    };
    const rounds = bulk ? decodeNumber(second!) : 1;
    const varbinds: Buffer[] = [];
    const at = [...oids];
    for (let round = 0; round < rounds; round++) {
      for (const [which, oid] of at.entries()) {
        if (bulk && round > 0 && which < decodeNumber(first!)) continue;
        const found =
          name === "get" ? visible[placeAfter(visible, oid) - 1] : (visible[place(oid)] as MibObject | undefined);
        if (found && (name !== "get" || found.oid === oid)) {
          at[which] = found.oid;
          varbinds.push(varbind(found.oid, found.encoded));
        } else if (version === 0) return echo(2, which + 1);
        else varbinds.push(varbind(oid, encode(name === "get" ? tags.noSuchObject : tags.endOfMibView)));
      }
    }
    return buildPdu(tags.response, decodeNumber(id!), 0, 0, varbinds);
  }

  /** One v3 message; `flags` 1 = with digest, 2 = encrypted too. */
  function buildV3(msgId: number, flags: number, user: AgentUser | null, time: EngineClock, scoped: Buffer): Buffer {
    const secret = flags & 2 ? encrypt(user!.privProtocol!, privKey(user!), time, scoped) : null;
    const data = secret ? encodeText(secret.encrypted) : scoped;
    const write = (digest: Buffer) =>
      encode(
        tags.sequence,
        encodeNumber(3),
        encode(
          tags.sequence,
          encodeNumber(msgId),
          encodeNumber(65507),
          encodeText(Buffer.from([flags])),
          encodeNumber(3),
        ),
        encodeText(
          encode(
            tags.sequence,
            encodeText(engineId),
            encodeNumber(time.boots),
            encodeNumber(time.time),
            encodeText(user?.name ?? ""),
            encodeText(digest),
            encodeText(secret?.salt ?? ""),
          ),
        ),
        data,
      );
    if (!(flags & 1)) return write(Buffer.alloc(0));
    const blank = write(Buffer.alloc(digestLength(user!.authProtocol!)));
    return write(computeDigest(user!.authProtocol!, authKey(user!), blank));
  }

  /** The parts of an encrypted scoped PDU, null when the key was another one. */
  function decipher(user: AgentUser, time: EngineClock, salt: Buffer, encrypted: Buffer): Element[] | null {
    try {
      const { element } = decodeFirst(decrypt(user.privProtocol!, privKey(user), time, salt, encrypted));
      const parts = element.tag === tags.sequence ? decode(element.content) : [];
      return parts[0]?.content.equals(engineId) ? parts : null;
    } catch {
      return null;
    }
  }

  /** The checks of RFC 3414 section 3.2, in its order. */
  function answerV3(datagram: Buffer): Buffer | null {
    const [, header, security, data] = decode(decode(datagram)[0]!.content);
    const [msgId, , flagOctet] = decode(header!.content);
    const [engine, askedBoots, askedTime, userName, digest, salt] = decode(decode(security!.content)[0]!.content);
    const id = decodeNumber(msgId!);
    const flags = flagOctet!.content[0]! & 3;
    const report = (stat: number, signer: AgentUser | null = null, time = clock()) => {
      const counter = varbind(`1.3.6.1.6.3.15.1.1.${stat}.0`, encodeNumber(1, tags.counter32));
      const pdu = buildPdu(tags.report, 0, 0, 0, [counter]);
      return buildV3(
        id,
        signer ? 1 : 0,
        signer,
        time,
        encode(tags.sequence, encodeText(engineId), encodeText(""), pdu),
      );
    };
    const noClock = { boots: 0, time: 0 };
    if (options.reportsForever) return report(usmStats.engineId, null, noClock);
    if (!engine!.content.equals(engineId))
      return report(usmStats.engineId, null, options.hidesClock ? noClock : clock());
    const user = options.users?.find(({ name }) => name === userName!.content.toString());
    if (!user) return report(usmStats.user);
    if ((flags & 1 && !user.authProtocol) || (flags & 2 && !user.privProtocol)) return report(usmStats.level);
    const time = { boots: decodeNumber(askedBoots!), time: decodeNumber(askedTime!) };
    if (flags & 1) {
      const unsigned = Buffer.from(datagram);
      const offset = digest!.content.byteOffset - datagram.byteOffset;
      unsigned.fill(0, offset, offset + digest!.content.length);
      const expected = computeDigest(user.authProtocol!, authKey(user), unsigned);
      if (!expected.equals(digest!.content)) return report(usmStats.digest);
      const now = clock();
      if (time.boots !== now.boots || Math.abs(time.time - now.time) > timeWindowSeconds)
        return report(usmStats.timeWindow, user);
    }
    const scoped = flags & 2 ? decipher(user, time, salt!.content, data!.content) : decode(data!.content);
    if (!scoped) return options.dropsUndecipherable ? null : report(usmStats.decryption);
    const [, context, pdu] = scoped;
    if (context!.content.toString() !== (options.contextName ?? "")) return null;
    const levelNeeded = user.needs === "authPriv" ? 3 : user.needs === "authNoPriv" ? 1 : 0;
    const answer = answerPdu(encode(pdu!.tag, pdu!.content), 3, flags < levelNeeded ? 16 : 0);
    if (!answer) return null;
    const reply = encode(tags.sequence, encodeText(engineId), encodeText(context!.content), answer);
    return buildV3(id, options.answersUnsecured ? 0 : flags, user, clock(), reply);
  }

  function answer(datagram: Buffer): Buffer | null {
    const [version, community, pdu] = decode(decode(datagram)[0]!.content);
    if (decodeNumber(version!) === 3) return answerV3(datagram);
    if (community!.content.toString() !== options.community) return null;
    const replyPdu = answerPdu(encode(pdu!.tag, pdu!.content), decodeNumber(version!));
    return (
      replyPdu && encode(tags.sequence, encodeNumber(decodeNumber(version!)), encodeText(community!.content), replyPdu)
    );
  }

  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  socket.on("message", (datagram, asker) => {
    datagrams++;
    const reply = options.silent ? null : answer(datagram);
    if (!reply) return;
    const send = (bytes: Buffer) => socket.send(bytes, asker.port, asker.address);
    if (options.deliver) options.deliver(reply, send, asker);
    else send(reply);
  });
  socket.bind(0, address);
  await once(socket, "listening");
  return {
    address,
    port: socket.address().port,
    requests,
    datagrams: () => datagrams,
    change: (changed) => {
      Object.assign(options, changed);
      objects = listObjects(options);
    },
    restart: () => {
      boots++;
      startedAtMs = performance.now();
    },
    close: async () => {
      socket.close();
      await once(socket, "close");
    },
  };
}
