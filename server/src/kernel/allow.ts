import type { Entry } from "./door.ts";

/** Tells which verbs an address knows, for the `allow` of a 404; HEAD and OPTIONS are not among them. */
export function createAllow(entries: readonly Entry[]): (path: string) => string[] {
  const patterns = entries.map(({ route }) => ({
    method: route.method,
    matches: new RegExp(`^/[^/]+${route.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
    dynamic: route.path.includes("{"),
  }));
  return (path) => {
    const fitting = patterns.filter(({ matches }) => matches.test(path));
    const exact = fitting.filter(({ dynamic }) => !dynamic);
    return [...new Set((exact.length ? exact : fitting).map(({ method }) => method as string))];
  };
}
