/**
 * Steps 1 to 8 of the front door (conventions, section 2), all before a body is read: request id, label and address,
 * credential, tenant, features, permission, throttle, sunset. The order is a promise: once a step refuses, nothing after
 * it is looked at. Everything here answers from memory when it can, so that an ordinary call waits for nothing.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Call, Route } from "./contract.ts";
import { readCredential } from "./credential-header.ts";
import { newId } from "./ids.ts";
import type { Kernel, RefusalReason, Verdict } from "./kernel.ts";
import type { Service } from "./permissions.ts";
import type { Principal } from "./principal.ts";
import { actorHolds, lacking, onlyReads, scopeCovers } from "./principal.ts";
import {
  apiNotEnabled,
  credentialThrottled,
  keyReadOnly,
  notFound,
  Problem,
  quotaExceeded,
  rateLimited,
  refuse,
  scopeMissing,
  serviceNotEnabled,
  tenantSuspended,
  unauthenticated,
  versionRetired,
  versionUnknown,
} from "./problem.ts";
import { admitReader } from "./readers.ts";
import type { Charge, Wait } from "./throttle.ts";
import { deprecationHeaders, statusAt, type Version } from "./versions.ts";

/** A route with its service: an entry of the installation's route table. */
export type Entry = { route: Route; service: Service; template: string };

/** What the front door knows of a call so far; it stays with the request until the activity line is written. */
export type Visit = {
  requestId: string;
  startedAtMs: number;
  correlationId: string | null;
  address: string;
  label: string | null;
  version: Version | null;
  entry: Entry | null;
  /** Steps 3 to 7 passed: the caller, and the tenant whose log a refused call belongs to. */
  who: Principal | null;
  ownerTenantId: string | null;
  reason: RefusalReason | null;
  code: string | null;
  charge: Charge | null;
  bytesIn: number;
};

declare module "fastify" {
  interface FastifyRequest {
    visit: Visit;
  }
}

/** Entries that share a method and a path template, newest first; one of them lives in the version asked for. */
export type Group = readonly Entry[];

const safeToken = /^[A-Za-z0-9._-]{1,128}$/;
const safeRequestId = /^[A-Za-z0-9._-]{1,64}$/;

export function openVisit(request: FastifyRequest, address: string): Visit {
  const given = request.headers["x-request-id"];
  const correlation = request.headers["correlation-id"];
  return {
    requestId: typeof given === "string" && safeRequestId.test(given) ? given : newId("rid"),
    startedAtMs: performance.now(),
    correlationId: typeof correlation === "string" && safeToken.test(correlation) ? correlation : null,
    address,
    label: null,
    version: null,
    entry: null,
    who: null,
    ownerTenantId: null,
    reason: null,
    code: null,
    charge: null,
    bytesIn: 0,
  };
}

export function createDoor(kernel: Kernel, allowedVerbs: (path: string) => string[]) {
  const { versions, gate, throttle } = kernel;

  /** Passes a request through the door; a refusal is thrown. Returns a promise only where something must be fetched. */
  function enter(request: FastifyRequest, reply: FastifyReply, group: Group): void | Promise<void> {
    const visit = request.visit;
    resolveEntry(request, reply, visit, group);
    const route = visit.entry!.route;
    if (route.permission === "open") return passOpen(request, reply);
    const presented = readCredential(request.raw.rawHeaders, request.raw.url ?? "");
    if ("refusal" in presented)
      throw unauthorized(visit, presented.refusal === "absent" ? null : "malformed", presented.hint);
    const verdict = gate.authenticate(presented.credential, visit.address);
    return verdict instanceof Promise
      ? verdict.then((settled) => recognised(request, settled))
      : recognised(request, verdict);
  }

  function resolveEntry(request: FastifyRequest, reply: FastifyReply, visit: Visit, group: Group): void {
    const label = (request.params as { label: string }).label;
    const resolved = versions.resolve(label);
    if (!resolved) throw unknownLabel();
    visit.label = label;
    visit.version = resolved.version;
    sign(request, reply, resolved.version);
    const entry = group.find(
      ({ route }) => versions.covers(route.versions, resolved.version.label) && (!route.preview || resolved.preview),
    );
    if (!entry) throw wrongAddress(request.raw.url ?? "");
    visit.entry = entry;
    const { deprecated } = entry.route;
    if (deprecated && !resolved.version.deprecatedAt)
      reply.headers(deprecationHeaders(deprecated.at, deprecated.sunset, `/${label}${deprecated.successor}`));
  }

  /** For whom a label does not exist after all, its reply says nothing of what it stands for. */
  function unsign(reply: FastifyReply): void {
    for (const name of ["api-version", "deprecation", "sunset", "link"]) reply.removeHeader(name);
  }

  /** What every reply of a version carries, also the refusals that follow. */
  function sign(request: FastifyRequest, reply: FastifyReply, version: Version): void {
    reply.header("api-version", version.label);
    if (version.deprecatedAt) reply.headers(versions.headers(version, pathOf(request)));
  }

  /** What is to be answered where no route is: the label's own headers, and which part of the address is wrong. */
  function missing(request: FastifyRequest, reply: FastifyReply): Problem {
    const url = request.raw.url ?? "";
    const resolved = versions.resolve(url.split(/[/?]/, 2)[1] ?? "");
    if (resolved) sign(request, reply, resolved.version);
    const known = resolved || allowedVerbs(url.split("?", 1)[0]!).length > 0;
    return known ? wrongAddress(url) : unknownLabel();
  }

  function passOpen(request: FastifyRequest, reply: FastifyReply): void | Promise<void> {
    const { visit } = request;
    const passed = (wait: Wait): void | Promise<void> => {
      if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
      if (!visit.entry!.route.isDocument || kernel.settings.docsAccess === "public") return checkSunset(visit);
      return admitReader(kernel, request, reply).then((isIn) => (isIn ? checkSunset(visit) : undefined));
    };
    const wait = throttle.chargeAddress(visit.address);
    return wait instanceof Promise ? wait.then(passed) : passed(wait);
  }

  function recognised(request: FastifyRequest, verdict: Verdict): void | Promise<void> {
    const visit = request.visit;
    if (!verdict.ok) {
      visit.ownerTenantId = verdict.tenantId;
      if (verdict.retryAfterSeconds !== undefined) {
        visit.reason = verdict.reason;
        throw refuse(credentialThrottled, { headers: { "retry-after": String(verdict.retryAfterSeconds) } });
      }
      throw unauthorized(visit, verdict.reason, verdict.hint);
    }
    visit.who = verdict.who;
    const acting = actingOf(request, verdict.who);
    const act = (who: Principal) => {
      visit.who = who;
      return allowed(request);
    };
    return acting instanceof Promise ? acting.then(act) : act(acting);
  }

  /** Step 4: the caller in the tenant that it acts in. */
  function actingOf(request: FastifyRequest, who: Principal): Principal | Promise<Principal> {
    if (who.tenant.suspended) throw refuse(tenantSuspended);
    const named = request.headers["demarc-tenant"];
    if (named === undefined) return who;
    const card = typeof named === "string" ? gate.tenant(named) : null;
    const act = (acting: typeof who.acting | null) => {
      if (!acting?.lineage.includes(who.tenant.id)) {
        throw refuse(notFound, { detail: "The tenant named by Demarc-Tenant does not exist, or you may not see it." });
      }
      return acting.id === who.acting.id ? who : { ...who, acting };
    };
    return card instanceof Promise ? card.then(act) : act(card);
  }

  /** Step 5. */
  function checkFeatures({ label, entry }: Visit, who: Principal): void {
    const { tenant } = who;
    const { service } = entry!;
    if (label === "beta" && !tenant.features.has("beta")) throw unknownLabel();
    if (!tenant.features.has("api") && who.via.clientId !== "demarc-console") throw refuse(apiNotEnabled);
    if (service !== "access" && !(tenant.features.has(service) && who.acting.features.has(service))) {
      throw refuse(serviceNotEnabled, {
        detail: `The service ${service} is not enabled for this tenant.`,
        members: { service },
      });
    }
  }

  /** Steps 3 to 6 once more, for a call that goes on for long: the caller as it is now. Charges nothing. */
  async function again(request: FastifyRequest): Promise<Principal> {
    const { visit } = request;
    const presented = readCredential(request.raw.rawHeaders, request.raw.url ?? "");
    if ("refusal" in presented) throw unauthorized(visit, "malformed", presented.hint);
    const verdict = await gate.authenticate(presented.credential, visit.address);
    if (!verdict.ok) throw unauthorized(visit, verdict.reason);
    const who = await actingOf(request, verdict.who);
    checkFeatures(visit, who);
    checkPermission(who, visit.entry!.route);
    return who;
  }

  /** Steps 5 to 8. */
  function allowed(request: FastifyRequest): void | Promise<void> {
    const visit = request.visit;
    const { who, entry } = visit as { who: Principal; entry: Entry };
    checkFeatures(visit, who);
    let refusal: Problem | undefined;
    try {
      checkPermission(who, entry.route);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      refusal = error;
    }
    const charge = throttle.charge(who, entry.route.lane ?? "api", entry.route.ownBucket);
    const charged = (result: Charge) => {
      visit.charge = result;
      // An empty bucket does not turn the 403 of step 6 into a 429.
      if (refusal) throw refusal;
      if (!result.admitted) throw throttled(result);
      checkSunset(visit);
    };
    return charge instanceof Promise ? charge.then(charged) : charged(charge);
  }

  function checkSunset(visit: Visit): void {
    if (statusAt(visit.version!, kernel.now()) !== "retired") return;
    throw refuse(versionRetired, {
      detail: `The version ${visit.label} is no longer served; ${versions.newest.label} is its successor.`,
    });
  }

  function unknownLabel(): Problem {
    return refuse(versionUnknown, { members: { versions: versions.labels(false, kernel.now()) } });
  }

  function wrongAddress(url: string): Problem {
    const allow = allowedVerbs(url.split("?", 1)[0]!);
    return refuse(notFound, {
      members: allow.length ? { allow } : {},
      headers: allow.length ? { allow: allow.join(", ") } : {},
      detail: allow.length ? `This address knows only ${allow.join(", ")}.` : undefined,
    });
  }

  return { enter, again, missing, unsign };
}

/** The path of a call below its label. */
function pathOf(request: FastifyRequest): string {
  const path = (request.raw.url ?? "").split("?", 1)[0]!;
  return path.slice(Math.max(0, path.indexOf("/", 1)));
}

function unauthorized(visit: Visit, reason: RefusalReason | null, hint?: string): Problem {
  visit.reason = reason;
  const challenge = reason === null ? 'Bearer realm="demarc"' : 'Bearer realm="demarc", error="invalid_token"';
  return refuse(unauthenticated, { headers: { "www-authenticate": challenge }, members: hint ? { hint } : {} });
}

function checkPermission(who: Principal, route: Route): void {
  const { permission } = route;
  if (permission !== "any" && permission !== "open") {
    if (!actorHolds(who, permission)) throw lacking(permission);
    if (!scopeCovers(who.scopes, permission)) {
      throw refuse(scopeMissing, {
        detail: `The credential's scope does not cover ${permission}.`,
        members: { permission },
        headers: { "www-authenticate": `Bearer error="insufficient_scope", scope="${permission}"` },
      });
    }
  }
  if (permission === "any" && isWrite(route) && onlyReads(who.scopes)) {
    const scope = route.scope ?? "*";
    throw refuse(scopeMissing, {
      detail: "The credential's scope covers reads only.",
      members: { permission: scope },
      headers: { "www-authenticate": `Bearer error="insufficient_scope", scope="${scope}"` },
    });
  }
  if (who.readOnly && isWrite(route)) throw refuse(keyReadOnly);
}

/** Whether a route changes anything; a read-only key opens the others, whatever their verb. */
export function isWrite(route: Route): boolean {
  return route.method !== "GET" && (route.effect ?? "write") === "write";
}

function throttled(charge: Charge): Problem {
  const kind = charge.violated.includes("day") ? quotaExceeded : rateLimited;
  return refuse(kind, {
    headers: { "retry-after": String(charge.retryAfterSeconds) },
    members: { "violated-policies": charge.violated },
  });
}

/** What an operation may know of the call it serves. */
export function callOf(request: FastifyRequest): Call {
  const { visit } = request;
  const url = request.raw.url ?? "";
  const lastEventId = request.headers["last-event-id"];
  const [path = "", search = ""] = url.slice(Math.max(0, url.indexOf("/", 1))).split("?", 2);
  return {
    path,
    search,
    requestId: visit.requestId,
    correlationId: visit.correlationId,
    label: visit.label ?? "",
    version: visit.version?.label ?? "",
    address: visit.address,
    ifMatch: entityTags(request.headers["if-match"]),
    ifNoneMatch: entityTags(request.headers["if-none-match"]),
    lastEventId: typeof lastEventId === "string" && lastEventId !== "" ? lastEventId : null,
    prefer: preferences(request.headers.prefer),
  };
}

/** The tags of an `If-Match` or `If-None-Match` header (RFC 9110, section 13.1). */
export function entityTags(header: string | undefined): string[] | null {
  if (header === undefined) return null;
  return header.match(/\*|(?:W\/)?"[^"]*"/g) ?? [];
}

const noPreference: Call["prefer"] = { wait: null, respondAsync: false };

function preferences(header: string | string[] | undefined): Call["prefer"] {
  if (header === undefined) return noPreference;
  const parts = String(header)
    .split(",")
    .map((part) => part.trim().toLowerCase());
  const wait = parts.map((part) => /^wait\s*=\s*"?(\d{1,2})"?$/.exec(part)?.[1]).find(Boolean);
  const seconds = wait === undefined ? null : Number(wait);
  return {
    wait: seconds !== null && seconds >= 1 && seconds <= 30 ? seconds : null,
    respondAsync: parts.includes("respond-async"),
  };
}
