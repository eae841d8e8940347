/**
 * The one text of a value that was read from JSON: RFC 8785 (JCS). The verifier has its own, apart from the server's, so
 * that a fault of one of them cannot hide itself.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    // Section 3.2.3 orders keys by their UTF-16 units: sort without a comparer.
    const keys = Object.keys(value).sort();
    const members = keys.map(
      (key) => `${JSON.stringify(key)}:${canonicalJson((value as Record<string, unknown>)[key])}`,
    );
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}
