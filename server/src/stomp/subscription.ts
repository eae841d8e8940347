// One subscription: its window, and what the client has not settled.
import type { AckMode, Effect, Opened, Opening } from "./contract.ts";
import type { Header } from "./frame.ts";
import { newProgress, type Progress, parkPosition, postpone, settlePosition } from "./progress.ts";

export type Unsettled = { messageId: string; position: number; deliveries: number };

/** What an ACK or NACK means for each message that it reaches. */
export type Verdict = "settle" | "refuse" | "park";

export type Subscription = {
  key: number;
  id: string | null;
  destinationText: string;
  /** What every MESSAGE says of it. */
  headers: readonly Header[];
  /** Subscriptions of one likeness have the same headers. */
  likeness: string;
  ack: AckMode;
  /** Where settling is stored: nowhere, item by item, or as the progress of a durable. `notices` come unasked. */
  kind: "plain" | "queue" | "durable" | "notices";
  window: number;
  /** Told to the shell as `need`, less what has come since. */
  asked: number;
  /** By message number, in the order of delivery. */
  unsettled: Map<number, Unsettled>;
  progress: Progress | null;
};

/** Without acknowledgement the window bounds what is under way from the log to the socket. */
const autoWindow = 100;

export function newSubscription(key: number, opening: Opening, { progress }: Opened): Subscription {
  const durable = opening.durable !== null && progress !== null;
  const plain = opening.destination?.kind === "session" ? "notices" : "plain";
  const headers: Header[] = [["destination", opening.destinationText]];
  if (opening.id !== null) headers.push(["subscription", opening.id]);
  return {
    key,
    id: opening.id,
    destinationText: opening.destinationText,
    headers,
    likeness: JSON.stringify(headers),
    ack: opening.ack,
    kind: durable ? "durable" : opening.destination?.kind === "queue" ? "queue" : plain,
    window: opening.ack === "auto" ? autoWindow : opening.prefetch,
    asked: 0,
    unsettled: new Map(),
    progress: durable ? newProgress(progress) : null,
  };
}

/** Takes out what an ACK or NACK of a message reaches: `client` all up to it, `client-individual` it alone. */
export function takeReach({ ack, unsettled }: Subscription, number: number): Unsettled[] {
  const reach: Unsettled[] = [];
  if (ack === "client") {
    for (const [earlier, entry] of unsettled) {
      reach.push(entry);
      unsettled.delete(earlier);
      if (earlier === number) break;
    }
  } else {
    reach.push(unsettled.get(number)!);
    unsettled.delete(number);
  }
  return reach;
}

/** Carries a verdict out; gives what a queue has to store. A durable's progress is stored later, all at once. */
export function judge(
  subscription: Subscription,
  reach: readonly Unsettled[],
  verdict: Verdict,
  maxDeliveries: number,
  now: number,
): Effect[] {
  const { key, kind, progress } = subscription;
  const judged = (entry: Unsettled): Verdict =>
    verdict === "refuse" && entry.deliveries >= maxDeliveries ? "park" : verdict;
  if (progress !== null) {
    for (const entry of reach) {
      const outcome = judged(entry);
      if (outcome === "settle") settlePosition(progress, entry.position, now);
      else if (outcome === "park") parkPosition(progress, entry.position, now);
      else postpone(progress, entry.position, entry.deliveries, now);
    }
    return [];
  }
  if (kind !== "queue") return [];
  const outcomes = { settle: "done", refuse: "ready", park: "parked" } as const;
  const effects: Effect[] = [];
  for (const by of ["settle", "refuse", "park"] as const) {
    const positions = reach.filter((entry) => judged(entry) === by).map((entry) => entry.position);
    if (positions.length > 0) effects.push({ kind: "settle", subscription: key, outcome: outcomes[by], positions });
  }
  return effects;
}

/** The positions that are with the client. */
export function* outstandingPositions({ unsettled }: Subscription): Generator<number> {
  for (const entry of unsettled.values()) yield entry.position;
}

/** How many more messages the client may hold. */
export function roomFor({ window, unsettled, progress }: Subscription): number {
  return Math.max(0, window - unsettled.size - (progress?.askedAgain.size ?? 0));
}
