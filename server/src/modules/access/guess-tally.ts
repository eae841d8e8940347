/** The counts behind the guard against guessing (access.md, section 5.1), without any store. All times in Unix milliseconds. */

export const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

const PAIR = { free: 5, windowMs: 15 * MINUTE_MS, firstPauseMs: MINUTE_MS, longestPauseMs: HOUR_MS };
const ADDRESS = { free: 60, windowMs: 10 * MINUTE_MS, pauseMs: 10 * MINUTE_MS };
const NAME = { free: 50, windowMs: HOUR_MS, pauseMs: HOUR_MS };
/** A try that is not settled by then was lost with its process. */
const FLIGHT_MS = MINUTE_MS;

/** Failures and tries in flight in time order, and the end of the running pause. `pauses`: how many came one on another. */
export type Tally = { failedAtMs: number[]; flyingSinceMs: number[]; pausedUntilMs: number; pauses: number };
/** What one try is counted by. */
export type Tallies = { address: Tally; name: Tally; pair: Tally };

export function newTally(): Tally {
  return { failedAtMs: [], flyingSinceMs: [], pausedUntilMs: 0, pauses: 0 };
}

/** How long a name must wait at an address, and an address at all; 0: it may try. */
export function waitMs({ pair, address }: Tallies, atMs: number): number {
  return Math.max(pairWaitMs(pair, atMs), countedWaitMs(address, ADDRESS, atMs));
}

/** How long a name must wait at an address from which it has not succeeded lately. */
export function nameWaitMs({ name }: Tallies, atMs: number): number {
  return countedWaitMs(name, NAME, atMs);
}

/** Enters a try: it counts as failed until it is settled. */
export function enterTry(tallies: Tallies, atMs: number): void {
  for (const tally of Object.values(tallies)) tally.flyingSinceMs.push(atMs);
}

/** Takes a try that was entered at `sinceMs` out of flight. */
export function landTry(tallies: Tallies, sinceMs: number): void {
  for (const { flyingSinceMs } of Object.values(tallies)) {
    const index = flyingSinceMs.indexOf(sinceMs);
    if (index >= 0) flyingSinceMs.splice(index, 1);
  }
}

/** Counts a failure. Gives until when it closed the name to unknown addresses; null: it did not. */
export function failTry({ pair, address, name }: Tallies, atMs: number): number | null {
  failPair(pair, atMs);
  failCounted(address, ADDRESS, atMs);
  return failCounted(name, NAME, atMs) ? atMs + NAME.pauseMs : null;
}

/** Forgets the failures of a name at an address; others in flight still count. */
export function clearPair({ pair }: Tallies): void {
  Object.assign(pair, { failedAtMs: [], pausedUntilMs: 0, pauses: 0 });
}

/** From when on a tally says nothing any more. */
export function saysNothingFromMs(kind: keyof Tallies, tally: Tally): number {
  const { windowMs } = { pair: PAIR, address: ADDRESS, name: NAME }[kind];
  const last = (times: number[]) => times.at(-1) ?? Number.NEGATIVE_INFINITY;
  return Math.max(
    0,
    last(tally.failedAtMs) + windowMs,
    last(tally.flyingSinceMs) + FLIGHT_MS,
    tally.pausedUntilMs > 0 ? tally.pausedUntilMs + windowMs : 0,
  );
}

/** After a pause one try at a time is let through. */
function pairWaitMs(tally: Tally, atMs: number): number {
  if (atMs < tally.pausedUntilMs) return tally.pausedUntilMs - atMs;
  if (atMs >= tally.pausedUntilMs + PAIR.windowMs) tally.pauses = 0;
  dropOld(tally, PAIR.windowMs, atMs);
  const free = tally.pauses > 0 ? 1 : PAIR.free - tally.failedAtMs.length;
  return tally.flyingSinceMs.length < free ? 0 : SECOND_MS;
}

function failPair(tally: Tally, atMs: number): void {
  if (tally.pauses === 0) {
    dropOld(tally, PAIR.windowMs, atMs);
    tally.failedAtMs.push(atMs);
    if (tally.failedAtMs.length < PAIR.free) return;
  }
  tally.failedAtMs = [];
  tally.pausedUntilMs = atMs + Math.min(PAIR.longestPauseMs, PAIR.firstPauseMs * 2 ** tally.pauses);
  tally.pauses += 1;
}

type Limit = { free: number; windowMs: number; pauseMs: number };

function countedWaitMs(tally: Tally, limit: Limit, atMs: number): number {
  if (atMs < tally.pausedUntilMs) return tally.pausedUntilMs - atMs;
  dropOld(tally, limit.windowMs, atMs);
  return tally.failedAtMs.length + tally.flyingSinceMs.length < limit.free ? 0 : SECOND_MS;
}

/** Counts a failure; true when it begins a pause. Failures during one (of trusted addresses) do not make it longer. */
function failCounted(tally: Tally, limit: Limit, atMs: number): boolean {
  if (atMs < tally.pausedUntilMs) return false;
  dropOld(tally, limit.windowMs, atMs);
  tally.failedAtMs.push(atMs);
  if (tally.failedAtMs.length < limit.free) return false;
  tally.failedAtMs = [];
  tally.pausedUntilMs = atMs + limit.pauseMs;
  return true;
}

function dropOld(tally: Tally, windowMs: number, atMs: number): void {
  tally.failedAtMs = tally.failedAtMs.filter((at) => at + windowMs > atMs);
  tally.flyingSinceMs = tally.flyingSinceMs.filter((since) => since + FLIGHT_MS > atMs);
}
