/**
 * Versions of the API (notifications, part E). Code speaks the newest version only; an older one is served by change
 * modules, each one change in one file, which rewrite requests from oldest to newest and replies from newest to oldest.
 */
import type { TSchema } from "typebox";

export type Version = {
  label: string;
  releasedAt: string;
  /** Announced for this instant, which may lie ahead; a successor is there, and the sunset at least 12 months later. */
  deprecatedAt?: string;
  sunsetAt?: string;
  /** Set by the first release that has the version: its committed documents then change only as the contract admits. */
  frozen?: true;
};

export type Change = {
  /** The version in which it was made; every older version is served through it. */
  in: string;
  about: string;
  /** By operation id: the body as it was, and how an old one becomes a new one. */
  operations?: Record<string, { body?: TSchema; request?(old: unknown): unknown; reply?(now: unknown): unknown }>;
  /** By the resource's schema title: its shape as it was, applied wherever it appears in a reply. */
  resources?: Record<string, { schema: TSchema; reply(now: Record<string, unknown>): unknown }>;
};

/** The versions that are in the field, oldest first. */
export const released: readonly Version[] = [{ label: "v1", releasedAt: "2026-11-22" }];
export const changes: readonly Change[] = [];

/** The number of a label: `v12` is 12. */
export const numberOf = (label: string): number => Number(label.slice(1));

/** Where a version stands at an instant; from its announcement on it counts as deprecated. */
export function statusAt({ deprecatedAt, sunsetAt }: Version, now: Date): "ga" | "deprecated" | "retired" {
  if (sunsetAt && now >= new Date(sunsetAt)) return "retired";
  return deprecatedAt ? "deprecated" : "ga";
}

export type Versions = ReturnType<typeof createVersions>;
type Labelled = { label: string; version: Version; preview: boolean };

/** Knows the labels of an installation. `betaEnabled` is the installation's switch; the tenant's is checked per call. */
export function createVersions(list: readonly Version[], all: readonly Change[], betaEnabled: boolean) {
  const byLabel = new Map(list.map((version) => [version.label, version]));
  const newest = list[list.length - 1]!;

  function schemaBefore(schema: TSchema, version: string): TSchema {
    const title = (schema as { title?: string }).title;
    const old = since(version).find((change) => title !== undefined && change.resources?.[title]);
    if (old && title) return old.resources![title]!.schema;
    const node = schema as Record<string, unknown>;
    const copy: Record<string, unknown> = { ...node };
    if (node.properties) {
      copy.properties = Object.fromEntries(
        Object.entries(node.properties as Record<string, TSchema>).map(([name, child]) => [
          name,
          schemaBefore(child, version),
        ]),
      );
    }
    if (node.items) copy.items = schemaBefore(node.items as TSchema, version);
    return copy as TSchema;
  }

  // One object per schema and version: serializers and validators are compiled once per object.
  const replySchemas = new WeakMap<TSchema, Map<string, TSchema>>();
  function replySchema(schema: TSchema, version: string): TSchema {
    let made = replySchemas.get(schema);
    if (!made) {
      made = new Map();
      replySchemas.set(schema, made);
    }
    let old = made.get(version);
    if (!old) {
      old = schemaBefore(schema, version);
      made.set(version, old);
    }
    return old;
  }

  /** Changes made after `version`, oldest first. */
  function since(version: string): Change[] {
    return all
      .filter((change) => numberOf(change.in) > numberOf(version))
      .sort((a, b) => numberOf(a.in) - numberOf(b.in));
  }

  function rewrite(value: unknown, schema: TSchema, change: Change): unknown {
    const node = schema as { title?: string; properties?: Record<string, TSchema>; items?: TSchema };
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return node.items ? value.map((item) => rewrite(item, node.items!, change)) : value;
    const resource = node.title ? change.resources?.[node.title] : undefined;
    if (resource) return resource.reply(value as Record<string, unknown>);
    if (!node.properties) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, child]) => [
        name,
        node.properties![name] ? rewrite(child, node.properties![name]!, change) : child,
      ]),
    );
  }

  return {
    list,
    newest,
    betaEnabled,
    /** The version a label stands for; undefined for every label that does not exist. */
    resolve(label: string): Labelled | undefined {
      if (label === "latest") return { label, version: newest, preview: false };
      if (label === "beta") return betaEnabled ? { label, version: newest, preview: true } : undefined;
      const version = byLabel.get(label);
      return version && { label, version, preview: false };
    },
    /** Labels a caller may use, for the body of a 404. */
    labels(beta: boolean, now: Date): string[] {
      const open = list.filter((version) => statusAt(version, now) !== "retired").map((version) => version.label);
      return [...open, "latest", ...(beta && betaEnabled ? ["beta"] : [])];
    },
    /** Whether a route stated as `v1+`, `v1-v2` or `v2` lives in a version. */
    covers(range: string, version: string): boolean {
      const [from, to] = range.endsWith("+") ? [range.slice(0, -1), newest.label] : range.split("-");
      return numberOf(version) >= numberOf(from!) && numberOf(version) <= numberOf(to ?? from!);
    },
    isNewest: (version: string) => version === newest.label,
    bodySchema(operationId: string, body: TSchema, version: string): TSchema {
      return (
        since(version).find((change) => change.operations?.[operationId]?.body)?.operations?.[operationId]?.body ?? body
      );
    },
    replySchema,
    upgrade(operationId: string, body: unknown, version: string): unknown {
      return since(version).reduce(
        (value, change) => change.operations?.[operationId]?.request?.(value) ?? value,
        body,
      );
    },
    downgrade(operationId: string, value: unknown, schema: TSchema, version: string): unknown {
      return since(version)
        .reverse()
        .reduce((now, change) => {
          const own = change.operations?.[operationId]?.reply;
          return own ? own(now) : rewrite(now, schema, change);
        }, value);
    },
    /**
     * Headers that every reply of a deprecated version carries (RFC 9745, RFC 8594); `path` is that of the call below
     * its label. None for the others.
     */
    headers({ deprecatedAt, sunsetAt }: Version, path: string): Record<string, string> {
      return deprecationHeaders(deprecatedAt, sunsetAt, `/${newest.label}${path}`);
    },
  };
}

/** `Deprecation`, `Sunset` and `Link` for something deprecated at and ending at these instants; none for the rest. */
export function deprecationHeaders(
  at: string | undefined,
  sunset: string | undefined,
  successorPath: string,
): Record<string, string> {
  if (!at) return {};
  const links = [
    `</docs/versioning>; rel="deprecation"`,
    `</docs/versioning>; rel="sunset"`,
    `<${successorPath.replaceAll(/[^!#-;=?-~]/g, encodeURIComponent)}>; rel="successor-version"`,
  ];
  return {
    deprecation: `@${Math.floor(Date.parse(at) / 1000)}`,
    ...(sunset ? { sunset: new Date(sunset).toUTCString() } : {}),
    link: links.join(", "),
  };
}
