/** Versions of the API (notifications, part E): what a label stands for. Code speaks the newest one only. */
import type { Module } from "./contract.ts";
import { type Change, createRewriting } from "./version-changes.ts";

export type Version = {
  label: string;
  releasedAt: string;
  /** Announced for this instant, which may lie ahead; a successor is there, and the sunset at least 12 months later. */
  deprecatedAt?: string;
  sunsetAt?: string;
  /** Set by the first release that has the version: its committed documents then change only as the contract admits. */
  frozen?: true;
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

/**
 * Knows the labels of an installation. `betaEnabled` is the installation's switch; the tenant's is checked per call.
 * `modules` state what their kinds of operation give as a result.
 */
export function createVersions(
  list: readonly Version[],
  all: readonly Change[],
  betaEnabled: boolean,
  modules: readonly Pick<Module, "operations">[] = [],
) {
  checkEnds(list);
  const byLabel = new Map(list.map((version) => [version.label, version]));
  const newest = list[list.length - 1]!;

  const inOrder = all.toSorted((a, b) => numberOf(a.in) - numberOf(b.in));

  const resultOf = (kind: string) =>
    modules.flatMap(({ operations = [] }) => operations).find((one) => one.kind === kind)?.result;

  /** Changes made after `version`, oldest first. */
  function since(version: string): Change[] {
    return inOrder.filter((change) => numberOf(change.in) > numberOf(version));
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
    ...createRewriting(inOrder, since, resultOf),
    /**
     * Headers that every reply of a deprecated version carries (RFC 9745, RFC 8594); `path` is that of the call below
     * its label. None for the others.
     */
    headers({ deprecatedAt, sunsetAt }: Version, path: string): Record<string, string> {
      return deprecationHeaders(deprecatedAt, sunsetAt, `/${newest.label}${path}`);
    },
  };
}

/** A version is deprecated by a successor alone, and lives at least 12 months from then. */
function checkEnds(list: readonly Version[]): void {
  for (const [index, { label, deprecatedAt, sunsetAt }] of list.entries()) {
    const least = new Date(deprecatedAt ?? 0);
    least.setUTCFullYear(least.getUTCFullYear() + 1);
    if (deprecatedAt && index === list.length - 1) throw new Error(`${label} has no successor, and is deprecated.`);
    if (sunsetAt && !(deprecatedAt && new Date(sunsetAt) >= least))
      throw new Error(`${label} ends sooner than 12 months after its deprecation.`);
  }
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
