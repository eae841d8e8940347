/**
 * What of two OpenAPI documents of one version differs, by the two lists of docs/versioning.md: a pure function. What
 * neither list names is breaking until somebody decides.
 */
import {
  below,
  type Comparison,
  compareBy,
  type Difference,
  type Direction,
  eachMember,
  follow,
  type Json,
  objectOf,
  same,
} from "./breaking-rules.ts";
import { compareSchemas } from "./breaking-schema.ts";
import { compareSchemes } from "./breaking-security.ts";

const verbs = new Set(["get", "put", "post", "delete", "patch", "head", "options", "trace"]);

export function compareOpenapi(before: Json, after: Json): Difference[] {
  return compareBy(before, after, (on) => {
    const known = new Set([...operationsOf(before)].flatMap((operation) => eventsOf(operation)));
    eachMember(before.paths, after.paths, {
      gone: (path) => on.note("path-removed", below("/paths", path)),
      come: (path) => on.note("path-added", below("/paths", path)),
      kept: (path) => comparePath(on, path, known),
    });
    eachMember(before.webhooks, after.webhooks, {
      gone: (type) => on.note("event-removed", below("/webhooks", type)),
      come: (type) => on.note("event-added", below("/webhooks", type)),
      kept: (type) => compareWebhook(on, type),
    });
    if (!same(before.servers, after.servers)) on.note("path-removed", "/servers");
    if (!same(before.openapi, after.openapi)) on.note("not-listed", "/openapi");
    const schemes = (document: Json) => objectOf(document.components).securitySchemes;
    compareSchemes(on, schemes(before), schemes(after), "/components/securitySchemes");
  });
}

function* operationsOf(document: Json): Iterable<Json> {
  for (const item of Object.values(objectOf(document.paths)))
    for (const [verb, operation] of Object.entries(objectOf(item))) if (verbs.has(verb)) yield objectOf(operation);
}
const eventsOf = (operation: Json) => (operation["x-emits"] ?? []) as string[];

function comparePath(on: Comparison, path: string, known: ReadonlySet<string>): void {
  const at = below("/paths", path);
  const [old, now] = [on.before, on.after].map((document) => objectOf(objectOf(document.paths)[path]));
  eachMember(old, now, {
    gone: (verb) => on.note(verbs.has(verb) ? "verb-removed" : "not-listed", below(at, verb)),
    come: (verb) => on.note(verbs.has(verb) ? "verb-added" : "not-listed", below(at, verb)),
    kept: (verb) => {
      if (verbs.has(verb)) compareOperation(on, objectOf(old![verb]), objectOf(now![verb]), below(at, verb), known);
      else if (!same(old![verb], now![verb])) on.note("not-listed", below(at, verb));
    },
  });
}

/** Members of an operation that have no rule below, or are wording. */
const ruled = new Set(
  "operationId summary description tags deprecated externalDocs parameters requestBody responses security x-permission x-emits x-preview x-deprecated-at x-sunset-at".split(
    " ",
  ),
);

function compareOperation(on: Comparison, old: Json, now: Json, at: string, known: ReadonlySet<string>): void {
  if (old.operationId !== now.operationId) on.note("operation-id-changed", below(at, "operationId"));
  compareAccess(on, old, now, at);
  const [emitted, emits] = [eventsOf(old), eventsOf(now)];
  if (emitted.some((type) => !emits.includes(type))) on.note("event-moved", below(at, "x-emits"));
  // A type that was known before is told on an occasion more: that is "when it is sent".
  for (const type of emits)
    if (!emitted.includes(type)) on.note(known.has(type) ? "event-moved" : "event-added", below(at, "x-emits"));
  compareParameters(on, "request", old.parameters, now.parameters, below(at, "parameters"));
  compareBody(on, "request", old.requestBody, now.requestBody, below(at, "requestBody"));
  compareResponses(on, objectOf(old.responses), objectOf(now.responses), below(at, "responses"));
  for (const name of new Set([...Object.keys(old), ...Object.keys(now)]))
    if (!ruled.has(name) && !same(old[name], now[name])) on.note("not-listed", below(at, name));
}

/** Who may call: an operation that was open to all, or to any credential, must not come to need more. */
function compareAccess(on: Comparison, old: Json, now: Json, at: string): void {
  const [was, is] = [old["x-permission"], now["x-permission"]];
  if (was !== is) {
    const rank = (permission: unknown) => (permission === "open" ? 0 : permission === "any" ? 1 : 2);
    const isLess = rank(is) < rank(was);
    on.note(isLess ? "permission-dropped" : "permission-required", below(at, "x-permission"));
  }
  const ways = (operation: Json, document: Json) => (operation.security ?? document.security ?? []) as Json[];
  const [before, after] = [ways(old, on.before), ways(now, on.after)];
  const place = below(at, "security");
  if (before.length === 0 || after.length === 0) {
    if (after.length > 0) on.note("permission-required", place);
    if (before.length > 0) on.note("permission-dropped", place);
    return;
  }
  const has = (list: Json[], way: Json) => list.some((one) => same(one, way));
  if (before.some((way) => !has(after, way))) on.note("authentication-ended", place);
  if (after.some((way) => !has(before, way))) on.note("authentication-added", place);
}

/** Parameters by place and name; names of headers have no case. */
function compareParameters(on: Comparison, direction: Direction, before: unknown, after: unknown, at: string): void {
  const named = (list: unknown, document: Json) =>
    Object.fromEntries(
      ((list ?? []) as unknown[]).map((entry, index) => {
        const { node, pointer } = follow(document, entry, below(at, index));
        const parameter = objectOf(node);
        const name = String(parameter.name);
        return [`${parameter.in} ${parameter.in === "header" ? name.toLowerCase() : name}`, { parameter, pointer }];
      }),
    );
  const [old, now] = [named(before, on.before), named(after, on.after)];
  eachMember(old, now, {
    gone: (name) => on.note(direction === "request" ? "parameter-removed" : "header-removed", old[name]!.pointer),
    come: (name) => {
      const { parameter, pointer } = now[name]!;
      if (direction === "reply") on.note("header-added", pointer);
      else on.note(parameter.required ? "parameter-required" : "parameter-added", pointer);
    },
    kept: (name) => {
      const [was, is, place] = [old[name]!.parameter, now[name]!.parameter, old[name]!.pointer];
      if (direction === "request" && !was.required && is.required) on.note("parameter-required", place);
      if (direction === "request" && was.required && !is.required) on.note("request-widened", place);
      for (const word of ["style", "explode", "allowReserved"])
        if (!same(was[word], is[word])) on.note("type-changed", below(place, word));
      compareSchemas(on, direction, was.schema, is.schema, below(place, "schema"));
    },
  });
}

function compareBody(on: Comparison, direction: Direction, before: unknown, after: unknown, at: string): void {
  const [old, now] = [objectOf(before), objectOf(after)];
  if (before === undefined && after === undefined) return;
  if (before === undefined) on.note(now.required ? "property-required" : "request-property-added", at);
  else if (after === undefined) on.note("request-property-removed", at);
  else if (direction === "request" && !old.required && now.required) on.note("property-required", at);
  else if (direction === "request" && old.required && !now.required) on.note("request-widened", at);
  if (before === undefined || after === undefined) return;
  compareContent(on, direction, old.content, now.content, below(at, "content"));
}

function compareContent(on: Comparison, direction: Direction, before: unknown, after: unknown, at: string): void {
  eachMember(before, after, {
    gone: (type) => on.note("media-type-removed", below(at, type)),
    come: (type) => on.note("media-type-added", below(at, type)),
    kept: (type) => {
      const [old, now] = [before, after].map((content) => objectOf(objectOf(content)[type]).schema);
      compareSchemas(on, direction, old ?? true, now ?? true, below(at, type, "schema"));
    },
  });
}

const codesOf = (response: unknown): string[] => (objectOf(response)["x-codes"] ?? []) as string[];
const isSuccess = (status: string) => /^[123]/.test(status);

function compareResponses(on: Comparison, before: Json, after: Json, at: string): void {
  const statusOf = (responses: Json, code: string) =>
    Object.keys(responses).filter((status) => codesOf(responses[status]).includes(code));
  const codes = (responses: Json) => [...new Set(Object.values(responses).flatMap(codesOf))];
  for (const code of codes(before)) {
    const [was, is] = [statusOf(before, code), statusOf(after, code)];
    const place = below(at, was[0]!);
    if (is.length === 0) on.note("code-removed", place);
    else if (was.some((status) => !is.includes(status))) on.note("status-changed", place);
  }
  for (const code of codes(after))
    if (!codes(before).includes(code)) on.note("code-added", below(at, statusOf(after, code)[0]!));
  eachMember(before, after, {
    // A status of refusals is gone with its codes, and comes with them.
    gone: (status) =>
      (isSuccess(status) || codesOf(before[status]).length === 0) && on.note("success-changed", below(at, status)),
    come: (status) => isSuccess(status) && on.note("success-changed", below(at, status)),
    kept: (status) => {
      const [old, now] = [objectOf(before[status]), objectOf(after[status])];
      compareHeaders(on, old.headers, now.headers, below(at, status, "headers"));
      if (old.content && !now.content) on.note("media-type-removed", below(at, status, "content"));
      else compareContent(on, "reply", old.content, now.content, below(at, status, "content"));
    },
  });
}

function compareHeaders(on: Comparison, before: unknown, after: unknown, at: string): void {
  eachMember(before, after, {
    gone: (name) => on.note("header-removed", below(at, name)),
    come: (name) => on.note("header-added", below(at, name)),
    kept: (name) => {
      const old = follow(on.before, objectOf(before)[name], below(at, name));
      const now = follow(on.after, objectOf(after)[name], below(at, name));
      if (objectOf(old.node).required && !objectOf(now.node).required) on.note("header-removed", old.pointer);
      compareSchemas(
        on,
        "reply",
        objectOf(old.node).schema ?? true,
        objectOf(now.node).schema ?? true,
        below(old.pointer, "schema"),
      );
    },
  });
}

/** A webhook's request is what we send. */
function compareWebhook(on: Comparison, type: string): void {
  const at = below("/webhooks", type, "post");
  const [old, now] = [on.before, on.after].map((document) =>
    objectOf(objectOf(objectOf(document.webhooks)[type]).post),
  );
  compareParameters(on, "reply", old!.parameters, now!.parameters, below(at, "parameters"));
  compareBody(on, "reply", old!.requestBody, now!.requestBody, below(at, "requestBody"));
}
