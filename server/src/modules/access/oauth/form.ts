/** What a client sent, as a form or as JSON: names and strings, each at most once (RFC 6749, section 3.2). */
import { readJson } from "#kernel/json";
import { OAuthError } from "./error.ts";

export type Form = ReadonlyMap<string, string>;

/** Reads a body. `json`: the route also takes `application/json` (access, section 5.3). */
export function readForm(contentType: string | undefined, body: Buffer | undefined, json: boolean): Form {
  const [type = "", ...parameters] = (contentType ?? "").split(";").map((part) => part.trim().toLowerCase());
  const charset = parameters.find((part) => part.startsWith("charset="))?.slice("charset=".length);
  if (charset && !/^"?utf-?8"?$/.test(charset)) throw invalidRequest("Send UTF-8.");
  if (type === "application/x-www-form-urlencoded") return parseForm(body ?? Buffer.alloc(0));
  if (json && type === "application/json") return parseJson(body ?? Buffer.alloc(0));
  throw invalidRequest(
    `Send application/x-www-form-urlencoded${json ? " or application/json" : ""} as the media type.`,
  );
}

export function invalidRequest(description: string): OAuthError {
  return new OAuthError("invalid_request", description);
}

/** A part of a form, decoded; null where it is no form encoding of UTF-8, or holds U+0000, which PostgreSQL cannot take. */
export function decodeFormPart(text: string): string | null {
  try {
    const part = decodeURIComponent(text.replaceAll("+", " "));
    return part.includes("\0") ? null : part;
  } catch {
    return null;
  }
}

function parseForm(body: Buffer): Form {
  const form = new Map<string, string>();
  for (const pair of utf8(body, "The body is not UTF-8.").split("&")) {
    if (pair === "") continue;
    const mark = pair.indexOf("=");
    const name = decodeFormPart(mark < 0 ? pair : pair.slice(0, mark));
    const value = decodeFormPart(mark < 0 ? "" : pair.slice(mark + 1));
    if (name === null || value === null) throw invalidRequest("The body is not form-encoded UTF-8 without U+0000.");
    if (form.has(name)) throw invalidRequest(`The parameter ${name} is there twice.`);
    form.set(name, value);
  }
  // RFC 6749, section 3.1: without a value is as if left out. A repetition was refused before.
  for (const [name, value] of form) if (value === "") form.delete(name);
  return form;
}

function utf8(octets: Uint8Array, refusal: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(octets);
  } catch {
    throw invalidRequest(refusal);
  }
}

const members = [
  "grant_type",
  "client_id",
  "client_secret",
  "scope",
  "username",
  "password",
  "tenant",
  "refresh_token",
  "code",
  "redirect_uri",
  "code_verifier",
  "device_code",
  "userName",
  "passwordEncoding",
  "clientId",
  "clientSecret",
];
/** The short form's own words for members of RFC 6749. */
const shortForm = [
  ["userName", "username"],
  ["clientId", "client_id"],
  ["clientSecret", "client_secret"],
] as const;

function parseJson(body: Buffer): Form {
  const reading = readJson(body);
  if (!reading.ok) throw invalidRequest(`The body is not JSON: ${reading.fault.message}`);
  const { value } = reading;
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw invalidRequest("The body must be a JSON object.");
  }
  const given = value as Record<string, unknown>;
  const form = new Map<string, string>();
  for (const name of members) {
    const member = given[name];
    if (member === undefined || member === "") continue;
    if (typeof member !== "string") throw invalidRequest(`The member ${name} must be a string.`);
    form.set(name, member);
  }
  for (const [short, name] of shortForm) {
    const member = form.get(short);
    if (member === undefined) continue;
    if (form.has(name)) throw invalidRequest(`The members ${short} and ${name} say the same thing.`);
    form.delete(short);
    form.set(name, member);
  }
  if (!form.has("grant_type") && (form.has("username") || form.has("password"))) form.set("grant_type", "password");
  decodePassword(form);
  return form;
}

/** Base64 is read only when announced: a password may look like it. */
function decodePassword(form: Map<string, string>): void {
  const encoding = form.get("passwordEncoding");
  const password = form.get("password");
  if (encoding === undefined) return;
  if (encoding !== "base64") throw invalidRequest("The only passwordEncoding is base64.");
  if (password === undefined) return;
  const octets = Buffer.from(password, "base64");
  if (octets.toString("base64").replaceAll("=", "") !== password.replaceAll("=", "")) {
    throw invalidRequest("The password is not base64.");
  }
  form.set("password", utf8(octets, "The password is not UTF-8 in base64."));
}
