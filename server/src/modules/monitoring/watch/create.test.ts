import assert from "node:assert/strict";
import { performance } from "node:perf_hooks";
import { test } from "node:test";
import { startWorld } from "./watch.fixture.ts";

const world = await startWorld();
const { keys, full, L } = world;
const create = (body: unknown, key = keys.aW, headers: Record<string, string> = {}) =>
  world.post("/v1/watch", body, { key, headers });
const pointersOf = (answer: { body: any }) =>
  answer.body.errors.map((fault: { pointer: string }) => fault.pointer).sort();

test("1. a full body makes a pending watch, found at its Location with an equal body and tag, and told once", async () => {
  const answer = await create(full());
  assert.equal(answer.status, 201);
  const { id } = answer.body;
  assert.equal(answer.headers.get("location"), `/v1/watch/${id}`);
  const { status, testState, pollingMinutes, customerReference, customerReferenceFrom } = answer.body;
  assert.deepEqual(
    { status, testState, pollingMinutes, customerReference },
    { status: "pending", testState: "untested", pollingMinutes: 3, customerReference: "C-17" },
  );
  assert.deepEqual(customerReferenceFrom, { kind: "folder", folderId: world.rootOf(world.A) });
  assert.deepEqual(answer.body.snmp, { version: "v2c", port: 161, credentialSet: true });
  const read = await world.get(`/v1/watch/${id}`, { key: keys.aW });
  assert.deepEqual(read.body, answer.body);
  assert.equal(read.headers.get("etag"), answer.headers.get("etag"));
  const events = await world.events(id);
  assert.deepEqual(
    events.map(({ type }) => type),
    ["demarc.monitoring.watch.created"],
  );
  assert.deepEqual(events[0].data.resource, answer.body);
});

test("2. five fields are enough; the blockers say what is missing to activate", async () => {
  const answer = await create({
    name: "bare",
    locationId: L,
    watchType: "Bearer",
    accessInKbps: 80_000,
    accessOutKbps: 20_000,
  });
  assert.equal(answer.status, 201);
  assert.deepEqual([...answer.body.blockers].sort(), [
    "device_address_missing",
    "interface_missing",
    "not_tested",
    "snmp_missing",
  ]);
});

test("3. names of letters, digits and the listed signs are accepted", async () => {
  for (const name of ["HSC1921-VLAN3-InterRtr", "164.39.207.21", "a+b!$#@=._-1"])
    assert.equal((await create(full({ name }))).status, 201);
  for (const name of ["", "a b", "a/b", "a,b", "é", "a\n", "x".repeat(101)])
    assert.equal((await create(full({ name }))).status, 400, name);
});

test("4. all faults of a body are reported at once, and no type is coerced", async () => {
  const { name: _, accessOutKbps: __, ...body } = full({ pollingMinutes: 2 });
  const answer = await create(body);
  assert.equal(answer.status, 400);
  assert.deepEqual(pointersOf(answer), ["/accessOutKbps", "/name", "/pollingMinutes"]);
  assert.equal((await create(full({ pollingMinutes: "3" }))).status, 400);
  for (const pollingMinutes of [1, 5])
    assert.equal((await create(full({ pollingMinutes }))).body.pollingMinutes, pollingMinutes);
});

test("5. texts are measured in characters up to their limit", async () => {
  for (const [field, most] of [
    ["productType", 20],
    ["reference", 50],
    ["customerReference", 100],
    ["description", 100],
  ] as const) {
    assert.equal((await create(full({ [field]: "☃".repeat(most) }))).status, 201, field);
    assert.equal((await create(full({ [field]: "☃".repeat(most + 1) }))).status, 400, field);
  }
});

test("6. a description comes back byte for byte; the empty string is no value, null is none", async () => {
  const description = "<script>é☃</script>";
  assert.equal((await create(full({ description }))).body.description, description);
  assert.equal((await create(full({ description: "" }))).body.errors[0].rule, "minLength");
  assert.equal((await create(full({ description: null }))).body.description, null);
});

test("7. bandwidths are whole and positive, tiers come in pairs, and one above the line is warned of", async () => {
  for (const accessInKbps of [0, -1, 1.5, "80M", 1e30, null])
    assert.equal((await create(full({ accessInKbps }))).status, 400, String(accessInKbps));
  for (const kbps of [2_048, 10_000_000])
    assert.equal((await create(full({ accessInKbps: kbps, accessOutKbps: kbps }))).status, 201);
  const alone = await create(full({ tierInKbps: 1_000 }));
  assert.deepEqual(
    [alone.status, alone.body.errors[0].rule, alone.body.errors[0].pointer],
    [400, "pair", "/tierOutKbps"],
  );
  const above = await create(full({ tierInKbps: 100_000, tierOutKbps: 20_000 }));
  assert.equal(above.status, 201);
  assert.deepEqual(
    above.body.warnings.map(({ code, pointer }: any) => [code, pointer]),
    [["tier_above_access", "/tierInKbps"]],
  );
});

test("8. a known type that is not supported has a code of its own; any other is no type at all", async () => {
  for (const watchType of ["Tunnel", "MOS Test"]) {
    const { status, body } = await create(full({ watchType }));
    assert.deepEqual([status, body.code, body.errors[0].rule], [400, "watch_type_not_supported", "not_supported"]);
    assert.match(body.detail, /Bearer, ADSL, SDSL/);
  }
  for (const watchType of ["bearer", "Foo"]) {
    const { status, body } = await create(full({ watchType }));
    assert.deepEqual([status, body.code, body.errors[0].rule], [400, "validation_failed", "enum"]);
    assert.match(body.errors[0].message, /Bearer, ADSL, SDSL/);
  }
  const several = await create(full({ watchType: "Tunnel", deviceAddress: "192.0.2" }));
  assert.equal(several.body.code, "validation_failed");
  assert.deepEqual(pointersOf(several), ["/deviceAddress", "/watchType"]);
  const list = await world.get("/v1/watch?watchType=Tunnel", { key: keys.aW });
  assert.deepEqual([list.status, list.body.items], [200, []]);
  const types = await world.get("/v1/watch/type", { key: keys.aR });
  assert.deepEqual(
    types.body.items.filter(({ supported }: any) => supported).map(({ watchType }: any) => watchType),
    ["Bearer", "ADSL", "SDSL"],
  );
  assert.equal(types.body.items.length, 19);
});

test("9. SNMP settings are complete and hold nothing of another version", async () => {
  const auth = { authProtocol: "SHA-256", authPassphrase: "correct horse" };
  const faulty: [object, string][] = [
    [{ version: "v2c" }, "/snmp/community"],
    [
      { version: "v3", userName: "u", securityLevel: "authPriv", ...auth, privProtocol: "AES-128" },
      "/snmp/privPassphrase",
    ],
    [{ version: "v4", community: "x" }, "/snmp/version"],
    [{ version: "v2c", community: "x", port: 0 }, "/snmp/port"],
    [{ version: "v2c", community: "x", port: 65_536 }, "/snmp/port"],
    [{ version: "v2c", community: "x", userName: "u" }, "/snmp/userName"],
    [{ version: "v3", userName: "u", securityLevel: "noAuthNoPriv", authProtocol: "SHA" }, "/snmp/authProtocol"],
    [{ version: "v3", userName: "u", securityLevel: "noAuthNoPriv", community: "x" }, "/snmp/community"],
    [{ version: "v3", userName: "u" }, "/snmp/securityLevel"],
    [{ version: "v2c", community: "x", credentialSet: true }, "/snmp/credentialSet"],
  ];
  for (const [snmp, pointer] of faulty) {
    const answer = await create(full({ snmp }));
    assert.equal(answer.status, 400, JSON.stringify(snmp));
    assert.deepEqual(pointersOf(answer), [pointer]);
  }
  assert.equal(
    (await create(full({ snmp: { version: "v3", userName: "u", securityLevel: "noAuthNoPriv" } }))).status,
    201,
  );
  const weak = await create(
    full({ snmp: { version: "v3", userName: "u", securityLevel: "authNoPriv", ...auth, authProtocol: "MD5" } }),
  );
  assert.deepEqual(
    weak.body.warnings.map(({ code }: any) => code),
    ["snmp_weak_crypto"],
  );
  const open = await create(full({ snmp: { version: "v2c", community: "public" } }));
  assert.equal(open.headers.get("demarc-warning"), 'snmp_default_community;pointer="/snmp/community"');
  const read = await world.get(`/v1/watch/${open.body.id}`, { key: keys.aW });
  assert.equal(read.headers.get("demarc-warning"), null);
});

test("secrets stand in no reply, event, audit entry or stored request, and rest sealed for their own row", async () => {
  const secret = "c0mmunity-of-gold";
  const answer = await create(full({ snmp: { version: "v2c", community: secret } }), keys.aW, {
    "idempotency-key": "sealed-1",
  });
  assert.equal(answer.status, 201);
  const tables = ["monitoring.watch", "kernel.told", "access.audit", "kernel.idempotency", "access.activity"];
  for (const table of tables)
    assert.deepEqual(await world.sql(`select 1 from ${table} t where t::text like $1`, [`%${secret}%`]), [], table);
  assert.ok(!answer.text.includes(secret));
  const [audit] = await world.audits(answer.body.id);
  assert.deepEqual(
    audit.changes.find(({ field }: any) => field === "snmp.community"),
    { field: "snmp.community", old: "***", new: "***" },
  );
});

test("10. a location is named once, by the id of a location that the caller sees", async () => {
  const other = await create(full({ locationId: world.rootOf(world.A) }));
  assert.deepEqual(
    [other.status, other.body.errors[0].rule, other.body.errors[0].pointer],
    [400, "id_kind", "/locationId"],
  );
  assert.equal((await create(full({ place: { location: "L" } }))).status, 400);
  const { locationId: _, ...nowhere } = full();
  assert.deepEqual(pointersOf(await create(nowhere)), ["/locationId"]);
  const theirs = await world.location(world.rootOf(world.B), "Theirs");
  const unseen = await create(full({ locationId: theirs }));
  const missing = await create(full({ locationId: "loc_01jd8w6r7qf0ztb5c2m9x4k3en" }));
  assert.deepEqual([unseen.status, unseen.body.errors], [missing.status, missing.body.errors]);
  assert.equal(unseen.body.errors[0].rule, "not_found");
});

test("11. what the server sets cannot be written, and unknown properties are refused", async () => {
  for (const field of ["id", "path", "createdBy", "status"]) {
    const answer = await create(full({ [field]: null }));
    assert.deepEqual(
      [answer.status, answer.body.errors[0].rule, answer.body.errors[0].pointer],
      [400, "read_only", `/${field}`],
    );
  }
  for (const field of ["colour", "notes"])
    assert.equal((await create(full({ [field]: "x" }))).body.errors[0].rule, "additionalProperties");
});

test("12. a body that is no object, no JSON, too large or of another type stores nothing", async () => {
  const count = async () => (await world.sql("select count(*)::int as n from monitoring.watch"))[0].n;
  const before = await count();
  const raw = (text: string, type = "application/json") =>
    world.call("POST", "/v1/watch", { key: keys.aW, raw: text, headers: { "content-type": type } });
  for (const text of ["[]", "null", '{"name":']) assert.equal((await raw(text)).status, 400, text);
  assert.equal((await raw(JSON.stringify(full({ description: "x".repeat(5_000_000) })))).status, 413);
  assert.equal((await raw(JSON.stringify(full()), "text/plain")).status, 415);
  assert.equal(await count(), before);
});

test("13. a second watch of this name at the location is refused, naming the first", async () => {
  const first = await world.created(full({ name: "twin-1" }));
  const second = await create(full({ name: "TWIN-1" }));
  assert.deepEqual([second.status, second.body.code, second.body.existingId], [409, "watch_name_taken", first.id]);
  const elsewhere = await world.location(world.rootOf(world.A), "Elsewhere");
  assert.equal((await create(full({ name: "twin-1", locationId: elsewhere }))).status, 201);
});

test("13. of two concurrent creates of one name, one succeeds", async () => {
  const answers = await Promise.all([1, 2, 3, 4].map(() => create(full({ name: "race" }))));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409]);
});

test("14. one Idempotency-Key makes one watch; another body under it is refused", async () => {
  const body = full();
  const headers = { "idempotency-key": "create-14" };
  const first = await create(body, keys.aW, headers);
  const second = await create(body, keys.aW, headers);
  assert.deepEqual([second.status, second.body], [201, first.body]);
  assert.equal(second.headers.get("idempotency-replayed"), "true");
  assert.equal((await create({ ...body, accessInKbps: 1 }, keys.aW, headers)).status, 422);
  assert.equal((await world.events(first.body.id)).length, 1);
});

test("15. a place is made for a watch by who may write folders, and by nobody else", async () => {
  const place = { path: ["North"], location: "Depot", createMissing: true };
  const { locationId: _, ...body } = full();
  const folders = async () => (await world.sql("select count(*)::int as n from monitoring.folder"))[0].n;
  const before = await folders();
  const refused = await create({ ...body, place });
  assert.deepEqual([refused.status, refused.body.permission], [403, "folder.write"]);
  assert.equal(await folders(), before);
  const missing = await create({ ...body, place: { ...place, createMissing: false } });
  assert.deepEqual(
    [missing.status, missing.body.errors[0].rule, missing.body.errors[0].pointer],
    [400, "not_found", "/place"],
  );
  const made = await create({ ...body, place: { ...place, underFolderId: world.rootOf(world.A) } }, keys.pW);
  assert.equal(made.status, 201);
  assert.deepEqual([made.body.location, made.body.path.slice(-1)], ["Depot", ["North"]]);
  const events = await world.sql("select type from kernel.told where request_id = $1 order by id", [
    made.headers.get("x-request-id"),
  ]);
  assert.deepEqual(
    events.map(({ type }) => type.replace("demarc.monitoring.", "")),
    ["folder.created", "location.created", "watch.created"],
  );
  const again = await create({ ...full(), locationId: undefined, place: { path: ["North"], location: "Depot" } });
  assert.deepEqual([again.status, again.body.locationId], [201, made.body.locationId]);
});

test("46. a burst over the plan is 429 with whole seconds to wait, stores nothing, and hits nobody else", async (t) => {
  // Buckets fill by the monotonic clock: it stands still here, and moves when told.
  let nowMs = performance.now();
  t.mock.method(performance, "now", () => nowMs);
  const lane = { ratePerSecond: 1, burst: 3, perDay: null };
  const lanes = JSON.stringify({ api: lane, scim: lane, publish: lane });
  await world.sql(
    "insert into access.plan (tenant_id, id, name, lanes, created_at, updated_at) values ($1, 'pln_46', 'small', $2, now(), now())",
    [world.P, lanes],
  );
  const { Q } = world;
  const small = await world.tenant(Q, "customer", "Small");
  await world.sql("update access.tenant set plan_id = 'pln_46' where id = $1", [small]);
  await world.kernel.forget();
  const key = await world.key(small, ["watch.write"]);
  const locationId = await world.location(world.rootOf(small), "Site");
  const answers = [];
  for (let index = 0; index < 5; index++) answers.push(await create(full({ locationId }), key));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [201, 201, 201, 429, 429],
  );
  assert.match(answers[3]!.headers.get("retry-after")!, /^[1-9]\d*$/);
  assert.equal(
    (await world.sql("select count(*)::int as n from monitoring.watch where tenant_id = $1", [small]))[0].n,
    3,
  );
  assert.equal((await world.get("/v1/watch", { key: keys.bW })).status, 200);
  nowMs += Number(answers[3]!.headers.get("retry-after")) * 1_000;
  assert.equal((await create(full({ locationId }), key)).status, 201);
});

test("a number that is taken is drawn again, and tells nothing", async () => {
  const first = await world.created(full());
  const { insertWatch } = await import("./rows.ts");
  const { blankWatch } = await import("./watch-change.ts");
  await world.as(world.A, async (ctx) => {
    const row = {
      ...blankWatch(ctx, "wch_01jd8w6r7qf0ztb5c2m9x4k3en", first.numericId),
      location_id: L,
      name: "collides",
    };
    const place = await insertWatch(ctx, row);
    assert.deepEqual([place!.numbers, place!.made], [[], []]);
  });
});
