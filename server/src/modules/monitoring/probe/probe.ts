import { isIP } from "node:net";
import { type IcmpLimits, type IcmpOutcome, probeIcmp } from "./icmp.ts";
import { probeSnmp, type SnmpLimits, type SnmpOutcome } from "./snmp.ts";
import type { SnmpSettings } from "./snmp-session.ts";
import { probeTcp, type TcpLimits, type TcpOutcome } from "./tcp.ts";

export type ProbeRequest = {
  /** Numeric, and pinned by the outbound guard: nothing is looked up or checked here. */
  address: string;
  snmp: SnmpSettings | null;
  icmp: boolean;
  tcpPort: number | null;
  signal: AbortSignal;
};

/** Null for a probe that was not asked for. */
export type ProbeResult = { snmp: SnmpOutcome | null; icmp: IcmpOutcome | null; tcp: TcpOutcome | null };

export type ProbeLimits = { snmp?: Partial<SnmpLimits>; icmp?: Partial<IcmpLimits>; tcp?: Partial<TcpLimits> };

/**
 * Contacts a device by the probes asked for, side by side, and reports what it found; monitoring.md section 4.5. Takes
 * 60 seconds at most. What the device does is always a result; rejects with the reason of `signal` when that is
 * aborted, and then, as when it resolves, leaves no socket, timer or child process behind. No message, and no error
 * thrown, holds a secret of the settings. `limits` are for tests.
 */
export async function probeDevice(request: ProbeRequest, limits: ProbeLimits = {}): Promise<ProbeResult> {
  const { address, snmp, icmp, tcpPort } = request;
  if (!isIP(address)) throw new TypeError("A probe needs a numeric address.");
  // A fault in one probe ends the others.
  const fault = new AbortController();
  const signal = AbortSignal.any([request.signal, fault.signal]);
  signal.throwIfAborted();
  try {
    const [snmpOutcome, icmpOutcome, tcpOutcome] = await Promise.all([
      snmp && probeSnmp(address, snmp, signal, limits.snmp),
      icmp ? probeIcmp(address, signal, limits.icmp) : null,
      tcpPort === null ? null : probeTcp(address, tcpPort, signal, limits.tcp),
    ]);
    return { snmp: snmpOutcome, icmp: icmpOutcome, tcp: tcpOutcome };
  } finally {
    fault.abort();
  }
}
