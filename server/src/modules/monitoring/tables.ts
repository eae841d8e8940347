import type { Generated } from "kysely";
import { tables } from "#kernel/db";
import type { DeviceInterface } from "./probe/device-interface.ts";

type Stamps = {
  created_at: Date;
  created_by: string;
  updated_at: Date;
  updated_by: string;
  /** When anything in the body last changed, also through inheritance or a renaming above. */
  changed_at: Date;
  deleted_at: Date | null;
  deleted_by: string | null;
};

export type FolderRow = Stamps & {
  tenant_id: string;
  id: string;
  numeric_id: number;
  name: string;
  parent_id: string | null;
  category: "internalGroup" | "customer";
  time_zone: string;
  customer_reference: string | null;
  reference: string | null;
  description: string | null;
  contact_user_id: string | null;
  is_tenant_root: boolean;
  path_ids: string[];
  path_names: string[];
  effective_reference: string | null;
  effective_reference_folder_id: string | null;
};

export type LocationRow = Stamps & {
  tenant_id: string;
  id: string;
  numeric_id: number;
  name: string;
  folder_id: string;
  time_zone: string;
  reference: string | null;
  description: string | null;
  postal_address: string | null;
};

export type WatchStatus = "pending" | "active" | "disabled";
export type TestState = "untested" | "inProgress" | "successful" | "failed" | "interfaceIssue";
/** The SNMP settings without their secrets; those are sealed together in `snmp_sealed`. */
export type SnmpOpen = {
  version: "v1" | "v2c" | "v3";
  port: number;
  userName?: string;
  securityLevel?: "noAuthNoPriv" | "authNoPriv" | "authPriv";
  authProtocol?: string;
  privProtocol?: string;
  contextName?: string | null;
};

export type WatchRow = Stamps & {
  tenant_id: string;
  id: string;
  numeric_id: number;
  name: string;
  location_id: string;
  description: string | null;
  watch_type: string;
  product_type: string | null;
  reference: string | null;
  customer_reference: string | null;
  access_in_kbps: number;
  access_out_kbps: number;
  tier_in_kbps: number | null;
  tier_out_kbps: number | null;
  device_address: string | null;
  snmp: SnmpOpen | null;
  snmp_sealed: string | null;
  interface_match: "ifName" | "ifDescr" | "ifAlias" | "ifIndex" | null;
  interface_value: string | null;
  interface_resolved: Record<string, unknown> | null;
  polling_minutes: number;
  site_link: boolean;
  dormant: boolean;
  group_name: string | null;
  status: Generated<WatchStatus>;
  test_state: Generated<TestState>;
  test_reason: string | null;
  tested_at: Date | null;
  activated_at: Date | null;
  activated_by: string | null;
  disabled_at: Date | null;
};

export type WatchTestRow = {
  tenant_id: string;
  watch_id: string;
  operation_id: string | null;
  started_on: Buffer | null;
  former_state: string | null;
  result: unknown;
  interfaces: DeviceInterface[] | null;
  truncated: Generated<boolean>;
};

export type WatchBatchItemRow = {
  tenant_id: string;
  operation_id: string;
  watch_id: string;
  test_operation_id: string | null;
  started: Generated<boolean>;
  outcome: string | null;
  code: string | null;
};

export type ReconcileRow = {
  tenant_id: string;
  id: string;
  created_by: string;
  created_at: Date;
  summary: unknown;
  expires_at: Date;
};
export type ReconcileItemRow = {
  tenant_id: string;
  reconcile_id: string;
  position: number;
  outcome: string;
  applied: string | null;
  item: unknown;
};

/** Queries over this module's tables. */
export const monitoring = tables<{
  "monitoring.numeric_id": { numeric_id: number; tenant_id: string; id: string };
  "monitoring.folder": FolderRow;
  "monitoring.location": LocationRow;
  "monitoring.watch": WatchRow;
  "monitoring.watch_test": WatchTestRow;
  "monitoring.watch_batch_item": WatchBatchItemRow;
  "monitoring.reconcile": ReconcileRow;
  "monitoring.reconcile_item": ReconcileItemRow;
}>();
