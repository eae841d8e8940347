/** SNMP settings of a watch (monitoring, 2.7): which fields belong together, how a change is merged, how secrets rest. */
import type { Context } from "#kernel/contract";
import type { Fault } from "#kernel/problem";
import type { SnmpOpen } from "../tables.ts";
import type { StoredWatch } from "./watch-state.ts";

export const secretNames = ["community", "authPassphrase", "privPassphrase"] as const;
export type SecretName = (typeof secretNames)[number];
export type SnmpSecrets = Partial<Record<SecretName, string>>;
/** As in a body; null clears. */
export type SnmpGiven = { [K in keyof SnmpOpen]?: SnmpOpen[K] | null | undefined } & {
  [K in SecretName]?: string | null | undefined;
};

const openNames = [
  "version",
  "port",
  "userName",
  "securityLevel",
  "authProtocol",
  "privProtocol",
  "contextName",
] as const;
type FieldName = (typeof openNames)[number] | SecretName;

/** Fields that a version and security level use, beside `version` and `port`, those first that it cannot do without. */
function fieldsOf(
  version: SnmpOpen["version"],
  level: SnmpOpen["securityLevel"] | null,
): { needs: FieldName[]; may: FieldName[] } {
  if (version !== "v3") return { needs: ["community"], may: [] };
  const needs: FieldName[] = ["userName", "securityLevel"];
  if (level === "authNoPriv" || level === "authPriv") needs.push("authProtocol", "authPassphrase");
  if (level === "authPriv") needs.push("privProtocol", "privPassphrase");
  return { needs, may: ["contextName"] };
}

export type SnmpMerge = {
  open: SnmpOpen;
  /** Secrets of the request, and those of the store that stay. */
  given: SnmpSecrets;
  keeps: SecretName[];
  changed: boolean;
};

/**
 * Merges `patch` into the stored settings (null: none yet), which are complete by themselves. Stored fields that a new
 * version or level does not use are dropped; given ones are faults, and so is what is missing.
 */
export function mergeSnmp(
  patch: SnmpGiven,
  stored: SnmpOpen | null,
  pointer: string,
): { faults: Fault[]; merge?: SnmpMerge } {
  const version = patch.version === undefined ? stored?.version : patch.version;
  if (!version) return { faults: [missing(pointer, "version")] };
  const kept = stored && sameFamily(version, stored.version) ? stored : null;
  const level = patch.securityLevel === undefined ? kept?.securityLevel : patch.securityLevel;
  const { needs, may } = fieldsOf(version, level);
  const used = new Set<string>(["version", "port", ...needs, ...may]);
  const had = new Set<string>(kept ? [...fieldsOf(kept.version, kept.securityLevel).needs, "contextName"] : []);
  const faults: Fault[] = [];
  for (const [name, value] of Object.entries(patch)) {
    // Without a level nobody can say which of the others belong.
    if (value === undefined || value === null || used.has(name) || (version === "v3" && !level && name !== "community"))
      continue;
    const whom = version === "v3" && level ? `v3 with ${level}` : version;
    faults.push({
      pointer: `${pointer}/${name}`,
      rule: "not_for_version",
      message: `${name} has no place in SNMP ${whom}.`,
    });
  }
  for (const name of needs) {
    const value = patch[name];
    if (value === null || (value === undefined && !had.has(name))) faults.push(missing(pointer, name));
  }
  if (faults.length > 0) return { faults };
  const open = { version, port: portOf(patch.port, stored) } as Record<string, unknown>;
  for (const name of [...needs, ...may]) {
    if (isSecret(name)) continue;
    open[name] = (patch[name] === undefined ? kept?.[name] : patch[name]) ?? null;
  }
  const given: SnmpSecrets = {};
  const keeps: SecretName[] = [];
  for (const name of needs.filter(isSecret)) {
    const value = patch[name];
    if (value) given[name] = value;
    else keeps.push(name);
  }
  const settled = open as SnmpOpen;
  const changed =
    !stored ||
    Object.keys(given).length > 0 ||
    openNames.some((name) => (settled[name] ?? null) !== (stored[name] ?? null));
  return { faults, merge: { open: settled, given, keeps, changed } };
}

/** v1 and v2c use the same fields; nothing of one family serves the other but the port. */
function sameFamily(one: SnmpOpen["version"], other: SnmpOpen["version"]): boolean {
  return (one === "v3") === (other === "v3");
}

function portOf(given: number | null | undefined, stored: SnmpOpen | null): number {
  return given === undefined ? (stored?.port ?? 161) : (given ?? 161);
}

function isSecret(name: FieldName): name is SecretName {
  return (secretNames as readonly string[]).includes(name);
}

function missing(pointer: string, name: string): Fault {
  return { pointer: `${pointer}/${name}`, rule: "required", message: `${name} is missing.` };
}

const placeOf = (watchId: string) => ({ table: "monitoring.watch", column: "snmp_sealed", rowId: watchId });

/**
 * What to store for the secrets of a merge: sealed together, for this row alone. Stored ones are opened only where some
 * stay and others change or go; they are never compared with given ones.
 */
export async function sealSecrets(
  ctx: Pick<Context, "secrets">,
  row: Pick<StoredWatch, "id" | "tenant_id">,
  stored: Pick<StoredWatch, "snmp" | "snmp_sealed">,
  merge: SnmpMerge,
): Promise<string | null> {
  const { given, keeps } = merge;
  const isUntouched = Object.keys(given).length === 0 && stored.snmp !== null && sameSecrets(stored.snmp, merge.open);
  if (isUntouched) return stored.snmp_sealed;
  const before =
    keeps.length > 0 && stored.snmp_sealed ? await openSealed(ctx, row.tenant_id, row.id, stored.snmp_sealed) : {};
  const secrets: SnmpSecrets = { ...given };
  for (const name of keeps) secrets[name] = before[name];
  if (Object.keys(secrets).length === 0) return null;
  return ctx.secrets.seal(row.tenant_id, placeOf(row.id), JSON.stringify(secrets));
}

function sameSecrets(one: SnmpOpen, other: SnmpOpen): boolean {
  const names = (open: SnmpOpen) => fieldsOf(open.version, open.securityLevel).needs.filter(isSecret).join();
  return names(one) === names(other);
}

async function openSealed(
  ctx: Pick<Context, "secrets">,
  tenantId: string,
  watchId: string,
  sealed: string,
): Promise<SnmpSecrets> {
  return JSON.parse((await ctx.secrets.open(tenantId, placeOf(watchId), sealed)).toString()) as SnmpSecrets;
}

/** The whole settings, secrets opened, for a test or a poll; null where the watch has none. Never put them anywhere. */
export async function openSnmp(
  ctx: Pick<Context, "secrets">,
  row: Pick<StoredWatch, "id" | "tenant_id" | "snmp" | "snmp_sealed">,
): Promise<(SnmpOpen & SnmpSecrets) | null> {
  if (!row.snmp) return null;
  return { ...row.snmp, ...(row.snmp_sealed ? await openSealed(ctx, row.tenant_id, row.id, row.snmp_sealed) : {}) };
}
