/** What a SUBSCRIBE may hear: destination and filters to types and a place in the log, or the one refusal for them all. */
import { readingContext, systemCaller } from "#kernel/context";
import type { Place } from "#kernel/event-cursor";
import { type EventFilter, knownTypes, typesOf } from "#kernel/event-filter";
import { findPlace } from "#kernel/event-reader";
import type { EventKind } from "#kernel/events";
import { isId } from "#kernel/ids";
import type { Kernel } from "#kernel/kernel";
import { holds, type Principal } from "#kernel/principal";
import { Problem } from "#kernel/problem";
import { instant } from "#kernel/schema";
import { faultsOf } from "#kernel/validate";
import { statusAt } from "#kernel/versions";
import type { Opening } from "../../../stomp/contract.ts";
import type { Destination } from "../../../stomp/destination.ts";
import { type FaultCode, faults, type Refusal } from "../../../stomp/faults.ts";
import { maySubscribe, Over } from "./standing.ts";

export type Hearing = {
  /** The version that events are rendered in. */
  version: string;
  filter: EventFilter;
  /** Whether the destination itself is still allowed. */
  allows(who: Principal): boolean;
};

const notAvailable: Refusal = { code: "destination_not_available" };

/** Why something thrown ends a session; undefined: a bug. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof Over) return error.refusal;
  if (!(error instanceof Problem)) return undefined;
  const { code } = error.kind;
  const { oldestCursor } = error.refusal.members ?? {};
  if (code === "position_expired" && typeof oldestCursor === "string")
    return { code, headers: [["oldest-cursor", oldestCursor]] };
  if (code in faults) return { code: code as FaultCode };
  if (code === "validation_failed") return { code: "header_invalid", detail: error.message };
  return code === "not_found" ? notAvailable : undefined;
}

/** The version of a label, as long as it is served: a session may outlive that of its connection. */
export function versionOf(kernel: Kernel, label: string): string {
  const resolved = kernel.versions.resolve(label);
  if (!resolved || !isServed(kernel, resolved.version.label)) throw new Over(notAvailable);
  return resolved.version.label;
}

/** Whether a version is still served at this moment: at its sunset what was subscribed in it ends. */
export function isServed({ versions, now }: Kernel, label: string): boolean {
  const resolved = versions.resolve(label);
  return resolved !== undefined && statusAt(resolved.version, now()) !== "retired";
}

/** What a topic of events delivers, to somebody who may hear it now. */
export async function topicHearing(
  kernel: Kernel,
  who: Principal,
  opening: Opening,
  destination: Extract<Destination, { kind: "events" }>,
  connectionVersion: string,
): Promise<Hearing> {
  const { service, noun, resource } = destination;
  const version = versionOf(kernel, destination.label ?? connectionVersion);
  const known = knownTypes(kernel.versions, version);
  const ofTopic = known.filter(
    (kind) => (service === null || kind.service === service) && (noun === null || kind.noun === noun),
  );
  const allows = (now: Principal) =>
    isServed(kernel, version) && maySubscribe(now) && (service === null || ofTopic.some((kind) => isOpenTo(now, kind)));
  if (ofTopic.length === 0 || !allows(who)) throw new Over(notAvailable);
  if (resource !== null && !(await canSee(kernel, who, service!, noun!, resource))) throw new Over(notAvailable);
  const kinds = typesOf(opening.types ?? undefined, known).filter((kind) => ofTopic.includes(kind));
  const filter: EventFilter = {
    kinds,
    includeBelow: opening.includeBelow,
    ...(resource === null ? {} : { subject: resource }),
  };
  return { version, filter, allows };
}

/** News of the operations that this principal started, wherever it acts. */
export function operationHearing(kernel: Kernel, who: Principal, opening: Opening, version: string): Hearing {
  const known = knownTypes(kernel.versions, version);
  const kinds = typesOf(opening.types ?? undefined, known).filter(
    ({ service, noun }) => service === "notifications" && noun === "operation",
  );
  return {
    version,
    filter: { kinds, includeBelow: true, ownerId: who.actor.id },
    allows: () => isServed(kernel, version),
  };
}

function isOpenTo(who: Principal, kind: EventKind): boolean {
  const { service, permission } = kind;
  const isOn = service === "access" || (who.tenant.features.has(service) && who.acting.features.has(service));
  return isOn && holds(who, permission);
}

/** Whether GET would show the resource to the caller; asked of the service itself. */
async function canSee(kernel: Kernel, who: Principal, service: string, noun: string, id: string): Promise<boolean> {
  const path = new RegExp(`^/(?:stomp-)?${noun.replaceAll("_", "-")}/\\{\\w+\\}$`);
  const routes = kernel.modules.find(({ name }) => name === service)?.routes ?? [];
  const route = routes.find((one) => one.method === "GET" && path.test(one.path));
  if (!route) return false;
  if (route.permission !== "any" && route.permission !== "open" && !holds(who, route.permission)) return false;
  const name = /\{(\w+)\}/.exec(route.path)![1]!;
  const ctx = readingContext(kernel, { ...systemCaller(kernel, who.acting, "subscribe"), who });
  try {
    await route.run(ctx, { params: { [name]: id }, query: {}, body: undefined } as never);
    return true;
  } catch (error) {
    if (error instanceof Problem && error.kind.status < 500) return false;
    throw error;
  }
}

/** Where a SUBSCRIBE wants to begin; null: it does not say. */
export async function beginningOf(kernel: Kernel, who: Principal, opening: Opening): Promise<Place | null> {
  const { from, lastEventId } = opening;
  const { cursors } = kernel.events;
  if (lastEventId !== null) {
    if (isId("evt", lastEventId)) return findPlace(kernel, who, { eventId: lastEventId }, "last-event-id");
    return cursors.read(lastEventId, who.acting.id, "last-event-id");
  }
  if (from === null) return null;
  if (from === "now" || from === "start") return findPlace(kernel, who, { from }, "from");
  if (faultsOf(instant, from).length === 0) return findPlace(kernel, who, { at: new Date(from) }, "from");
  return cursors.read(from, who.acting.id, "from");
}
