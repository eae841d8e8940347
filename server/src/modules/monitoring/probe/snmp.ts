import { isVarbindError, ObjectType, type Varbind } from "net-snmp";
import { adminStatuses, type DeviceInterface, operStatuses } from "./device-interface.ts";
import { readDeviceText } from "./device-text.ts";
import {
  openSnmpSession,
  SnmpFailure,
  type SnmpFailureReason,
  type SnmpSession,
  type SnmpSettings,
  snmpFailure,
} from "./snmp-session.ts";

/** The system group (RFC 3418); null where the device does not say. */
export type DeviceSystem = {
  descr: string | null;
  objectId: string | null;
  /** Hundredths of a second since the agent started, modulo 2^32. */
  upTimeTicks: number | null;
  contact: string | null;
  name: string | null;
  location: string | null;
};

export type SnmpOutcome =
  | { outcome: "answered"; system: DeviceSystem; interfaces: DeviceInterface[]; truncated: boolean }
  | { outcome: "failed"; reason: SnmpFailureReason; message: string };

export type SnmpLimits = { timeoutMs: number; retries: number; deadlineMs: number; maxInterfaces: number };

const defaults: SnmpLimits = { timeoutMs: 2_000, retries: 2, deadlineMs: 60_000, maxInterfaces: 2_000 };

const systemGroup = [1, 2, 3, 4, 5, 6].map((object) => `1.3.6.1.2.1.1.${object}.0`);
const authorizationError = 16;

const columns = {
  ifDescr: "1.3.6.1.2.1.2.2.1.2",
  ifType: "1.3.6.1.2.1.2.2.1.3",
  ifSpeed: "1.3.6.1.2.1.2.2.1.5",
  ifAdminStatus: "1.3.6.1.2.1.2.2.1.7",
  ifOperStatus: "1.3.6.1.2.1.2.2.1.8",
  ifName: "1.3.6.1.2.1.31.1.1.1.1",
  ifHCInOctets: "1.3.6.1.2.1.31.1.1.1.6",
  ifHighSpeed: "1.3.6.1.2.1.31.1.1.1.15",
  ifAlias: "1.3.6.1.2.1.31.1.1.1.18",
};
type ColumnName = keyof typeof columns;

// One column a request keeps an answer of 20 rows within one unfragmented datagram; three requests at a time let a
// large device far away be read within the deadline without flooding a small one.
const columnsAtOnce = 3;

// The type alone proves nothing: net-snmp gives null for a string that is longer than its message.
const readText = (cell: Varbind | undefined) =>
  cell?.type === ObjectType.OctetString && Buffer.isBuffer(cell.value) ? readDeviceText(cell.value) : null;

function readNumber(cell: Varbind | undefined): number | null {
  const value = cell?.value;
  return typeof value === "number" && value >= 0 && value <= 0xffff_ffff ? value : null;
}

const readStatus = <T>(cell: Varbind | undefined, words: readonly T[]): T | null =>
  words[(readNumber(cell) ?? 0) - 1] ?? null;

function readObjectId(cell: Varbind | undefined): string | null {
  return cell?.type === ObjectType.OID && /^[0-9.]{1,255}$/.test(String(cell.value)) ? String(cell.value) : null;
}

/** Reads the system group; `denied` when the device said that this user has no access. */
async function readSystem(session: SnmpSession): Promise<{ system: DeviceSystem; denied: boolean }> {
  const whole = await session.get(systemGroup);
  const denied = whole.outcome === "refused" && whole.errorStatus === authorizationError;
  const cells = whole.outcome === "answered" ? whole.varbinds : [];
  if (whole.outcome === "refused" && !denied) {
    // On v1 one missing object refuses the whole request (RFC 1157 section 4.1.2); elsewhere it may be too big.
    for (const oid of systemGroup) {
      const single = await session.get([oid]);
      if (single.outcome === "answered") cells.push(...single.varbinds);
    }
  }
  const [descr, objectId, upTime, contact, name, location] = systemGroup.map((wanted) =>
    cells.find(({ oid }) => oid === wanted),
  );
  const system = {
    descr: readText(descr),
    objectId: readObjectId(objectId),
    upTimeTicks: readNumber(upTime),
    contact: readText(contact),
    name: readText(name),
    location: readText(location),
  };
  return { system, denied };
}

/** Whether the last arcs `next` come after `last`; both stand below one column. */
function follows(next: readonly number[], last: readonly number[]): boolean {
  for (const [at, arc] of next.entries()) {
    const before = last[at] ?? -1;
    if (arc !== before) return arc > before;
  }
  return false;
}

/** The cells of one column by ifIndex, `most` of them at most; a column the device refuses is empty. */
async function walkColumn(session: SnmpSession, column: string, most: number): Promise<Map<number, Varbind>> {
  const cells = new Map<number, Varbind>();
  let at = column;
  let last: number[] = [];
  for (let seen = 0; seen < most; ) {
    const answer = await session.next(at);
    if (answer.outcome === "refused" || answer.varbinds.length === 0) break;
    for (const cell of answer.varbinds) {
      if (isVarbindError(cell) || !cell.oid.startsWith(`${column}.`)) return cells;
      const arcs = cell.oid
        .slice(column.length + 1)
        .split(".")
        .map(Number);
      // An agent that gives the same row, or an earlier one, would be walked for ever.
      if (!follows(arcs, last)) return cells;
      at = cell.oid;
      last = arcs;
      const [ifIndex] = arcs;
      if (arcs.length === 1 && ifIndex! >= 1 && ifIndex! <= 0x7fff_ffff) cells.set(ifIndex!, cell);
      if (++seen >= most) break;
    }
  }
  return cells;
}

async function readInterfaces(session: SnmpSession, version: SnmpSettings["version"], maxInterfaces: number) {
  const found: Partial<Record<ColumnName, Map<number, Varbind>>> = {};
  // v1 has no Counter64: RFC 3584 section 4.2.2.1.
  const waiting = (Object.keys(columns) as ColumnName[]).filter((name) => version !== "v1" || name !== "ifHCInOctets");
  const walkNext = async () => {
    for (let name = waiting.shift(); name; name = waiting.shift()) {
      found[name] = await walkColumn(session, columns[name], maxInterfaces + 1);
    }
  };
  await Promise.all(Array.from({ length: columnsAtOnce }, walkNext));

  const indexes = new Set(Object.values(found).flatMap((cells) => [...cells.keys()]));
  const kept = [...indexes].sort((a, b) => a - b).slice(0, maxInterfaces);
  const interfaces = kept.map((ifIndex): DeviceInterface => {
    const cell = (name: ColumnName) => found[name]?.get(ifIndex);
    return {
      ifIndex,
      ifName: readText(cell("ifName")),
      ifDescr: readText(cell("ifDescr")),
      ifAlias: readText(cell("ifAlias")),
      ifType: readNumber(cell("ifType")),
      ifSpeedBps: readNumber(cell("ifSpeed")),
      ifHighSpeedMbps: readNumber(cell("ifHighSpeed")),
      adminStatus: readStatus(cell("ifAdminStatus"), adminStatuses),
      operStatus: readStatus(cell("ifOperStatus"), operStatuses),
      has64BitCounters: cell("ifHCInOctets")?.type === ObjectType.Counter64,
    };
  });
  return { interfaces, truncated: indexes.size > maxInterfaces };
}

/**
 * Why a v3 device that gave its engine id was then silent. Net-SNMP's snmpd, the commonest agent, drops what it cannot
 * decrypt and what names an unknown context without a report; so the question is asked again with one thing less. The
 * question is an empty GET: it carries no object, and in clear shows nothing that the encrypted message did not show.
 */
async function explainSilence(
  silence: SnmpFailure,
  settings: SnmpSettings,
  open: (settings: SnmpSettings) => Promise<SnmpSession>,
): Promise<SnmpFailure> {
  const answers = async (less: Partial<SnmpSettings>): Promise<boolean> => {
    const session = await open({ ...settings, ...less });
    try {
      await session.get([]);
      return true;
    } catch (error) {
      if (error instanceof SnmpFailure) return error.reason !== "snmp_timeout";
      throw error;
    } finally {
      session.close();
    }
  };
  if (settings.contextName && (await answers({ contextName: null }))) return snmpFailure("snmp_no_view");
  const encrypted = settings.securityLevel === "authPriv";
  if (encrypted && (await answers({ contextName: null, securityLevel: "authNoPriv" })))
    return snmpFailure("snmp_privacy_failed");
  return silence;
}

// "No access" is all that a device says to a user who asks below the level it demands (RFC 3415 section 3.2), so
// at the highest level it is the view, and below it more likely the level.
const isRaisable = ({ version, securityLevel }: SnmpSettings) => version === "v3" && securityLevel !== "authPriv";

async function readDevice(
  settings: SnmpSettings,
  open: (settings: SnmpSettings) => Promise<SnmpSession>,
  maxInterfaces: number,
): Promise<SnmpOutcome> {
  const session = await open(settings);
  try {
    const { system, denied } = await readSystem(session).catch(async (error) => {
      const silent = error instanceof SnmpFailure && error.reason === "snmp_timeout";
      throw silent && settings.version === "v3" && session.heard()
        ? await explainSilence(error, settings, open)
        : error;
    });
    const { interfaces, truncated } = await readInterfaces(session, settings.version, maxInterfaces);
    if (interfaces.length === 0 && Object.values(system).every((value) => value === null))
      throw snmpFailure(denied && isRaisable(settings) ? "snmp_level_refused" : "snmp_no_view");
    return { outcome: "answered", system, interfaces, truncated };
  } finally {
    session.close();
  }
}

/**
 * Reads the system group and the interface list of the device at `address` (numeric), monitoring.md section 4.5.
 * Sends GET, GETNEXT and GETBULK only. Resolves with the device's answer or the reason why there is none; rejects with
 * the reason of `signal` when that is aborted.
 */
export async function probeSnmp(
  address: string,
  settings: SnmpSettings,
  signal: AbortSignal,
  given: Partial<SnmpLimits> = {},
): Promise<SnmpOutcome> {
  const limits = { ...defaults, ...given };
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), limits.deadlineMs);
  const either = AbortSignal.any([signal, deadline.signal]);
  try {
    return await readDevice(settings, (how) => openSnmpSession(address, how, either, limits), limits.maxInterfaces);
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.signal.aborted)
      return { outcome: "failed", reason: "deadline", message: "The device answers too slowly: the test was ended." };
    if (error instanceof SnmpFailure) return { outcome: "failed", reason: error.reason, message: error.message };
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
