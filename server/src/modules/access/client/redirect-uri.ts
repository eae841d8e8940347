import type { Fault } from "#kernel/problem";

const loopback = /^(localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** https, or http to a loopback address (RFC 8252, section 7.3); no fragment, no credentials, nothing to be guessed. */
export function redirectFaults(uris: readonly string[]): Fault[] {
  return uris.flatMap((uri, index) => {
    const message = redirectFault(uri);
    return message ? [{ pointer: `/redirectUris/${index}`, rule: "format", message }] : [];
  });
}

/** What is wrong with an address; null: nothing. */
export function redirectFault(uri: string): string | null {
  // Compared character by character at authorize: what a parser would repair must not be stored.
  if (!/^https?:\/\/[\x21-\x7e]+$/.test(uri) || !URL.canParse(uri)) return "Must be an https address.";
  const url = new URL(uri);
  if (url.protocol === "http:" && !loopback.test(url.hostname)) return "Must be https, or http to a loopback address.";
  if (uri.includes("#")) return "Must have no fragment.";
  if (url.username || url.password) return "Must hold no credentials.";
  if (uri.includes("*") || uri.includes("\\")) return "Must be one exact address.";
  return null;
}
