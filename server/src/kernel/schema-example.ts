/** A value as a schema admits it, for documents: made from the schema, so that it is never out of date. */
import type { TSchema } from "typebox";

type Node = {
  "x-schema"?: Node;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  examples?: unknown[];
  default?: unknown;
  format?: string;
  anyOf?: Node[];
  allOf?: { if?: Node; then?: Node }[];
  oneOf?: Node[];
  properties?: Record<string, Node>;
  required?: string[];
  minProperties?: number;
  items?: Node;
  minItems?: number;
  minLength?: number;
  minimum?: number;
  exclusiveMinimum?: number;
};

const formats: Record<string, string> = {
  "date-time": "2026-03-01T10:00:00.123Z",
  date: "2026-03-01",
  uri: "https://api.example.net/directory",
  email: "ann@example.net",
  ipv4: "192.0.2.7",
  ipv6: "2001:db8::7",
};

/** The example of a schema. `most`: with all members that it states; else with those that it requires. */
export function exampleOf(schema: TSchema, most = true): unknown {
  return shownOf(schema as unknown as Node, most);
}

function shownOf(node: Node, most: boolean): unknown {
  const inside = (child: Node) => shownOf(child, most);
  if (node["x-schema"]) return inside(node["x-schema"]);
  if (node.const !== undefined) return node.const;
  if (node.examples?.length) return node.examples[0];
  if (node.default !== undefined) return node.default;
  if (node.enum) return node.enum[0];
  const choice = (node.anyOf ?? node.oneOf)?.[0];
  if (choice) return inside(choice);
  const type = [node.type ?? "object"].flat();
  if (type.includes("null") && type.length > 1) return null;
  if (type[0] === "string") return formats[node.format ?? ""] ?? "text".padEnd(node.minLength ?? 0, "x");
  if (type[0] === "integer" || type[0] === "number") return node.minimum ?? (node.exclusiveMinimum ?? 0) + 1;
  if (type[0] === "boolean") return false;
  if (type[0] === "array") {
    const count = Math.max(most && node.items ? 1 : 0, node.minItems ?? 0);
    return Array.from({ length: count }, () => inside(node.items ?? {}));
  }
  const members = Object.entries(node.properties ?? {});
  const wanted = members.filter(([name]) => most || node.required?.includes(name));
  // A patch requires nothing, and says nothing without anything.
  const shown = wanted.length > 0 ? wanted : members.slice(0, node.minProperties ?? 1);
  const value = Object.fromEntries(shown.map(([name, child]) => [name, inside(child)]));
  // Of several forms the one that goes by what the value says.
  const form = node.allOf?.find((one) =>
    Object.entries(one.if?.properties ?? {}).every(([name, { const: word }]) => value[name] === word),
  );
  return form?.then ? { ...value, ...(inside(form.then) as object) } : value;
}
