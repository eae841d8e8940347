import type { Context } from "#kernel/contract";
import { eventExample, eventSchemaDocument } from "#kernel/event-example";
import { knownTypes } from "#kernel/event-filter";
import type { EventKind } from "#kernel/events";
import { notFound, refuse } from "#kernel/problem";

/** The types of events that the version of the call knows, by name. */
export function listCatalogueTypes(ctx: Context, filter: { service?: string[]; q?: string }) {
  const words = filter.q?.toLowerCase();
  const items = knownTypes(ctx.eventLog.versions, ctx.call.version)
    .filter(({ service }) => !filter.service || filter.service.includes(service))
    .filter(({ type, summary }) => !words || `${type}\n${summary}`.toLowerCase().includes(words))
    .map((kind) => typeOf(ctx, kind));
  return { items, nextCursor: null, nextLink: null };
}

export function getCatalogueType(ctx: Context, type: string) {
  return typeOf(ctx, find(ctx, type));
}

/** The JSON Schema of whole events of a type, as text. */
export function getCatalogueSchema(ctx: Context, type: string): string {
  const { versions, settings } = ctx.eventLog;
  return eventSchemaDocument(versions, find(ctx, type), ctx.call.version, settings.publicUrl);
}

function find(ctx: Context, type: string): EventKind {
  const kind = knownTypes(ctx.eventLog.versions, ctx.call.version).find((one) => one.type === type);
  if (!kind) throw refuse(notFound);
  return kind;
}

function typeOf(ctx: Context, kind: EventKind) {
  const { type, service, noun, permission, since, summary } = kind;
  return {
    type,
    service,
    noun,
    verb: type.slice(type.lastIndexOf(".") + 1),
    permission,
    since,
    summary,
    schemaUrl: `/${ctx.call.label}/event-catalogue/${type}/schema`,
    example: eventExample(ctx.eventLog.versions, kind, ctx.call.version),
  };
}
