/**
 * What older versions are served by (notifications, part E): change modules, each one change in one file. Requests go
 * through them from the oldest to the newest, replies and events from the newest to the oldest, and so do the schemas, so
 * that the documents of a version say what it sends.
 */
import type { TObject, TSchema } from "typebox";
import type { Route } from "./contract.ts";
import type { EventKind } from "./events.ts";

type Members = Record<string, unknown>;

/** All functions are pure: tested by pairs of what goes in and what comes out. */
export type Change = {
  /** The version in which it was made; every older version is served through it. */
  in: string;
  about: string;
  /** By operation id. */
  operations?: Record<string, OperationChange>;
  /** By the resource's schema title: its shape as it was, wherever it appears: replies, lists, results, events. */
  resources?: Record<string, { schema: TSchema; reply(now: Members): unknown }>;
  /** By type of event, or a prefix that ends in `.*`. */
  events?: Record<string, EventChange>;
};

export type OperationChange = {
  /** The body as it was. */
  body?: TSchema;
  /**
   * How an old body, valid by `body`, becomes a new one. Of a bulk call it gets the valid items alone, and keeps their
   * number and order. `stands` is there with `readsResource`.
   */
  request?(old: unknown, stands: Members | undefined): unknown;
  /**
   * A patch that means something only beside what it patches: `request` gets what GET of the same address shows, in the
   * old shape, and the change fails rather than overtake another one.
   */
  readsResource?: true;
  /** The query parameters as they were, and how old ones become new ones. `fields` follows the resource by itself. */
  query?: TObject;
  ask?(old: Members): Members;
  /** By status: replies that are the operation's own; the resources in them have been rewritten already. */
  replies?: Record<number, { schema: TSchema; reply(now: unknown): unknown }>;
};

/** `data` of an event beside its envelope; the resource in it has been rewritten already. */
export type EventBody = {
  resource?: Members | null;
  previous?: Members | null;
  changed: readonly string[];
  [added: string]: unknown;
};
export type EventChange = {
  /** The members that the types added to the common shape of `data`, as they were. */
  adds?: Record<string, TSchema>;
  data(now: EventBody): EventBody;
};

type Node = {
  type?: string | string[];
  title?: string;
  properties?: Record<string, TSchema>;
  required?: string[];
  items?: TSchema;
  anyOf?: TSchema[];
  oneOf?: TSchema[];
  additionalProperties?: TSchema | boolean;
};
const asNode = (schema: TSchema) => schema as unknown as Node;
const isObject = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Which of several shapes an object has: the first that knows all its members and misses none. */
function shapeOf(value: Members, choices: readonly TSchema[]): TSchema | undefined {
  return choices.find((choice) => {
    const { properties, required = [] } = asNode(choice);
    return (
      properties && required.every((name) => name in value) && Object.keys(value).every((name) => name in properties)
    );
  });
}

/** A value as it was before a change; `schema` is that of the value as it comes. */
function valueBefore(value: unknown, schema: TSchema, change: Change, resultOf: ResultOf): unknown {
  if (value === null || typeof value !== "object") return value;
  const node = asNode(schema);
  const inside = (child: unknown, of: TSchema | undefined) => (of ? valueBefore(child, of, change, resultOf) : child);
  if (Array.isArray(value)) return node.items ? value.map((item) => inside(item, node.items)) : value;
  const choices = node.anyOf ?? node.oneOf;
  if (choices) return inside(value, shapeOf(value as Members, choices));
  const members = node.title === "Operation" ? withResult(value as Members, change, resultOf) : (value as Members);
  const resource = node.title ? change.resources?.[node.title] : undefined;
  if (resource) return resource.reply(members);
  const { properties = {}, additionalProperties: rest } = node;
  return Object.fromEntries(
    Object.entries(members).map(([name, child]) => [
      name,
      inside(child, properties[name] ?? (typeof rest === "object" ? rest : undefined)),
    ]),
  );
}

/** An operation's result is described by its kind, which stands beside it. */
function withResult(operation: Members, change: Change, resultOf: ResultOf): Members {
  const { kind, result } = operation;
  const schema = isObject(result) ? resultOf(String(kind), change) : undefined;
  if (!isObject(result) || !schema) return operation;
  return { ...operation, result: { ...result, data: valueBefore(result.data, schema, change, resultOf) } };
}

/** A schema as it was before a change. */
function schemaBefore(schema: TSchema, change: Change): TSchema {
  const node = asNode(schema);
  const resource = node.title ? change.resources?.[node.title] : undefined;
  if (resource) {
    const { schema: old } = resource;
    return [node.type].flat().includes("null") ? ({ ...old, type: ["object", "null"] } as unknown as TSchema) : old;
  }
  const { properties, items, anyOf, oneOf, additionalProperties: rest } = node;
  const all = (list: readonly TSchema[]) => list.map((one) => schemaBefore(one, change));
  return {
    ...node,
    ...(properties
      ? {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, child]) => [name, schemaBefore(child, change)]),
          ),
        }
      : {}),
    ...(items ? { items: schemaBefore(items, change) } : {}),
    ...(anyOf ? { anyOf: all(anyOf) } : {}),
    ...(oneOf ? { oneOf: all(oneOf) } : {}),
    ...(typeof rest === "object" ? { additionalProperties: schemaBefore(rest, change) } : {}),
  } as unknown as TSchema;
}

const isOf = (type: string, pattern: string) =>
  pattern === type || (pattern.endsWith(".*") && type.startsWith(pattern.slice(0, -1)));

/** What `result.data` of a kind of operation holds, as it was right after a change. */
type ResultOf = (kind: string, change: Change) => TSchema | undefined;
type Named = Pick<Route, "id">;

/**
 * Serves versions through changes: `all` of them, from the oldest on, and `sinceOf` a version. `newestResult` gives what
 * `result.data` of a kind of operation holds now.
 */
export function createRewriting(
  all: readonly Change[],
  sinceOf: (version: string) => readonly Change[],
  newestResult: (kind: string) => TSchema | undefined,
) {
  // One object per schema and step back: serializers and validators are compiled once per object.
  const kept = new WeakMap<object, Map<unknown, TSchema>>();
  function once(schema: object, key: unknown, make: () => TSchema): TSchema {
    let steps = kept.get(schema);
    if (!steps) {
      steps = new Map();
      kept.set(schema, steps);
    }
    let made = steps.get(key);
    if (!made) {
      made = make();
      steps.set(key, made);
    }
    return made;
  }

  /** Changes since a version, from the newest on. */
  const backTo = (version: string) => [...sinceOf(version)].reverse();
  const resultOf: ResultOf = (kind, change) => {
    const newest = newestResult(kind);
    const later = all.slice(all.indexOf(change) + 1).reverse();
    return newest && later.reduce((schema, one) => stepBack(schema, one), newest);
  };
  function stepBack(schema: TSchema, change: Change, own?: { id: string; status: number }): TSchema {
    const reply = own && change.operations?.[own.id]?.replies?.[own.status];
    return reply ? reply.schema : once(schema, change, () => schemaBefore(schema, change));
  }

  /** A schema of replies as a version has it; `own`: that of an operation's status. */
  function replySchema(schema: TSchema, version: string, own?: { id: string; status: number }): TSchema {
    return backTo(version).reduce((now, change) => stepBack(now, change, own), schema);
  }

  /** A value of that schema as a version has it: JSON alone, without members that the schema does not state. */
  function downgrade(value: unknown, schema: TSchema, version: string, own?: { id: string; status: number }): unknown {
    let [now, its] = [value, schema];
    for (const change of backTo(version)) {
      const reply = own && change.operations?.[own.id]?.replies?.[own.status];
      now = valueBefore(now, its, change, resultOf);
      if (reply) now = reply.reply(now);
      its = stepBack(its, change, own);
    }
    return now;
  }

  function bodySchema({ id }: Named, body: TSchema, version: string): TSchema {
    const changed = sinceOf(version).find((change) => change.operations?.[id]?.body);
    return changed?.operations?.[id]?.body ?? body;
  }

  /** The query parameters of a route at a version; `fields` names the members that items of its list have there. */
  function querySchema(route: Pick<Route, "id" | "query" | "replies">, version: string): TObject | undefined {
    const changed = sinceOf(version).find((change) => change.operations?.[route.id]?.query);
    const query = changed?.operations?.[route.id]?.query ?? (route.query as TObject | undefined);
    const list = (route.replies as Record<number, TSchema | null>)[200];
    if (!query?.properties.fields || !list) return query;
    const shapes = (of: TSchema): string[] => {
      const { anyOf, oneOf, properties = {} } = asNode(of);
      const choices = anyOf ?? oneOf;
      return choices ? shapes(choices[0]!) : Object.keys(properties);
    };
    const items = (of: TSchema) => asNode(asNode(of).properties?.items ?? ({} as TSchema)).items;
    const [now, old] = [items(list), items(replySchema(list, version, { id: route.id, status: 200 }))];
    if (!now || !old || now === old) return query;
    return once(query, version, () => {
      const fields = query.properties.fields as TSchema & { items: object };
      const named = { ...fields, items: { ...fields.items, enum: shapes(old) } };
      return { ...query, properties: { ...query.properties, fields: named } } as unknown as TSchema;
    }) as TObject;
  }

  function upgradeQuery({ id }: Named, query: Members, version: string): Members {
    return sinceOf(version).reduce((value, change) => change.operations?.[id]?.ask?.(value) ?? value, query);
  }

  const readsResource = ({ id }: Named, version: string) =>
    sinceOf(version).some((change) => change.operations?.[id]?.readsResource);

  /** A body as the newest version has it. `stands`: the resource as it is now, with its schema, for changes that read it. */
  function upgrade(
    { id }: Named,
    body: unknown,
    version: string,
    stands?: { value: unknown; schema: TSchema },
  ): unknown {
    const changes = sinceOf(version);
    return changes.reduce((value, change, index) => {
      const own = change.operations?.[id];
      if (!own?.request) return value;
      if (!own.readsResource || !stands) return own.request(value, undefined);
      let [now, its] = [stands.value, stands.schema];
      for (const later of changes.slice(index).reverse()) {
        now = valueBefore(now, its, later, resultOf);
        its = stepBack(its, later);
      }
      return own.request(value, now as Members);
    }, body);
  }

  /** The members that a type of event adds to `data`, before a change. */
  function addsBefore(type: string, adds: EventKind["adds"], change: Change): EventKind["adds"] {
    const own = Object.entries(change.events ?? {}).find(([pattern, { adds: old }]) => old && isOf(type, pattern));
    if (own) return own[1].adds;
    return adds && Object.fromEntries(Object.entries(adds).map(([name, schema]) => [name, stepBack(schema, change)]));
  }

  /** Those members as a version has them. */
  function eventAdds({ type, adds }: EventKind, version: string): EventKind["adds"] {
    return backTo(version).reduce((now, change) => addsBefore(type, now, change), adds);
  }

  /** What an event says, as a version says it. */
  function downgradeEvent(kind: EventKind, body: EventBody, version: string): EventBody {
    let [now, resource, adds] = [body, kind.resource, kind.adds];
    for (const change of backTo(version)) {
      const before = stepBack(resource, change);
      now = eventBefore(now, { resource, before, adds }, change);
      for (const [pattern, { data }] of Object.entries(change.events ?? {}))
        if (isOf(kind.type, pattern)) now = data(now);
      resource = before;
      adds = addsBefore(kind.type, adds, change);
    }
    return now;
  }

  type Shapes = { resource: TSchema; before: TSchema; adds: EventKind["adds"] };

  /** The resource, its old values and the names of what changed, before a change. */
  function eventBefore(body: EventBody, { resource: schema, before, adds }: Shapes, change: Change): EventBody {
    const old = (value: Members) => valueBefore(value, schema, change, resultOf) as Members;
    const added = Object.fromEntries(
      Object.keys(adds ?? {}).map((name) => [name, valueBefore(body[name], adds![name]!, change, resultOf)]),
    );
    const { resource, previous, changed } = body;
    if (!resource) return { ...body, ...added, ...(previous ? { previous: old(previous) } : {}) };
    const now = old(resource);
    if (!previous || changed.length === 0)
      return { ...body, ...added, resource: now, ...(previous ? { previous: old(previous) } : {}) };
    const was = old({ ...resource, ...previous });
    const known = asNode(before).properties ?? {};
    const names = Object.keys(now).filter((name) => JSON.stringify(now[name]) !== JSON.stringify(was[name]));
    // What a module names without its values stands in `changed` alone.
    const unsaid = changed.filter((name) => !(name in previous) && name in known);
    return {
      ...body,
      ...added,
      resource: now,
      previous: Object.fromEntries(names.map((name) => [name, was[name]])),
      changed: [...new Set([...names, ...unsaid])],
    };
  }

  return {
    replySchema,
    downgrade,
    bodySchema,
    querySchema,
    upgradeQuery,
    readsResource,
    upgrade,
    eventAdds,
    downgradeEvent,
  };
}
