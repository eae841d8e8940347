/** The WebSocket handshake (RFC 6455, section 4.2): what is refused before there is a session, as a problem over HTTP. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { clientAddress, countingKey } from "#kernel/address";
import { problemBody } from "#kernel/answer";
import { readCredential } from "#kernel/credential-header";
import { newId } from "#kernel/ids";
import type { Kernel } from "#kernel/kernel";
import {
  badRequest,
  credentialThrottled,
  type Problem,
  problem,
  quotaExceeded,
  rateLimited,
  refuse,
  unauthenticated,
  unavailable,
  versionRetired,
  versionUnknown,
} from "#kernel/problem";
import { statusAt } from "#kernel/versions";
import type { Handshake } from "./session.ts";
import { standingOf } from "./standing.ts";

export const upgradeRequired = problem("upgrade_required", 426, "This address speaks WebSocket.");
const originRefused = problem("origin_refused", 403, "Pages of this origin may not open a session.");

const protocols = ["v12.stomp", "v11.stomp", "v10.stomp"];
const credentialNames = new Set([
  "access_token",
  "api_key",
  "apikey",
  "x-api-key",
  "authtoken",
  "technician_key",
  "token",
  "passcode",
  "authorization",
]);
const safeRequestId = /^[A-Za-z0-9._-]{1,64}$/;

/** The best of our sub-protocols among those offered; false: none, and the handshake goes on without. */
export function chooseProtocol(offered: Set<string>): string | false {
  return protocols.find((protocol) => offered.has(protocol)) ?? false;
}

export type Bars = { secondsLeft(address: string): number };

/** Judges a handshake: gives what the session needs to know of it, or throws a Problem. */
export async function judgeHandshake(
  kernel: Kernel,
  request: IncomingMessage,
  label: string,
  bars: Bars,
): Promise<Handshake> {
  const url = request.url ?? "";
  const address = clientAddress(request, kernel.settings.trustedProxies);
  const version = servedVersion(kernel, label);
  if (hasCredentialInQuery(url)) throw unauthorized({ hint: "query_string" });
  checkOrigin(kernel, request);
  const offered = offeredProtocols(request);
  if (offered.length > 0 && !offered.some((one) => protocols.includes(one)))
    throw refuse(badRequest, { detail: `None of the sub-protocols offered is known: ${protocols.join(", ")}.` });
  if (kernel.events.closing.aborted) throw refuse(unavailable, { headers: { "retry-after": "1" } });
  const barred = bars.secondsLeft(countingKey(address));
  if (barred > 0) throw refuse(credentialThrottled, { headers: { "retry-after": String(barred) } });
  const credential = await checkedCredential(kernel, request, address, label);
  const given = request.headers["x-request-id"];
  return {
    requestId: typeof given === "string" && safeRequestId.test(given) ? given : newId("rid"),
    address,
    label,
    version,
    userAgent: request.headers["user-agent"]?.slice(0, 200) ?? null,
    credential,
    isCharged: credential !== null,
  };
}

/** The version behind a label, while it is served. */
export function servedVersion(kernel: Kernel, label: string) {
  const { versions } = kernel;
  const resolved = versions.resolve(label);
  if (!resolved) throw refuse(versionUnknown, { members: { versions: versions.labels(false, kernel.now()) } });
  const { version } = resolved;
  if (statusAt(version, kernel.now()) === "retired")
    throw refuse(versionRetired, {
      detail: `The version ${label} is no longer served; ${versions.newest.label} is its successor.`,
    });
  return version;
}

function hasCredentialInQuery(url: string): boolean {
  const mark = url.indexOf("?");
  if (mark < 0) return false;
  return [...new URLSearchParams(url.slice(mark + 1)).keys()].some((name) => credentialNames.has(name.toLowerCase()));
}

function checkOrigin(kernel: Kernel, { headers }: IncomingMessage): void {
  const { origin } = headers;
  if (origin === undefined) return;
  const { publicUrl, stomp } = kernel.settings;
  if (origin === new URL(publicUrl).origin || stomp.origins.includes(origin)) return;
  throw refuse(originRefused, { detail: "Add the origin to DEMARC_STOMP_ORIGINS, if the page is yours." });
}

function offeredProtocols({ headers }: IncomingMessage): string[] {
  const text = headers["sec-websocket-protocol"];
  return text === undefined ? [] : text.split(",").map((one) => one.trim());
}

/** A credential of the handshake's own headers is judged, and charged, here; CONNECT may do without one then. */
async function checkedCredential(
  kernel: Kernel,
  request: IncomingMessage,
  address: string,
  label: string,
): Promise<string | null> {
  const presented = readCredential(request.rawHeaders, "");
  if ("refusal" in presented) {
    if (presented.refusal === "malformed") throw unauthorized(presented.hint ? { hint: presented.hint } : {});
    const wait = await kernel.throttle.chargeAddress(address);
    if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
    return null;
  }
  const standing = await standingOf(kernel, { credential: presented.credential, address, label });
  if (!standing.ok) {
    if (standing.retryAfterSeconds !== undefined)
      throw refuse(credentialThrottled, { headers: { "retry-after": String(standing.retryAfterSeconds) } });
    // What a good credential lacks is told by CONNECT's ERROR, in its words.
    if (standing.code === "authentication_failed") throw unauthorized({});
    return presented.credential;
  }
  const charge = await kernel.throttle.charge(standing.who, "api", undefined);
  if (!charge.admitted)
    throw refuse(charge.violated.includes("day") ? quotaExceeded : rateLimited, {
      headers: { "retry-after": String(charge.retryAfterSeconds) },
    });
  return presented.credential;
}

function unauthorized(members: Record<string, unknown>): Problem {
  return refuse(unauthenticated, { headers: { "www-authenticate": 'Bearer realm="demarc"' }, members });
}

/** Answers a handshake with a problem, on the bare socket, and closes it. `about`: the headers that every reply has. */
export function refuseHandshake(
  socket: Socket,
  request: IncomingMessage,
  error: Problem,
  about: Record<string, string> & { "x-request-id": string },
): void {
  const path = (request.url ?? "").split("?", 1)[0]!;
  const body = JSON.stringify(problemBody(error, about["x-request-id"], path));
  const headers: Record<string, string> = {
    ...error.refusal.headers,
    "content-type": "application/problem+json",
    "content-length": String(Buffer.byteLength(body)),
    ...about,
    "cache-control": "no-store",
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const { status, title } = error.kind;
  socket.on("error", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${title.replaceAll(/[^ -~]/g, "")}\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
}
