/**
 * Events as they leave: CloudEvents 1.0 in the shape of a version, and the JSON Schema of each type. What a type's schema
 * does not state cannot leave here either.
 */
import { type TSchema, Type } from "typebox";
import { serialise } from "./answer.ts";
import type { EventData, LoggedEvent } from "./event-reader.ts";
import { type EventKind, eventKind } from "./events.ts";
import type { Kernel } from "./kernel.ts";
import type { Principal } from "./principal.ts";
import { id, instant, nullable, object } from "./schema.ts";
import type { EventBody } from "./version-changes.ts";
import type { Versions } from "./versions.ts";

/** Octets of an event at most; one that would be longer is sent without its resource. */
const mostBytes = 16_384;

type Source = { settings: Pick<Kernel["settings"], "publicUrl">; versions: Versions };
type Data = Exclude<EventData, { redacted: true }>;

/** The event as one line of JSON, for a reader, in the shape of a version (`v1`). */
export function renderEvent(source: Source, event: LoggedEvent, version: string, who: Principal): string {
  const kind = eventKind(event.type);
  if (!kind) throw new Error(`${event.type} is no type of this release.`);
  const envelope = {
    specversion: "1.0",
    id: event.id,
    source: `${source.settings.publicUrl}/${kind.service}`,
    type: event.type,
    subject: event.subject,
    time: event.occurred_at.toISOString(),
    datacontenttype: "application/json",
    dataschema: `${source.settings.publicUrl}/${version}/event-catalogue/${event.type}/schema`,
    tenantid: event.tenant_id,
    sequence: String(event.sequence).padStart(16, "0"),
    apiversion: version,
  };
  const head = JSON.stringify(envelope).slice(0, -1);
  const { data } = event;
  if (data.redacted) return `${head},"data":{"redacted":true}}`;
  const shown = shownAt(source.versions, kind, data, version);
  const schemas = schemasOf(source.versions, kind, version);
  const write = (schema: TSchema, value: object) => JSON.parse(serialise(schema, value)) as object;
  const members = (whole: boolean) => ({
    url: `/${version}${data.url}`,
    ...(whole && shown.resource !== undefined
      ? { resource: shown.resource && write(schemas.resource, shown.resource) }
      : {}),
    ...(whole && shown.previous ? { previous: write(schemas.previous, shown.previous) } : {}),
    changed: shown.changed,
    ...(schemas.adds ? write(schemas.adds, shown) : {}),
    actor: data.actor,
    requestId: data.requestId,
    correlationId: data.correlationId,
    ...(whole ? {} : { trimmed: true }),
  });
  const isWhole = !data.trimmed && (kind.isWholeFor?.(who) ?? true);
  const text = `${head},"data":${JSON.stringify(members(isWhole))}}`;
  return Buffer.byteLength(text) <= mostBytes ? text : `${head},"data":${JSON.stringify(members(false))}}`;
}

/** What the event says, as a version says it. */
function shownAt(versions: Versions, kind: EventKind, data: Data, version: string): EventBody {
  const { resource, ...rest } = data;
  const linked = kind.linked && resource ? { ...rest, resource: kind.linked(resource, `/${version}`) } : data;
  return versions.isNewest(version) ? linked : versions.downgradeEvent(kind, linked, version);
}

type Schemas = { event: TSchema; resource: TSchema; previous: TSchema; adds: TSchema | undefined };
const made = new WeakMap<Versions, Map<string, Schemas>>();

/** One object per type and version: serializers are compiled once per object. */
function schemasOf(versions: Versions, kind: EventKind, version: string): Schemas {
  let known = made.get(versions);
  if (!known) {
    known = new Map();
    made.set(versions, known);
  }
  const name = `${version} ${kind.type}`;
  let schemas = known.get(name);
  if (!schemas) {
    schemas = describe(kind, versions.replySchema(kind.resource, version), versions.eventAdds(kind, version), version);
    known.set(name, schemas);
  }
  return schemas;
}

/** JSON Schema of a whole event of a type at a version. */
export function eventSchema(versions: Versions, kind: EventKind, version: string): TSchema {
  return schemasOf(versions, kind, version).event;
}

const actor = object({ kind: Type.String(), id: Type.String() });

function describe(kind: EventKind, resource: TSchema, added: EventKind["adds"], version: string): Schemas {
  const { title: _, required: __, ...partial } = resource as TSchema & { title?: string; required?: string[] };
  const previous = { ...partial, required: [] } as unknown as TSchema;
  const adds = added && Type.Object(added);
  const data = object({
    url: Type.String({ description: "Path of the resource." }),
    resource: Type.Optional(
      Type.Unsafe({ anyOf: [resource, { type: "null" }], description: "As GET shows it; null after a removal." }),
    ),
    previous: Type.Optional(
      Type.Unsafe({ ...previous, description: "Old values of what changed; after a removal the last state." }),
    ),
    changed: Type.Array(Type.String(), { description: "Names of the members that changed." }),
    ...added,
    actor,
    requestId: nullable(Type.String()),
    correlationId: nullable(Type.String()),
    trimmed: Type.Optional(
      Type.Literal(true, { description: "`resource` and `previous` are left out; read them at `url`." }),
    ),
  });
  const redacted = object({ redacted: Type.Literal(true) }, { description: "The person it was about was erased." });
  const event = object(
    {
      ...envelopeOf(version),
      type: Type.Literal(kind.type),
      data: Type.Unsafe({ anyOf: [data, redacted] }),
    },
    { title: kind.type, description: kind.summary },
  );
  return { event, resource, previous, adds };
}

/** The attributes of every event (CloudEvents 1.0, and our extensions). */
function envelopeOf(version?: string) {
  return {
    specversion: Type.Literal("1.0"),
    id: id("evt"),
    source: Type.String({ format: "uri", description: "The service that tells; the same in all versions." }),
    type: Type.String({ examples: ["demarc.directory.user.updated"] }),
    subject: Type.String({ description: "Id of the resource that changed." }),
    time: instant,
    datacontenttype: Type.Literal("application/json"),
    dataschema: Type.String({ format: "uri" }),
    tenantid: id("tnt"),
    sequence: Type.String({
      pattern: "^[0-9]{16}$",
      examples: ["0000000000000042"],
      description: "Number within the tenant: 1, 2, 3 … without holes; a jump is an event that you may not see.",
    }),
    apiversion: version ? Type.Literal(version) : Type.String({ examples: ["v1"] }),
    test: Type.Optional(Type.Literal(true, { description: "Sent to try a webhook: it has not happened." })),
  };
}

/** Any event, for documents; each type's own schema stands in the catalogue. */
export const Event = object(
  {
    ...envelopeOf(),
    data: Type.Object({}, { additionalProperties: true, description: "See the type's schema in the catalogue." }),
  },
  { title: "Event" },
);
