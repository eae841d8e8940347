/** In which stated fields a watch differs from an item, and what would make it the same. Secrets are never compared. */
import canonicalize from "canonicalize";
import type { Context } from "#kernel/contract";
import type { Fault } from "#kernel/problem";
import { faultsOf } from "#kernel/validate";
import { viewOf } from "../scope.ts";
import { NewWatch, type WatchChange } from "../watch/schema.ts";
import { mergeSnmp, type SnmpGiven, secretNames } from "../watch/snmp-settings.ts";
import { blankWatch, mergeWatch, type WatchPatch } from "../watch/watch-change.ts";
import { type WatchFull, watchOf } from "../watch/watch-state.ts";
import type { EstateWatch, ReconcileItem } from "./schema.ts";

/** The stated fields as a change of a watch has them; where it lies is left to the site. */
export function statedFields({
  id: _,
  numericId: __,
  locationId: ___,
  place: ____,
  ...fields
}: EstateWatch): WatchPatch {
  return fields;
}

type Comparison = { fields: ReconcileItem["fields"]; faults: Fault[]; after: WatchFull };

/**
 * Compares by merging: what the merge leaves as it is, is the same, however the item spells it. `locationId` is where the
 * item says that the watch lies; undefined: it does not say; null: at a place that is not there.
 */
export function compareWatch(
  ctx: Pick<Context, "now" | "who">,
  before: WatchFull,
  stated: EstateWatch,
  locationId: string | null | undefined,
): Comparison {
  const patch = statedFields(stated);
  const open = patch.snmp ? { ...patch, snmp: withStandIns(patch.snmp, before.snmp) } : patch;
  const { row: after, faults } = mergeWatch(ctx, before, open as WatchPatch, undefined);
  if (faults.length > 0) return { fields: [], faults, after };
  const view = viewOf(ctx.who);
  const [here, theirs] = [watchOf(before, view), { ...watchOf(after, view), locationId }];
  const names = Object.keys(patch) as (keyof typeof here & keyof WatchPatch)[];
  const fields: ReconcileItem["fields"] = [];
  for (const field of locationId === undefined ? names : [...names, "locationId" as const]) {
    const values = { here: shown(here[field]), theirs: shown(theirs[field]) };
    if (comparable(field, values.here) !== comparable(field, values.theirs)) fields.push({ field, ...values });
  }
  return { fields, faults, after };
}

/** Secrets that the merge cannot do without and that the item does not give: whether they are right is not the question here. */
function withStandIns(given: object, stored: WatchFull["snmp"]): SnmpGiven {
  const { faults } = mergeSnmp(given, stored, "");
  const lacking = secretNames.filter((name) =>
    faults.some(({ pointer, rule }) => rule === "required" && pointer === `/${name}`),
  );
  return { ...given, ...Object.fromEntries(lacking.map((name) => [name, "standing in"])) };
}

function shown(value: unknown): unknown {
  if (value === null || typeof value !== "object" || !("credentialSet" in value)) return value ?? null;
  const { credentialSet: _, ...open } = value;
  return open;
}

/** Names of a location are one in any ASCII case. */
function comparable(field: string, value: unknown): string {
  return field === "name" ? asciiLower(value as string) : canonicalize(value)!;
}

export function asciiLower(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** Whether an item states all that a new watch needs. */
export function isWhole(ctx: Pick<Context, "now" | "who">, watch: EstateWatch): boolean {
  const fields = statedFields(watch);
  const { locationId, place } = watch;
  return (
    faultsOf(NewWatch, { ...fields, locationId, place }).length === 0 &&
    (locationId ?? place) !== undefined &&
    mergeWatch(ctx, blankWatch(ctx, "", 0), fields, undefined).faults.length === 0
  );
}

/** Whether an item gives secrets. */
export function givesSecrets({ snmp }: EstateWatch): boolean {
  return secretNames.some((name) => typeof snmp?.[name] === "string");
}

/** The change that makes a watch what an item states, by the fields in which they differ; where it lies is left out. */
export function changeFor(stated: EstateWatch, fields: ReconcileItem["fields"], withSecrets: boolean): WatchChange {
  const names = new Set(fields.map(({ field }) => field));
  // What a watch inherits changes with its folder, so a reference that was right there is written all the same.
  if (names.has("locationId")) names.add("customerReference");
  if (withSecrets && givesSecrets(stated)) names.add("snmp");
  const change = Object.fromEntries(
    Object.entries(statedFields(stated)).filter(([field]) => names.has(field)),
  ) as WatchChange;
  if (!change.snmp || withSecrets) return change;
  const secret: readonly string[] = secretNames;
  return {
    ...change,
    snmp: Object.fromEntries(Object.entries(change.snmp).filter(([name]) => !secret.includes(name))),
  };
}
