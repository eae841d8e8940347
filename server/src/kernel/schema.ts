import { type Static, type TSchema, Type } from "typebox";

/** `schema` or null, as one JSON Schema node with two types (JSON Schema 2020-12), so that a fault is reported once. */
export function nullable<S extends TSchema>(schema: S) {
  const node = schema as TSchema & { type?: string; enum?: unknown[]; const?: unknown };
  const widened: Record<string, unknown> = { ...node, type: [node.type ?? "string", "null"] };
  if (node.enum) widened.enum = [...node.enum, null];
  return Type.Unsafe<Static<S> | null>(widened);
}

/** One of a list of words. `x-closed` marks an enumeration of replies that will never grow (versioning page). */
export function oneOf<const V extends readonly string[]>(values: V, options: Record<string, unknown> = {}) {
  return Type.Unsafe<V[number]>({ type: "string", enum: [...values], ...options });
}

/** Single-line text of `min` to `max` code points, without control characters; the empty string is refused. */
export function text(max: number, options: Record<string, unknown> = {}) {
  return Type.String({ minLength: 1, maxLength: max, pattern: "^[^\\u0000-\\u001f\\u007f]*$", ...options });
}

/** Control, line and direction characters, and such as nobody sees: two names that look alike are to be one. */
const unseen = "\\u0000-\\u001f\\u007f-\\u009f\\u200b\\u2028\\u2029\\u202a-\\u202e\\u2060\\u2066-\\u2069\\ufeff";

/** A name that people read, of 1 to `max` code points: what is sent is stored as it stands, so nothing of it is trimmed. */
export function line(max: number, options: Record<string, unknown> = {}) {
  return Type.String({
    minLength: 1,
    maxLength: max,
    pattern: `^[^\\s${unseen}](?:[^${unseen}]*[^\\s${unseen}])?$`,
    "x-pattern": "May not begin or end with white space, nor hold control, direction or invisible characters.",
    ...options,
  });
}

/** RFC 3339 in UTC with milliseconds. */
export const instant = Type.String({ format: "date-time", examples: ["2026-03-01T10:00:00.123Z"] });

/** The id of a resource: `prefix_` and 26 characters (TypeID over UUIDv7). Clients treat ids as opaque. */
export function id(prefix: string, options: Record<string, unknown> = {}) {
  return Type.String({ "x-id": prefix, examples: [`${prefix}_01jd8w6r7qf0ztb5c2m9x4k3en`], ...options });
}

/** A query parameter whose comma means "any of" (conventions, section 3). */
export function anyOf<S extends TSchema>(items: S) {
  return Type.Array(items, { minItems: 1, maxItems: 200 });
}

/** An object that admits no property beside the stated ones. */
export function object<P extends Record<string, TSchema>>(properties: P, options: Record<string, unknown> = {}) {
  return Type.Object(properties, { additionalProperties: false, ...options });
}
