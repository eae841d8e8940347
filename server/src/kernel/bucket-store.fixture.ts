/** One property for every store of buckets: it agrees with the arithmetic of throttle-core to the thousandth of a call. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type BucketStore, createMemoryBuckets } from "./bucket-store.ts";
import { type Bucket, CALL, changeRate, chargeBucket, newBucket, type Rate } from "./throttle-core.ts";

const rate: fc.Arbitrary<Rate> = fc.record({
  ratePerSecond: fc.integer({ min: 1, max: 10_000 }),
  burst: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 100_000 })),
});
const move = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("take" as const), both: fc.boolean(), charge: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: -500, max: 2_000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("replan" as const), rate }) },
);
const many = (charge: boolean) => Array.from({ length: 8 }, () => ({ kind: "take" as const, both: false, charge }));

let runs = 0;

/**
 * `makeStore` gives the store under a clock of whole milliseconds. One that `forgets` writes no refusal down: when the
 * clock steps back, a bucket may lack what flowed in for just those milliseconds.
 */
export async function agreesWithCore(
  makeStore: (clockMs: () => number) => BucketStore,
  numRuns: number,
  forgets = false,
): Promise<void> {
  let nowMs = 0;
  const store = makeStore(() => nowMs);
  await fc.assert(
    fc.asyncProperty(rate, rate, fc.array(move, { maxLength: 40 }), async (laneRate, ownRate, moves) => {
      nowMs = 1_900_000_000_000;
      const names = [`{tnt_${process.pid}_${++runs}}:api`, `{tnt_${process.pid}_${runs}}:own:ping`];
      const { open } = createMemoryBuckets(() => nowMs);
      const buckets = [open(names[0]!, laneRate), open(names[1]!, ownRate)];
      const core: (Bucket | null)[] = [null, null];
      /** Milliseconds that the clock stepped back since a bucket was last met. */
      const steppedBack = [0, 0];
      const check = (which: number[], charge: boolean, found: readonly number[]): void => {
        const met = which.map((index, place) => {
          const bucket = core[index] ?? newBucket(buckets[index]!.rate, nowMs);
          core[index] = bucket;
          const mayLack = forgets ? steppedBack[index]! * bucket.rate.ratePerSecond : 0;
          changeRate(bucket, buckets[index]!.rate, nowMs);
          const lack = bucket.level - found[place]!;
          assert.ok(lack >= 0 && lack <= mayLack, `${found[place]} of ${bucket.level}`);
          bucket.level = found[place]!;
          steppedBack[index] = 0;
          return bucket;
        });
        if (charge && met.every(({ level }) => level >= CALL)) met.forEach(chargeBucket);
      };
      // Both are met under their first plan: from then on every store knows them.
      const meet = { kind: "take" as const, both: true, charge: false };
      for (const step of [meet, ...moves, ...many(true), ...many(false)]) {
        if (step.kind === "wait") {
          nowMs += step.ms;
          for (const index of [0, 1]) steppedBack[index]! += Math.max(0, -step.ms);
        } else if (step.kind === "replan") buckets[0]!.rate = step.rate;
        else {
          const which = step.both ? [0, 1] : [0];
          const found = await store.take(
            which.map((index) => buckets[index]!),
            step.charge,
          );
          assert.equal(found.length, which.length);
          check(which, step.charge, found);
        }
      }
    }),
    { numRuns },
  );
}
