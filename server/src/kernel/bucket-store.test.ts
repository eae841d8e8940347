import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../test/harness.ts";
import { createPostgresBuckets } from "./bucket-postgres.ts";
import { agreesWithCore } from "./bucket-store.fixture.ts";
import { createLocalBuckets, createMemoryBuckets, shareOf } from "./bucket-store.ts";
import { CALL } from "./throttle-core.ts";

const server = await startServer();
const { system } = server.kernel;
const tenPerSecond = { ratePerSecond: 10, burst: 20 };

test("memory agrees with the arithmetic to the thousandth, whatever the order of calls, waits and changed plans", async () => {
  await agreesWithCore((clockMs) => createLocalBuckets(clockMs), 300);
});

test("PostgreSQL agrees with the arithmetic to the thousandth, but for what flowed in while the clock stepped back, whatever the order of calls, waits and changed plans", async () => {
  await agreesWithCore((clockMs) => createPostgresBuckets(system, clockMs), 60, true);
});

test("of 200 calls at one instant over ten connections PostgreSQL grants 20, and from two buckets only what both hold", async () => {
  const buckets = createPostgresBuckets(system, () => 1_900_000_000_000);
  const { open } = createMemoryBuckets(() => 0);
  const lane = open("{tnt_crowd}:api", tenPerSecond);
  const own = open("{tnt_crowd}:own:ping", { ratePerSecond: 1, burst: 5 });
  const both = await Promise.all(Array.from({ length: 50 }, () => buckets.take([lane, own], true)));
  assert.equal(both.filter((levels) => levels.every((level) => level >= CALL)).length, 5);
  const rest = await Promise.all(Array.from({ length: 150 }, () => buckets.take([lane], true)));
  assert.equal(rest.filter(([level]) => level! >= CALL).length, 15, "what ping refused cost the lane nothing");
});

test("a bucket that is full again is swept away, one that is not stays", async () => {
  const buckets = createPostgresBuckets(system);
  const { open } = createMemoryBuckets(() => 0);
  await buckets.take([open("{tnt_quick}:api", { ratePerSecond: 1_000, burst: 1 })], true);
  await buckets.take([open("{tnt_slow}:api", { ratePerSecond: 1, burst: 100_000 })], true);
  await server.sql(
    "update kernel.bucket set at_ms = at_ms - 61000, level = 0 where name like '{tnt_quick}%' or name like '{tnt_slow}%'",
  );
  await server.sql("select kernel.sweep_buckets()");
  const left = await server.sql(
    "select name from kernel.bucket where name like '{tnt_quick}%' or name like '{tnt_slow}%'",
  );
  assert.deepEqual(left, [{ name: "{tnt_slow}:api" }]);
});

test("processes without a common store grant together what the plan grants, each at least one call at a time", () => {
  let nowMs = 0;
  const stores = [1, 2, 3].map(() =>
    createLocalBuckets(
      () => nowMs,
      () => 3,
    ),
  );
  const buckets = stores.map(() => createMemoryBuckets(() => nowMs).open("{tnt_shared}:api", tenPerSecond));
  const drain = () =>
    stores.reduce((sum, store, index) => {
      let passed = 0;
      while (store.take([buckets[index]!], true)[0]! >= CALL) passed++;
      return sum + passed;
    }, 0);
  assert.ok(drain() <= 20);
  nowMs += 60_000;
  const full = drain();
  assert.ok(full <= 20 && full >= 18);
  let passed = 0;
  for (let ms = 0; ms < 60_000; ms += 10) {
    nowMs += 10;
    passed += drain();
  }
  assert.ok(passed <= 600 && passed >= 597, `${passed} of 600`);
  assert.equal(shareOf({ ratePerSecond: 1, burst: 1 }, 4).burst, 1);
});
