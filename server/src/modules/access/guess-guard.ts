/**
 * The guard against guessing (access.md, section 5.1), for one process.
 *
 * A try is entered before its password is hashed and counts as failed until it is settled: otherwise a hundred tries sent
 * at once would all pass a count that is still zero. So a burst of right log-ins of one name from one address is told to
 * wait a second past the fifth in flight.
 *
 * Memory is bounded: each table keeps its most recently touched entries and drops the others. Only a failed try leaves an
 * entry, a refused one none. So who wants a count forgotten must let that many others fail, each hashed, 60 per address in
 * 10 minutes: 800 addresses (for IPv6 as many /64) and ten minutes of this server's whole hashing, for five more guesses.
 * Dropping only ever forgives; it locks nobody out, and what is attacked right now is what was touched last.
 */
import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const PAIR = { free: 5, windowMs: 15 * MINUTE_MS, firstPauseMs: MINUTE_MS, longestPauseMs: HOUR_MS, entries: 50_000 };
const ADDRESS = { free: 60, windowMs: 10 * MINUTE_MS, pauseMs: 10 * MINUTE_MS, entries: 20_000 };
const NAME = { free: 50, windowMs: HOUR_MS, pauseMs: HOUR_MS, entries: 20_000 };
const WRONG_CREDENTIALS = { free: 60, windowMs: MINUTE_MS, entries: 20_000 };
const TRUSTED_MS = 30 * DAY_MS;

/** Failures in time order, tries in flight, and the end of the running pause. `pauses`: how many came one on another. */
type Tally = { failedAtMs: number[]; inFlight: number; pausedUntilMs: number; pauses: number };

/** Remembers, beyond this process, from which addresses a name has logged in. */
export type SuccessStore = {
  hasSucceeded(name: string, address: string, sinceMs: number): Promise<boolean>;
  recordSuccess(name: string, address: string, atMs: number): Promise<void>;
};

/** A try that may go on to hashing; settle it exactly once. */
export type Try = {
  admitted: true;
  /** The password (and second factor) was right. */
  succeed(): Promise<void>;
  /**
   * It was wrong. `nameLockedUntilMs`: this failure closed the name to unknown addresses, which is the event
   * `login.locked`.
   */
  fail(): { nameLockedUntilMs: number | null };
  /** Nothing was compared: the hashes were busy, the database was away. */
  cancel(): void;
};
export type RefusedTry = { admitted: false; retryAfterSeconds: number };

export type GuessGuard = {
  /**
   * Enters a try before anything is hashed. `name` is the log-in name as given, folded by the caller, existing or not;
   * `address` in its counting form (an IPv6 address is its /64). Refused: 429 `login_throttled`, right password or not.
   */
  enter(name: string, address: string): Promise<Try | RefusedTry>;
  /** Forgets all failures of a name and lifts its lock. */
  unlock(name: string): void;
};

/** The guard for log-ins. `now` in Unix milliseconds. */
export function createGuessGuard(now: () => number, successes: SuccessStore): GuessGuard {
  const pairs = new LRUCache<string, Tally>({ max: PAIR.entries });
  const addresses = new LRUCache<string, Tally>({ max: ADDRESS.entries });
  const names = new LRUCache<string, Tally>({ max: NAME.entries });

  function waitMsOf(nameKey: string, address: string): number {
    const atMs = now();
    return Math.max(
      pairWaitMs(pairs.get(nameKey + address), atMs),
      countedWaitMs(addresses.get(address), ADDRESS, atMs),
    );
  }

  function makeTry(name: string, nameKey: string, address: string): Try {
    const pair = hold(pairs, nameKey + address);
    const ofAddress = hold(addresses, address);
    const ofName = hold(names, nameKey);
    let settled = false;
    function settle(): void {
      if (settled) throw new Error("A log-in try was settled twice.");
      settled = true;
      for (const held of [pair, ofAddress, ofName]) held.release();
    }
    return {
      admitted: true,
      async succeed() {
        settle();
        pair.clear();
        await successes.recordSuccess(name, address, now());
      },
      fail() {
        settle();
        const atMs = now();
        failPair(pair.tally(), atMs);
        failCounted(ofAddress.tally(), ADDRESS, atMs);
        return { nameLockedUntilMs: failCounted(ofName.tally(), NAME, atMs) ? atMs + NAME.pauseMs : null };
      },
      cancel: settle,
    };
  }

  return {
    async enter(name, address) {
      const nameKey = keyOf(name);
      const waitMs = waitMsOf(nameKey, address);
      if (waitMs > 0) return refused(waitMs);
      const nameWaitMs = countedWaitMs(names.get(nameKey), NAME, now());
      if (nameWaitMs === 0) return makeTry(name, nameKey, address);
      if (!(await successes.hasSucceeded(name, address, now() - TRUSTED_MS))) return refused(nameWaitMs);
      // Others may have entered while the question was answered.
      const lateWaitMs = waitMsOf(nameKey, address);
      return lateWaitMs > 0 ? refused(lateWaitMs) : makeTry(name, nameKey, address);
    },
    unlock(name) {
      const nameKey = keyOf(name);
      names.delete(nameKey);
      for (const key of pairs.keys()) if (key.startsWith(nameKey)) pairs.delete(key);
    },
  };
}

export type WrongCredentialLimiter = {
  /**
   * Counts a wrong key, token or client secret. Null: answer the ordinary 401; else the seconds for 429
   * `credential_throttled`. Never asked about right ones, which therefore never suffer from their neighbours.
   */
  countWrong(address: string): { retryAfterSeconds: number } | null;
};

/** Lets 60 wrong credentials in any minute from one address (counting form) have a 401. `now` in milliseconds. */
export function createWrongCredentialLimiter(now: () => number): WrongCredentialLimiter {
  const addresses = new LRUCache<string, Tally>({ max: WRONG_CREDENTIALS.entries });
  return {
    countWrong(address) {
      const atMs = now();
      const tally = tallyOf(addresses, address);
      dropOld(tally, WRONG_CREDENTIALS.windowMs, atMs);
      if (tally.failedAtMs.length < WRONG_CREDENTIALS.free) {
        tally.failedAtMs.push(atMs);
        return null;
      }
      return { retryAfterSeconds: secondsOf(tally.failedAtMs[0]! + WRONG_CREDENTIALS.windowMs - atMs) };
    },
  };
}

/** How long a name must wait at an address; 0: it may try. After a pause one try at a time is let through. */
function pairWaitMs(tally: Tally | undefined, atMs: number): number {
  if (tally === undefined) return 0;
  if (atMs < tally.pausedUntilMs) return tally.pausedUntilMs - atMs;
  if (atMs >= tally.pausedUntilMs + PAIR.windowMs) tally.pauses = 0;
  dropOld(tally, PAIR.windowMs, atMs);
  const free = tally.pauses > 0 ? 1 : PAIR.free - tally.failedAtMs.length;
  return tally.inFlight < free ? 0 : SECOND_MS;
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

function countedWaitMs(tally: Tally | undefined, limit: Limit, atMs: number): number {
  if (tally === undefined) return 0;
  if (atMs < tally.pausedUntilMs) return tally.pausedUntilMs - atMs;
  dropOld(tally, limit.windowMs, atMs);
  return tally.failedAtMs.length + tally.inFlight < limit.free ? 0 : SECOND_MS;
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

function tallyOf(table: LRUCache<string, Tally>, key: string): Tally {
  let tally = table.get(key);
  if (tally === undefined) {
    tally = { failedAtMs: [], inFlight: 0, pausedUntilMs: 0, pauses: 0 };
    table.set(key, tally);
  }
  return tally;
}

/** Enters a try in a tally, until `release`; an entry that then says nothing is removed. */
function hold(table: LRUCache<string, Tally>, key: string) {
  const held = tallyOf(table, key);
  held.inFlight += 1;
  return {
    // Not `held`: it may have been dropped meanwhile.
    tally: () => tallyOf(table, key),
    /** Forgets the failures; others in flight still count. */
    clear() {
      const tally = table.peek(key);
      if (tally) Object.assign(tally, { failedAtMs: [], pausedUntilMs: 0, pauses: 0 });
    },
    release() {
      held.inFlight -= 1;
      const saysNothing = held.inFlight === 0 && held.failedAtMs.length === 0 && held.pausedUntilMs === 0;
      if (saysNothing && table.peek(key) === held) table.delete(key);
    },
  };
}

function dropOld(tally: Tally, windowMs: number, atMs: number): void {
  while (tally.failedAtMs.length > 0 && tally.failedAtMs[0]! + windowMs <= atMs) tally.failedAtMs.shift();
}

/** Of one length whatever was typed: a name of a megabyte takes no more memory, and no name is a prefix of another. */
function keyOf(name: string): string {
  return hash("sha256", name, "base64url");
}

function refused(waitMs: number): RefusedTry {
  return { admitted: false, retryAfterSeconds: secondsOf(waitMs) };
}

function secondsOf(waitMs: number): number {
  return Math.max(1, Math.ceil(waitMs / SECOND_MS));
}
