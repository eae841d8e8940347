import assert from "node:assert/strict";
import { test } from "node:test";
import { newId } from "#kernel/ids";
import { eventually, startServer } from "../../../../test/harness.ts";
import { startDevice, startWatchLab } from "../../../../test/watch-lab.ts";

const world = await startWatchLab();
const { keys } = world;
const testMany = (body: object, key = keys.aW) => world.post("/v1/watch/test", { probes: ["snmp"], ...body }, { key });

test("each watch of a selection has its own outcome, across tenants, seen or not", async () => {
  const good = await world.watchOf(await startDevice());
  const unchosen = await world.watchOf(await startDevice(), { interface: null });
  const incomplete = await world.watchOf("192.0.2.10", { deviceAddress: null });
  const theirs = await world.watchOf(await startDevice(), { locationId: world.LB.id });
  const strange = newId("wch");
  const ids = [good.id, unchosen.id, incomplete.id, theirs.id, strange];
  const answer = await testMany({ ids }, keys.pW);
  assert.equal(answer.status, 202);
  const { status, result, progress } = await world.ended(answer.body.id, keys.pW);
  assert.deepEqual([status, progress.done, progress.total], ["succeeded", 5, 5]);
  assert.deepEqual(result.data, {
    summary: { successful: 2, interfaceIssue: 1, refused: 2 },
    results: [
      { id: good.id, outcome: "successful", code: null },
      { id: unchosen.id, outcome: "interfaceIssue", code: "interface_missing" },
      { id: incomplete.id, outcome: "refused", code: "watch_incomplete" },
      { id: theirs.id, outcome: "successful", code: null },
      { id: strange, outcome: "refused", code: "not_found" },
    ],
  });
  assert.equal((await world.read(good.id)).testState, "successful");
  for (const { id } of [good, unchosen, theirs]) {
    assert.deepEqual(
      (await world.events(id)).filter((type) => type === "watch.tested"),
      ["watch.tested"],
    );
  }
  assert.deepEqual(await world.sql("select * from monitoring.watch_batch_item"), []);
  const foreign = await testMany({ ids: [theirs.id] });
  assert.deepEqual((await world.ended(foreign.body.id)).result.data.results, [
    { id: theirs.id, outcome: "refused", code: "not_found" },
  ]);
});

test("a group is tested, and a test that is under way is joined, not doubled", async () => {
  const device = await startDevice({ silent: true });
  const watch = await world.watchOf(device, { group: "g" });
  const { body: single } = await world.test(watch.id);
  const answer = await testMany({ group: "g" });
  await eventually(
    async () =>
      (await world.sql("select 1 from monitoring.watch_batch_item where watch_id = $1", [watch.id])).length > 0,
  );
  device.change({ silent: false });
  assert.deepEqual((await world.ended(answer.body.id)).result.data.summary, { successful: 1 });
  assert.equal((await world.result(watch.id)).operationId, single.id);
});

test("400: a port that the operator has not opened, before any operation", async () => {
  const answer = await testMany({ ids: [newId("wch")], probes: ["tcp"], tcpPort: 25 });
  assert.deepEqual([answer.status, answer.body.errors[0].pointer], [400, "/tcpPort"]);
  assert.equal((await testMany({ ids: [newId("wch")] }, keys.aU)).status, 403);
});

test("a cancel ends the tests that were started with it and restores their watches", async () => {
  const device = await startDevice({ silent: true });
  const watch = await world.watchOf(device);
  const answer = await testMany({ ids: [watch.id] });
  await eventually(() => device.datagrams() > 0);
  await world.post(`/v1/operation/${answer.body.id}/cancel`, undefined, { key: keys.aW });
  assert.equal((await world.ended(answer.body.id)).status, "cancelled");
  const [{ id }] = await world.sql("select id from kernel.operation where subject = $1", [watch.id]);
  assert.equal((await world.ended(id)).status, "cancelled");
  assert.equal((await world.read(watch.id)).testState, "untested");
});

test("a watch that is changed meanwhile fails with superseded, the others go on", async () => {
  const device = await startDevice({ silent: true });
  const [spoilt, good] = [await world.watchOf(device), await world.watchOf(await startDevice())];
  const answer = await testMany({ ids: [spoilt.id, good.id] });
  await eventually(() => device.datagrams() > 0);
  await world.patch(`/v1/watch/${spoilt.id}`, { deviceAddress: "192.0.2.9" }, { key: keys.aW });
  const { result } = await world.ended(answer.body.id);
  assert.deepEqual(result.data.results, [
    { id: spoilt.id, outcome: "failed", code: "superseded" },
    { id: good.id, outcome: "successful", code: null },
  ]);
});

test("taken up by another server, the tests go on and none that had a result is made again", async () => {
  const first = await startWatchLab();
  const slow = await startDevice({ silent: true });
  const [one, two] = [await first.watchOf(await startDevice()), await first.watchOf(slow)];
  const answer = await first.post(
    "/v1/watch/test",
    { ids: [one.id, two.id], probes: ["snmp"] },
    { key: first.keys.aW },
  );
  await eventually(async () => slow.datagrams() > 0 && (await first.read(one.id)).testState === "successful");
  await first.close();
  slow.change({ silent: false });
  const second = await startServer({ beside: first, startsAt: "2026-11-22T10:00:10.000Z" });
  const { status, result } = await world.ended(answer.body.id, first.keys.aW, second);
  assert.deepEqual([status, result.data.summary], ["succeeded", { successful: 2 }]);
  const told = await second.sql("select subject from kernel.told where type like '%watch.tested' order by id");
  assert.deepEqual(
    told.map(({ subject }) => subject),
    [one.id, two.id],
  );
});
