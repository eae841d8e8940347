import assert from "node:assert/strict";
import { test } from "node:test";
import { openSnmp } from "./snmp-settings.ts";
import { startWorld } from "./watch.fixture.ts";

const world = await startWorld();
const { keys, full, created, A, B, L, rootOf } = world;
const patch = (id: string, body: unknown, headers: Record<string, string> = {}, key = keys.aW) =>
  world.patch(`/v1/watch/${id}`, body, { key, headers });
const rowOf = async (id: string) => (await world.sql("select * from monitoring.watch where id = $1", [id]))[0];
const secretsOf = (id: string) => world.as(A, async (ctx) => openSnmp(ctx, await rowOf(id)));
const codesOf = (list: { code: string }[]) => list.map(({ code }) => code);

/** As a successful test leaves a watch. */
async function tested(id: string, interfaces: object[] | null = null): Promise<void> {
  await world.sql("update monitoring.watch set test_state = 'successful', tested_at = $2 where id = $1", [
    id,
    world.clock.now(),
  ]);
  if (interfaces) {
    await world.sql("insert into monitoring.watch_test (tenant_id, watch_id, interfaces) values ($1, $2, $3)", [
      A,
      id,
      JSON.stringify(interfaces),
    ]);
  }
}

const row = (ifIndex: number, ifName: string) => ({
  ifIndex,
  ifName,
  ifDescr: ifName,
  ifAlias: "",
  ifType: 6,
  ifSpeedBps: 1e9,
  ifHighSpeedMbps: 1000,
  adminStatus: "up",
  operStatus: "up",
  has64BitCounters: true,
});

test("25. an address is changed alone, and the record says that the credentials were kept", async () => {
  const watch = await created(full());
  await tested(watch.id);
  world.clock.advance(1_000);
  const answer = await patch(watch.id, { deviceAddress: "192.0.2.11" }, {}, keys.pW);
  assert.equal(answer.status, 200);
  const { updatedAt, updatedBy, changedAt, path, ...after } = answer.body;
  const { updatedAt: _, updatedBy: creator, changedAt: __, path: ___, ...before } = watch;
  assert.deepEqual(
    { ...after, customerReferenceFrom: null },
    { ...before, deviceAddress: "192.0.2.11", customerReferenceFrom: null },
  );
  assert.notEqual(updatedBy, creator);
  assert.equal(updatedAt, world.clock.now().toISOString());
  assert.equal(changedAt, updatedAt);
  const audit = (await world.audits(watch.id)).at(-1);
  assert.deepEqual(audit.changes, [
    { field: "deviceAddress", old: "192.0.2.10", new: "192.0.2.11" },
    { field: "testState", old: "successful", new: "untested" },
    { field: "credentialsKept", old: null, new: true },
  ]);
  const news = (await world.events(watch.id)).at(-1);
  assert.equal(news.type, "demarc.monitoring.watch.updated");
  assert.deepEqual(news.data.changed, ["deviceAddress", "testState", "testedAt", "blockers"]);
  assert.equal(news.data.previous.deviceAddress, "192.0.2.10");
});

test("26. null clears, absence keeps, and what changes nothing leaves no trace", async () => {
  const watch = await created(full({ reference: "R", description: "D", interface: { match: "ifIndex", value: "3" } }));
  const cleared = await patch(watch.id, { reference: null });
  assert.deepEqual([cleared.body.reference, cleared.body.description], [null, "D"]);
  const etag = cleared.headers.get("etag");
  const traces = async () => [(await world.events(watch.id)).length, (await world.audits(watch.id)).length];
  const before = await traces();
  world.clock.advance(1_000);
  for (const body of [
    {},
    { description: "D", accessInKbps: 80_000, reference: null },
    { deviceAddress: "192.0.2.10" },
    { snmp: { port: 161, version: "v2c" } },
    { snmp: {} },
    { interface: { value: "3" } },
    { locationId: L, group: null },
    { watchType: "Bearer" },
  ]) {
    const answer = await patch(watch.id, body);
    assert.deepEqual([answer.status, answer.headers.get("etag")], [200, etag], JSON.stringify(body));
  }
  assert.deepEqual(await traces(), before);
  assert.equal((await patch(watch.id, { accessInKbps: null })).status, 400);
  assert.equal(
    (await patch(watch.id, { place: { path: [], location: "L" } })).body.errors[0].rule,
    "additionalProperties",
  );
});

test("27. a stale If-Match changes nothing; a group is for pending watches only", async () => {
  const watch = await created(full());
  const stale = await patch(watch.id, { description: "x" }, { "if-match": '"stale"' });
  assert.deepEqual([stale.status, stale.body.code], [412, "stale"]);
  assert.equal(
    (await world.delete(`/v1/watch/${watch.id}`, { key: keys.aW, headers: { "if-match": '"stale"' } })).status,
    412,
  );
  const read = await world.get(`/v1/watch/${watch.id}`, { key: keys.aW });
  assert.equal(read.body.description, null);
  const fitting = await patch(watch.id, { group: "batch-1" }, { "if-match": read.headers.get("etag")! });
  assert.deepEqual([fitting.status, fitting.body.group], [200, "batch-1"]);
  await world.sql("update monitoring.watch set status = 'active', group_name = null where id = $1", [watch.id]);
  const refused = await patch(watch.id, { group: "batch-1" });
  assert.deepEqual([refused.status, refused.body.code], [409, "watch_not_pending"]);
  assert.equal((await patch(watch.id, { group: null })).status, 200);
});

test("28. SNMP settings are merged with the stored secrets, and what a new version has no use for is dropped", async () => {
  const { id } = await created(full());
  assert.equal((await patch(id, { snmp: { port: 1161 } })).body.snmp.port, 1161);
  assert.equal((await secretsOf(id))?.community, "s3cret");
  const v1 = await patch(id, { snmp: { version: "v1" } });
  assert.deepEqual([v1.status, codesOf(v1.body.warnings)], [200, ["counter32_on_fast_line"]]);
  assert.equal((await secretsOf(id))?.community, "s3cret");
  const v3 = await patch(id, { snmp: { version: "v3", userName: "u", securityLevel: "noAuthNoPriv" } });
  assert.deepEqual(v3.body.snmp, {
    version: "v3",
    port: 1161,
    userName: "u",
    securityLevel: "noAuthNoPriv",
    contextName: null,
    credentialSet: true,
  });
  assert.equal((await rowOf(id)).snmp_sealed, null);
  const back = await patch(id, { snmp: { version: "v2c" } });
  assert.deepEqual(
    [back.status, back.body.errors.map(({ pointer, rule }: any) => [pointer, rule])],
    [400, [["/snmp/community", "required"]]],
  );
  const full3 = {
    securityLevel: "authPriv",
    authProtocol: "SHA-256",
    authPassphrase: "first auth",
    privProtocol: "AES-128",
    privPassphrase: "first priv",
  };
  assert.equal((await patch(id, { snmp: full3 })).status, 200);
  assert.equal((await patch(id, { snmp: { authPassphrase: "second auth" } })).status, 200);
  const { authPassphrase, privPassphrase, community } = (await secretsOf(id))!;
  assert.deepEqual([authPassphrase, privPassphrase, community], ["second auth", "first priv", undefined]);
  assert.equal((await patch(id, { snmp: { securityLevel: "authNoPriv" } })).status, 200);
  assert.deepEqual(
    Object.keys((await secretsOf(id))!).filter((name) => /phrase|community/.test(name)),
    ["authPassphrase"],
  );
  assert.deepEqual((await patch(id, { snmp: { privProtocol: "AES-128" } })).body.errors[0].rule, "not_for_version");
  assert.equal((await patch(id, { snmp: { securityLevel: null } })).status, 400);
  assert.equal((await patch(id, { snmp: null })).body.snmp, null);
  assert.equal((await rowOf(id)).snmp_sealed, null);
  assert.deepEqual((await patch(id, { snmp: { port: 1161 } })).body.errors[0].pointer, "/snmp/version");
});

test("giving a secret always is a change, so that no reply can confirm a guess", async () => {
  const { id } = await created(full());
  for (const community of ["s3cret", "wrong"]) {
    await tested(id);
    const { headers } = await world.get(`/v1/watch/${id}`, { key: keys.aW });
    const answer = await patch(id, { snmp: { community } });
    assert.deepEqual([answer.status, answer.body.testState], [200, "untested"]);
    assert.notEqual(answer.headers.get("etag"), headers.get("etag"));
    const audit = (await world.audits(id)).at(-1);
    assert.deepEqual(audit.changes.at(-1), { field: "snmp.community", old: "***", new: "***" });
  }
  const warned = await patch(id, { snmp: { community: "public" } });
  assert.equal(warned.headers.get("demarc-warning"), 'snmp_default_community;pointer="/snmp/community"');
});

test("31. a pending watch's interface is looked up in the list that its device gave; a new address forgets the list", async () => {
  const { id } = await created(full());
  await tested(id, [row(1, "Gi0/1"), row(2, "Gi0/2"), row(3, "Gi0/2")]);
  const found = await patch(id, { interface: { match: "ifName", value: "Gi0/1" } });
  assert.deepEqual(
    [found.body.testState, found.body.interfaceResolved.ifIndex, found.body.blockers],
    ["successful", 1, []],
  );
  for (const [wanted, reason] of [
    [{ match: "ifName", value: "Gi0/9" }, "interface_gone"],
    [{ match: "ifName", value: "Gi0/2" }, "interface_ambiguous"],
    [null, "interface_missing"],
  ] as const) {
    const { body } = await patch(id, { interface: wanted });
    assert.deepEqual(
      [body.testState, body.testReason, body.blockers, body.interfaceResolved],
      ["interfaceIssue", reason, [reason], null],
    );
  }
  const byIndex = await patch(id, { interface: { match: "ifIndex", value: "3" } });
  assert.deepEqual([byIndex.body.testState, codesOf(byIndex.body.warnings)], ["successful", ["interface_by_index"]]);
  for (const value of ["03", "0", "2147483648", "x"])
    assert.equal((await patch(id, { interface: { value } })).status, 400, value);
  await patch(id, { deviceAddress: "192.0.2.12" });
  const forgotten = await patch(id, { interface: { match: "ifName", value: "Gi0/1" } });
  assert.equal(forgotten.body.testState, "untested");
  const live = await created(full());
  await tested(live.id, [row(1, "Gi0/1")]);
  await world.sql("update monitoring.watch set status = 'active' where id = $1", [live.id]);
  const rewired = await patch(live.id, { interface: { match: "ifName", value: "Gi0/1" } });
  assert.deepEqual([rewired.body.testState, rewired.body.status], ["untested", "active"]);
});

test("tiers are given both or not at all, as the merged watch has them", async () => {
  const { id } = await created(full({ tierInKbps: 10, tierOutKbps: 10 }));
  const half = await patch(id, { tierInKbps: null });
  assert.deepEqual([half.status, half.body.errors[0].rule, half.body.errors[0].pointer], [400, "pair", "/tierInKbps"]);
  assert.equal((await patch(id, { tierInKbps: null, tierOutKbps: null })).status, 200);
});

test("an own customer reference hides the inherited one until it is cleared, also where both are equal", async () => {
  const { id } = await created(full({ customerReference: "C-17" }));
  const read = await world.get(`/v1/watch/${id}`, { key: keys.aW });
  assert.deepEqual(read.body.customerReferenceFrom, { kind: "own", folderId: null });
  const inherited = await patch(id, { customerReference: null });
  assert.deepEqual([inherited.body.customerReference, inherited.body.customerReferenceFrom.kind], ["C-17", "folder"]);
});

test("a watch moves within its tenant only, and keeps names unique where it comes to", async () => {
  const [there, theirs] = [await world.location(rootOf(A), "There"), await world.location(rootOf(B), "Theirs")];
  const watch = await created(full({ name: "mover" }));
  const taken = await created(full({ name: "MOVER", locationId: there }));
  const clash = await patch(watch.id, { locationId: there });
  assert.deepEqual([clash.status, clash.body.code, clash.body.existingId], [409, "watch_name_taken", taken.id]);
  const moved = await patch(watch.id, { locationId: there, name: "mover-2" });
  assert.deepEqual([moved.body.locationId, moved.body.location], [there, "There"]);
  assert.equal((await patch(watch.id, { locationId: theirs })).body.errors[0].rule, "not_found");
  const border = await patch(watch.id, { locationId: theirs }, {}, keys.pW);
  assert.deepEqual([border.status, border.body.code], [409, "tenant_border"]);
  assert.equal((await patch(watch.id, { locationId: rootOf(A) })).body.errors[0].rule, "id_kind");
  const renamed = await patch(taken.id, { name: "Mover" });
  assert.deepEqual([renamed.status, renamed.body.name], [200, "Mover"]);
});

test("a change of type or address that is no valid one is refused with all its faults, and changes nothing", async () => {
  const watch = await created(full());
  const answer = await patch(watch.id, { watchType: "Tunnel", deviceAddress: "192.0.2", description: "x" });
  assert.deepEqual([answer.status, answer.body.code, answer.body.errors.length], [400, "validation_failed", 2]);
  assert.equal((await patch(watch.id, { watchType: "Tunnel" })).body.code, "watch_type_not_supported");
  assert.equal((await patch(watch.id, { watchType: "SDSL" })).body.watchType, "SDSL");
});
