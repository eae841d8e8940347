/** Cases of the specification (monitoring, section 6) that need a device, or what other modules keep of a watch. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startDevice, startWatchLab } from "../../../test/watch-lab.ts";

const world = await startWatchLab();
const { A, B, keys } = world;

test("19. a provider's watch shows the provider as its maker, stands in A's audit trail and not in B's", async () => {
  const watch = await world.watchOf("192.0.2.19");
  const { actor } = (await world.get("/v1/principal/self", { key: keys.pW })).body;
  assert.deepEqual([watch.tenantId, watch.createdBy], [A, actor.id]);
  const trail = async (tenantId: string) => {
    const answer = await world.get(`/v1/audit?itemId=${watch.id}`, { key: await world.key(tenantId, "auditor") });
    return answer.body.items.map((entry: any) => [entry.action, entry.actor.id]);
  };
  assert.deepEqual(await trail(A), [["created", actor.id]]);
  assert.deepEqual(await trail(B), []);
});

test("28. after a change of the port alone a test goes to the new port with the old community", async () => {
  const [wrong, device] = [await startDevice({ community: "another" }), await startDevice()];
  const snmp = { version: "v2c", community: "s3cret", port: wrong.port };
  const watch = await world.watchOf(device, { snmp });
  const change = { snmp: { port: device.port } };
  const changed = await world.patch(`/v1/watch/${watch.id}`, change, { key: keys.aW });
  assert.deepEqual([changed.status, changed.body.snmp.port], [200, device.port]);
  await world.tested(watch.id);
  assert.equal((await world.read(watch.id)).testState, "successful");
});
