import type { Entry } from "./door.ts";

/** Tells which verbs an address knows, for the `allow` of a 404; HEAD and OPTIONS are not among them. */
export function createAllow(entries: readonly Entry[]): (path: string) => string[] {
  const patterns = entries.map(({ route }) => ({
    method: route.method as string,
    matches: new RegExp(`^/[^/]+${route.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
  }));
  return (path) => [...new Set(patterns.filter(({ matches }) => matches.test(path)).map(({ method }) => method))];
}
