/** A watch as it is shown: from its row, its place in the tree and who looks. */
import type { Selectable } from "kysely";
import { pathSeen, seesFolder, type View } from "../scope.ts";
import type { SnmpOpen, WatchRow } from "../tables.ts";
import type { BlockerCode, Watch, WatchWarning } from "./schema.ts";

/** Where a watch hangs, as far as its body needs it. */
export type Site = {
  location_name: string;
  time_zone: string;
  path_ids: string[];
  path_names: string[];
  effective_reference: string | null;
  effective_reference_folder_id: string | null;
};
export type StoredWatch = Selectable<WatchRow>;
/** A row as read: never with its secrets. */
export type WatchSeen = Omit<StoredWatch, "snmp_sealed"> & Site;
/** A row as it is changed. */
export type WatchFull = StoredWatch & Site;

/** What GET answers to a reader (`viewOf(ctx.who)`). The id of a folder above the reader's scope is not given, its reference is. */
export function watchOf(row: WatchSeen, view: View): Watch {
  const own = row.customer_reference;
  const from = row.effective_reference_folder_id;
  const isFromFolder = own === null && from !== null;
  return {
    id: row.id,
    numericId: row.numeric_id,
    tenantId: row.tenant_id,
    name: row.name,
    locationId: row.location_id,
    location: row.location_name,
    path: pathSeen(view, row),
    timeZone: row.time_zone,
    description: row.description,
    watchType: row.watch_type as Watch["watchType"],
    productType: row.product_type,
    reference: row.reference,
    customerReference: own ?? row.effective_reference,
    customerReferenceFrom: {
      kind: own !== null ? "own" : isFromFolder ? "folder" : "none",
      folderId: isFromFolder && seesFolder(view, row.path_ids, from) ? from : null,
    },
    accessInKbps: row.access_in_kbps,
    accessOutKbps: row.access_out_kbps,
    tierInKbps: row.tier_in_kbps,
    tierOutKbps: row.tier_out_kbps,
    deviceAddress: row.device_address,
    snmp: row.snmp && snmpOf(row.snmp),
    interface: row.interface_match && { match: row.interface_match, value: row.interface_value! },
    interfaceResolved: row.interface_resolved as Watch["interfaceResolved"],
    pollingMinutes: row.polling_minutes,
    siteLink: row.site_link,
    dormant: row.dormant,
    group: row.group_name,
    status: row.status,
    testState: row.test_state,
    testReason: row.test_reason,
    testedAt: timeOf(row.tested_at),
    blockers: blockersOf(row),
    warnings: warningsOf(row),
    activatedAt: timeOf(row.activated_at),
    activatedBy: row.activated_by,
    disabledAt: timeOf(row.disabled_at),
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
    updatedAt: row.updated_at.toISOString(),
    updatedBy: row.updated_by,
    changedAt: row.changed_at.toISOString(),
  };
}

/** A name as it is compared. Names hold ASCII only, and Unicode's folding would make a Kelvin sign find a k. */
export function asciiLower(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function timeOf(at: Date | null): string | null {
  return at?.toISOString() ?? null;
}

function snmpOf({ version, port, ...rest }: SnmpOpen): Watch["snmp"] {
  return { version, port, ...(rest as object), credentialSet: true };
}

type Technical = Pick<StoredWatch, "device_address" | "snmp" | "interface_match" | "test_state" | "test_reason">;

/** What stands between a watch and activating or enabling it (monitoring, 4.6); none: it is ready. */
export function blockersOf(row: Technical): BlockerCode[] {
  const blockers: BlockerCode[] = [];
  if (row.device_address === null) blockers.push("device_address_missing");
  if (row.snmp === null) blockers.push("snmp_missing");
  if (row.test_state === "untested") blockers.push("not_tested");
  if (row.test_state === "inProgress") blockers.push("test_in_progress");
  if (row.test_state === "failed") blockers.push("test_failed");
  if (row.interface_match === null) blockers.push("interface_missing");
  else if (row.test_state === "interfaceIssue") blockers.push(row.test_reason as BlockerCode);
  return blockers;
}

type Measured = Pick<
  StoredWatch,
  "access_in_kbps" | "access_out_kbps" | "tier_in_kbps" | "tier_out_kbps" | "snmp" | "interface_match"
>;

/** From here on a 32-bit octet counter can wrap between two polls of a device that answers late. */
const counter32LimitKbps = 20_000;

/** What is accepted but should be looked at (monitoring, 2.4). */
export function warningsOf(row: Measured): WatchWarning[] {
  const warnings: WatchWarning[] = [];
  if (row.tier_in_kbps !== null && row.tier_in_kbps > row.access_in_kbps) warnings.push(tierWarning("/tierInKbps"));
  if (row.tier_out_kbps !== null && row.tier_out_kbps > row.access_out_kbps) warnings.push(tierWarning("/tierOutKbps"));
  if (row.snmp?.version === "v1" && Math.max(row.access_in_kbps, row.access_out_kbps) > counter32LimitKbps) {
    warnings.push({
      code: "counter32_on_fast_line",
      pointer: "/snmp/version",
      message: "SNMP v1 has no 64-bit counters, which a line over 20,000 Kbps needs.",
    });
  }
  if (row.interface_match === "ifIndex") {
    warnings.push({
      code: "interface_by_index",
      pointer: "/interface/match",
      message: "An index may change when the device restarts.",
    });
  }
  if (row.snmp?.authProtocol === "MD5") warnings.push(cryptoWarning("authProtocol", "MD5"));
  if (row.snmp?.privProtocol === "DES") warnings.push(cryptoWarning("privProtocol", "DES"));
  return warnings;
}

function tierWarning(pointer: string): WatchWarning {
  return { code: "tier_above_access", pointer, message: "The tier is above the access bandwidth." };
}

function cryptoWarning(field: string, word: string): WatchWarning {
  return { code: "snmp_weak_crypto", pointer: `/snmp/${field}`, message: `${word} is weak.` };
}
