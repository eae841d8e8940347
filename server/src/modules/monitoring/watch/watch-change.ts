/**
 * What a body makes of a watch, decided in memory: the same rules for one watch and for a thousand, whether made or
 * changed. Nothing here reads or writes the database.
 */
import { type AuditField, changesOf } from "#kernel/audit";
import type { Context } from "#kernel/contract";
import { type Fault, invalid, type Problem, problem } from "#kernel/problem";
import { type DeviceInterface, resolveInterface } from "../probe/device-interface.ts";
import { readDeviceAddress } from "./device-address.ts";
import { knownTypes, type NewWatch, supportedTypes, type WatchChange } from "./schema.ts";
import { mergeSnmp, type SnmpGiven, type SnmpMerge, sealSecrets } from "./snmp-settings.ts";
import type { Site, StoredWatch, WatchFull } from "./watch-state.ts";

export const watchTypeNotSupported = problem(
  "watch_type_not_supported",
  400,
  "Watches of this type are not supported yet.",
);

export type WatchPatch = Omit<WatchChange, "locationId"> | Omit<NewWatch, "locationId" | "place">;
export type Merged = {
  row: WatchFull;
  faults: Fault[];
  /** SNMP settings that are given: how the secrets become. */
  snmp: SnmpMerge | null;
  /** The list of the device's interfaces is of another device now. */
  dropsInterfaces: boolean;
};

const simple = [
  ["name", "name"],
  ["description", "description"],
  ["watchType", "watch_type"],
  ["productType", "product_type"],
  ["reference", "reference"],
  ["customerReference", "customer_reference"],
  ["accessInKbps", "access_in_kbps"],
  ["accessOutKbps", "access_out_kbps"],
  ["tierInKbps", "tier_in_kbps"],
  ["tierOutKbps", "tier_out_kbps"],
  ["pollingMinutes", "polling_minutes"],
  ["siteLink", "site_link"],
  ["dormant", "dormant"],
  ["group", "group_name"],
] as const;

const nowhere: Site = {
  location_name: "",
  time_zone: "",
  path_ids: [],
  path_names: [],
  effective_reference: null,
  effective_reference_folder_id: null,
};

/** A watch before its body is merged into it. */
export function blankWatch(ctx: Pick<Context, "now" | "who">, id: string, numericId: number): WatchFull {
  const by = ctx.who.actor.id;
  return {
    ...nowhere,
    tenant_id: ctx.who.acting.id,
    id,
    numeric_id: numericId,
    name: "",
    location_id: "",
    description: null,
    watch_type: "",
    product_type: null,
    reference: null,
    customer_reference: null,
    access_in_kbps: 0,
    access_out_kbps: 0,
    tier_in_kbps: null,
    tier_out_kbps: null,
    device_address: null,
    snmp: null,
    snmp_sealed: null,
    interface_match: null,
    interface_value: null,
    interface_resolved: null,
    polling_minutes: 3,
    site_link: false,
    dormant: false,
    group_name: null,
    status: "pending",
    test_state: "untested",
    test_reason: null,
    tested_at: null,
    activated_at: null,
    activated_by: null,
    disabled_at: null,
    created_at: ctx.now,
    created_by: by,
    updated_at: ctx.now,
    updated_by: by,
    changed_at: ctx.now,
    deleted_at: null,
    deleted_by: null,
  };
}

/** Faults of a body that can be seen without the watch and that its schema cannot say. */
export function faultsOfWatch(body: WatchPatch): Fault[] {
  const faults: Fault[] = [];
  const { watchType, deviceAddress } = body;
  if (watchType !== undefined && !(supportedTypes as readonly string[]).includes(watchType))
    faults.push(typeFault(watchType));
  if (typeof deviceAddress === "string") {
    const read = readDeviceAddress(deviceAddress);
    if (!read.ok) faults.push({ pointer: "/deviceAddress", rule: "format", message: read.message });
  }
  return faults;
}

function typeFault(watchType: string): Fault {
  const isKnown = (knownTypes as readonly string[]).includes(watchType);
  const words = supportedTypes.join(", ");
  if (isKnown)
    return {
      pointer: "/watchType",
      rule: "not_supported",
      message: `${watchType} is not supported yet; supported are ${words}.`,
    };
  return { pointer: "/watchType", rule: "enum", message: `Must be one of ${words}.` };
}

/** The problem of these faults: a type that is merely not supported yet has a code of its own when it stands alone. */
export function invalidWatch(faults: Fault[]): Problem {
  return faults.length === 1 && faults[0]!.rule === "not_supported"
    ? invalid(faults, watchTypeNotSupported)
    : invalid(faults);
}

/** Merges a body into a watch (RFC 7396) and settles what follows from it: test state, resolved interface. */
export function mergeWatch(
  ctx: Pick<Context, "now">,
  before: WatchFull,
  patch: WatchPatch,
  interfaces: readonly DeviceInterface[] | undefined,
): Merged {
  const row: WatchFull = { ...before };
  const faults = faultsOfWatch(patch);
  for (const [field, column] of simple) {
    const value = patch[field];
    if (value !== undefined) (row as Record<string, unknown>)[column] = value;
  }
  if (patch.deviceAddress !== undefined) row.device_address = patch.deviceAddress && canonical(patch.deviceAddress);
  if (patch.interface !== undefined) faults.push(...mergeInterface(row, patch.interface));
  let snmp: SnmpMerge | null = null;
  if (patch.snmp === null) row.snmp = row.snmp_sealed = null;
  else if (patch.snmp) {
    const read = mergeSnmp(patch.snmp as SnmpGiven, before.snmp, "/snmp");
    faults.push(...read.faults);
    snmp = read.merge ?? null;
    if (snmp) row.snmp = snmp.open;
  }
  if ((row.tier_in_kbps === null) !== (row.tier_out_kbps === null)) {
    const pointer = row.tier_in_kbps === null ? "/tierInKbps" : "/tierOutKbps";
    faults.push({ pointer, rule: "pair", message: "The tier bandwidths are given both or not at all." });
  }
  const isRetargeted =
    row.device_address !== before.device_address ||
    (snmp ? snmp.changed : (row.snmp === null) !== (before.snmp === null));
  const isRewired = row.interface_match !== before.interface_match || row.interface_value !== before.interface_value;
  if (isRetargeted) forgetTest(row);
  else if (isRewired) settleInterface(ctx, row, interfaces);
  return { row, faults, snmp, dropsInterfaces: isRetargeted };
}

function canonical(text: string): string | null {
  const read = readDeviceAddress(text);
  return read.ok ? read.address : null;
}

function mergeInterface(row: WatchFull, patch: NonNullable<WatchPatch["interface"]> | null): Fault[] {
  if (patch === null) {
    row.interface_match = row.interface_value = null;
    return [];
  }
  row.interface_match = patch.match ?? row.interface_match;
  row.interface_value = patch.value ?? row.interface_value;
  const faults: Fault[] = [];
  if (row.interface_match === null)
    faults.push({ pointer: "/interface/match", rule: "required", message: "match is missing." });
  if (row.interface_value === null)
    faults.push({ pointer: "/interface/value", rule: "required", message: "value is missing." });
  else if (
    row.interface_match === "ifIndex" &&
    !(/^[1-9]\d{0,9}$/.test(row.interface_value) && Number(row.interface_value) <= 2_147_483_647)
  ) {
    faults.push({
      pointer: "/interface/value",
      rule: "pattern",
      message: "An ifIndex is a whole number from 1 to 2147483647.",
    });
  }
  return faults;
}

function forgetTest(row: WatchFull): void {
  row.test_state = "untested";
  row.test_reason = row.tested_at = row.interface_resolved = null;
}

/** A pending watch's interface is looked up in the list that its device gave; a live one is tested again. */
function settleInterface(
  { now }: Pick<Context, "now">,
  row: WatchFull,
  interfaces: readonly DeviceInterface[] | undefined,
): void {
  if (row.status !== "pending" || !interfaces) {
    forgetTest(row);
    return;
  }
  const wanted = row.interface_match && { match: row.interface_match, value: row.interface_value! };
  const found = resolveInterface(interfaces, wanted);
  row.test_state = found.outcome === "found" ? "successful" : "interfaceIssue";
  row.test_reason = found.outcome === "found" ? null : found.outcome;
  row.interface_resolved = found.outcome === "found" ? resolvedOf(found.interface, now) : null;
}

/** What a watch keeps of the row that its interface was found to be. */
export function resolvedOf({ has64BitCounters: _, ...row }: DeviceInterface, at: Date): Record<string, unknown> {
  return { ...row, resolvedAt: at.toISOString() };
}

/** Seals the secrets of a merge into its row. */
export async function sealInto(
  ctx: Pick<Context, "secrets">,
  row: StoredWatch,
  before: Pick<StoredWatch, "snmp" | "snmp_sealed">,
  snmp: SnmpMerge | null,
): Promise<void> {
  if (snmp) row.snmp_sealed = await sealSecrets(ctx, row, before, snmp);
}

const audited = [
  "name",
  "locationId",
  "description",
  "watchType",
  "productType",
  "reference",
  "customerReference",
  "accessInKbps",
  "accessOutKbps",
  "tierInKbps",
  "tierOutKbps",
  "deviceAddress",
  "snmp",
  "interface",
  "pollingMinutes",
  "siteLink",
  "dormant",
  "group",
  "status",
  "testState",
];

function auditState(row: StoredWatch): Record<string, unknown> {
  return {
    ...Object.fromEntries(simple.map(([field, column]) => [field, row[column]])),
    locationId: row.location_id,
    deviceAddress: row.device_address,
    snmp: row.snmp && Object.fromEntries(Object.entries(row.snmp).sort(([a], [b]) => (a < b ? -1 : 1))),
    interface: row.interface_match && { match: row.interface_match, value: row.interface_value },
    status: row.status,
    testState: row.test_state,
  };
}

/** The fields of an audit entry. A given secret always is a change, shown as `***` on both sides. */
export function auditFields(
  before: StoredWatch | null,
  after: StoredWatch | null,
  snmp: SnmpMerge | null,
): AuditField[] {
  const fields = changesOf(before && auditState(before), after && auditState(after), audited);
  for (const name of Object.keys(snmp?.given ?? {})) fields.push({ field: `snmp.${name}`, old: "***", new: "***" });
  const isRetargeted =
    before !== null &&
    after !== null &&
    before.device_address !== after.device_address &&
    after.device_address !== null;
  const keeps =
    isRetargeted && after.snmp_sealed !== null && before.snmp_sealed !== null && (!snmp || snmp.keeps.length > 0);
  if (keeps) fields.push({ field: "credentialsKept", old: null, new: true });
  return fields;
}
