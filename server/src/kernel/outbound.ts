import { validateHeaderName, validateHeaderValue } from "node:http";
import net from "node:net";
import tls from "node:tls";
import { type buildConnector, type Dispatcher, errors, Pool } from "undici";
import type { AddressGuard, Pinned } from "./outbound-guard.ts";

export type OutboundRequest = {
  method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  url: string;
  headers?: Readonly<Record<string, string>>;
  body?: string | Uint8Array;
  /** Look-up, connection, TLS and the whole reply together; the client's own unless said. */
  timeoutMs?: number;
  /** What is read of the reply's body; the rest is not waited for. Default 65,536. */
  maxReplyBytes?: number;
  signal?: AbortSignal;
};

/**
 * Why there is no reply. The receiver has not seen the request, except with `connection_lost`, `reply_malformed`, and a
 * `timeout` or `aborted` that struck late: then it may have acted on it.
 */
export type OutboundFailureReason =
  | "url_not_allowed"
  | "request_not_allowed"
  | "address_not_allowed"
  | "name_not_resolved"
  | "connect_failed"
  | "tls_failed"
  | "connection_lost"
  | "reply_malformed"
  | "timeout"
  | "aborted";

/**
 * `address` is the one that was chosen, or null when it did not come to that. `detail` holds host, port and error codes
 * alone: no path, query, header value or body. `durationMs` is whole milliseconds.
 */
export type OutboundReply =
  | {
      ok: true;
      status: number;
      headers: Readonly<Record<string, string | string[] | undefined>>;
      body: Uint8Array;
      truncated: boolean;
      durationMs: number;
      address: string;
    }
  | { ok: false; reason: OutboundFailureReason; detail: string; durationMs: number; address: string | null };

export type Outbound = {
  /** Makes one call. Never rejects for anything the URL, the request or the receiver does. */
  call(request: OutboundRequest): Promise<OutboundReply>;
  /** Refuses further calls, waits for those under way (they end by their own time limits), and closes idle connections. */
  close(): Promise<void>;
};

type Pools = { take(url: URL, pin: Pinned): Pool; close(): Promise<void> };
type Failure = { reason: OutboundFailureReason; detail: string };

/** These say how a message is framed or who speaks: they are the client's, not the caller's. */
const ownHeaders =
  /^(host|user-agent|content-length|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|proxy-.*)$/i;

/**
 * The one HTTP client for all outbound calls (api-conventions, section 6; exchange, 6.3). Every call asks the guard anew
 * and connects to the very address that it checked, in HTTP/1.1, without proxy; no redirect is followed, a 3xx is a reply.
 * TLS is always verified, against Node's own authorities and those of `NODE_EXTRA_CA_CERTS`.
 * @param options.connectTimeoutMs for TCP and TLS together, within the call's limit; default 5,000
 * @param options.timeoutMs of calls that state none; default 15,000
 */
export function createOutbound(options: {
  guard: AddressGuard;
  userAgent: string;
  connectTimeoutMs?: number;
  timeoutMs?: number;
}): Outbound {
  const pools = createPools(options.connectTimeoutMs ?? 5_000);
  let closed = false;

  async function call(request: OutboundRequest): Promise<OutboundReply> {
    const startedAt = performance.now();
    const timeoutMs = request.timeoutMs ?? options.timeoutMs ?? 15_000;
    const deadline = Promise.withResolvers<never>();
    const abandoned = new AbortController();
    const abandon = (reason: "timeout" | "aborted", detail: string) => {
      const fault = new CallFault(reason, detail);
      abandoned.abort(fault);
      deadline.reject(fault);
    };
    const abort = () => abandon("aborted", "The call was aborted.");
    const timer = setTimeout(() => abandon("timeout", `No complete reply within ${timeoutMs} ms.`), timeoutMs);
    request.signal?.addEventListener("abort", abort, { once: true });
    let address: string | null = null;

    async function exchange() {
      if (closed || request.signal?.aborted) throw new CallFault("aborted", "The call was aborted.");
      const headers = checkHeaders(request.headers ?? {});
      const found = await options.guard.resolveUrl(request.url, abandoned.signal);
      if (!found.ok) throw new CallFault(found.reason, found.detail);
      if (closed) throw new CallFault("aborted", "The call was aborted.");
      address = found.address;
      const reply = await pools.take(found.url, found).request({
        method: request.method,
        path: found.url.pathname + found.url.search,
        headers: { ...headers, "user-agent": options.userAgent },
        body: request.body ?? null,
        signal: abandoned.signal,
      });
      return { reply, ...(await readBody(reply.body, request.maxReplyBytes ?? 65_536)), address: found.address };
    }

    try {
      // The race is needed: undici hears of an abort only once the connection stands.
      const { reply, body, truncated, address } = await Promise.race([exchange(), deadline.promise]);
      const durationMs = Math.round(performance.now() - startedAt);
      return { ok: true, status: reply.statusCode, headers: reply.headers, body, truncated, durationMs, address };
    } catch (error) {
      return { ok: false, ...readFailure(error), durationMs: Math.round(performance.now() - startedAt), address };
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener("abort", abort);
    }
  }

  function close() {
    closed = true;
    return pools.close();
  }

  return { call, close };
}

/**
 * A URL as logs may show it: user information and fragment gone, every value of the query masked. The path is kept.
 */
export function redactUrl(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null) return "(malformed URL)";
  const query = parsed.search.slice(1).split("&");
  const masked = query.map((pair) => (pair.includes("=") ? `${pair.slice(0, pair.indexOf("="))}=***` : "***"));
  const origin = `${parsed.protocol}//${parsed.host}`;
  return origin + parsed.pathname + (parsed.search === "" ? "" : `?${masked.join("&")}`);
}

class CallFault extends Error {
  readonly reason: OutboundFailureReason;
  constructor(reason: OutboundFailureReason, detail: string) {
    super(detail);
    this.reason = reason;
  }
}

/**
 * Connections are kept for 4 s and shared by calls to one origin at one checked address, and by no others: a name that
 * has moved gets a connection of its own.
 */
function createPools(connectTimeoutMs: number): Pools {
  const pools = new Map<string, Pool>();

  function take(url: URL, pin: Pinned): Pool {
    const key = `${url.origin} ${pin.address}`;
    const known = pools.get(key);
    if (known !== undefined) return known;
    const pool = new Pool(url.origin, {
      connect: openPinned(url, pin, connectTimeoutMs),
      allowH2: false,
      keepAliveTimeout: 4_000,
      keepAliveMaxTimeout: 4_000,
    });
    const forgetIdle = () => {
      if (pool.stats.connected > 0 || pool.stats.size > 0 || pools.get(key) !== pool) return;
      pools.delete(key);
      void pool.close();
    };
    pool.on("disconnect", forgetIdle).on("connectionError", forgetIdle);
    pools.set(key, pool);
    return pool;
  }

  async function close() {
    // Emptied first: `forgetIdle` must not close a pool a second time, undici rejects that.
    const open = [...pools.values()];
    pools.clear();
    await Promise.all(open.map((pool) => pool.close()));
  }

  return { take, close };
}

/**
 * Connects to the pinned address without any look-up; the name of the URL is used for SNI and the certificate alone.
 * `rejectUnauthorized` is spelt out because `NODE_TLS_REJECT_UNAUTHORIZED` would change its default.
 */
function openPinned(url: URL, pin: Pinned, timeoutMs: number): buildConnector.connector {
  const isTls = url.protocol === "https:";
  const port = Number(url.port || (isTls ? 443 : 80));
  const isName = net.isIP(url.hostname.replace(/^\[|\]$/g, "")) === 0;
  // SNI carries no final dot (RFC 6066, section 3) and no address.
  const servername = isName ? { servername: url.hostname.replace(/\.$/, "") } : {};
  const where = `${url.hostname} port ${port}`;

  return (_, callback) => {
    const target = { host: pin.address, port, autoSelectFamily: false };
    const socket = isTls
      ? tls.connect({ ...target, ...servername, ALPNProtocols: ["http/1.1"], rejectUnauthorized: true })
      : net.connect(target);
    let reached = false;
    let settled = false;
    const settle = (fault: CallFault | null) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      if (fault === null) return callback(null, socket);
      socket.destroy();
      callback(fault, null);
    };
    const timer = setTimeout(
      () => settle(new CallFault("timeout", `No connection to ${where} within ${timeoutMs} ms.`)),
      timeoutMs,
    );
    socket.setNoDelay(true);
    socket.once("connect", () => {
      reached = true;
    });
    socket.once(isTls ? "secureConnect" : "connect", () => settle(null));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const what = reached ? `TLS with ${where} failed` : `No connection to ${where}`;
      settle(new CallFault(reached ? "tls_failed" : "connect_failed", `${what}: ${error.code ?? "no code"}.`));
    });
  };
}

function checkHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(headers)) {
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      throw new CallFault("request_not_allowed", "A header has a name or a value that HTTP does not allow.");
    }
    if (ownHeaders.test(name)) throw new CallFault("request_not_allowed", `The header ${name} is set by the client.`);
  }
  return headers;
}

async function readBody(stream: Dispatcher.ResponseData["body"], maxBytes: number) {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    // Leaving the loop destroys the stream, and with it the connection.
    if (length > maxBytes) break;
  }
  return { body: Buffer.concat(chunks).subarray(0, maxBytes), truncated: length > maxBytes };
}

/** Of a foreign error only the code is passed on: messages of Node and undici may hold bytes of the reply. */
function readFailure(error: unknown): Failure {
  if (error instanceof CallFault) return { reason: error.reason, detail: error.message };
  const { code, message } = error as NodeJS.ErrnoException;
  const malformed =
    error instanceof errors.HTTPParserError ||
    error instanceof errors.HeadersOverflowError ||
    error instanceof errors.ResponseContentLengthMismatchError ||
    (error instanceof errors.SocketError && /^bad (response|upgrade)$/.test(message));
  if (malformed) return { reason: "reply_malformed", detail: `The reply is not valid HTTP/1.1: ${error.name}.` };
  if (code === undefined || /^(UND_)?ERR_(INVALID|ASSERTION)/.test(code)) throw error;
  if (/^ERR_(SSL|TLS)_/.test(code)) return { reason: "tls_failed", detail: `TLS failed: ${code}.` };
  return { reason: "connection_lost", detail: `The connection ended before the reply was complete: ${code}.` };
}
