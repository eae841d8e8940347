/** References in a body or a filter (conventions, section 3): one wording whether a thing is away or out of sight. */
import { idKind } from "./ids.ts";
import { type Fault, referenceNotFound } from "./problem.ts";

/** The fault of a value that is no id of this kind; undefined when it has the form of one. */
export function idFault(
  prefix: string,
  value: string,
  place: { pointer: string } | { parameter: string },
): Fault | undefined {
  if (idKind(value) === prefix) return undefined;
  return { ...place, rule: "id_kind", message: `An id that begins with ${prefix}_ is expected.` };
}

/** The faults of ids in a filter: of another kind, or not among those that the caller may see. */
export async function filterFaults(
  parameter: string,
  prefix: string,
  ids: readonly string[] | undefined,
  visible: (ids: string[]) => Promise<{ id: string }[]>,
): Promise<Fault[]> {
  if (!ids || ids.length === 0) return [];
  const wrong = ids.map((value) => idFault(prefix, value, { parameter })).find((fault) => fault !== undefined);
  if (wrong) return [wrong];
  const seen = new Set((await visible([...ids])).map(({ id }) => id));
  return ids.every((value) => seen.has(value)) ? [] : [referenceNotFound({ parameter })];
}
