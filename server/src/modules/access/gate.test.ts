import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Database } from "#kernel/db";
import { unavailable } from "#kernel/problem";
import { startServer } from "../../../test/harness.ts";
import { createGate } from "./gate.ts";

const server = await startServer();
const key = await server.key(server.rootId, "read_only");

/** A gate of its own; `read` is called after each look-up in the database, before its result arrives. */
function gateWith(read: () => void | Promise<void>, isCurrent = () => true) {
  const { system } = server.kernel;
  const slow: Database = {
    ...system,
    in(tenantId) {
      const db = system.in(tenantId);
      return {
        ...db,
        async first(query) {
          const row = await db.first(query);
          await read();
          return row;
        },
      };
    },
  };
  return createGate({
    system: slow,
    now: server.clock.now,
    isCurrent,
    checkToken: async () => "unknown",
    used() {},
    wrong: () => null,
    addressRefused() {},
  });
}
const real = performance.now.bind(performance);
let aheadMs = 0;
performance.now = () => real() + aheadMs;
after(() => {
  performance.now = real;
});

test("what is known is not asked for again, unless the process cannot be sure to hear of changes", async () => {
  let reads = 0;
  let current = true;
  const gate = gateWith(
    () => void reads++,
    () => current,
  );
  assert.equal((await gate.authenticate(key, "127.0.0.1")).ok, true);
  const first = reads;
  assert.equal((await gate.authenticate(key, "127.0.0.1")).ok, true);
  assert.equal(reads, first);
  current = false;
  assert.equal((await gate.authenticate(key, "127.0.0.1")).ok, true);
  assert.equal(reads, 2 * first);
});

test("many who ask for the same at one moment cost one look-up", async () => {
  let reads = 0;
  const gate = gateWith(() => void reads++);
  await gate.authenticate(key, "127.0.0.1");
  const one = reads;
  gate.forget();
  const verdicts = await Promise.all(Array.from({ length: 50 }, () => gate.authenticate(key, "127.0.0.1")));
  assert.ok(verdicts.every(({ ok }) => ok));
  assert.equal(reads, 2 * one);
});

test("what was read before something was taken away is read again, and not kept", async () => {
  let reads = 0;
  const gate = gateWith(async () => {
    reads++;
    if (reads !== 1) return;
    await server.sql("update access.key set enabled = false");
    gate.forget();
  });
  const verdict = await gate.authenticate(key, "127.0.0.1");
  assert.deepEqual(verdict.ok || verdict.reason, "disabled");
  await server.sql("update access.key set enabled = true");
});

test("what arrives long after it was asked for, because the process slept, is read again", async () => {
  let reads = 0;
  const gate = gateWith(
    async () => {
      reads++;
      if (reads !== 1) return;
      await server.sql("update access.key set enabled = false");
      aheadMs += 5_000;
    },
    () => false,
  );
  const verdict = await gate.authenticate(key, "127.0.0.1");
  assert.deepEqual(verdict.ok || verdict.reason, "disabled");
  await server.sql("update access.key set enabled = true");
});

test("a slow database is waited for as long as the process hears of changes, and told as 503 when it does not", async () => {
  let current = true;
  const gate = gateWith(
    () => {
      aheadMs += 1_500;
    },
    () => current,
  );
  assert.equal((await gate.authenticate(key, "127.0.0.1")).ok, true);
  current = false;
  await assert.rejects(async () => gate.authenticate(key, "127.0.0.1"), { kind: unavailable });
});
