/** Refusals in the form of RFC 6749, section 5.2, with our code, message and request id beside it. */
export type OAuthErrorName =
  | "invalid_request"
  | "invalid_client"
  | "invalid_grant"
  | "invalid_scope"
  | "unauthorized_client"
  | "unsupported_grant_type"
  | "authorization_pending"
  | "slow_down"
  | "access_denied"
  | "expired_token"
  | "temporarily_unavailable"
  | "server_error";

const statuses: Partial<Record<OAuthErrorName, number>> = {
  invalid_client: 401,
  temporarily_unavailable: 429,
  server_error: 500,
};

type More = { code?: string; status?: number; headers?: Record<string, string> };

export class OAuthError extends Error {
  readonly status: number;
  readonly error: OAuthErrorName;
  readonly code: string;
  readonly headers: Record<string, string>;
  /** `code` says more than `error` where there is more to say; it is `error` otherwise. */
  constructor(error: OAuthErrorName, description: string, more: More = {}) {
    super(description);
    this.error = error;
    this.code = more.code ?? error;
    this.status = more.status ?? statuses[error] ?? 400;
    this.headers = more.headers ?? {};
  }

  body(requestId: string): Record<string, string> {
    const description = sanitised(this.message);
    return {
      error: this.error,
      error_description: description,
      code: this.code,
      message: description,
      requestId,
    };
  }
}

/** RFC 6749, section 5.2: no other characters may stand in a description. */
function sanitised(text: string): string {
  return text.replaceAll(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/gu, "?");
}

/** 429, or 503 with `status`: come again. */
export function comeAgain(code: string, description: string, retryAfterSeconds: number, status = 429): OAuthError {
  return new OAuthError("temporarily_unavailable", description, {
    code,
    status,
    headers: { "retry-after": String(retryAfterSeconds) },
  });
}
