/** The rules of a webhook beyond its schema; all that are broken are told at once. */

import { validateHeaderName, validateHeaderValue } from "node:http";
import type { Context } from "#kernel/contract";
import { readSecret } from "#kernel/delivery/signature";
import { knownTypes, typesOf } from "#kernel/event-filter";
import { type Fault, invalid, Problem, problem } from "#kernel/problem";
import { statusAt } from "#kernel/versions";

export const urlNotAllowed = problem("url_not_allowed", 400, "This URL may not be called.");

const reserved =
  /^(host|connection|user-agent|keep-alive|te|trailer|upgrade|expect|(content|transfer|proxy|webhook|demarc|x-exchange)-.*)$/i;

type Given = {
  url?: string;
  types?: string[];
  apiVersion?: string;
  headers?: Record<string, string | null>;
  secret?: string;
};

/** What was given, understood: the version behind its label, and the headers as they are from now on. */
export function requireValid(ctx: Context, given: Given, stored: Record<string, string>) {
  const faults: Fault[] = [];
  const { versions } = ctx.eventLog;
  const isHidden = given.apiVersion === "beta" && !ctx.who.tenant.features.has("beta");
  const version = given.apiVersion === undefined || isHidden ? undefined : versions.resolve(given.apiVersion)?.version;
  if (given.apiVersion !== undefined && (!version || statusAt(version, ctx.now) === "retired"))
    faults.push({ pointer: "/apiVersion", rule: "not_found", message: "This version is not served." });
  const label = version?.label ?? ctx.call.version;
  try {
    typesOf(given.types, knownTypes(versions, label), (index) => ({ pointer: `/types/${index}` }));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    faults.push(...(error.refusal.errors ?? []));
  }
  if (given.secret !== undefined && !readSecret(given.secret))
    faults.push({ pointer: "/secret", rule: "format", message: "Must be whsec_ and base64 of 24 to 64 octets." });
  const headers = headersOf(given.headers, stored, faults);
  const check = given.url === undefined ? null : ctx.guard.checkUrl(given.url);
  if (check && !check.ok) {
    const fault = { pointer: "/url", rule: "format", message: check.detail };
    throw invalid([fault, ...faults], faults.length === 0 ? urlNotAllowed : undefined);
  }
  if (faults.length > 0) throw invalid(faults);
  return { apiVersion: version?.label, headers };
}

/** As RFC 7396 merges them; `***` keeps a value. */
function headersOf(given: Given["headers"], stored: Record<string, string>, faults: Fault[]): Record<string, string> {
  const merged = new Map(Object.entries(stored));
  for (const [name, value] of Object.entries(given ?? {})) {
    const pointer = `/headers/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const known = [...merged.keys()].find((one) => one.toLowerCase() === name.toLowerCase());
    if (value === "***") {
      if (known === undefined)
        faults.push({ pointer, rule: "masked_value", message: "*** keeps a value, and there is none of this name." });
      continue;
    }
    if (known !== undefined) merged.delete(known);
    if (value === null) continue;
    const wrong = headerFault(name, value);
    if (wrong) faults.push({ pointer, rule: "format", message: wrong });
    merged.set(name, value);
  }
  if (merged.size > 10)
    faults.push({ pointer: "/headers", rule: "maxProperties", message: "There may be 10 headers." });
  return Object.fromEntries(merged);
}

function headerFault(name: string, value: string): string | undefined {
  if (reserved.test(name)) return "This header is set by the server.";
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch {
    return "HTTP does not allow this name or value.";
  }
  return undefined;
}
