export const adminStatuses = ["up", "down", "testing"] as const;
export const operStatuses = ["up", "down", "testing", "unknown", "dormant", "notPresent", "lowerLayerDown"] as const;

/** A row of ifTable and ifXTable (RFC 2863); null where the device does not say. */
export type DeviceInterface = {
  ifIndex: number;
  ifName: string | null;
  ifDescr: string | null;
  ifAlias: string | null;
  ifType: number | null;
  /** 4294967295 for anything faster: then `ifHighSpeedMbps` counts. */
  ifSpeedBps: number | null;
  ifHighSpeedMbps: number | null;
  adminStatus: (typeof adminStatuses)[number] | null;
  operStatus: (typeof operStatuses)[number] | null;
  has64BitCounters: boolean;
};

export type WantedInterface = { match: "ifName" | "ifDescr" | "ifAlias" | "ifIndex"; value: string };

export type ResolvedInterface =
  | { outcome: "found"; interface: DeviceInterface }
  | { outcome: "interface_missing" | "interface_gone" | "interface_ambiguous" };

/**
 * Finds the chosen interface in a device's list, exact comparison: `interface_missing` when none is chosen,
 * `interface_gone` when none fits, `interface_ambiguous` when several do.
 */
export function resolveInterface(
  interfaces: readonly DeviceInterface[],
  wanted: WantedInterface | null,
): ResolvedInterface {
  if (!wanted) return { outcome: "interface_missing" };
  const { match } = wanted;
  const value = match === "ifIndex" ? Number(wanted.value) : wanted.value;
  const [first, second] = interfaces.filter((row) => row[match] === value);
  if (second) return { outcome: "interface_ambiguous" };
  return first ? { outcome: "found", interface: first } : { outcome: "interface_gone" };
}
