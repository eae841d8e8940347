/** One attempt (exchange, 6.3 and 6.4): what is sent, how it ended, what the log may show of it, and what comes next. */
import type { Outbound, OutboundFailureReason, OutboundReply } from "../outbound.ts";
import { redactUrl } from "../outbound.ts";
import type { Address, AttemptOutcome, Rendered } from "./contract.ts";
import { signatureOf } from "./signature.ts";

export type Sending = {
  messageId: string;
  address: Address;
  message: Rendered;
  /** Absent of test sends. */
  number?: number;
  replayId?: string | null;
  at: Date;
  signal?: AbortSignal;
};

/** An attempt as the log shows it. `aborted`: the server stopped in the middle, and it does not count. */
export type Attempt = {
  at: Date;
  durationMs: number;
  outcome: AttemptOutcome | "aborted";
  status: number | null;
  error: string | null;
  address: string | null;
  url: string;
  requestHeaders: Record<string, string>;
  replyHeaders: Record<string, string | string[]> | null;
  /** At most 8 KiB. */
  replyBody: string | null;
  /** What `Retry-After` asked for. */
  retryAfterMs: number | null;
};

const shownBytes = 8_192;
const mostWaitMs = 86_400_000;

const outcomes: Record<OutboundFailureReason, AttemptOutcome | "aborted"> = {
  url_not_allowed: "refused_address",
  address_not_allowed: "refused_address",
  request_not_allowed: "connection",
  name_not_resolved: "dns",
  connect_failed: "connection",
  connection_lost: "connection",
  reply_malformed: "connection",
  tls_failed: "tls",
  timeout: "timeout",
  aborted: "aborted",
};

/** Sends a message once. Never rejects for anything that the receiver does. */
export async function attempt(outbound: Outbound, sending: Sending): Promise<Attempt> {
  const { address, message, messageId, at } = sending;
  const timestamp = Math.floor(at.getTime() / 1_000);
  const own: Record<string, string> = {
    "content-type": message.contentType,
    "webhook-id": messageId,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": signatureOf(messageId, timestamp, message.body, address.keys),
    ...(sending.number === undefined ? {} : { "demarc-attempt": String(sending.number) }),
    ...(sending.replayId ? { "demarc-replay": sending.replayId } : {}),
  };
  const masked = Object.fromEntries(Object.keys(address.headers).map((name) => [name.toLowerCase(), "***"]));
  const reply = await outbound.call({
    method: "POST",
    url: address.url,
    headers: { ...address.headers, ...own },
    body: message.body,
    signal: sending.signal,
  });
  return {
    at,
    durationMs: reply.durationMs,
    address: reply.address,
    url: redactUrl(address.url),
    requestHeaders: { ...masked, ...own },
    ...ending(reply, at),
  };
}

type Ending = Pick<Attempt, "outcome" | "status" | "error" | "replyHeaders" | "replyBody" | "retryAfterMs">;

function ending(reply: OutboundReply, at: Date): Ending {
  if (!reply.ok) {
    const none = { status: null, replyHeaders: null, replyBody: null, retryAfterMs: null };
    return { ...none, outcome: outcomes[reply.reason], error: reply.detail };
  }
  const { status } = reply;
  const retryAfterMs = readRetryAfter(reply.headers["retry-after"], at);
  return {
    outcome: outcomeOf(status, retryAfterMs),
    status,
    error: status >= 200 && status < 300 ? null : `The receiver answered ${status}.`,
    replyHeaders: headersShown(reply.headers),
    replyBody: storable(Buffer.from(reply.body.subarray(0, shownBytes)).toString()),
    retryAfterMs,
  };
}

function outcomeOf(status: number, retryAfterMs: number | null): AttemptOutcome {
  if (status >= 200 && status < 300) return "delivered";
  if (status === 429 || (status === 503 && retryAfterMs !== null)) return "throttled";
  return status >= 300 && status < 400 ? "redirect" : "http_error";
}

/** Seconds or a date (RFC 9110, 10.2.3), as milliseconds from `at`, a day at most; null where there is none to be read. */
function readRetryAfter(value: string | string[] | undefined, at: Date): number | null {
  const text = [value].flat()[0]?.trim();
  if (!text) return null;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - at.getTime();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), mostWaitMs) : null;
}

function headersShown(headers: Readonly<Record<string, string | string[] | undefined>>) {
  const shown: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (Array.isArray(value)) shown[name] = value.map(storable);
    else if (value !== undefined) shown[name] = storable(value);
  }
  return shown;
}

/** PostgreSQL takes neither U+0000 nor lone surrogates. */
function storable(text: string): string {
  return text.replaceAll("\0", "\ufffd").toWellFormed();
}

/**
 * What becomes of a delivery after an attempt that was its `tries`-th of this run of the schedule: when the next one is
 * due (null: it is final), and until when its target pauses.
 */
export function afterAttempt(
  { outcome, status, retryAfterMs, at }: Attempt,
  tries: number,
  retrySeconds: readonly number[],
): { status: "delivered" | "retrying" | "dead"; nextAttemptAt: Date | null; pausedUntil: Date | null } {
  if (outcome === "delivered") return { status: "delivered", nextAttemptAt: null, pausedUntil: null };
  const last = tries > retrySeconds.length || status === 410;
  const waitMs = (retrySeconds[Math.min(tries, retrySeconds.length) - 1] ?? 0) * 1_000 * (0.8 + Math.random() * 0.4);
  const isPause = outcome === "throttled";
  const nextMs = isPause ? (retryAfterMs ?? waitMs) : Math.max(waitMs, retryAfterMs ?? 0);
  const next = new Date(at.getTime() + nextMs);
  return {
    status: last ? "dead" : "retrying",
    nextAttemptAt: last ? null : next,
    pausedUntil: isPause ? next : null,
  };
}
