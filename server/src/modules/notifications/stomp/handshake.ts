/** The WebSocket handshake (RFC 6455, section 4.2): what is refused before there is a session, as a problem over HTTP. */
import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { countingKey } from "#kernel/address";
import { problemBody } from "#kernel/answer";
import { readCredential } from "#kernel/credential-header";
import { unauthorized, type Visit } from "#kernel/door";
import type { Kernel } from "#kernel/kernel";
import {
  badRequest,
  credentialThrottled,
  invalid,
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
import { readQuery } from "#kernel/validate";
import { statusAt, type Version } from "#kernel/versions";
import type { Handshake } from "./session.ts";
import { standingOf } from "./standing.ts";

export const upgradeRequired = problem("upgrade_required", 426, "This address speaks WebSocket.");
export const originRefused = problem("origin_refused", 403, "Pages of this origin may not open a session.");

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

/** The best of our sub-protocols among those offered; false: none, and the handshake goes on without. */
export function chooseProtocol(offered: Set<string>): string | false {
  return protocols.find((protocol) => offered.has(protocol)) ?? false;
}

export type Bars = { secondsLeft(address: string): number };

/**
 * Judges a handshake in the order of the front door: gives what the session needs to know of it, or throws a Problem.
 * What is found out on the way is noted in `visit`.
 */
export async function judgeHandshake(
  kernel: Kernel,
  request: IncomingMessage,
  label: string,
  bars: Bars,
  visit: Visit,
): Promise<Handshake> {
  const { requestId, address } = visit;
  const search = (request.url ?? "").split("?", 2)[1] ?? "";
  visit.label = label;
  const version = resolveVersion(kernel, label);
  visit.version = version;
  if (holdsCredential(search)) throw unauthorized(visit, "malformed", "query_string");
  checkOrigin(kernel, request);
  if (kernel.events.closing.aborted) throw refuse(unavailable, { headers: { "retry-after": "1" } });
  const barred = bars.secondsLeft(countingKey(address));
  if (barred > 0) throw refuse(credentialThrottled, { headers: { "retry-after": String(barred) } });
  const credential = await checkedCredential(kernel, request, label, visit);
  checkServed(kernel, label, version);
  refuseParameters(search);
  checkProtocols(request);
  return {
    requestId,
    address,
    label,
    version,
    userAgent: request.headers["user-agent"]?.slice(0, 200) ?? null,
    credential,
    isCharged: visit.charge !== null,
  };
}

/** The version behind a label. */
function resolveVersion(kernel: Kernel, label: string): Version {
  const resolved = kernel.versions.resolve(label);
  if (!resolved) throw unknownLabel(kernel);
  return resolved.version;
}

function unknownLabel({ versions, now }: Kernel): Problem {
  return refuse(versionUnknown, { members: { versions: versions.labels(false, now()) } });
}

function checkServed({ versions, now }: Kernel, label: string, version: Version): void {
  if (statusAt(version, now()) !== "retired") return;
  throw refuse(versionRetired, {
    detail: `The version ${label} is no longer served; ${versions.newest.label} is its successor.`,
  });
}

/** What is no upgrade at all: says so, after what is wrong with its address. */
export function refusePlainCall(search: string): never {
  if (holdsCredential(search))
    throw refuse(unauthenticated, {
      headers: { "www-authenticate": 'Bearer realm="demarc", error="invalid_token"' },
      members: { hint: "query_string" },
    });
  refuseParameters(search);
  throw refuse(upgradeRequired, { headers: { upgrade: "websocket", connection: "upgrade" } });
}

/** A credential in the address is refused, whatever else is sent. */
function holdsCredential(search: string): boolean {
  return [...new URLSearchParams(search).keys()].some((name) => credentialNames.has(name.toLowerCase()));
}

function refuseParameters(search: string): void {
  const { faults } = readQuery(undefined, search);
  if (faults.length > 0) throw invalid(faults);
}

function checkOrigin(kernel: Kernel, { headers }: IncomingMessage): void {
  const { origin } = headers;
  if (origin === undefined) return;
  const { publicUrl, stomp } = kernel.settings;
  if (origin === new URL(publicUrl).origin || stomp.origins.includes(origin)) return;
  throw refuse(originRefused, { detail: "Add the origin to DEMARC_STOMP_ORIGINS, if the page is yours." });
}

function checkProtocols({ headers }: IncomingMessage): void {
  const offered = headers["sec-websocket-protocol"]?.split(",").map((one) => one.trim()) ?? [];
  if (offered.length > 0 && !offered.some((one) => protocols.includes(one)))
    throw refuse(badRequest, { detail: `None of the sub-protocols offered is known: ${protocols.join(", ")}.` });
}

/** A credential of the handshake's own headers is judged, and charged, here; CONNECT may do without one then. */
async function checkedCredential(
  kernel: Kernel,
  request: IncomingMessage,
  label: string,
  visit: Visit,
): Promise<string | null> {
  const { address } = visit;
  const presented = readCredential(request.rawHeaders, "");
  if ("refusal" in presented) {
    if (presented.refusal === "malformed") throw unauthorized(visit, "malformed", presented.hint);
    const wait = await kernel.throttle.chargeAddress(address);
    if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
    return null;
  }
  const { credential } = presented;
  const standing = await standingOf(kernel, { credential, address, label });
  if (!standing.ok) {
    visit.ownerTenantId = standing.tenantId;
    if (standing.retryAfterSeconds !== undefined)
      throw refuse(credentialThrottled, { headers: { "retry-after": String(standing.retryAfterSeconds) } });
    if (standing.code === "authentication_failed") throw unauthorized(visit, standing.reason);
    if (standing.code === "version_unknown") throw unknownLabel(kernel);
    // What else a good credential lacks is told by CONNECT's ERROR, in its words.
    return credential;
  }
  const { who } = standing;
  visit.who = who;
  const charge = await kernel.throttle.charge(who, "api", undefined);
  if (!charge.admitted)
    throw refuse(charge.violated.includes("day") ? quotaExceeded : rateLimited, {
      headers: { "retry-after": String(charge.retryAfterSeconds) },
    });
  visit.charge = charge;
  return credential;
}

/** What every reply to a handshake carries, the refusals too. */
export function handshakeHeaders(kernel: Kernel, { requestId, correlationId, version }: Visit): Record<string, string> {
  return {
    "x-request-id": requestId,
    ...(correlationId === null ? {} : { "correlation-id": correlationId }),
    ...(version === null ? {} : { "api-version": version.label, ...kernel.versions.headers(version, "/stomp") }),
  };
}

/** Answers a handshake with a problem, on the bare socket, and closes it. */
export function refuseHandshake(
  socket: Socket,
  { url = "" }: IncomingMessage,
  error: Problem,
  requestId: string,
  always: Record<string, string>,
): void {
  const body = JSON.stringify(problemBody(error, requestId, url.split("?", 1)[0]!));
  const headers: Record<string, string> = {
    ...always,
    ...error.refusal.headers,
    "content-type": "application/problem+json",
    "content-length": String(Buffer.byteLength(body)),
    "cache-control": "no-store",
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const { status } = error.kind;
  socket.on("error", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
}
