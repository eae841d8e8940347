import assert from "node:assert/strict";
import { test } from "node:test";
import { createKept } from "./kept.ts";

/** A process whose trust and whose hearing of changes the test steers. */
function keptOf() {
  const process = { current: true, takeAway: () => {} };
  const kept = createKept<{ value: number }>(
    {
      isCurrent: () => process.current,
      onForget(drop) {
        process.takeAway = drop;
      },
    },
    10,
  );
  return { process, kept };
}
const one = async () => ({ value: 1 });

test("what was read is known from then on, what was not found is not", async () => {
  const { kept } = keptOf();
  assert.equal(kept.known("a"), undefined);
  assert.deepEqual(await kept.read("a", one), { value: 1 });
  assert.deepEqual(kept.known("a"), { value: 1 });
  assert.equal(await kept.read("b", async () => undefined), undefined);
  assert.equal(kept.known("b"), undefined);
});

test("when something is taken away nothing is known any more", async () => {
  const { process, kept } = keptOf();
  await kept.read("a", one);
  process.takeAway();
  assert.equal(kept.known("a"), undefined);
});

test("while the process cannot be sure to hear of changes nothing is known", async () => {
  const { process, kept } = keptOf();
  await kept.read("a", one);
  process.current = false;
  assert.equal(kept.known("a"), undefined);
  process.current = true;
  assert.deepEqual(kept.known("a"), { value: 1 });
});

test("what was being read while something was taken away is read again", async () => {
  const { process, kept } = keptOf();
  let value = 0;
  const read = kept.read("a", async () => {
    value++;
    if (value === 1) process.takeAway();
    return { value };
  });
  assert.deepEqual(await read, { value: 2 });
  assert.deepEqual(kept.known("a"), { value: 2 });
});
