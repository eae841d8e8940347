/**
 * Where a durable subscription stands: what is settled, out of order too, and what was refused and waits for its next
 * delivery. Messages are named by position; no body is kept.
 */
import type { DurableState, Effect } from "./contract.ts";

/** A refused message comes again after 1 s, doubling up to 60 s. */
const firstRetryMs = 1000;
const longestRetryMs = 60_000;
/** Stored at the latest so long after the ACK. */
const storeWithinMs = 1000;
/** What may be settled or waiting beyond the first message that is not settled; then nothing new is asked for. */
const maxAhead = 10_000;

export type Progress = {
  /** Everything up to here was delivered, or may not be seen. */
  readTo: number;
  deliveredTo: number;
  /** Delivered in an earlier session, or perhaps: repeats. */
  repeatsTo: number;
  settledAbove: Set<number>;
  parked: number[];
  /** By the number of deliveries so far, since those of one number wait equally long: position to the time it is due. */
  waiting: Map<number, Map<number, number>>;
  /** Asked for again and not yet here: position to the deliveries so far. */
  askedAgain: Map<number, number>;
  /** Since when something is not stored. */
  changedAt: number | null;
};

export function newProgress({ position, deliveredTo, settledAbove }: DurableState): Progress {
  return {
    readTo: position,
    deliveredTo,
    repeatsTo: deliveredTo,
    settledAbove: new Set(settledAbove),
    parked: [],
    waiting: new Map(),
    askedAgain: new Map(),
    changedAt: null,
  };
}

export function settlePosition(progress: Progress, position: number, now: number): void {
  progress.settledAbove.add(position);
  progress.changedAt ??= now;
}

export function parkPosition(progress: Progress, position: number, now: number): void {
  progress.parked.push(position);
  settlePosition(progress, position, now);
}

/** Notes a first or repeated delivery; gives how often the message was delivered, this time included. */
export function notePosition(progress: Progress, position: number, told: number, now: number): number {
  const before = progress.askedAgain.get(position);
  if (before !== undefined) {
    progress.askedAgain.delete(position);
    return before + 1;
  }
  progress.readTo = Math.max(progress.readTo, position);
  if (position > progress.deliveredTo) {
    progress.deliveredTo = position;
    progress.changedAt ??= now;
  }
  return position <= progress.repeatsTo ? Math.max(told, 2) : told;
}

/** Notes that everything up to a position was delivered or may not be seen. */
export function noteReadTo(progress: Progress, readTo: number, now: number): void {
  if (readTo <= progress.readTo) return;
  progress.readTo = readTo;
  progress.changedAt ??= now;
}

/** Puts a refused message aside until its time comes. */
export function postpone(progress: Progress, position: number, deliveries: number, now: number): void {
  const delayMs = Math.min(firstRetryMs * 2 ** (deliveries - 1), longestRetryMs);
  const equals = progress.waiting.get(deliveries) ?? new Map<number, number>();
  progress.waiting.set(deliveries, equals.set(position, now + delayMs));
}

/** Takes up to `room` messages whose time has come; they are `askedAgain` from now on. */
export function takeDue(progress: Progress, now: number, room: number): number[] {
  const due: number[] = [];
  for (const [deliveries, equals] of progress.waiting) {
    for (const [position, dueAt] of equals) {
      if (dueAt > now || due.length >= room) break;
      equals.delete(position);
      progress.askedAgain.set(position, deliveries);
      due.push(position);
    }
    if (equals.size === 0) progress.waiting.delete(deliveries);
  }
  return due.sort((a, b) => a - b);
}

/** When the next waiting message is due. */
export function nextDueAt(progress: Progress): number {
  let next = Number.POSITIVE_INFINITY;
  for (const equals of progress.waiting.values())
    for (const dueAt of equals.values()) {
      next = Math.min(next, dueAt);
      break;
    }
  return next;
}

export function storeDueAt({ changedAt }: Progress): number {
  return changedAt === null ? Number.POSITIVE_INFINITY : changedAt + storeWithinMs;
}

/** Too much hangs on one unsettled message; what waits still comes again. `outstanding`: positions with the client. */
export function isFarAhead(progress: Progress, outstanding: Iterable<number>): boolean {
  let waiting = 0;
  for (const equals of progress.waiting.values()) waiting += equals.size;
  if (progress.settledAbove.size + waiting < maxAhead) return false;
  trim(progress, outstanding);
  return progress.settledAbove.size + waiting >= maxAhead;
}

/** The state to store. Nothing is left to store after it. */
export function takeProgress(progress: Progress, subscription: number, outstanding: Iterable<number>): Effect {
  const position = trim(progress, outstanding);
  const { parked, deliveredTo } = progress;
  progress.parked = [];
  progress.changedAt = null;
  const settledAbove = [...progress.settledAbove].sort((a, b) => a - b);
  return { kind: "progress", subscription, position, deliveredTo, settledAbove, parked };
}

/** The position up to which nothing is open; what is settled below it need not be remembered one by one. */
function trim({ readTo, settledAbove, askedAgain, waiting }: Progress, outstanding: Iterable<number>): number {
  let lowest = readTo + 1;
  for (const position of outstanding) lowest = Math.min(lowest, position);
  for (const position of askedAgain.keys()) lowest = Math.min(lowest, position);
  for (const equals of waiting.values()) for (const position of equals.keys()) lowest = Math.min(lowest, position);
  for (const settled of settledAbove) if (settled < lowest) settledAbove.delete(settled);
  return lowest - 1;
}
