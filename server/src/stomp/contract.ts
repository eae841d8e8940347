/** What goes into a session and what comes out of it. The words are those of docs and specification; nothing here acts. */
import type { Destination } from "./destination.ts";
import type { FaultCode, Refusal } from "./faults.ts";
import type { Beat, Fault, Frame, Shared } from "./frame.ts";
import type { Stencils } from "./run.ts";

/** Times are milliseconds of the clock that gives `step` its `now`. */
export type Settings = {
  /** Told in the ERROR; the request id of the connection. */
  requestId: string;
  /** The header `server` of CONNECTED, as `Demarc/1.2.3`. */
  server: string;
  loginMs: number;
  /** What we offer: how often we can send, how often we want to hear; 0: not at all. */
  heartBeat: readonly [sendMs: number, expectMs: number];
  maxDeliveries: number;
  /** Compiled patterns of the chat profile; null: profile `events`, where nobody may SEND. */
  chat: RegExp | null;
};

export type AckMode = "auto" | "client" | "client-individual";

/** SUBSCRIBE, its headers read. `destination` null: none of the grammar, to be refused like one that is not there. */
export type Opening = {
  id: string | null;
  /** The header as it was sent. */
  destinationText: string;
  destination: Destination | null;
  ack: AckMode;
  prefetch: number;
  /** Well-formed patterns; whether they match a known type is the shell's to say. Null: all types. */
  types: readonly string[] | null;
  tenant: string | null;
  includeBelow: boolean;
  from: string | null;
  lastEventId: string | null;
  durable: { name: string; replace: boolean } | null;
};

/** A credential header of CONNECT: its lower-case name and its value without edge blanks. */
export type Credential = { header: "authorization" | "x-api-key" | "passcode"; value: string };

/** A message for one subscription. `position` names it to the shell, and orders it within the subscription. */
export type Delivery = {
  position: number;
  /** The first part of `message-id`. */
  eventId: string;
  /** How often it was delivered, this time included; above 1 it is a repeat. */
  deliveries: number;
  shared: Shared;
};

/**
 * Where a durable stands: everything up to `position` is settled, and above it `settledAbove`; up to `deliveredTo` the
 * client may have seen everything, so what comes again of it is a repeat.
 */
export type DurableState = { position: number; deliveredTo: number; settledAbove: readonly number[] };

/** What a frame does to what is stored. All effects of one wish are stored together or not at all. */
export type Effect =
  /** Items of a queue: settled, ready for another consumer, or parked. */
  | { kind: "settle"; subscription: number; outcome: "done" | "ready" | "parked"; positions: number[] }
  /** The whole state of a durable; `parked` is new. */
  | (DurableState & { kind: "progress"; subscription: number; parked: number[] })
  /** A message of the chat profile; `headers` come back in MESSAGE. */
  | { kind: "publish"; destination: Destination; headers: [name: string, value: string][]; body: Uint8Array };

export type Notice = "token.expiring" | "version.deprecated";

/** What the session wants done. Those with an `id` are answered; all are to be carried out in the order they came. */
export type Wish =
  /** Answer: authenticated or refused. Credential null: that of the handshake. */
  | { kind: "authenticate"; id: number; credential: Credential | null; login: string | null }
  /** Answer: opened or refused. `subscription` names it in every later wish and input and is never used twice. */
  | { kind: "open"; id: number; subscription: number; opening: Opening }
  /** Answer: done. Takes back all that these subscriptions have not settled. */
  | { kind: "leave"; id: number; subscriptions: number[] }
  /** Answer: done or refused. */
  | { kind: "apply"; id: number; effects: Effect[] }
  /** The subscription has room for so many new messages from now on; replaces what was needed before. */
  | { kind: "need"; subscription: number; count: number }
  /** Messages of a durable to be delivered again, in this order; those no longer visible come back in `passed`. */
  | { kind: "again"; subscription: number; positions: number[] }
  /** A notice about the session, to be rendered and given as events of this subscription. */
  | { kind: "notice"; subscription: number; notice: Notice }
  /** The clock is wanted at this time, once; replaces a later one. */
  | { kind: "wakeAt"; at: number }
  /** The session is over: give back what it holds; flush, close with `closeCode`, cut after 5 s. Null: the socket is gone. */
  | { kind: "hangUp"; closeCode: number | null; fault: FaultCode | null };

/** What happened. `wish` is the id of the wish that is answered. */
export type Input =
  | Frame
  | Beat
  | Fault
  | Authenticated
  | Opened
  | { kind: "done"; wish: number }
  | { kind: "refused"; wish: number; refusal: Refusal }
  | Events
  | { kind: "clock" }
  /** The shell ends the session with an ERROR: revoked, taken over, slow ... */
  | { kind: "end"; refusal: Refusal }
  /** The server goes down: close 1001 without ERROR. */
  | { kind: "shutdown" }
  | { kind: "gone" };

export type Authenticated = {
  kind: "authenticated";
  wish: number;
  session: string;
  apiVersion: string;
  /** When the label was, or is to be, deprecated and retired: unix seconds and `YYYY-MM-DD`. */
  deprecation: number | null;
  sunset: string | null;
  /** Null: the credential does not expire. */
  expiresAt: number | null;
};

export type Opened = {
  kind: "opened";
  wish: number;
  /** For the RECEIPT; null where the destination has none. */
  cursor: string | null;
  apiVersion: string | null;
  /** As stored, of a durable; a new one stands at its place with nothing delivered above. */
  progress: DurableState | null;
};

/** Messages for a subscription, ascending but for repeats. All may be left out; unknown subscriptions are passed over. */
export type Events = {
  kind: "events";
  subscription: number;
  batch: readonly Delivery[];
  /** Positions of the wish `again` that may no longer be seen: they count as settled. */
  passed?: readonly number[];
  /** Everything up to here was given, or may not be seen. For durables. */
  readTo?: number;
  /** Others are given the very same: what they have in common is made once. Empty at first. */
  stencils?: Stencils;
};
