import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { after, test } from "node:test";
import { startDevice, startWatchLab } from "../../../../test/watch-lab.ts";

const listener = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
await once(listener, "listening");
after(() => listener.close());
const { port: openPort } = listener.address() as AddressInfo;

const world = await startWatchLab({ settings: { tcpProbePorts: [22, openPort] } });
const { keys } = world;

test("30. a device that has the chosen interface makes the test successful, and the operation gives its result", async () => {
  const watch = await world.watchOf(await startDevice());
  assert.deepEqual(await world.result(watch.id), { testState: "untested" });
  const answer = await world.test(watch.id);
  assert.equal(answer.status, 202);
  assert.equal(answer.headers.get("location"), `/v1/operation/${answer.body.id}`);
  const operation = await world.ended(answer.body.id);
  assert.equal(operation.status, "succeeded", JSON.stringify(operation));
  assert.equal(operation.result.url, `/v1/watch/${watch.id}/test`);
  const now = await world.read(watch.id);
  assert.deepEqual([now.testState, now.testReason, now.blockers], ["successful", null, []]);
  assert.equal(now.interfaceResolved.ifName, "Gi0/1");
  assert.equal(now.testedAt, "2026-11-22T10:00:00.000Z");
  const result = await world.result(watch.id);
  assert.deepEqual(result, operation.result.data);
  const { testState, testedAt, operationId, address, system, icmp, tcp, interfaceCount, truncated } = result;
  assert.deepEqual(
    [testState, testedAt, operationId, address],
    ["successful", now.testedAt, operation.id, watch.deviceAddress],
  );
  assert.deepEqual([system.name, icmp, tcp, interfaceCount, truncated], ["hq-router", null, null, 2, false]);
});

test("a result is told once, with its operation, and stands in the audit trail under who started the test", async () => {
  const watch = await world.watchOf(await startDevice());
  const operation = await world.tested(watch.id);
  assert.deepEqual(await world.events(watch.id), ["watch.created", "watch.tested"]);
  const [event] = await world.sql("select data from kernel.told where subject = $1 order by id desc limit 1", [
    watch.id,
  ]);
  assert.equal(event.data.operationId, operation.id);
  assert.equal(event.data.resource.testState, "successful");
  assert.equal(event.data.previous.testState, "inProgress");
  const [entry] = await world.sql(
    "select action, actor, changes from access.audit where item_id = $1 order by position desc limit 1",
    [watch.id],
  );
  assert.deepEqual([entry.action, entry.actor.id], ["tested", operation.ownerId]);
  assert.deepEqual(entry.changes, [{ field: "testState", old: "untested", new: "successful" }]);
});

test("31. a silent device fails with snmp_timeout, and the text names the other cause that it may have", async () => {
  const watch = await world.watchOf(await startDevice({ silent: true }));
  const answer = await world.test(watch.id);
  const during = await world.read(watch.id);
  assert.deepEqual([during.testState, during.blockers], ["inProgress", ["test_in_progress"]]);
  assert.equal((await world.ended(answer.body.id)).status, "succeeded");
  const now = await world.read(watch.id);
  assert.deepEqual([now.testState, now.testReason, now.blockers], ["failed", "snmp_timeout", ["test_failed"]]);
  const result = await world.result(watch.id);
  assert.match(result.testMessage, /community/);
  assert.deepEqual([result.system, result.interfaceCount], [null, null]);
});

test("31. without a chosen interface the list is shown, and choosing one from it is successful at once", async () => {
  const watch = await world.watchOf(await startDevice({ interfaces: 3 }), { interface: null });
  await world.tested(watch.id);
  const now = await world.read(watch.id);
  assert.deepEqual(
    [now.testState, now.testReason, now.blockers],
    ["interfaceIssue", "interface_missing", ["interface_missing"]],
  );
  const list = async (search = "") =>
    (await world.get(`/v1/watch/${watch.id}/interface${search}`, { key: keys.aW })).body;
  const all = await list("?count=true");
  assert.deepEqual(
    [all.total, all.items.map((row: any) => [row.ifIndex, row.chosen])],
    [
      3,
      [
        [1, false],
        [2, false],
        [3, false],
      ],
    ],
  );
  assert.deepEqual(all.items[0], {
    ifIndex: 1,
    ifName: "Gi0/1",
    ifDescr: "GigabitEthernet0/1",
    ifAlias: "circuit 1",
    ifType: 6,
    ifSpeedBps: 1_000_000_000,
    ifHighSpeedMbps: 1000,
    adminStatus: "up",
    operStatus: "up",
    resolvedAt: "2026-11-22T10:00:00.000Z",
    has64BitCounters: true,
    chosen: false,
  });
  assert.deepEqual(
    (await list("?q=CIRCUIT%202")).items.map((row: any) => row.ifIndex),
    [2],
  );
  assert.deepEqual((await list("?q=%25")).items, []);
  const first = await list("?limit=2");
  const next = await world.get(first.nextLink, { key: keys.aW });
  assert.deepEqual(
    [...first.items, ...next.body.items].map((row: any) => row.ifIndex),
    [1, 2, 3],
  );
  const chosen = await world.patch(
    `/v1/watch/${watch.id}`,
    { interface: { match: "ifAlias", value: "circuit 2" } },
    { key: keys.aW },
  );
  assert.deepEqual([chosen.body.testState, chosen.body.interfaceResolved.ifIndex], ["successful", 2]);
  assert.deepEqual(
    (await list()).items.map((row: any) => row.chosen),
    [false, true, false],
  );
  assert.equal((await world.result(watch.id)).testState, "successful");
  const gone = await world.patch(
    `/v1/watch/${watch.id}`,
    { interface: { match: "ifName", value: "Gi0/9" } },
    { key: keys.aW },
  );
  assert.deepEqual([gone.body.testState, gone.body.testReason], ["interfaceIssue", "interface_gone"]);
});

test("the interface list is kept through a test without an answer, and goes with the address it was of", async () => {
  const device = await startDevice({ users: [{ name: "u" }] });
  const snmp = { version: "v3", securityLevel: "noAuthNoPriv", userName: "u", port: device.port };
  const watch = await world.watchOf(device, { snmp });
  await world.tested(watch.id);
  const count = async () => (await world.get(`/v1/watch/${watch.id}/interface`, { key: keys.aW })).body.items.length;
  device.change({ users: [] });
  world.clock.advance(10_000);
  await world.tested(watch.id);
  assert.equal((await world.read(watch.id)).testReason, "snmp_unknown_user");
  assert.equal(await count(), 2);
  await world.patch(`/v1/watch/${watch.id}`, { deviceAddress: "192.0.2.77" }, { key: keys.aW });
  assert.equal(await count(), 0);
});

test("32. SNMP v1 and v3 devices are tested, and v3 says which credential was wrong", async () => {
  const users = [
    {
      name: "u",
      authProtocol: "SHA",
      authPassphrase: "auth-passphrase",
      privProtocol: "AES-128",
      privPassphrase: "priv-passphrase",
    },
  ] as const;
  const v3 = {
    version: "v3",
    securityLevel: "authPriv",
    userName: "u",
    authProtocol: "SHA",
    authPassphrase: "auth-passphrase",
    privProtocol: "AES-128",
    privPassphrase: "priv-passphrase",
  };
  const reasonOf = async (snmp: object) => {
    const device = await startDevice({ users });
    const watch = await world.watchOf(device, { snmp: { ...snmp, port: device.port } });
    await world.tested(watch.id);
    const { testState, testReason } = await world.read(watch.id);
    return [testState, testReason];
  };
  assert.deepEqual(await reasonOf({ version: "v1", community: "s3cret" }), ["successful", null]);
  assert.deepEqual(await reasonOf(v3), ["successful", null]);
  assert.deepEqual(await reasonOf({ ...v3, authPassphrase: "wrong-passphrase" }), ["failed", "snmp_auth_failed"]);
  assert.deepEqual(await reasonOf({ ...v3, userName: "nobody" }), ["failed", "snmp_unknown_user"]);
});

test("33. a watch without address or SNMP is refused at once with the pointers, and makes no operation", async () => {
  const watch = await world.watchOf("192.0.2.10", { deviceAddress: null, snmp: null });
  const answer = await world.test(watch.id);
  assert.deepEqual([answer.status, answer.body.code], [409, "watch_incomplete"]);
  assert.deepEqual(
    answer.body.errors.map((fault: any) => fault.pointer),
    ["/deviceAddress", "/snmp"],
  );
  const icmp = await world.test(watch.id, { probes: ["icmp"] });
  assert.deepEqual(
    icmp.body.errors.map((fault: any) => fault.pointer),
    ["/deviceAddress"],
  );
  assert.deepEqual(await world.sql("select id from kernel.operation where subject = $1", [watch.id]), []);
  assert.equal((await world.read(watch.id)).testState, "untested");
});

test("33. only the operator's TCP ports are probed, and port and probe go together", async () => {
  const watch = await world.watchOf("192.0.2.10");
  for (const body of [
    { tcpPort: 25 },
    { probes: ["tcp"], tcpPort: 25 },
    { probes: ["tcp"] },
    { tcpPort: 22 },
    { probes: [] },
    { probes: ["udp"] },
  ]) {
    const answer = await world.test(watch.id, body);
    assert.equal(answer.status, 400, JSON.stringify(body));
  }
  assert.equal((await world.test(watch.id, { probes: ["tcp"], tcpPort: 25 })).body.errors[0].pointer, "/tcpPort");
  assert.deepEqual(await world.sql("select id from kernel.operation where subject = $1", [watch.id]), []);
});

test("33. two requests at once, and a later one, are one test", async () => {
  const device = await startDevice({ silent: true });
  const watch = await world.watchOf(device);
  const [one, two] = await Promise.all([world.test(watch.id), world.test(watch.id)]);
  const three = await world.test(watch.id, { probes: ["snmp"] }, keys.pW);
  assert.deepEqual([one.status, two.status, three.status], [202, 202, 202]);
  assert.deepEqual([two.body.id, three.body.id], [one.body.id, one.body.id]);
  device.change({ silent: false });
  await world.ended(one.body.id);
  assert.deepEqual(
    (await world.events(watch.id)).filter((type) => type === "watch.tested"),
    ["watch.tested"],
  );
});

test("a test without SNMP is information: it leaves the test state alone and is found as the last result", async () => {
  const watch = await world.watchOf("127.0.0.1");
  const answer = await world.test(watch.id, { probes: ["tcp"], tcpPort: openPort });
  assert.equal((await world.read(watch.id)).testState, "untested");
  await world.ended(answer.body.id);
  const now = await world.read(watch.id);
  assert.deepEqual([now.testState, now.testedAt], ["untested", null]);
  const result = await world.result(watch.id);
  assert.deepEqual(
    [result.testState, result.tcp, result.interfaceCount],
    ["untested", { port: openPort, outcome: "open" }, null],
  );
});

test("Prefer: wait answers with the result itself", async () => {
  const watch = await world.watchOf(await startDevice());
  const answer = await world.post(
    `/v1/watch/${watch.id}/test`,
    { probes: ["snmp"] },
    { key: keys.aW, headers: { prefer: "wait=10" } },
  );
  assert.deepEqual([answer.status, answer.headers.get("location")], [200, `/v1/watch/${watch.id}/test`]);
  assert.deepEqual(answer.body, await world.result(watch.id));
});

test("who may not write watches may not test, and who may not see one learns nothing", async () => {
  const watch = await world.watchOf("192.0.2.10");
  const paths = ["test", "interface"];
  assert.deepEqual(
    [(await world.test(watch.id, {}, keys.aU)).status, (await world.test(watch.id, {}, keys.aR)).status],
    [403, 403],
  );
  assert.equal((await world.test(watch.id, {}, keys.bW)).status, 404);
  assert.equal((await world.test("wch_nothing", {})).status, 404);
  for (const path of paths) {
    assert.equal((await world.get(`/v1/watch/${watch.id}/${path}`, { key: keys.aH })).status, 403);
    for (const key of [keys.aR, keys.bW])
      assert.equal((await world.get(`/v1/watch/${watch.id}/${path}`, { key })).status, 404);
  }
});

test("no community or passphrase stands in operations, events, audit trail, results or activity", async () => {
  const tables = [
    "kernel.operation",
    "kernel.told",
    "access.audit",
    "monitoring.watch_test",
    "monitoring.watch",
    "access.activity",
  ];
  for (const table of tables) {
    const [{ n }] = await world.sql(`select count(*)::int as n from ${table} t where t::text ~ 's3cret|-passphrase'`);
    assert.equal(n, 0, table);
  }
  const [{ n }] = await world.sql("select count(*)::int as n from monitoring.watch_test where result is not null");
  assert.ok(n > 5);
});
