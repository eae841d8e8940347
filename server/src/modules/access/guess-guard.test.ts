import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { startServer } from "../../../test/harness.ts";
import { createGuessGuard, createWrongCredentialLimiter, type SuccessStore, type Try } from "./guess-guard.ts";
import { enterTry, failTry, landTry, newTally, waitMs } from "./guess-tally.ts";

const HERE = "192.0.2.1";
const THERE = "198.51.100.7";
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const server = await startServer();
const { system } = server.kernel;

async function setUp() {
  await server.sql("delete from access.guess");
  const clock = { nowMs: Date.UTC(2026, 9, 1) };
  const recorded = new Map<string, number>();
  const successes: SuccessStore = {
    hasSucceeded: async (name, address, sinceMs) => (recorded.get(`${name} ${address}`) ?? -1) >= sinceMs,
    async recordSuccess(name, address, atMs) {
      recorded.set(`${name} ${address}`, atMs);
    },
  };
  const guard = createGuessGuard(system, () => clock.nowMs, successes);
  /** The guard of another server on the same database. */
  const otherGuard = () => createGuessGuard(system, () => clock.nowMs, successes);

  async function enter(name: string, address: string): Promise<Try> {
    const entered = await guard.enter(name, address);
    assert.ok(entered.admitted, `${name} from ${address} should be admitted`);
    return entered;
  }
  /** Fails so often; every one of these tries must be admitted. Says how many of them locked the name. */
  async function fail(times: number, name = "zoe", address = HERE): Promise<number> {
    let locks = 0;
    for (let i = 0; i < times; i++) {
      const { nameLockedUntilMs } = await (await enter(name, address)).fail();
      locks += nameLockedUntilMs === null ? 0 : 1;
    }
    return locks;
  }
  async function succeed(name = "zoe", address = HERE): Promise<void> {
    await (await enter(name, address)).succeed();
  }
  /** Seconds to wait, or null when a try would be admitted. */
  async function waitOf(name = "zoe", address = HERE): Promise<number | null> {
    const entered = await guard.enter(name, address);
    if (!entered.admitted) return entered.retryAfterSeconds;
    await entered.cancel();
    return null;
  }
  return { clock, guard, otherGuard, successes, enter, fail, succeed, waitOf };
}

test("42: after five failures the sixth try is refused for 60 s there, whatever its password, and not elsewhere", async () => {
  const { clock, fail, waitOf } = await setUp();
  await fail(5);
  assert.equal(await waitOf(), 60);
  clock.nowMs += 59 * SECOND + 1;
  assert.equal(await waitOf(), 1);
  assert.equal(await waitOf("zoe", THERE), null);
  assert.equal(await waitOf("max", HERE), null);
  clock.nowMs += 999;
  assert.equal(await waitOf(), null);
});

test("each failure after a pause doubles it, up to one hour, and lets one try through in between", async () => {
  const { clock, enter, fail, waitOf } = await setUp();
  await fail(5);
  for (const seconds of [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]) {
    assert.equal(await waitOf(), seconds);
    clock.nowMs += seconds * SECOND;
    const only = await enter("zoe", HERE);
    assert.equal(await waitOf(), 1);
    await only.fail();
  }
});

test("a refused try neither counts nor prolongs the pause", async () => {
  const { clock, fail, waitOf } = await setUp();
  await fail(5);
  for (let i = 0; i < 100; i++) await waitOf();
  clock.nowMs += MINUTE;
  assert.equal(await waitOf(), null);
});

test("five failures are free in any 15 minutes, and a failure is forgotten when it is 15 minutes old", async () => {
  const { clock, fail, waitOf } = await setUp();
  await fail(4);
  clock.nowMs += 15 * MINUTE - 1;
  await fail(1);
  assert.equal(await waitOf(), 60);
  const later = await setUp();
  await later.fail(4);
  later.clock.nowMs += 15 * MINUTE;
  await later.fail(4);
  assert.equal(await later.waitOf(), null);
});

test("15 quiet minutes after a pause the count begins anew", async () => {
  const { clock, fail, waitOf } = await setUp();
  await fail(5);
  clock.nowMs += MINUTE + 15 * MINUTE - 1;
  await fail(1);
  assert.equal(await waitOf(), 120);
  clock.nowMs += 2 * MINUTE + 15 * MINUTE;
  await fail(5);
  assert.equal(await waitOf(), 60);
});

test("a success clears the failures of that name at that address", async () => {
  const { clock, fail, succeed, waitOf } = await setUp();
  await fail(4);
  await succeed();
  await fail(4);
  assert.equal(await waitOf(), null);
  await fail(1);
  clock.nowMs += MINUTE;
  await succeed();
  await fail(4);
  assert.equal(await waitOf(), null);
});

test("tries in flight count as failures: of a hundred sent at once five are let through", async () => {
  const { guard, waitOf } = await setUp();
  const entered = await Promise.all(Array.from({ length: 100 }, () => guard.enter("zoe", HERE)));
  const admitted = entered.filter((one): one is Try => one.admitted);
  assert.equal(admitted.length, 5);
  assert.equal(await waitOf(), 1);
  await admitted[0]!.succeed();
  assert.equal(await waitOf(), null);
  for (const one of admitted.slice(1)) await one.fail();
  assert.equal(await waitOf(), null);
});

test("a try that was cancelled leaves no trace", async () => {
  const { enter, fail, waitOf } = await setUp();
  for (let i = 0; i < 20; i++) await (await enter("zoe", HERE)).cancel();
  await fail(4);
  assert.equal(await waitOf(), null);
});

test("settling a try twice is an error, not a second count", async () => {
  const { enter } = await setUp();
  const once = await enter("zoe", HERE);
  await once.fail();
  await assert.rejects(once.fail(), /twice/);
  await assert.rejects(once.cancel(), /twice/);
  await assert.rejects(once.succeed(), /twice/);
});

test("60 failures of any names in 10 minutes close an address for 10 minutes, and no other address", async () => {
  const { clock, fail, waitOf } = await setUp();
  for (let i = 0; i < 59; i++) await fail(1, `name-${i}`);
  assert.equal(await waitOf("fresh"), null);
  await fail(1, "name-59");
  assert.equal(await waitOf("fresh"), 600);
  assert.equal(await waitOf("name-3", THERE), null);
  clock.nowMs += 10 * MINUTE;
  assert.equal(await waitOf("fresh"), null);
});

test("tries in flight count for the address too: of a hundred names sent at once sixty are let through", async () => {
  const { guard } = await setUp();
  const entered = await Promise.all(Array.from({ length: 100 }, (_, i) => guard.enter(`name-${i}`, HERE)));
  assert.equal(entered.filter((one) => one.admitted).length, 60);
});

test("failures of trusted addresses during a lock neither prolong it nor lock the name again", async () => {
  const { clock, fail, succeed, waitOf } = await setUp();
  for (let i = 0; i < 10; i++) await succeed("zoe", `198.51.100.${i}`);
  for (let i = 0; i < 50; i++) await fail(1, "zoe", `203.0.113.${i}`);
  clock.nowMs += HOUR - 1;
  let locks = 0;
  for (let i = 0; i < 10; i++) locks += await fail(5, "zoe", `198.51.100.${i}`);
  assert.equal(locks, 0);
  assert.equal(await waitOf(), 1);
  clock.nowMs += 1;
  assert.equal(await waitOf(), null);
});

test("an address that fails slowly is never closed", async () => {
  const { clock, fail } = await setUp();
  for (let i = 0; i < 200; i++) {
    await fail(1, `name-${i}`);
    clock.nowMs += 10_200;
  }
});

test("50 failures of a name in an hour lock it once, for an hour, to all addresses but those it came from lately", async () => {
  const { clock, fail, succeed, waitOf } = await setUp();
  await succeed("zoe", THERE);
  clock.nowMs += 30 * DAY;
  let locks = 0;
  for (let i = 0; i < 50; i++) locks += await fail(1, "zoe", `203.0.113.${i}`);
  assert.equal(locks, 1);
  assert.equal(await waitOf("zoe", HERE), 3_600);
  assert.equal(await waitOf("zoe", THERE), null);
  assert.equal(await waitOf("max", HERE), null);
  assert.equal(await fail(4, "zoe", THERE), 0);
  clock.nowMs += 1;
  assert.equal(await waitOf("zoe", THERE), 3_600);
  clock.nowMs += HOUR;
  assert.equal(await waitOf("zoe", HERE), null);
});

test("at a locked name a trusted address is still held to five failures", async () => {
  const { fail, succeed, waitOf } = await setUp();
  await succeed("zoe", THERE);
  for (let i = 0; i < 50; i++) await fail(1, "zoe", `203.0.113.${i}`);
  await fail(5, "zoe", THERE);
  assert.equal(await waitOf("zoe", THERE), 60);
});

test("tries that race past the question about a locked name do not pass the free five", async () => {
  const { fail, guard, succeed } = await setUp();
  await succeed("zoe", THERE);
  for (let i = 0; i < 50; i++) await fail(1, "zoe", `203.0.113.${i}`);
  const entered = await Promise.all(Array.from({ length: 30 }, () => guard.enter("zoe", THERE)));
  assert.equal(entered.filter((one) => one.admitted).length, 5);
});

test("a store that cannot answer fails the try and leaves no count behind", async () => {
  const { fail, succeed, successes, guard, waitOf } = await setUp();
  await succeed("zoe", THERE);
  for (let i = 0; i < 50; i++) await fail(1, "zoe", `203.0.113.${i}`);
  const { hasSucceeded } = successes;
  successes.hasSucceeded = () => Promise.reject(new Error("database away"));
  for (let i = 0; i < 6; i++) await assert.rejects(guard.enter("zoe", THERE), /database away/);
  successes.hasSucceeded = hasSucceeded;
  assert.equal(await waitOf("zoe", THERE), null);
});

test("unlocking a name forgets its failures everywhere, and those of no other name", async () => {
  const { fail, guard, waitOf } = await setUp();
  for (let i = 0; i < 10; i++) await fail(5, "zoe", `203.0.113.${i}`);
  await fail(5, "zoe2");
  await guard.unlock("zoe");
  assert.equal(await waitOf("zoe", "203.0.113.4"), null);
  assert.equal(await waitOf("zoe", HERE), null);
  assert.equal(await waitOf("zoe2"), 60);
});

test("tries that were refused or succeeded leave nothing behind, and what no longer counts is swept away", async () => {
  const { clock, fail, succeed, waitOf } = await setUp();
  const rows = async () => (await server.sql("select count(*)::int as n from access.guess"))[0].n;
  await fail(5);
  assert.equal(await rows(), 3);
  for (let i = 0; i < 20; i++) await waitOf();
  for (let i = 0; i < 20; i++) await succeed(`other-${i}`, `a-${i}`);
  assert.equal(await rows(), 3);
  clock.nowMs += 2 * HOUR;
  await server.sql("delete from access.guess where forget_at <= $1", [new Date(clock.nowMs)]);
  assert.equal(await rows(), 0);
  await fail(5);
  assert.equal(await waitOf(), 60);
});

test("42: five failures at one server and the sixth at another is refused; a restart opens nothing", async () => {
  const { guard, otherGuard } = await setUp();
  for (const one of [guard, otherGuard(), guard, otherGuard(), guard]) {
    const entered = await one.enter("zoe", HERE);
    assert.ok(entered.admitted);
    await entered.fail();
  }
  assert.deepEqual(await otherGuard().enter("zoe", HERE), { admitted: false, retryAfterSeconds: 60 });
});

test("of a hundred tries sent at once to two servers five are let through", async () => {
  const { guard, otherGuard } = await setUp();
  const other = otherGuard();
  const entered = await Promise.all(
    Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? guard : other).enter("zoe", HERE)),
  );
  assert.equal(entered.filter((one) => one.admitted).length, 5);
});

test("a try that was lost with its process stops counting after a minute", async () => {
  const { clock, guard, otherGuard, waitOf } = await setUp();
  for (let i = 0; i < 5; i++) await guard.enter("zoe", HERE);
  assert.equal(await waitOf(), 1);
  clock.nowMs += MINUTE;
  assert.ok((await otherGuard().enter("zoe", HERE)).admitted);
});

test("no sequence of tries gets more failures into 15 minutes than the free five and one after each pause", () => {
  const moves = fc.array(
    fc.tuple(fc.constantFrom("enter", "fail", "cancel", "wait"), fc.integer({ min: 1, max: 400 })),
    { maxLength: 150 },
  );
  fc.assert(
    fc.property(moves, (sequence) => {
      let nowMs = Date.UTC(2026, 9, 1);
      const tallies = { address: newTally(), name: newTally(), pair: newTally() };
      const flying: number[] = [];
      const guesses: number[] = [];
      for (const [move, seconds] of sequence) {
        if (move === "wait") nowMs += seconds * SECOND;
        else if (move === "enter") {
          if (waitMs(tallies, nowMs) > 0) continue;
          enterTry(tallies, nowMs);
          flying.push(nowMs);
        } else if (flying.length > 0) {
          const sinceMs = flying.shift()!;
          landTry(tallies, sinceMs);
          // Whoever is slower than a minute was given up; it is counted all the same when it comes.
          if (move === "fail") {
            failTry(tallies, nowMs);
            if (nowMs - sinceMs < MINUTE) guesses.push(nowMs);
          }
        }
      }
      // Pauses of 1, 2, 4 and 8 minutes follow the fifth: the guess after the last comes too late for the window.
      for (const from of guesses) {
        assert.ok(guesses.filter((at) => at >= from && at < from + 15 * MINUTE).length <= 8);
      }
    }),
    { numRuns: 500 },
  );
});

test("60 wrong credentials in a minute from one address have their 401, whichever server they came to; the next ones wait", async () => {
  let nowMs = 1_000_000;
  const [one, other] = [1, 2].map(() => createWrongCredentialLimiter(system, () => nowMs));
  for (let i = 0; i < 60; i++) {
    assert.equal(await (i % 2 === 0 ? one! : other!).countWrong(HERE), null);
    nowMs += 500;
  }
  assert.deepEqual(await one!.countWrong(HERE), { retryAfterSeconds: 30 });
  assert.deepEqual(await other!.countWrong(HERE), { retryAfterSeconds: 30 });
  assert.equal(await one!.countWrong(THERE), null);
  nowMs += 30 * SECOND - 1;
  assert.deepEqual(await one!.countWrong(HERE), { retryAfterSeconds: 1 });
  nowMs += 1;
  assert.equal(await one!.countWrong(HERE), null);
  assert.deepEqual(await one!.countWrong(HERE), { retryAfterSeconds: 1 });
  assert.deepEqual(await other!.countWrong(HERE), { retryAfterSeconds: 1 });
});

test("of 200 wrong credentials sent at once to two servers 60 have a 401", async () => {
  const [one, other] = [1, 2].map(() => createWrongCredentialLimiter(system, () => 5_000_000));
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? one! : other!).countWrong("203.0.113.9")),
  );
  assert.equal(answers.filter((answer) => answer === null).length, 60);
});

test("no minute of wrong credentials from one address has more than 60 answers of 401", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 200 }), async (waits) => {
      await server.sql("delete from access.wrong_credential");
      let nowMs = 10_000_000;
      const limiter = createWrongCredentialLimiter(system, () => nowMs);
      const answered: number[] = [];
      for (const wait of waits) {
        nowMs += wait;
        if ((await limiter.countWrong(HERE)) === null) answered.push(nowMs);
      }
      for (const [i, at] of answered.entries()) assert.ok((answered[i + 60] ?? Infinity) - at >= MINUTE);
    }),
    { numRuns: 30 },
  );
});
