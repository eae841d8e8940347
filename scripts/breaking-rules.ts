/** The rules by which two documents of one version are compared: the two lists of docs/versioning.md, as far as documents show them. */
export type Json = Record<string, unknown>;
/** Who writes what a schema describes: the caller (`request`), or the server (`reply`, also events and their headers). */
export type Direction = "request" | "reply";

/** Differences that make a new version, and what of the second list each of them is. */
export const breakingRules = {
  "path-removed": "a path, channel or server is gone",
  "verb-removed": "a verb or operation is gone",
  "service-removed": "a service's document is gone",
  "operation-id-changed": "an operation id was renamed",
  "parameter-required": "a query parameter or header has become required",
  "parameter-removed": "a parameter that was accepted is refused",
  "property-required": "a request property or body has become required",
  "request-property-removed": "a request property that was accepted is refused",
  "request-narrowed": "what was accepted is refused: type, pattern, range, size or form",
  "reply-property-removed": "a property of a reply or event is gone",
  "reply-property-optional": "a property that was always present may be absent",
  "reply-null": "what was never null may be null",
  "closed-enumeration": "a closed enumeration has another value, or is closed no more",
  "value-removed": "a value that was accepted or sent is gone",
  "event-removed": "a type of event is gone",
  "event-moved": "an event is sent on other occasions",
  "header-removed": "a header of replies or messages is gone",
  "status-changed": "the same case has another status",
  "success-changed": "a success status is gone, or a call that had others has a new one",
  "code-removed": "a code is gone",
  "type-changed": "another type, or another form of the same",
  "format-changed": "another format or pattern of what is sent",
  "default-changed": "another default, sort order or page size",
  "media-type-removed": "a media type is gone",
  "permission-required": "a permission, scope or credential is needed that was not",
  "authentication-ended": "a way to authenticate is gone or works differently",
  "not-listed": "neither list names this difference",
} as const;

/** Differences that every version admits, once the committed document shows them. */
export const compatibleRules = {
  "path-added": "a new path, channel or server",
  "verb-added": "a new verb or operation",
  "parameter-added": "a new optional query parameter or header",
  "request-property-added": "a new optional request property or body",
  "request-widened": "more is accepted, or less is required",
  "reply-property-added": "a new property of a reply or event",
  "reply-narrowed": "less is sent than was promised to be possible",
  "open-enumeration": "a new value of an open enumeration",
  "event-added": "a new type of event",
  "header-added": "a new header of replies or messages",
  "code-added": "a new code",
  "media-type-added": "a new media type",
  "permission-dropped": "a permission, scope or credential is needed no more",
  "authentication-added": "a new way to authenticate",
} as const;

export type Rule = keyof typeof breakingRules | keyof typeof compatibleRules;
export type Difference = { rule: Rule; pointer: string };

export function isBreaking({ rule }: Difference): boolean {
  return rule in breakingRules;
}

/** One line for people: rule, place (RFC 6901) and the rule's words. */
export function inWords({ rule, pointer }: Difference): string {
  return `${rule} at ${pointer || "/"}: ${{ ...breakingRules, ...compatibleRules }[rule]}`;
}

/** Two documents on the way through them: where differences are noted, once each. */
export type Comparison = {
  before: Json;
  after: Json;
  note(rule: Rule, pointer: string): void;
  /** Whether two places were compared already, in this direction; marks them. */
  isKnown(key: string): boolean;
};

/** Runs a comparison and returns what it noted. */
export function compareBy(before: Json, after: Json, walk: (on: Comparison) => void): Difference[] {
  const noted = new Map<string, Difference>();
  const known = new Set<string>();
  walk({
    before,
    after,
    note: (rule, pointer) => void noted.set(`${rule} ${pointer}`, { rule, pointer }),
    isKnown: (key) => known.size === known.add(key).size,
  });
  return [...noted.values()];
}

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export const objectOf = (value: unknown): Json => (isObject(value) ? value : {});

/** A step further down a JSON pointer. */
export function below(pointer: string, ...names: (string | number)[]): string {
  return names.reduce<string>(
    (at, name) => `${at}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`,
    pointer,
  );
}

/** What a node of a document is, behind its `$ref`, and where that stands. */
export function follow(document: Json, node: unknown, pointer: string): { node: unknown; pointer: string } {
  let [now, at] = [node, pointer];
  for (let hops = 0; isObject(now) && typeof now.$ref === "string" && hops < 10; hops++) {
    at = now.$ref.slice(1);
    now = at
      .split("/")
      .slice(1)
      .reduce<unknown>(
        (place, name) => objectOf(place)[decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~")],
        document,
      );
  }
  return { node: now, pointer: at };
}

/** Members of two objects by name: gone, come and kept ones, in that order of calls. */
export function eachMember(
  before: unknown,
  after: unknown,
  told: { gone?(name: string): void; come?(name: string): void; kept?(name: string): void },
): void {
  const [old, now] = [objectOf(before), objectOf(after)];
  for (const name of Object.keys(old)) if (!(name in now)) told.gone?.(name);
  for (const name of Object.keys(now)) (name in old ? told.kept : told.come)?.(name);
}

export const same = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);

/** JSON in which the order of members does not count. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value) ?? "undefined";
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}
