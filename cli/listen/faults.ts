/** How a connection ends, and what follows from it: the end of the command, a new credential, or another try. */

/** The codes with which `demarc listen` exits; part of what is promised. */
export const exitCode = { done: 0, usage: 2, credential: 3, destination: 4, place: 5, forward: 6 } as const;

/** The command ends: trying again would not help. */
export class Stop extends Error {
  readonly exitCode: number;

  constructor(why: Exclude<keyof typeof exitCode, "done">, message: string) {
    super(message);
    this.exitCode = exitCode[why];
  }
}

export const usage = (message: string): Stop => new Stop("usage", message);

/** The connection ended: connect again, not before `retryAfterMs`. */
export class Broken extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The credential was refused. */
export class CredentialRefused extends Error {}

/** The log no longer keeps the place; `oldestCursor` is where it begins. */
export class PlaceExpired extends Error {
  readonly oldestCursor: string;

  constructor(oldestCursor: string) {
    super("The log no longer keeps this place.");
    this.oldestCursor = oldestCursor;
  }
}

type Refusal = {
  code: string;
  detail: string;
  /** Of a reply over HTTP. */
  status?: number;
  oldestCursor?: string;
  retryAfterMs?: number;
};

/** What was asked for cannot be: the options, or what the place says, do not fit. */
const misuse = new Set([
  "cursor_unknown",
  "header_invalid",
  "header_missing",
  "header_conflict",
  "durable_differs",
  "ack_mode_required",
  "taken_over",
]);
/** A good credential that may not listen there. */
const forbidden = new Set([
  "destination_not_available",
  "permission_missing",
  "tenant_suspended",
  "api_not_enabled",
  "service_not_enabled",
  "version_unknown",
]);

/** What follows from a refusal, by the code of a problem or of an ERROR. */
export function faultOf({ code, detail, status = 0, oldestCursor, retryAfterMs }: Refusal): Error {
  const words = detail ? `${code}: ${detail}` : code;
  if (code === "position_expired" && oldestCursor) return new PlaceExpired(oldestCursor);
  if (code === "authentication_failed" || status === 401) return new CredentialRefused(words);
  if (misuse.has(code) || status === 400) return usage(words);
  if (forbidden.has(code) || status === 403 || status === 404 || status === 410) return new Stop("destination", words);
  if (status >= 300 && status < 400) return usage(`${words}: --url is not the server's own address`);
  return new Broken(words, retryAfterMs);
}

/** What follows from a reply that is no success, by its problem if it has one. */
export async function faultOfReply(reply: Response): Promise<Error> {
  const problem = (await reply.json().catch(() => ({}))) as Record<string, unknown> | null;
  const text = (name: string) => String(problem?.[name] ?? "");
  return faultOf({
    code: text("code") || `status ${reply.status}`,
    detail: text("detail") || new URL(reply.url).pathname,
    status: reply.status,
    oldestCursor: text("oldestCursor"),
    retryAfterMs: retryAfterMs(reply.headers.get("retry-after")),
  });
}

/** `Retry-After` (RFC 9110, section 10.2.3) as a wait; 0 where it says nothing. */
export function retryAfterMs(text: string | null | undefined): number {
  if (!text) return 0;
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return ms > 0 ? ms : 0;
}

/** Whatever `fetch` throws says why in its cause. */
export function wordsOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code || message : message;
}
