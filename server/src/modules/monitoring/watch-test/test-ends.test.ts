import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { startDevice, startWatchLab } from "../../../../test/watch-lab.ts";
import { admitsTest, noteStart } from "./load.ts";

const world = await startWatchLab();
const { keys } = world;
const change = (id: string, body: object) => world.patch(`/v1/watch/${id}`, body, { key: keys.aW });

/** A device that has been asked and does not answer before `release`. */
async function startHeldDevice() {
  const held: (() => void)[] = [];
  let isHeld = true;
  const device = await startDevice({
    deliver: (reply, send) => {
      if (isHeld) held.push(() => send(reply));
      else send(reply);
    },
  });
  const release = () => {
    isHeld = false;
    for (const answer of held.splice(0)) answer();
  };
  return { device, asked: () => eventually(() => held.length > 0), release };
}

for (const [what, body] of [
  ["address", { deviceAddress: "192.0.2.99" }],
  ["SNMP setting", { snmp: { contextName: null, port: 1161 } }],
  ["community", { snmp: { community: "another" } }],
] as const) {
  test(`34. a change of the ${what} during a test makes its result void: failed, superseded, untested`, async () => {
    const { device, asked, release } = await startHeldDevice();
    const watch = await world.watchOf(device);
    const { body: operation } = await world.test(watch.id);
    await asked();
    assert.equal((await change(watch.id, body)).status, 200);
    release();
    const ended = await world.ended(operation.id);
    assert.deepEqual([ended.status, ended.error.code], ["failed", "superseded"]);
    const now = await world.read(watch.id);
    assert.deepEqual([now.testState, now.testReason, now.interfaceResolved], ["untested", null, null]);
    assert.deepEqual(await world.result(watch.id), { testState: "untested" });
    assert.equal((await world.events(watch.id)).includes("watch.tested"), false);
  });
}

test("34. a change that is taken back during the test makes its result void, too", async () => {
  const { device, asked, release } = await startHeldDevice();
  const watch = await world.watchOf(device);
  const { body: operation } = await world.test(watch.id);
  await asked();
  await change(watch.id, { interface: { match: "ifName", value: "Gi0/2" } });
  await change(watch.id, { interface: { match: "ifName", value: "Gi0/1" } });
  release();
  assert.equal((await world.ended(operation.id)).error.code, "superseded");
  assert.equal((await world.read(watch.id)).testState, "untested");
});

test("a change of anything else during a test leaves it alone", async () => {
  const { device, asked, release } = await startHeldDevice();
  const watch = await world.watchOf(device);
  const { body: operation } = await world.test(watch.id);
  await asked();
  assert.equal((await change(watch.id, { reference: "PO-1", accessInKbps: 90_000 })).body.testState, "inProgress");
  release();
  assert.equal((await world.ended(operation.id)).status, "succeeded");
  const now = await world.read(watch.id);
  assert.deepEqual([now.testState, now.reference], ["successful", "PO-1"]);
});

test("a test of a slow device does not go on to its end when its watch was changed or removed", async () => {
  const spoils = [
    (id: string) => change(id, { snmp: null }),
    (id: string) => world.delete(`/v1/watch/${id}`, { key: keys.aW }),
  ];
  for (const spoil of spoils) {
    let isOver = false;
    // Read to the end, the device takes the whole minute of the test's deadline.
    const device = await startDevice({
      interfaces: 2_000,
      deliver: (reply, send) => void setTimeout(() => isOver || send(reply), 1_500).unref(),
    });
    const watch = await world.watchOf(device);
    const { body: operation } = await world.test(watch.id);
    await eventually(() => device.datagrams() > 0);
    await spoil(watch.id);
    assert.equal((await world.ended(operation.id)).error.code, "superseded");
    isOver = true;
  }
});

test("a cancelled test gives the watch its former state back", async () => {
  const device = await startDevice();
  const watch = await world.watchOf(device, { interface: { match: "ifName", value: "Gi0/9" } });
  await world.tested(watch.id);
  device.change({ silent: true });
  world.clock.advance(10_000);
  const heard = device.datagrams();
  const { body: operation } = await world.test(watch.id);
  await eventually(() => device.datagrams() > heard);
  assert.equal((await world.read(watch.id)).testState, "inProgress");
  await world.post(`/v1/operation/${operation.id}/cancel`, undefined, { key: keys.aW });
  assert.equal((await world.ended(operation.id)).status, "cancelled");
  const now = await world.read(watch.id);
  assert.deepEqual(
    [now.testState, now.testReason, now.blockers],
    ["interfaceIssue", "interface_gone", ["interface_gone"]],
  );
  assert.equal((await world.result(watch.id)).testReason, "interface_gone");
});

test("a second test of one address waits ten seconds as queued, and a cancel there restores the state, too", async () => {
  const device = await startDevice();
  const [first, second, third] = [
    await world.watchOf(device),
    await world.watchOf(device),
    await world.watchOf(device),
  ];
  assert.equal((await world.tested(first.id)).status, "succeeded");
  const { body: waiting } = await world.test(second.id);
  const { body: cancelled } = await world.test(third.id);
  // A later test of another device has been seen by the runner: so were these two, and were left.
  await world.tested((await world.watchOf(await startDevice())).id);
  const statusOf = async (id: string) => (await world.get(`/v1/operation/${id}`, { key: keys.aW })).body.status;
  assert.deepEqual([await statusOf(waiting.id), await statusOf(cancelled.id)], ["queued", "queued"]);
  assert.equal((await world.read(second.id)).testState, "inProgress");
  const answer = await world.post(`/v1/operation/${cancelled.id}/cancel`, undefined, { key: keys.aW });
  assert.deepEqual([answer.status, (await world.read(third.id)).testState], [200, "untested"]);
  world.clock.advance(10_000);
  assert.equal((await world.ended(waiting.id)).status, "succeeded");
});

test("ten tests of a tenant run at once, one of an address, and ten seconds pass between its starts", () => {
  const at = (address: string, tenantId = "a") => ({
    id: address,
    kind: "monitoring.test",
    tenantId,
    subject: null,
    input: { address },
  });
  const now = new Date("2026-11-22T10:00:00Z");
  const later = (ms: number) => new Date(now.getTime() + ms);
  const nine = Array.from({ length: 9 }, (_, n) => at(`198.51.100.${n}`));
  const tenth = at("198.51.100.9");
  const others = [{ ...at("198.51.100.20"), kind: "desk.export" }, at("198.51.100.21", "b")];
  assert.equal(admitsTest(tenth, [...nine, ...others], now), true);
  assert.equal(admitsTest(at("198.51.100.10"), [...nine, tenth], now), false);
  assert.equal(admitsTest(at("198.51.100.10", "b"), [...nine, tenth], now), true);
  assert.equal(admitsTest(at("198.51.100.1", "b"), nine, now), false);
  noteStart("198.51.100.30", now);
  assert.equal(admitsTest(at("198.51.100.30"), [], later(9_999)), false);
  assert.equal(admitsTest(at("198.51.100.30"), [], later(10_000)), true);
  assert.equal(admitsTest(at("198.51.100.30"), [], later(-1)), true);
});

test("32. an address that the guard refuses fails with address_not_allowed, and no packet leaves", async () => {
  const closed = await startWatchLab({ settings: { outboundAllow: [] } });
  const device = await startDevice();
  for (const deviceAddress of [device.address, "localhost"]) {
    const watch = await closed.watchOf(device, { deviceAddress });
    const operation = await closed.tested(watch.id);
    assert.equal(operation.status, "succeeded");
    const now = await closed.read(watch.id);
    assert.deepEqual([now.testState, now.testReason], ["failed", "address_not_allowed"]);
    assert.equal((await closed.result(watch.id)).address, null);
  }
  assert.equal(device.datagrams(), 0);
});

test("34. a test whose server ended begins again on the next one, and has one result", async () => {
  const first = await startWatchLab();
  const device = await startDevice({ silent: true });
  const watch = await first.watchOf(device);
  const { body: operation } = await first.test(watch.id);
  await eventually(() => device.datagrams() > 0);
  await first.close();
  device.change({ silent: false });
  const second = await startServer({ beside: first, startsAt: "2026-11-22T10:00:10.000Z" });
  const ended = await world.ended(operation.id, first.keys.aW, second);
  assert.equal(ended.status, "succeeded");
  const { body } = await second.get(`/v1/watch/${watch.id}`, { key: first.keys.aW });
  assert.equal(body.testState, "successful");
  const told = await second.sql("select count(*)::int as n from kernel.told where type like '%watch.tested'");
  assert.equal(told[0].n, 1);
});

test("a test that died three times fails, and the watch has its former state back", async () => {
  const first = await startWatchLab();
  const device = await startDevice({ silent: true });
  const watch = await first.watchOf(device);
  const { body: operation } = await first.test(watch.id);
  await eventually(() => device.datagrams() > 0);
  await first.close();
  const second = await startServer({ beside: first, startsAt: "2026-11-22T09:59:00.000Z" });
  await second.sql("update kernel.operation set tries = 3 where id = $1", [operation.id]);
  second.clock.set("2026-11-22T10:00:10.000Z");
  const ended = await world.ended(operation.id, first.keys.aW, second);
  assert.deepEqual([ended.status, ended.error.code], ["failed", "interrupted"]);
  const { body } = await second.get(`/v1/watch/${watch.id}`, { key: first.keys.aW });
  assert.equal(body.testState, "untested");
});

test("a test whose starter loses the right before it begins fails, and the watch has its former state back", async () => {
  const device = await startDevice();
  const [first, second] = [await world.watchOf(device), await world.watchOf(device)];
  const [none, less] = [await world.key(world.A, ["watch.write"]), await world.key(world.A, ["watch.write"])];
  await world.tested(first.id);
  const { body: one } = await world.test(first.id, { probes: ["snmp"] }, none);
  const { body: two } = await world.test(second.id, { probes: ["snmp"] }, less);
  await world.sql("delete from access.assignment where principal_id = $1", [one.ownerId]);
  await world.sql(
    `update access.role set permissions = '{"watch.read":"allow"}'
     where id = (select role_id from access.assignment where principal_id = $1)`,
    [two.ownerId],
  );
  const heard = device.datagrams();
  const overseer = await world.key(world.A, ["operation.read"]);
  for (const { id } of [one, two]) {
    world.clock.advance(10_000);
    assert.equal((await world.ended(id, overseer)).status, "failed");
  }
  assert.deepEqual(
    [(await world.read(first.id)).testState, (await world.read(second.id)).testState],
    ["successful", "untested"],
  );
  assert.equal(device.datagrams(), heard);
});
