/** What of two JSON Schemas (2020-12, as Demarc's documents use it) differs for whoever relies on the first. */
import {
  below,
  type Comparison,
  type Direction,
  eachMember,
  follow,
  isObject,
  type Json,
  objectOf,
  same,
} from "./breaking-rules.ts";

/** Words for people and marks for our own tools: they may change at any time. */
const wording = new Set([
  "title",
  "description",
  "examples",
  "example",
  "deprecated",
  "$comment",
  "$id",
  "$schema",
  "x-pattern",
  "x-id",
  "x-etag",
  "x-media-type",
]);
/** Keywords with a rule of their own below. */
const ruled = new Set([
  "type",
  "enum",
  "const",
  "x-closed",
  "properties",
  "required",
  "additionalProperties",
  "items",
  "anyOf",
  "oneOf",
  "default",
  "format",
  "pattern",
]);
/** Limits, and whether a larger number admits less. */
const limits: Record<string, boolean> = {
  minimum: true,
  exclusiveMinimum: true,
  minLength: true,
  minItems: true,
  minProperties: true,
  maximum: false,
  exclusiveMaximum: false,
  maxLength: false,
  maxItems: false,
  maxProperties: false,
};

/** Compares two schemas; `pointer` is where the older stands. */
export function compareSchemas(
  on: Comparison,
  direction: Direction,
  before: unknown,
  after: unknown,
  pointer: string,
): void {
  const old = follow(on.before, before, pointer);
  const now = follow(on.after, after, pointer);
  if (old.pointer !== pointer && on.isKnown(`${direction} ${old.pointer} ${now.pointer}`)) return;
  const at = old.pointer;
  if (!isObject(old.node) || !isObject(now.node)) {
    compareTrivial(on, direction, old.node, now.node, at);
    return;
  }
  const [a, b] = [alternatives(old.node), alternatives(now.node)];
  if (a || b) compareAlternatives(on, direction, a ?? [old.node], b ?? [now.node], at, old.node, now.node);
  else compareNodes(on, direction, old.node, now.node, at);
}

/** `true`, `false` and absent schemas: the latter admits everything. */
function compareTrivial(on: Comparison, direction: Direction, old: unknown, now: unknown, at: string): void {
  const admits = (node: unknown) => (node === false ? 0 : isObject(node) && Object.keys(node).length > 0 ? 1 : 2);
  if (admits(now) === admits(old)) return;
  noteSet(on, direction, admits(now) > admits(old), at);
}

function noteSet(on: Comparison, direction: Direction, wider: boolean, at: string): void {
  if (direction === "request") on.note(wider ? "request-widened" : "request-narrowed", at);
  else on.note(wider ? "type-changed" : "reply-narrowed", at);
}

function compareNodes(on: Comparison, direction: Direction, old: Json, now: Json, at: string): void {
  compareTypes(on, direction, old, now, at);
  compareValues(on, direction, old, now, at);
  compareText(on, direction, old, now, at);
  for (const name of Object.keys(limits)) compareLimit(on, direction, name, old[name], now[name], at);
  if (!same(old.default, now.default)) on.note("default-changed", below(at, "default"));
  compareProperties(on, direction, old, now, at);
  const rest = "additionalProperties";
  if (rest in old || rest in now) compareRest(on, direction, old[rest] ?? true, now[rest] ?? true, below(at, rest));
  if ("items" in old || "items" in now)
    compareSchemas(on, direction, old.items ?? true, now.items ?? true, below(at, "items"));
  for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
    if (wording.has(name) || ruled.has(name) || name in limits || same(old[name], now[name])) continue;
    on.note("not-listed", below(at, name));
  }
}

const typesOf = (node: Json): string[] => (node.type === undefined ? [] : ([node.type].flat() as string[]));

function compareTypes(on: Comparison, direction: Direction, old: Json, now: Json, at: string): void {
  const [a, b] = [typesOf(old), typesOf(now)];
  const place = below(at, "type");
  if (a.length === 0 || b.length === 0) {
    if (a.length !== b.length) noteSet(on, direction, b.length === 0, place);
    return;
  }
  const covers = (types: string[], one: string) =>
    types.includes(one) || (one === "integer" && types.includes("number"));
  const gone = a.filter((one) => !covers(b, one));
  const come = b.filter((one) => !covers(a, one));
  if (direction === "request") {
    if (gone.length > 0) on.note("request-narrowed", place);
    else if (come.length > 0) on.note("request-widened", place);
    return;
  }
  if (come.includes("null")) on.note("reply-null", place);
  if (come.some((one) => one !== "null")) on.note("type-changed", place);
  else if (gone.length > 0) on.note("reply-narrowed", place);
}

/** The values a node admits; undefined: not listed. */
function valuesOf(node: Json): string[] | undefined {
  const values = "const" in node ? [node.const] : (node.enum as unknown[] | undefined);
  return values?.filter((value) => value !== null).map((value) => JSON.stringify(value));
}

function compareValues(on: Comparison, direction: Direction, old: Json, now: Json, at: string): void {
  const [a, b] = [valuesOf(old), valuesOf(now)];
  const isClosed = (node: Json) => "const" in node || node["x-closed"] === true;
  const place = below(at, "const" in old ? "const" : "enum");
  if (!a && !b) return;
  if (!a || !b) {
    if (direction === "request") on.note(b ? "request-narrowed" : "request-widened", place);
    else if (a) on.note(isClosed(old) ? "closed-enumeration" : "open-enumeration", place);
    else on.note("reply-narrowed", place);
    return;
  }
  if (a.some((value) => !b.includes(value))) on.note("value-removed", place);
  const grew = b.some((value) => !a.includes(value));
  if (direction === "request") {
    if (grew) on.note("request-widened", place);
  } else if (isClosed(old) && (grew || !isClosed(now))) on.note("closed-enumeration", place);
  else if (grew) on.note("open-enumeration", place);
}

function compareText(on: Comparison, direction: Direction, old: Json, now: Json, at: string): void {
  for (const name of ["format", "pattern"]) {
    const [a, b, place] = [old[name], now[name], below(at, name)];
    if (a === b) continue;
    if (direction === "request") on.note(b === undefined ? "request-widened" : "request-narrowed", place);
    else if (a === undefined) on.note("reply-narrowed", place);
    // Length and form of opaque ids are nobody's business.
    else if (name === "format" || !("x-id" in old)) on.note("format-changed", place);
  }
}

/** Lists and texts that grow are no break in a reply: what is accepted may grow, and replies show it. */
function compareLimit(
  on: Comparison,
  direction: Direction,
  name: string,
  old: unknown,
  now: unknown,
  at: string,
): void {
  if (old === now || direction === "reply") return;
  const larger = now !== undefined && (old === undefined || Number(now) > Number(old));
  const narrower = limits[name] ? larger : now !== undefined && (old === undefined || Number(now) < Number(old));
  on.note(narrower ? "request-narrowed" : "request-widened", below(at, name));
}

function compareProperties(on: Comparison, direction: Direction, old: Json, now: Json, at: string): void {
  const required = (node: Json) => new Set((node.required as string[] | undefined) ?? []);
  const [must, mustNow] = [required(old), required(now)];
  const place = (name: string) => below(at, "properties", name);
  const asked = direction === "request";
  eachMember(old.properties, now.properties, {
    gone: (name) => on.note(asked ? "request-property-removed" : "reply-property-removed", place(name)),
    come: (name) => {
      if (!asked) on.note("reply-property-added", place(name));
      else on.note(mustNow.has(name) ? "property-required" : "request-property-added", place(name));
    },
    kept: (name) => {
      if (asked && mustNow.has(name) && !must.has(name)) on.note("property-required", place(name));
      if (asked && !mustNow.has(name) && must.has(name)) on.note("request-widened", place(name));
      if (!asked && must.has(name) && !mustNow.has(name)) on.note("reply-property-optional", place(name));
      if (!asked && !must.has(name) && mustNow.has(name)) on.note("reply-narrowed", place(name));
      compareSchemas(on, direction, objectOf(old.properties)[name], objectOf(now.properties)[name], place(name));
    },
  });
  // Required without being described: only the name is left to go by.
  for (const name of mustNow)
    if (asked && !must.has(name) && !(name in objectOf(now.properties)))
      on.note("property-required", below(at, "required"));
}

/** `additionalProperties`: readers ignore what they do not know, so that a reply may have more. */
function compareRest(on: Comparison, direction: Direction, old: unknown, now: unknown, at: string): void {
  if (direction === "reply" && !isObject(old)) {
    if (old === true && now === false) on.note("reply-property-removed", at);
  } else if (direction === "reply" && now === false) on.note("reply-property-removed", at);
  else compareSchemas(on, direction, old, now, at);
}

function alternatives(node: Json): unknown[] | undefined {
  return (node.anyOf ?? node.oneOf) as unknown[] | undefined;
}

/** Alternatives are told apart by reference, title, constant or type, else by their place. */
function compareAlternatives(
  on: Comparison,
  direction: Direction,
  before: unknown[],
  after: unknown[],
  at: string,
  old: Json,
  now: Json,
): void {
  const nameOf = (node: unknown, index: number): string => {
    const { $ref, title, const: only, type, properties } = objectOf(node);
    if ($ref ?? title) return String($ref ?? title).replace(/^.*\//, "");
    const names = properties === undefined ? "" : ` ${Object.keys(objectOf(properties))[0]}`;
    return only !== undefined ? JSON.stringify(only) : type === undefined ? String(index) : `${type}${names}`;
  };
  const named = (list: unknown[]) =>
    Object.fromEntries(list.map((node, index) => [nameOf(node, index), { node, index }]));
  const [a, b] = [named(before), named(after)];
  const word = "oneOf" in old || "oneOf" in now ? "oneOf" : "anyOf";
  eachMember(a, b, {
    gone: (name) => noteSet(on, direction, false, below(at, word, a[name]!.index)),
    come: (name) => {
      if (name === "null" && direction === "reply") on.note("reply-null", below(at, word));
      else noteSet(on, direction, true, below(at, word, b[name]!.index));
    },
    kept: (name) => {
      const inside = word in old ? below(at, word, a[name]!.index) : at;
      compareSchemas(on, direction, a[name]!.node, b[name]!.node, inside);
    },
  });
  if (!same(old.default, now.default)) on.note("default-changed", below(at, "default"));
}
