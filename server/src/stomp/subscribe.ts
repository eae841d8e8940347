// SUBSCRIBE's headers: what they may say, and what excludes what.
import type { AckMode, Opening } from "./contract.ts";
import { parseDestination } from "./destination.ts";
import { type Refusal, refuse } from "./faults.ts";
import type { Frame, Version } from "./frame.ts";

const defaultPrefetch = 100;
const maxPrefetch = 1000;
const typePattern = /^(?:\*|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*(?:\.\*)?)$/;

/** Judged in this order: what is missing, what has a bad value, what excludes what. */
export function readSubscribe({ headers }: Frame, version: Version, chat: RegExp | null): Opening | Refusal {
  const id = headers.get("id") ?? null;
  const destinationText = headers.get("destination");
  if (id === null && version !== "1.0") return refuse("header_missing", "SUBSCRIBE needs the header id.");
  if (destinationText === undefined) return refuse("header_missing", "SUBSCRIBE needs the header destination.");
  if (headers.has("selector")) return refuse("header_invalid", "selector is not supported.");
  const ack = readAck(headers.get("ack"), version);
  if (ack === null) return refuse("header_invalid", "ack is auto, client or, from 1.1 on, client-individual.");
  const prefetch = readPrefetch(headers.get("prefetch-count"));
  if (prefetch === null) return refuse("header_invalid", `prefetch-count is 1 to ${maxPrefetch}.`);
  const types =
    headers
      .get("types")
      ?.split(",")
      .map((pattern) => pattern.trim()) ?? null;
  if (types?.some((pattern) => !typePattern.test(pattern)))
    return refuse("header_invalid", "types are event types, or beginnings of them with a last part *.");
  const includeBelow = readFlag(headers.get("include-below"));
  const replace = readFlag(headers.get("replace"));
  if (includeBelow === null || replace === null)
    return refuse("header_invalid", "include-below and replace are true or false.");
  const durable = readDurable(headers.get("durable"), id);
  if (durable === "invalid") return refuse("header_invalid", "A durable name has 1 to 64 of A-Z a-z 0-9 . _ -");
  const opening: Opening = {
    id,
    destinationText,
    destination: parseDestination(destinationText, chat),
    ack,
    prefetch,
    types,
    tenant: headers.get("tenant") ?? null,
    includeBelow,
    from: headers.get("from") ?? null,
    lastEventId: headers.get("last-event-id") ?? null,
    durable: durable === null ? null : { name: durable, replace },
  };
  return findConflict(opening) ?? opening;
}

function findConflict({ destination, ack, types, from, lastEventId, durable }: Opening): Refusal | null {
  if (from !== null && lastEventId !== null)
    return refuse("header_conflict", "from and last-event-id exclude each other.");
  const isTopic = destination === null || destination.kind === "events";
  const isLogged = isTopic || destination.kind === "operations";
  if (!isLogged && (from !== null || lastEventId !== null || types !== null))
    return refuse("header_invalid", "from, last-event-id and types are for topics of events and for operations.");
  if (!isTopic && durable !== null) return refuse("header_invalid", "Only a topic of events can be durable.");
  if (durable !== null && ack === "auto") return refuse("ack_mode_required");
  return null;
}

function readAck(value: string | undefined, version: Version): AckMode | null {
  if (value === undefined || value === "auto") return "auto";
  if (value === "client") return "client";
  return value === "client-individual" && version !== "1.0" ? "client-individual" : null;
}

function readPrefetch(value: string | undefined): number | null {
  if (value === undefined) return defaultPrefetch;
  const count = /^[0-9]{1,4}$/.test(value) ? Number(value) : 0;
  return count >= 1 && count <= maxPrefetch ? count : null;
}

function readFlag(value: string | undefined): boolean | null {
  if (value === undefined || value === "false") return false;
  return value === "true" ? true : null;
}

/** `true` stands for the subscription's id; `false` is what clients of other brokers send for none. */
function readDurable(value: string | undefined, id: string | null): string | null | "invalid" {
  if (value === undefined || value === "false") return null;
  const name = value === "true" ? id : value;
  return name !== null && /^[A-Za-z0-9._-]{1,64}$/.test(name) ? name : "invalid";
}
