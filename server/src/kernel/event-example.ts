/** An event of a type as it might be: made from its schema, so that it is never out of date. */
import type { TSchema } from "typebox";
import { eventSchema } from "./event-view.ts";
import type { EventKind } from "./events.ts";
import { exampleOf } from "./schema-example.ts";
import type { Versions } from "./versions.ts";

/** The catalogue's example of a type at a version: the whole event. */
export function eventExample(versions: Versions, kind: EventKind, version: string): Record<string, unknown> {
  const example = exampleOf(eventSchema(versions, kind, version)) as Record<string, unknown>;
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
