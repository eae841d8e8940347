/**
 * The documents of a version, as the code makes them, beside those that are committed: openapi/ and asyncapi/ hold what
 * was promised. Until a version is frozen (kernel/versions.ts) its files follow the code; from then on only by what the
 * first list of docs/versioning.md admits.
 */
import { globSync, readFileSync } from "node:fs";
import { compareOpenapi } from "./breaking.ts";
import { compareAsyncapi } from "./breaking-asyncapi.ts";
import { type Difference, inWords, isBreaking, type Json } from "./breaking-rules.ts";

const root = new URL("../", import.meta.url);

/** The text of a committed file; null where there is none. */
export function committed(name: string): string | null {
  try {
    return readFileSync(new URL(name, root), "utf8");
  } catch {
    return null;
  }
}

/** Committed documents of a version, by name. */
export function committedDocuments(label: string): string[] {
  return globSync(`{openapi,asyncapi}/${label}/*.json`, { cwd: root.pathname }).sort();
}

/** What of a document differs from the committed one; `after` null: it is made no more. */
export function differencesOf(name: string, before: Json, after: Json | null): Difference[] {
  if (!after) return [{ rule: "service-removed", pointer: "" }];
  return name.startsWith("asyncapi/") ? compareAsyncapi(before, after) : compareOpenapi(before, after);
}

/** One line for each breaking difference between the committed documents of a version and `made`. */
export function breakingLines(label: string, made: ReadonlyMap<string, string>): string[] {
  return committedDocuments(label).flatMap((name) => {
    const [before, after] = [committed(name)!, made.get(name)];
    if (before === after) return [];
    const differences = differencesOf(name, JSON.parse(before), after === undefined ? null : JSON.parse(after));
    return differences.filter(isBreaking).map((one) => `${name}: ${inWords(one)}`);
  });
}
