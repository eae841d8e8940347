/**
 * A session's state, and a turn: one input being answered. The state is changed in place, since a copy per message would
 * make large windows quadratic; whoever calls `step` goes on with the state it returns.
 */
import type { Greeting } from "./connect.ts";
import type { Authenticated, Effect, Opening, Settings, Wish } from "./contract.ts";
import { errorFrame, type FaultCode, faults, type Refusal } from "./faults.ts";
import type { Beat, Header, OutFrame, Version } from "./frame.ts";
import type { Issued } from "./issued.ts";
import { takeProgress } from "./progress.ts";
import type { Run } from "./run.ts";
import { outstandingPositions, type Subscription } from "./subscription.ts";
import type { Transactions } from "./transaction.ts";

/** The client frame whose effect is under way; no other is taken until it is done. */
export type Current = {
  command: string;
  receipt: string | null;
  /** What RECEIPT tells besides its `receipt-id`. */
  replies: Header[];
  /** Wishes of this frame that are not answered. */
  waitsFor: Set<number>;
  /** SUBSCRIBE: what is being opened, then what begins once the RECEIPT is out. */
  opening: { key: number; opening: Opening } | null;
  opened: Subscription | null;
  /** What earlier frames settled is being stored, or is: the receipt may follow. */
  stored: boolean;
};

export type Session = {
  readonly settings: Settings;
  phase: "greeting" | "authenticating" | "refused" | "open" | "ended";
  /** Agreed by CONNECTED; the reader's and the writer's. */
  version: Version | null;
  greeting: Greeting | null;
  identity: Authenticated | null;
  /** A refused log-in that is told later, so that its time tells nothing. */
  refusal: { at: number; refusal: Refusal } | null;
  startedAt: number;
  connectAt: number;
  lastHeardAt: number;
  lastSentAt: number;
  /** When the shell will give the clock. */
  armedAt: number;
  /** When all frames taken so far would have come at the allowed rate. */
  frameDueAt: number;
  toldOfExpiry: boolean;
  current: Current | null;
  /** Stores that no frame waits for, unless it wants a receipt. */
  storing: Set<number>;
  wishCount: number;
  subscriptionCount: number;
  subscriptions: Map<number, Subscription>;
  transactions: Transactions;
  issued: Issued;
};

/** What is written to the client. */
export type Out = OutFrame | Run | Beat;

export type Turn = { state: Session; now: number; out: Out[]; wishes: Wish[] };

type Answered = Extract<Wish, { id: number }>;
type WithoutId<W> = W extends Answered ? Omit<W, "id"> : never;

/** A wish of the current frame: the frame is done when it is answered. */
export function wish(turn: Turn, wanted: WithoutId<Answered>): void {
  const id = ++turn.state.wishCount;
  turn.wishes.push({ ...wanted, id });
  turn.state.current!.waitsFor.add(id);
}

/** Has effects stored that no frame waits for. */
export function storeAside(turn: Turn, effects: Effect[]): void {
  if (effects.length === 0) return;
  const id = ++turn.state.wishCount;
  turn.wishes.push({ kind: "apply", id, effects });
  turn.state.storing.add(id);
}

/** The progress of every durable, or of some, that is settled but not stored. */
export function takeUnstored(state: Session, of: Iterable<Subscription> = state.subscriptions.values()): Effect[] {
  const effects: Effect[] = [];
  for (const subscription of of) {
    const { progress, key } = subscription;
    if (progress !== null && progress.changedAt !== null)
      effects.push(takeProgress(progress, key, outstandingPositions(subscription)));
  }
  return effects;
}

export function send(turn: Turn, command: string, headers: readonly Header[]): void {
  turn.out.push({ kind: "frame", command, headers, rest: null });
}

/** The session ends with an ERROR; `receipt` is the faulting frame's. */
export function fail(turn: Turn, refusal: Refusal, receipt: string | null): void {
  turn.out.push(errorFrame(refusal, receipt, turn.state.settings.requestId));
  hangUp(turn, faults[refusal.code][0], refusal.code);
}

/** The end: what is settled is stored, what is open is forgotten. */
export function hangUp(turn: Turn, closeCode: number | null, fault: FaultCode | null): void {
  const { state } = turn;
  storeAside(turn, takeUnstored(state));
  turn.wishes.push({ kind: "hangUp", closeCode, fault });
  state.phase = "ended";
  state.current = null;
  state.storing.clear();
  state.subscriptions.clear();
  state.transactions.clear();
  state.issued.runs = [];
}
