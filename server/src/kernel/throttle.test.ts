import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../test/harness.ts";
import { createMemoryBuckets } from "./bucket-store.ts";
import type { Database } from "./db.ts";
import { createThrottle } from "./throttle.ts";

const server = await startServer({ startsAt: "2026-11-22T10:00:00.000Z" });

test("a day that runs low is drawn ahead: no call waits while a block lasts, and no more than one block is held", async () => {
  const { system, log, gate } = server.kernel;
  let open = () => {};
  let isOpen = Promise.resolve();
  // The first block comes at once, the next when the test says so.
  const slow: Database = {
    ...system,
    in(tenantId) {
      const db = system.in(tenantId);
      return { ...db, first: (query) => isOpen.then(() => db.first(query)) };
    },
  };
  const monotonicMs = () => 0;
  const throttle = createThrottle({
    system: slow,
    log,
    now: () => server.clock.now(),
    monotonicMs,
    buckets: createMemoryBuckets(monotonicMs),
  });
  const tenantId = await server.tenant(server.rootId, "customer", "Ahead");
  const verdict = await gate.authenticate(await server.key(tenantId, []), "127.0.0.1");
  assert.ok(verdict.ok);
  const lane = { ratePerSecond: 1_000, burst: 1_000, perDay: 10_000 };
  const { tenant } = verdict.who;
  const plan = { ...tenant.plan, lanes: { ...tenant.plan.lanes, api: lane } };
  const who = { ...verdict.who, tenant: { ...tenant, plan } };
  const charge = () => throttle.charge(who, "api", undefined);

  assert.equal((await charge()).admitted, true);
  isOpen = new Promise((resolve) => {
    open = resolve;
  });
  for (let call = 2; call <= 50; call++) assert.ok(!(charge() instanceof Promise), `call ${call} waited`);
  const waiting = charge();
  assert.ok(waiting instanceof Promise, "a block is used up and the next one has not come");
  open();
  assert.equal((await waiting).admitted, true);
  const counted = async () =>
    (await server.sql("select count from access.day_count where tenant_id = $1", [tenantId]))[0];
  const { count } = (await counted())!;
  assert.ok(count > 51 && count - 51 <= 50, `${count - 51} calls are held`);
  assert.equal((await throttle.levels(tenantId, plan.lanes)).api.unspent, count - 51);
  await throttle.stop();
  assert.equal((await counted())!.count, 51, "what was not used is given back");
});
