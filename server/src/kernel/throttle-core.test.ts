import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Bucket, LocalDay, Rate, Reading } from "./throttle-core.ts";
import {
  carryDay,
  changeRate,
  chargeBucket,
  dayBlock,
  findExcess,
  localDay,
  newBucket,
  rateLimit,
  rateLimitPolicy,
  refillBucket,
  secondsUntilCall,
  secondsUntilReset,
} from "./throttle-core.ts";

const STANDARD = { ratePerSecond: 10, burst: 20, perDay: 10_000 };
const PING = { name: "ping", ratePerSecond: 1, burst: 5 };

function readingOf(bucket: Bucket, rest: Partial<Reading> = {}): Reading {
  return { burst: bucket, day: null, own: null, ...rest };
}

function admit(bucket: Bucket, nowMs: number): boolean {
  refillBucket(bucket, nowMs);
  if (findExcess(readingOf(bucket)) !== null) return false;
  chargeBucket(bucket);
  return true;
}

function admittedOf(bucket: Bucket, calls: number, nowMs: number): number {
  return Array.from({ length: calls }, () => admit(bucket, nowMs)).filter(Boolean).length;
}

// Small figures beside the largest ones, so that edges are met often.
const rates: fc.Arbitrary<Rate> = fc.record({
  ratePerSecond: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 10_000 })),
  burst: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 100_000 })),
});
const steps = fc.array(
  fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 90_000 })),
  {
    maxLength: 120,
  },
);

test("55: 20 calls at once pass, the 21st waits one second, after which exactly 10 pass", () => {
  const bucket = newBucket(STANDARD, 5_000);
  assert.equal(admittedOf(bucket, 20, 5_000), 20);
  assert.deepEqual(findExcess(readingOf(bucket)), { code: "rate_limited", violated: ["burst"], retryAfterSeconds: 1 });
  assert.equal(admittedOf(bucket, 30, 6_000), 10);
});

test("no window of time admits more than burst + rate * its length", () => {
  fc.assert(
    fc.property(rates, steps, fc.integer({ min: 1, max: 6 }), (rate, waits, callsAtOnce) => {
      const bucket = newBucket(rate, 0);
      const admittedAt: number[] = [];
      let nowMs = 0;
      for (const wait of waits) {
        nowMs += wait;
        for (let i = 0; i < callsAtOnce; i++) if (admit(bucket, nowMs)) admittedAt.push(nowMs);
      }
      admittedAt.forEach((startMs, first) => {
        admittedAt.slice(first).forEach((endMs, more) => {
          assert.ok((more + 1) * 1000 <= rate.burst * 1000 + rate.ratePerSecond * (endMs - startMs));
        });
      });
    }),
  );
});

test("a call is admitted exactly when the level, kept independently in big integers, is 1000 or more", () => {
  fc.assert(
    fc.property(rates, fc.array(fc.integer({ min: -5_000, max: 20_000 }), { maxLength: 200 }), (rate, waits) => {
      const bucket = newBucket(rate, 1_000_000);
      const full = BigInt(rate.burst) * 1000n;
      let level = full;
      let nowMs = 1_000_000;
      for (const wait of waits) {
        nowMs += wait;
        if (wait > 0) level += BigInt(wait) * BigInt(rate.ratePerSecond);
        if (level > full) level = full;
        const room = level >= 1000n;
        assert.equal(admit(bucket, nowMs), room);
        if (room) level -= 1000n;
        assert.equal(BigInt(bucket.level), level);
      }
    }),
  );
});

test("a clock that steps back adds nothing, and inflow goes on from the corrected time", () => {
  const bucket = newBucket({ ratePerSecond: 1, burst: 2 }, 10_000);
  assert.equal(admittedOf(bucket, 3, 10_000), 2);
  assert.equal(admit(bucket, 1_000), false);
  assert.equal(admit(bucket, 1_999), false);
  assert.equal(admit(bucket, 2_000), true);
});

test("fractions of a millisecond are neither lost nor counted twice", () => {
  const bucket = newBucket({ ratePerSecond: 1000, burst: 1 }, 0.9);
  assert.equal(admit(bucket, 0.9), true);
  assert.equal(admit(bucket, 0.99), false);
  assert.equal(admit(bucket, 1.1), true);
  assert.equal(admit(bucket, 1.9), false);
  assert.ok(Number.isInteger(bucket.level));
});

test("Retry-After of a bucket is enough, and a second less would not be", () => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 0, max: 999 }), (rate, level) => {
      const seconds = secondsUntilCall({ rate, level });
      assert.ok(Number.isInteger(seconds) && seconds >= 1);
      assert.ok(level + seconds * 1000 * rate.ratePerSecond >= 1000);
      assert.ok(seconds === 1 || level + (seconds - 1) * 1000 * rate.ratePerSecond < 1000);
    }),
  );
});

test("a changed plan keeps the level, capped, and pays past time at the old rate", () => {
  const bucket = newBucket({ ratePerSecond: 10, burst: 20 }, 0);
  assert.equal(admittedOf(bucket, 20, 0), 20);
  changeRate(bucket, { ratePerSecond: 10_000, burst: 100_000 }, 500);
  assert.equal(bucket.level, 5_000);
  changeRate(bucket, { ratePerSecond: 10, burst: 3 }, 500);
  assert.equal(bucket.level, 3_000);
});

test("RateLimit's r is the truth: so many calls more are admitted at this instant, and not one beyond", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 30 }),
      fc.integer({ min: 1, max: 40 }),
      steps,
      (burst, ratePerSecond, waits) => {
        const bucket = newBucket({ ratePerSecond, burst }, 0);
        let nowMs = 0;
        for (const wait of waits.slice(0, 20)) {
          nowMs += wait;
          admit(bucket, nowMs);
        }
        const shown = Number(/^"burst";r=(\d+)/.exec(rateLimit(readingOf(bucket)))?.[1]);
        assert.equal(admittedOf(bucket, shown + 3, nowMs), shown);
      },
    ),
  );
});

test("the policy header reads as in the specification, with no day item for an unlimited day", () => {
  assert.equal(rateLimitPolicy(STANDARD), '"burst";q=20;w=2, "day";q=10000;w=86400');
  assert.equal(rateLimitPolicy({ ratePerSecond: 25, burst: 51, perDay: null }), '"burst";q=51;w=3');
  assert.equal(rateLimitPolicy(STANDARD, PING), '"burst";q=20;w=2, "day";q=10000;w=86400, "ping";q=5;w=5');
});

test("the limit header reads as in the specification, and a full bucket carries no t", () => {
  const burst = { rate: STANDARD, level: 19_999 };
  const day = { left: 9123, resetSeconds: 3600 };
  assert.equal(rateLimit({ burst, day, own: null }), '"burst";r=19;t=1, "day";r=9123;t=3600');
  const full = { rate: STANDARD, level: 20_000 };
  assert.equal(rateLimit({ burst: full, day: null, own: null }), '"burst";r=20');
  const own = { name: "ping", rate: PING, level: 4_000 };
  assert.equal(rateLimit({ burst, day, own }), '"burst";r=19;t=1, "day";r=9123;t=3600, "ping";r=4;t=1');
});

test("64: the sixth ping at one instant violates its own bucket alone", () => {
  const lane = newBucket(STANDARD, 0);
  const ping = newBucket(PING, 0);
  const reading: Reading = { burst: lane, day: { left: 8, resetSeconds: 60 }, own: { name: "ping", ...ping } };
  for (let i = 0; i < 5; i++) {
    assert.equal(findExcess(reading), null);
    chargeBucket(lane);
    reading.own!.level -= 1000;
  }
  const excess = findExcess(reading);
  assert.deepEqual(excess, { code: "rate_limited", violated: ["ping"], retryAfterSeconds: 1 });
  assert.equal(rateLimit(reading, excess?.violated), '"burst";r=15, "day";r=8, "ping";r=0;t=1');
});

test("57: a spent day is quota_exceeded until its reset, also when the bucket is empty too", () => {
  const day = { left: 0, resetSeconds: 3_600 };
  const room = { burst: { rate: STANDARD, level: 5_000 }, day, own: null };
  const spent = findExcess(room);
  assert.deepEqual(spent, { code: "quota_exceeded", violated: ["day"], retryAfterSeconds: 3_600 });
  assert.equal(rateLimit(room, spent?.violated), '"burst";r=5, "day";r=0;t=3600');
  const both = { burst: { rate: STANDARD, level: 999 }, day, own: null };
  const excess = findExcess(both);
  assert.deepEqual(excess, { code: "quota_exceeded", violated: ["burst", "day"], retryAfterSeconds: 3_600 });
  assert.equal(rateLimit(both, excess?.violated), '"burst";r=0;t=1, "day";r=0;t=3600');
});

test("blocks of a day are drawn to exactly perDay, never more, and singly at the end", () => {
  fc.assert(
    fc.property(fc.oneof(fc.integer({ min: 1, max: 3_000 }), fc.integer({ min: 1, max: 20_000 })), (perDay) => {
      const largest = Math.min(50, Math.max(1, Math.floor(perDay / 200)));
      let drawn = 0;
      for (let block = dayBlock(perDay, 0); block > 0; block = dayBlock(perDay, drawn)) {
        assert.equal(block, perDay - drawn >= 8 * largest ? largest : 1);
        drawn += block;
      }
      assert.equal(drawn, perDay);
      assert.equal(dayBlock(perDay, perDay + 5), 0);
    }),
  );
  assert.equal(dayBlock(10_000, 9_600), 50);
  assert.equal(dayBlock(10_000, 9_601), 1);
  assert.equal(dayBlock(1_000_000_000, 0), 50);
});

const ZONES = [
  "UTC",
  "Europe/London",
  "America/New_York",
  "America/Sao_Paulo",
  "Asia/Beirut",
  "Pacific/Apia",
  "Pacific/Kwajalein",
  "Australia/Lord_Howe",
  "America/St_Johns",
  "Asia/Kathmandu",
  "America/Havana",
  "Africa/Cairo",
  "America/Nuuk",
  "Antarctica/Troll",
];
const slowFormats = new Map(
  ZONES.map((timeZone) => [timeZone, new Intl.DateTimeFormat("en-CA", { timeZone, dateStyle: "short" })]),
);

/** Walks in ever smaller steps, down to seconds, to the first instant whose local date is `date` or later. */
function slowFirst(timeZone: string, date: string, fromMs: number): number {
  const format = slowFormats.get(timeZone)!;
  let atMs = Math.floor(fromMs / 900_000) * 900_000;
  for (const stepMs of [900_000, 60_000, 1_000]) {
    while (format.format(atMs) < date) atMs += stepMs;
    if (stepMs > 1_000) atMs -= stepMs;
  }
  return atMs;
}

function nextDate(date: string): string {
  return new Date(Date.parse(date) + 86_400_000).toISOString().slice(0, 10);
}

function assertDay(timeZone: string, instantMs: number): void {
  const day = localDay(timeZone, instantMs);
  const clock = slowFormats.get(timeZone)!.format(instantMs);
  // Behind the clock it may never be; ahead only where clocks went back over midnight.
  assert.ok(day.date >= clock, `${timeZone} ${instantMs}`);
  assert.ok(day.startsAtMs <= instantMs && instantMs < day.endsAtMs);
  assert.equal(day.startsAtMs, slowFirst(timeZone, day.date, day.startsAtMs - 26 * 3_600_000));
  assert.equal(day.endsAtMs, slowFirst(timeZone, nextDate(day.date), day.startsAtMs));
}

test("days agree with a slow walk over the calendar, in zones of every kind, at any instant", () => {
  const from = Date.UTC(1980, 0, 1);
  const to = Date.UTC(2037, 0, 1);
  fc.assert(
    fc.property(fc.constantFrom(...ZONES), fc.integer({ min: from, max: to }), (timeZone, instantMs) =>
      assertDay(timeZone, instantMs),
    ),
    { numRuns: 150 },
  );
});

test("days agree with the slow walk around every change of clocks in three years", () => {
  for (const timeZone of ZONES) {
    for (const year of [1993, 2011, 2026]) {
      const named = new Intl.DateTimeFormat("en", { timeZone, timeZoneName: "longOffset", hour: "numeric" });
      const offsetAt = (ms: number) => named.formatToParts(ms).find((part) => part.type === "timeZoneName")?.value;
      let before = offsetAt(Date.UTC(year, 0, 1));
      for (let ms = Date.UTC(year, 0, 1); ms < Date.UTC(year + 1, 0, 2); ms += 86_400_000) {
        const after = offsetAt(ms);
        if (after !== before)
          for (const hours of [-49, -25, -12, 0, 12, 25]) assertDay(timeZone, ms + hours * 3_600_000);
        before = after;
      }
    }
  }
});

test("days of one zone join without gap or overlap, whatever order they are asked in", () => {
  for (const timeZone of ZONES) {
    let day = localDay(timeZone, Date.UTC(2011, 11, 20));
    for (let i = 0; i < 20; i++) {
      const next = localDay(timeZone, day.endsAtMs);
      assert.equal(next.startsAtMs, day.endsAtMs);
      assert.ok(next.date > day.date);
      assert.deepEqual(localDay(timeZone, day.endsAtMs - 1), day);
      day = next;
    }
  }
});

function hoursOf(day: LocalDay): number {
  return (day.endsAtMs - day.startsAtMs) / 3_600_000;
}

test("60: 25 October 2026 in London lasts 90,000 seconds", () => {
  const day = localDay("Europe/London", Date.UTC(2026, 9, 25, 12));
  assert.deepEqual(day, {
    date: "2026-10-25",
    startsAtMs: Date.UTC(2026, 9, 24, 23),
    endsAtMs: Date.UTC(2026, 9, 26, 0),
  });
  assert.equal(secondsUntilReset(day, day.startsAtMs), 90_000);
  assert.equal(secondsUntilReset(day, day.endsAtMs - 1), 1);
  assert.equal(secondsUntilReset(day, day.endsAtMs - 1_001), 2);
});

test("where midnight is skipped the day starts with the first instant that exists", () => {
  const saoPaulo = localDay("America/Sao_Paulo", Date.UTC(2018, 10, 4, 12));
  assert.equal(saoPaulo.startsAtMs, Date.UTC(2018, 10, 4, 3));
  assert.equal(hoursOf(saoPaulo), 23);
  const beirut = localDay("Asia/Beirut", Date.UTC(2026, 2, 29, 12));
  assert.equal(beirut.startsAtMs, Date.UTC(2026, 2, 28, 22));
  assert.equal(hoursOf(beirut), 23);
});

test("a half-hour change makes a day of 24.5 hours", () => {
  assert.equal(hoursOf(localDay("Australia/Lord_Howe", Date.UTC(2026, 3, 5, 6))), 24.5);
});

test("a date that a zone skipped is no day: in Apia the 31st follows the 29th of December 2011", () => {
  const last = localDay("Pacific/Apia", Date.UTC(2011, 11, 30, 9, 59, 59));
  assert.equal(last.date, "2011-12-29");
  assert.equal(last.endsAtMs, Date.UTC(2011, 11, 30, 10));
  const next = localDay("Pacific/Apia", last.endsAtMs);
  assert.equal(next.date, "2011-12-31");
  assert.equal(hoursOf(next), 24);
});

test("clocks set back over midnight do not bring the old day again", () => {
  // 7 November 2010: at 00:01 clocks went back to 23:01 of the 6th.
  const change = Date.UTC(2010, 10, 7, 2, 31);
  const first = localDay("America/St_Johns", change - 1);
  localDay("America/St_Johns", 0);
  const repeated = localDay("America/St_Johns", change + 1_000);
  assert.equal(first.date, "2010-11-07");
  assert.deepEqual(repeated, first);
  assert.equal(hoursOf(first), 25);
});

test("after a change of zone the date goes on until it is over in both zones", () => {
  const now = Date.UTC(2026, 6, 10, 2);
  const london = localDay("Europe/London", now);
  const toNewYork = carryDay(london, "America/New_York");
  assert.deepEqual(toNewYork, { ...london, endsAtMs: Date.UTC(2026, 6, 11, 4) });
  assert.ok(localDay("America/New_York", toNewYork.endsAtMs).date > london.date);
  const newYork = localDay("America/New_York", now);
  const toLondon = carryDay(newYork, "Europe/London");
  assert.deepEqual(toLondon, newYork);
  assert.ok(localDay("Europe/London", toLondon.endsAtMs).date > newYork.date);
});

test("a name that is no time zone is refused", () => {
  assert.throws(() => localDay("Mars/Olympus", 0), RangeError);
});
