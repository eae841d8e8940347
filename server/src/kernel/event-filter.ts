/** Which events a reader asks for: patterns of types, over the types that a version knows. */
import { declaredEvents, type EventKind } from "./events.ts";
import { type Fault, invalid } from "./problem.ts";
import { nearest } from "./validate.ts";
import type { Versions } from "./versions.ts";

export type EventFilter = {
  /** As `typesOf` gives them; those that the reader may not see are passed over. */
  kinds: readonly EventKind[];
  subject?: string;
  /** Beside the acting tenant's events those of all tenants below it. */
  includeBelow?: boolean;
  /** Events logged before this instant. */
  until?: Date;
  /** Operations that this actor started. */
  ownerId?: string;
};

/** The types that readers of a version are told of. */
export function knownTypes(versions: Versions, version: string): EventKind[] {
  return declaredEvents().filter((kind) => versions.covers(`${kind.since}+`, version));
}

/**
 * The types that patterns name: a whole type, a prefix that ends in `.*`, or `*`; no patterns: all. A pattern that names
 * no known type is refused with the nearest that does; `placeOf` says where the caller wrote it.
 */
export function typesOf(
  patterns: readonly string[] | undefined,
  known: readonly EventKind[],
  placeOf: (index: number) => { parameter: string } | { pointer: string } = () => ({ parameter: "types" }),
): readonly EventKind[] {
  if (!patterns) return known;
  const wanted = new Set<EventKind>();
  const faults: Fault[] = [];
  for (const [index, pattern] of patterns.entries()) {
    const found = known.filter(({ type }) => matches(pattern, type));
    for (const kind of found) wanted.add(kind);
    if (found.length > 0) continue;
    const fault: Fault = { ...placeOf(index), rule: "not_found", message: `${pattern} matches no type of event.` };
    const hint = nearest(pattern, patternsOf(known));
    faults.push(hint ? { ...fault, hint } : fault);
  }
  if (faults.length > 0) throw invalid(faults);
  return [...wanted];
}

function matches(pattern: string, type: string): boolean {
  return pattern === "*" || pattern === type || (pattern.endsWith(".*") && type.startsWith(pattern.slice(0, -1)));
}

/** Every pattern that names something. */
function patternsOf(known: readonly EventKind[]): string[] {
  const all = known.flatMap(({ type, service, noun }) => [type, `demarc.${service}.*`, `demarc.${service}.${noun}.*`]);
  return [...new Set([...all, "demarc.*", "*"])];
}
