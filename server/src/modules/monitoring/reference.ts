/** References in a body or a filter (conventions, section 3): one wording whether a thing is away or out of sight. */
import { idKind } from "#kernel/ids";
import { type Fault, referenceNotFound } from "#kernel/problem";

type Place = { pointer: string } | { parameter: string };
const nouns: Record<string, string> = {
  fld: "a folder",
  loc: "a location",
  wch: "a watch",
  usr: "a user",
  tnt: "a tenant",
};

/** The fault of a value that is no id of this kind; undefined when it has the form of one. */
export function idFault(prefix: string, value: string, place: Place): Fault | undefined {
  if (idKind(value) === prefix) return undefined;
  return { ...place, rule: "id_kind", message: `The id of ${nouns[prefix]} (${prefix}_...) is expected.` };
}

/** The faults of ids in a filter: of another kind, or not among those that the caller may see. */
export async function filterFaults(
  parameter: string,
  prefix: string,
  ids: readonly string[] | undefined,
  visible: (ids: string[]) => Promise<{ id: string }[]>,
): Promise<Fault[]> {
  if (!ids || ids.length === 0) return [];
  const wrong = ids.map((value) => idFault(prefix, value, { parameter })).find(Boolean);
  if (wrong) return [wrong];
  const seen = new Set((await visible([...ids])).map(({ id }) => id));
  return ids.every((value) => seen.has(value)) ? [] : [referenceNotFound({ parameter })];
}
