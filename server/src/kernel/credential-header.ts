/**
 * Finds the one credential of a call (access, sections 4 and 5.3). The hints describe the form of the header alone, never
 * the state of a credential.
 */
export type Presented =
  | { credential: string }
  | {
      refusal: "absent" | "malformed";
      hint?: "bearer_colon" | "bearer_twice" | "unknown_scheme" | "two_credentials" | "query_string";
    };

const queryNames = /[?&](access_token|api_key|apikey|x-api-key|authtoken|technician_key)=/i;
const visibleAscii = /^[\x21-\x7e]+$/;
/** A key has at most 256 characters; an access token is longer, and bounded by the size of the header block. */
const longestCredential = 8_192;

/** `rawHeaders` as Node gives them: two equal header lines are two credentials, which the joined form would hide. */
export function readCredential(rawHeaders: readonly string[], url: string): Presented {
  let found: Presented | undefined;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toLowerCase();
    if (name !== "authorization" && name !== "x-api-key") continue;
    if (found) return { refusal: "malformed", hint: "two_credentials" };
    const value = rawHeaders[index + 1]!.trim();
    found = name === "x-api-key" ? checked(value, 256) : bearer(value);
  }
  if (found) return found;
  if (url.includes("?") && queryNames.test(decoded(url))) return { refusal: "malformed", hint: "query_string" };
  return { refusal: "absent" };
}

function bearer(value: string): Presented {
  if (/^bearer\s*:/i.test(value)) return { refusal: "malformed", hint: "bearer_colon" };
  const match = /^bearer[ \t]+(.*)$/i.exec(value);
  if (!match) return { refusal: "malformed", hint: "unknown_scheme" };
  if (/^bearer[ \t]/i.test(match[1]!)) return { refusal: "malformed", hint: "bearer_twice" };
  return checked(match[1]!.trim(), longestCredential);
}

function checked(credential: string, most: number): Presented {
  return credential.length <= most && visibleAscii.test(credential) ? { credential } : { refusal: "malformed" };
}

function decoded(url: string): string {
  try {
    return decodeURIComponent(url);
  } catch {
    return url;
  }
}
