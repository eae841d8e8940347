/**
 * The guard against guessing (access.md, section 5.1), one for all processes: its counts stand in the database, so that a
 * try refused by one server is refused by the others, and a restart opens no lock.
 *
 * A try is entered before its password is hashed and counts as failed until it is settled: otherwise a hundred tries sent
 * at once would all pass a count that is still zero. So a burst of right log-ins of one name from one address is told to
 * wait a second past the fifth in flight.
 *
 * Only a failed try leaves rows, a refused one none, and each failed one was hashed: what is kept is bounded by what the
 * servers can hash within the hour that the longest count lasts.
 */
import { hash } from "node:crypto";
import { sql } from "kysely";
import { LRUCache } from "lru-cache";
import { type Database, type Db, hot, query } from "#kernel/db";
import type { JobKind } from "#kernel/jobs";
import {
  clearPair,
  enterTry,
  failTry,
  landTry,
  nameWaitMs,
  newTally,
  SECOND_MS,
  saysNothingFromMs,
  type Tallies,
  type Tally,
  waitMs,
} from "./guess-tally.ts";

const TRUSTED_MS = 30 * 86_400_000;
const WRONG_CREDENTIALS = { free: 60, windowMs: 60_000, refused: 20_000 };

/** Remembers from which addresses a name has logged in. */
export type SuccessStore = {
  hasSucceeded(name: string, address: string, sinceMs: number): Promise<boolean>;
  recordSuccess(name: string, address: string, atMs: number): Promise<void>;
};

/** A try that may go on to hashing; settle it exactly once, and wait for that before the reply. */
export type Try = {
  admitted: true;
  /** The password (and second factor) was right. */
  succeed(): Promise<void>;
  /**
   * It was wrong. `nameLockedUntilMs`: this failure closed the name to unknown addresses, which is the event
   * `login.locked`.
   */
  fail(): Promise<{ nameLockedUntilMs: number | null }>;
  /** Nothing was compared: the hashes were busy, the database was away. */
  cancel(): Promise<void>;
};
export type RefusedTry = { admitted: false; retryAfterSeconds: number };

export type GuessGuard = {
  /**
   * Enters a try before anything is hashed. `name` is the log-in name as given, folded by the caller, existing or not;
   * `address` in its counting form (an IPv6 address is its /64). Refused: 429 `login_throttled`, right password or not.
   */
  enter(name: string, address: string): Promise<Try | RefusedTry>;
  /** Forgets all failures of a name and lifts its lock. */
  unlock(name: string): Promise<void>;
};

type Place = { nameKey: string; address: string };
type Row = { kind: keyof Tallies; tally: Tally };

/** Which of the three counts a row is. */
const kind = sql<
  keyof Tallies
>`case when g.name_key = '' then 'address' when g.address = '' then 'name' else 'pair' end`;
const readTallies = hot<Place, Row>("read_guesses", ({ nameKey, address }) =>
  query(sql`select ${kind} as kind, g.tally from access.guess g
    where (g.name_key, g.address) in (('', ${address}), (${nameKey}, ''), (${nameKey}, ${address}))`),
);
// Every try locks its rows in this order, so no two wait for each other.
const lockTallies = hot<Place & { at: Date; empty: string }, Row>("lock_guesses", ({ nameKey, address, at, empty }) =>
  query(sql`insert into access.guess as g (name_key, address, tally, forget_at)
    values ('', ${address}, ${empty}::jsonb, ${at}), (${nameKey}, '', ${empty}::jsonb, ${at}), (${nameKey}, ${address}, ${empty}::jsonb, ${at})
    on conflict (name_key, address) do update set forget_at = g.forget_at returning ${kind} as kind, g.tally`),
);
const keepTally = hot<Place & { tally: string; forgetAt: Date }, never>("keep_guess", (row) =>
  query(sql`update access.guess set tally = ${row.tally}::jsonb, forget_at = ${row.forgetAt}
    where name_key = ${row.nameKey} and address = ${row.address}`),
);
const dropTally = hot<Place, never>("drop_guess", ({ nameKey, address }) =>
  query(sql`delete from access.guess where name_key = ${nameKey} and address = ${address}`),
);

function talliesOf(rows: readonly Row[]): Tallies {
  const found = Object.fromEntries(rows.map(({ kind, tally }) => [kind, tally]));
  return { address: newTally(), name: newTally(), pair: newTally(), ...found };
}

/** The guard for log-ins. `now` in Unix milliseconds. */
export function createGuessGuard(system: Database, now: () => number, successes: SuccessStore): GuessGuard {
  /** Changes the counts of a try, alone among all processes. */
  function change<T>(place: Place, part: (tallies: Tallies, atMs: number) => T): Promise<T> {
    return system.transaction("", async (tx) => {
      const atMs = now();
      const empty = JSON.stringify(newTally());
      const tallies = talliesOf(await tx.rows(lockTallies({ ...place, at: new Date(atMs), empty })));
      const outcome = part(tallies, atMs);
      const places: Record<keyof Tallies, Place> = {
        address: { ...place, nameKey: "" },
        name: { ...place, address: "" },
        pair: place,
      };
      for (const kind of Object.keys(places) as (keyof Tallies)[]) {
        const forgetAtMs = saysNothingFromMs(kind, tallies[kind]);
        const tally = JSON.stringify(tallies[kind]);
        if (forgetAtMs <= atMs) tx.fire(dropTally(places[kind]));
        else tx.fire(keepTally({ ...places[kind], tally, forgetAt: new Date(forgetAtMs) }));
      }
      return outcome;
    });
  }

  function makeTry(name: string, place: Place, sinceMs: number): Try {
    let settled = false;
    function settle<T>(part: (tallies: Tallies, atMs: number) => T): Promise<T> {
      if (settled) throw new Error("A log-in try was settled twice.");
      settled = true;
      return change(place, (tallies, atMs) => {
        landTry(tallies, sinceMs);
        return part(tallies, atMs);
      });
    }
    return {
      admitted: true,
      async succeed() {
        await settle(clearPair);
        await successes.recordSuccess(name, place.address, now());
      },
      fail: async () => settle((tallies, atMs) => ({ nameLockedUntilMs: failTry(tallies, atMs) })),
      cancel: async () => settle(() => {}),
    };
  }

  return {
    async enter(name, address) {
      const place = { nameKey: keyOf(name), address };
      // Looked at first without a lock: what is refused costs the least.
      const seen = talliesOf(await system.in("").rows(readTallies(place)));
      const wait = waitMs(seen, now());
      if (wait > 0) return refused(wait);
      const nameWait = nameWaitMs(seen, now());
      const isTrusted = nameWait > 0 && (await successes.hasSucceeded(name, address, now() - TRUSTED_MS));
      if (nameWait > 0 && !isTrusted) return refused(nameWait);
      // Others may have entered meanwhile.
      const entered = await change(place, (tallies, atMs) => {
        const lateWait = Math.max(waitMs(tallies, atMs), isTrusted ? 0 : nameWaitMs(tallies, atMs));
        if (lateWait === 0) enterTry(tallies, atMs);
        return { lateWait, atMs };
      });
      return entered.lateWait > 0 ? refused(entered.lateWait) : makeTry(name, place, entered.atMs);
    },
    async unlock(name) {
      await system.in("").run(query(sql`delete from access.guess where name_key = ${keyOf(name)}`));
    },
  };
}

export type WrongCredentialLimiter = {
  /**
   * Counts a wrong key, token or client secret. Null: answer the ordinary 401; else the seconds for 429
   * `credential_throttled`. Never asked about right ones, which therefore never suffer from their neighbours. Never
   * rejects: while the database is away nothing is counted.
   */
  countWrong(address: string): Promise<{ retryAfterSeconds: number } | null>;
};

const countWrongCredential = hot<{ address: string; atMs: number }, { until: number | null }>(
  "count_wrong_credential",
  ({ address, atMs }) =>
    query(
      sql`select access.count_wrong_credential(${address}, ${atMs}, ${WRONG_CREDENTIALS.free}, ${WRONG_CREDENTIALS.windowMs}) as until`,
    ),
);

/** Lets 60 wrong credentials in any minute from one address (counting form) have a 401. `now` in milliseconds. */
export function createWrongCredentialLimiter(system: Database, now: () => number): WrongCredentialLimiter {
  // Counts only grow older, so until then the answer is known: a flood costs the database sixty statements a minute.
  const refusedUntilMs = new LRUCache<string, number>({ max: WRONG_CREDENTIALS.refused });
  return {
    async countWrong(address) {
      const atMs = now();
      let untilMs: number | null = refusedUntilMs.get(address) ?? 0;
      if (untilMs <= atMs) {
        const row = await countIn(system.in(""), address, atMs);
        untilMs = row?.until ?? null;
        if (untilMs !== null) refusedUntilMs.set(address, untilMs);
      }
      return untilMs === null ? null : { retryAfterSeconds: secondsOf(untilMs - atMs) };
    },
  };
}

function countIn(db: Db, address: string, atMs: number): Promise<{ until: number | null } | undefined> {
  return db.first(countWrongCredential({ address, atMs })).catch(() => undefined);
}

export const guessJobs: readonly JobKind[] = [
  {
    name: "sweep_guesses",
    summary: "Forgets failed log-ins and wrong credentials that no longer count.",
    cron: "*/10 * * * *",
    async run({ system, now }) {
      const at = now();
      await system.in("").run(query(sql`delete from access.guess where forget_at <= ${at}`));
      await system
        .in("")
        .run(
          query(
            sql`delete from access.wrong_credential where not exists (select from unnest(at_ms) t where t > ${at.getTime() - WRONG_CREDENTIALS.windowMs})`,
          ),
        );
    },
  },
];

/** Of one length whatever was typed: a name of a megabyte takes no more room, and no name is a prefix of another. */
function keyOf(name: string): string {
  return hash("sha256", name, "base64url");
}

function refused(waitMs: number): RefusedTry {
  return { admitted: false, retryAfterSeconds: secondsOf(waitMs) };
}

function secondsOf(waitMs: number): number {
  return Math.max(1, Math.ceil(waitMs / SECOND_MS));
}
