/**
 * Errors that a caller can meet (RFC 9457). Each is declared once with `problem(...)`, beside the rule that throws it;
 * the registry is where docs/errors.md and the pages behind a problem's `type` come from.
 */
export type ProblemKind = { readonly code: string; readonly status: number; readonly title: string };

/** One fault of a request; `pointer` (RFC 6901) into the body, or `parameter` for a query parameter or header. */
export type Fault = { pointer?: string; parameter?: string; rule: string; message: string; hint?: string };

/** What a refusal adds to its kind. `members` become top-level members of the reply, `headers` its headers. */
export type Refusal = {
  detail?: string;
  errors?: Fault[];
  headers?: Record<string, string>;
  members?: Record<string, unknown>;
};

/** An expected failure. Everything else that is thrown is a bug and becomes a 500 that shows nothing. */
export class Problem extends Error {
  readonly kind: ProblemKind;
  readonly refusal: Refusal;
  constructor(kind: ProblemKind, refusal: Refusal = {}) {
    super(refusal.detail ?? kind.title);
    this.kind = kind;
    this.refusal = refusal;
  }
}

const declared = new Map<string, ProblemKind>();

/**
 * Declares a kind of problem. `code` is stable snake_case and states the condition; with its status it must be unique
 * (directory answers 400 where others answer 409).
 */
export function problem(code: string, status: number, title: string): ProblemKind {
  const name = `${code} ${status}`;
  if (declared.has(name)) throw new Error(`The problem ${name} is declared twice.`);
  const kind = { code, status, title };
  declared.set(name, kind);
  return kind;
}

/** Makes the error to throw: `throw refuse(watchNameTaken, { members: { existingId } })`. */
export function refuse(kind: ProblemKind, refusal?: Refusal): Problem {
  return new Problem(kind, refusal);
}

/** All kinds declared by the code loaded so far, by code. */
export function declaredProblems(): ProblemKind[] {
  return [...declared.values()].sort((a, b) => (a.code < b.code ? -1 : 1));
}

/** The problem of several faults in one request; `kind` where a specification names a code of its own. */
export function invalid(errors: Fault[], kind: ProblemKind = validationFailed): Problem {
  const first = errors[0];
  const detail = errors.length === 1 && first ? first.message : `The request has ${errors.length} faults.`;
  return new Problem(kind, { detail, errors });
}

/** The one wording for a reference in a body or filter that names nothing the caller may see (conventions, section 3). */
export function referenceNotFound(place: { pointer: string } | { parameter: string }): Fault {
  return { ...place, rule: "not_found", message: "Nothing with this id exists, or you may not see it." };
}

export const validationFailed = problem("validation_failed", 400, "The request is not valid.");
export const badRequest = problem("bad_request", 400, "The request cannot be read.");
export const unauthenticated = problem("unauthenticated", 401, "A valid credential is needed.");
export const credentialThrottled = problem(
  "credential_throttled",
  429,
  "Too many wrong credentials from this address.",
);
export const permissionMissing = problem("permission_missing", 403, "A permission is missing.");
export const scopeMissing = problem("scope_missing", 403, "The credential's scope does not cover this call.");
export const userNeeded = problem("user_needed", 403, "This call needs the credential of a user.");
export const keyReadOnly = problem("key_read_only", 403, "This key may only read.");
export const apiNotEnabled = problem("api_not_enabled", 403, "The API is not enabled for this tenant.");
export const serviceNotEnabled = problem("service_not_enabled", 403, "The service is not enabled for this tenant.");
export const tenantSuspended = problem("tenant_suspended", 403, "The tenant is suspended.");
export const notFound = problem("not_found", 404, "There is nothing at this address.");
export const versionUnknown = problem("version_unknown", 404, "This version label is not known.");
export const versionRetired = problem("version_retired", 410, "This version is no longer served.");
export const stale = problem("stale", 412, "The resource has changed since it was read.");
export const bodyTooLarge = problem("body_too_large", 413, "The request body is too large.");
export const mediaTypeNotSupported = problem("media_type_not_supported", 415, "The media type is not supported.");
export const requestTimedOut = problem("request_timed_out", 408, "The request took too long to arrive.");
export const headersTooLarge = problem("headers_too_large", 431, "The request's header lines are too large.");
export const rateLimited = problem("rate_limited", 429, "Too Many Requests");
export const quotaExceeded = problem("quota_exceeded", 429, "Limit Exceeded");
export const internalError = problem("internal_error", 500, "Something went wrong on our side.");
export const unavailable = problem("unavailable", 503, "The service cannot answer at the moment.");
