/** An event of a type as it might be: made from its schema, so that it is never out of date. */
import type { TSchema } from "typebox";
import { eventSchema } from "./event-view.ts";
import type { EventKind } from "./events.ts";
import type { Versions } from "./versions.ts";

type Node = {
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  examples?: unknown[];
  default?: unknown;
  format?: string;
  anyOf?: Node[];
  oneOf?: Node[];
  properties?: Record<string, Node>;
  required?: string[];
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

/** The catalogue's example of a type at a version: the whole event. */
export function eventExample(versions: Versions, kind: EventKind, version: string): Record<string, unknown> {
  const example = exampleOf(eventSchema(versions, kind, version) as Node) as Record<string, unknown>;
  const data = example.data as Record<string, unknown>;
  const removed = /\.(deleted|removed)$/.test(kind.type);
  const subject = (data.resource as { id?: string } | null)?.id ?? "subject";
  delete data.trimmed;
  delete example.test;
  return {
    ...example,
    source: `https://api.example.net/${kind.service}`,
    dataschema: `https://api.example.net/${version}/event-catalogue/${kind.type}/schema`,
    subject,
    sequence: "0000000000000042",
    data: {
      ...data,
      url: `/${version}/${kind.noun.replaceAll("_", "-")}/${subject}`,
      resource: removed ? null : data.resource,
      previous: removed ? data.resource : {},
      changed: [],
      actor: { kind: "user", id: "usr_01jd8w6r7qf0ztb5c2m9x4k3en" },
    },
  };
}

function exampleOf(node: Node): unknown {
  if (node.const !== undefined) return node.const;
  if (node.examples?.length) return node.examples[0];
  if (node.default !== undefined) return node.default;
  if (node.enum) return node.enum[0];
  const choice = (node.anyOf ?? node.oneOf)?.[0];
  if (choice) return exampleOf(choice);
  const type = [node.type ?? "object"].flat();
  if (type.includes("null") && type.length > 1) return null;
  if (type[0] === "string") return formats[node.format ?? ""] ?? "text".padEnd(node.minLength ?? 0, "x");
  if (type[0] === "integer" || type[0] === "number") return node.minimum ?? (node.exclusiveMinimum ?? 0) + 1;
  if (type[0] === "boolean") return false;
  if (type[0] === "array") return Array.from({ length: node.minItems ?? 0 }, () => exampleOf(node.items ?? {}));
  return Object.fromEntries(Object.entries(node.properties ?? {}).map(([name, child]) => [name, exampleOf(child)]));
}

/** The JSON Schema 2020-12 of whole events of a type, as a document of its own. */
export function eventSchemaDocument(versions: Versions, kind: EventKind, version: string, publicUrl: string): string {
  const schema = eventSchema(versions, kind, version) as TSchema & Record<string, unknown>;
  const document = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: `${publicUrl}/${version}/event-catalogue/${kind.type}/schema`,
    ...schema,
  };
  return JSON.stringify(document);
}
