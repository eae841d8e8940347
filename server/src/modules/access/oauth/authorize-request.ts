/**
 * What a client asks for at the authorize address (RFC 6749, section 4.1.1). Until client and redirect address are known
 * to belong together, nothing is sent anywhere: the person sees a page (section 4.1.2.1).
 */
import type { OAuthClient } from "./client.ts";
import { namedClient } from "./client.ts";
import { challengeForm } from "./code.ts";
import { OAuthError } from "./error.ts";
import { decodeFormPart } from "./form.ts";
import { mayRedirect } from "./redirect.ts";
import { readScope } from "./scope.ts";
import type { AuthorizationServer } from "./server.ts";

export type AuthorizeRequest = {
  client: OAuthClient;
  redirectUri: string;
  state: string | null;
  scopes: readonly string[];
  codeChallenge: string;
  prompts: ReadonlySet<string>;
  /** How old the log-in may be. */
  maxAgeSeconds: number | null;
  loginHint: string | null;
};

export type AuthorizeReading =
  | { kind: "request"; request: AuthorizeRequest }
  /** The answer is a refusal, and where it goes. */
  | { kind: "refused"; location: string }
  /** Nobody can be trusted with an answer but the person. */
  | { kind: "unanswerable"; message: string };

/** Reads the query of an authorize request. */
export async function readAuthorizeRequest(server: AuthorizationServer, search: string): Promise<AuthorizeReading> {
  const { kernel } = server;
  const { values, repeated } = readParameters(search);
  const unanswerable = (message: string): AuthorizeReading => ({ kind: "unanswerable", message });
  const clientId = values.get("client_id");
  const redirectUri = values.get("redirect_uri");
  if (clientId === undefined || repeated.has("client_id")) return unanswerable("The address lacks a client_id.");
  const client = await namedClient(kernel.system, clientId, kernel.now());
  if (!client) return unanswerable("The application is not known here, or was switched off.");
  if (redirectUri === undefined || repeated.has("redirect_uri"))
    return unanswerable("The address lacks the redirect_uri to which the application wants its answer.");
  if (!mayRedirect(client, kernel.settings, redirectUri))
    return unanswerable("The redirect_uri is not among those that the application has registered.");
  const state = values.get("state") ?? null;
  try {
    const [twice] = repeated;
    if (twice !== undefined) throw refusal("invalid_request", `The parameter ${twice} is there twice.`);
    return { kind: "request", request: { client, redirectUri, state, ...readRest(client, values) } };
  } catch (error) {
    if (!(error instanceof OAuthError) && !(error instanceof AuthorizeRefusal)) throw error;
    return { kind: "refused", location: refusalLocation(server, { redirectUri, state }, error.error, error.message) };
  }
}

/** Refusals that only the authorize address knows (RFC 6749, section 4.1.2.1; OpenID Connect's for `prompt=none`). */
export type AuthorizeErrorName =
  | "invalid_request"
  | "invalid_scope"
  | "unauthorized_client"
  | "access_denied"
  | "unsupported_response_type"
  | "request_not_supported"
  | "request_uri_not_supported"
  | "login_required"
  | "consent_required";

class AuthorizeRefusal extends Error {
  readonly error: AuthorizeErrorName;
  constructor(error: AuthorizeErrorName, description: string) {
    super(description);
    this.error = error;
  }
}
const refusal = (error: AuthorizeErrorName, description: string) => new AuthorizeRefusal(error, description);

type Destination = Pick<AuthorizeRequest, "redirectUri" | "state">;

/** Where an answer goes, with the issuer in it (RFC 9207), so that a client of several servers knows whose it is. */
export function answerLocation(
  { kernel }: Pick<AuthorizationServer, "kernel">,
  { redirectUri, state }: Destination,
  answer: Record<string, string>,
): string {
  const parameters = new URLSearchParams({
    ...answer,
    ...(state === null ? {} : { state }),
    iss: kernel.settings.publicUrl,
  });
  return `${redirectUri}${redirectUri.includes("?") ? "&" : "?"}${parameters}`;
}

export function refusalLocation(
  server: Pick<AuthorizationServer, "kernel">,
  destination: Destination,
  error: string,
  description: string,
): string {
  const words = description.replaceAll(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/gu, "?");
  return answerLocation(server, destination, { error, error_description: words });
}

function readParameters(search: string): { values: Map<string, string>; repeated: Set<string> } {
  const values = new Map<string, string>();
  const repeated = new Set<string>();
  for (const pair of search.split("&")) {
    const mark = pair.indexOf("=");
    const name = decodeFormPart(mark < 0 ? pair : pair.slice(0, mark));
    const value = decodeFormPart(mark < 0 ? "" : pair.slice(mark + 1));
    if (!name || !value) continue;
    if (values.has(name)) repeated.add(name);
    values.set(name, value);
  }
  return { values, repeated };
}

function readRest(client: OAuthClient, values: Map<string, string>) {
  if (values.has("request")) throw refusal("request_not_supported", "Send the parameters as they are.");
  if (values.has("request_uri")) throw refusal("request_uri_not_supported", "Send the parameters as they are.");
  const type = values.get("response_type");
  if (type === undefined) throw refusal("invalid_request", "response_type is needed.");
  if (type !== "code") throw refusal("unsupported_response_type", "The only response_type is code.");
  if (!client.grants.includes("authorization_code"))
    throw refusal("unauthorized_client", "This client is not registered for the authorization code grant.");
  if ((values.get("response_mode") ?? "query") !== "query")
    throw refusal("invalid_request", "The only response_mode is query.");
  const scopes = readScope(values.get("scope"), client.scopes);
  const codeChallenge = values.get("code_challenge");
  if (
    codeChallenge === undefined ||
    values.get("code_challenge_method") !== "S256" ||
    !challengeForm.test(codeChallenge)
  )
    throw refusal("invalid_request", "A code_challenge by the code_challenge_method S256 is needed (RFC 7636).");
  return { scopes, codeChallenge, ...readPrompt(values), loginHint: values.get("login_hint")?.slice(0, 320) ?? null };
}

const promptWords = ["none", "login", "consent"];

function readPrompt(values: Map<string, string>) {
  const prompts = new Set((values.get("prompt") ?? "").split(" ").filter(Boolean));
  const unknown = [...prompts].find((word) => !promptWords.includes(word));
  if (unknown !== undefined) throw refusal("invalid_request", `prompt knows ${promptWords.join(", ")}.`);
  if (prompts.has("none") && prompts.size > 1) throw refusal("invalid_request", "prompt=none stands alone.");
  const age = values.get("max_age");
  if (age !== undefined && !/^\d{1,9}$/.test(age)) throw refusal("invalid_request", "max_age is a number of seconds.");
  return { prompts, maxAgeSeconds: age === undefined ? null : Number(age) };
}

/** The same request after the person has logged in for it: a fresh log-in is not asked for twice. */
export function withoutFreshLogIn(search: string): string {
  const parameters = new URLSearchParams(search);
  const prompts = (parameters.get("prompt") ?? "").split(" ").filter((word) => word !== "" && word !== "login");
  if (prompts.length > 0) parameters.set("prompt", prompts.join(" "));
  else parameters.delete("prompt");
  parameters.delete("max_age");
  return parameters.toString();
}
