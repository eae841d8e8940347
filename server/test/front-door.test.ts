import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { modules } from "../src/app.ts";
import { startServer } from "./harness.ts";
import { planted } from "./planted.ts";

const server = await startServer({ modules: [...modules, planted] });
const customer = await server.tenant(server.rootId, "customer", "Door");
const key = await server.key(customer, ["export.run"]);
const port = Number(new URL(server.url).port);

/** Sends octets as they are, and gives back what came until the server closed (or said enough). */
function raw(octets: string, until: RegExp = /\r\n\r\n[\s\S]*\}/): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(octets));
    let heard = "";
    socket.on("data", (chunk) => {
      heard += chunk;
      if (until.test(heard)) socket.destroy();
    });
    socket.on("close", () => resolve(heard));
    socket.on("error", reject);
  });
}

test("a label that does not exist is 404 and names those that do", async () => {
  for (const label of ["v0", "v01", "V1", "v999", "beta2", "%20"]) {
    const answer = await server.get(`/${label}/ping`, { key });
    assert.deepEqual([answer.status, answer.body.code], [404, "version_unknown"], label);
    assert.deepEqual(answer.body.versions, ["v1", "latest"]);
  }
  assert.equal((await server.get("//ping", { key })).status, 404);
});

test("beta is, for a tenant without the switch, a label that does not exist", async () => {
  const without = await server.get("/beta/ping", { key });
  const unknown = await server.get("/gamma/ping", { key });
  assert.deepEqual({ ...without.body, instance: 0, requestId: 0 }, { ...unknown.body, instance: 0, requestId: 0 });
  for (const name of ["api-version", "deprecation", "sunset", "link"])
    assert.equal(without.headers.get(name), null, `${name}: an unknown label tells nothing`);
  assert.deepEqual([...without.headers.keys()].sort(), [...unknown.headers.keys()].sort());
  const beta = await server.key(await server.tenant(server.rootId, "customer", "Beta", { beta: true }), []);
  assert.equal((await server.get("/beta/ping", { key: beta })).status, 200);
});

test("an unknown path and a wrong verb are 404, the latter naming the verbs of the address", async () => {
  assert.deepEqual((await server.get("/v1/pong", { key })).body.allow, undefined);
  const wrong = await server.delete("/v1/ping", { key });
  assert.deepEqual([wrong.status, wrong.body.allow, wrong.headers.get("allow")], [404, ["GET"], "GET"]);
  assert.equal((await server.get("/v1/ping/", { key })).status, 404);
});

test("HEAD is answered wherever GET is, without a body", async () => {
  const answer = await server.call("HEAD", "/v1/ping", { key });
  assert.deepEqual([answer.status, answer.text], [200, ""]);
});

test("46. the hint of a 401 speaks of the header's form alone, and every 401 has one body", async () => {
  const forms: [Record<string, string>, string | undefined][] = [
    [{}, undefined],
    [{ authorization: "Bearer: x" }, "bearer_colon"],
    [{ authorization: "Token x" }, "unknown_scheme"],
    [{ authorization: "Bearer Bearer x" }, "bearer_twice"],
    [{ authorization: "Bearer x", "x-api-key": key }, "two_credentials"],
    [{ "x-api-key": "é" }, undefined],
    [{ "x-api-key": "k".repeat(257) }, undefined],
    [{ "x-api-key": `${key.slice(0, -1)}${key.endsWith("0") ? "1" : "0"}` }, "key_checksum"],
  ];
  for (const [headers, hint] of forms) {
    const sent = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, Buffer.from(value).toString("latin1")]),
    );
    const answer = await server.get("/v1/ping", { headers: sent });
    assert.deepEqual([answer.status, answer.body.code, answer.body.hint], [401, "unauthenticated", hint]);
    const challenge = answer.headers.get("www-authenticate");
    assert.equal(
      challenge,
      Object.keys(headers).length === 0 ? 'Bearer realm="demarc"' : 'Bearer realm="demarc", error="invalid_token"',
    );
  }
  assert.equal((await server.get(`/v1/ping?api_key=${key}`)).body.hint, "query_string");
  const beside = await server.get(`/v1/ping?api_key=${key}`, { key });
  assert.deepEqual([beside.status, beside.body.errors[0].parameter], [400, "api_key"]);
});

test("the order of checks: nothing after the first refusal is looked at", async () => {
  const nobody = await server.key(customer, []);
  const garbage = { raw: "{", headers: { "content-type": "text/plain" } };
  assert.equal((await server.call("POST", "/v9/thing", garbage)).status, 404, "label before credential");
  assert.equal((await server.call("POST", "/v1/thing", garbage)).status, 401, "credential before body");
  const foreign = { key: nobody, headers: { ...garbage.headers, "demarc-tenant": server.rootId }, raw: "{" };
  assert.equal((await server.call("POST", "/v1/thing", foreign)).status, 404, "tenant before permission");
  assert.equal(
    (await server.call("POST", "/v1/thing", { ...garbage, key: nobody })).status,
    403,
    "permission before body",
  );
  assert.equal((await server.call("POST", "/v1/thing", { ...garbage, key })).status, 415, "media type before JSON");
  assert.equal((await server.call("POST", "/v1/thing", { key, raw: "{" })).status, 400);
});

test("a 403 names the permission, a scope that is too narrow and a read-only key say so", async () => {
  const nobody = await server.post("/v1/thing", {}, { key: await server.key(customer, []) });
  assert.deepEqual(
    [nobody.status, nobody.body.code, nobody.body.permission],
    [403, "permission_missing", "export.run"],
  );
  const narrow = await server.key(customer, ["export.run"], { scopes: ["monitoring"] });
  const scope = await server.post("/v1/thing", {}, { key: narrow });
  assert.deepEqual(
    [scope.body.code, scope.headers.get("www-authenticate")],
    ["scope_missing", 'Bearer error="insufficient_scope", scope="export.run"'],
  );
  const reader = await server.key(customer, ["export.run"], { readOnly: true });
  assert.equal((await server.post("/v1/thing", { name: "a" }, { key: reader })).body.code, "key_read_only");
  assert.equal(
    (await server.post("/v1/thing/search", { q: "a" }, { key: reader })).status,
    200,
    "a POST that reads is a read",
  );
});

test("all faulty members of a body are named at once, each with pointer, rule and hint", async () => {
  const answer = await server.post(
    "/v1/thing",
    { nmae: "x", id: "thg_1", colour: "blue", size: "3", nested: { deep: 1, odd: 2 } },
    { key },
  );
  assert.equal(answer.status, 400);
  const faults = Object.fromEntries(answer.body.errors.map((fault: any) => [fault.pointer, [fault.rule, fault.hint]]));
  assert.deepEqual(faults, {
    "/name": ["required", undefined],
    "/nmae": ["additionalProperties", "name"],
    "/id": ["read_only", undefined],
    "/colour": ["enum", undefined],
    "/size": ["type", undefined],
    "/nested/deep": ["type", undefined],
    "/nested/odd": ["additionalProperties", undefined],
  });
});

test("no body, however malformed, is a 500: each has its refusal and makes nothing", async () => {
  const before = (await server.sql("select count(*)::int as n from kernel.told"))[0].n;
  const deep = `${"[".repeat(10_000)}${"]".repeat(10_000)}`;
  const bodies: [string | Uint8Array, number, string][] = [
    ["{", 400, "json"],
    ["", 400, "required"],
    ["null", 400, "type"],
    ["[]", 400, "type"],
    ['{"name":"a","name":"b"}', 400, "duplicate_key"],
    ['{"name":"a","n\\u0061me":"b"}', 400, "duplicate_key"],
    ['{"__proto__":{"x":1},"name":"a"}', 400, "json"],
    ['{"name":"a","nested":{"constructor":1}}', 400, "json"],
    ['{"name":"\\ud800"}', 400, "encoding"],
    ['{"name":"a\\u0000"}', 400, "encoding"],
    [new Uint8Array([0x7b, 0xff, 0x7d]), 400, "encoding"],
    [deep, 400, "json"],
    [`{"name":${deep}}`, 400, "json"],
  ];
  for (const [body, status, rule] of bodies) {
    const answer = await server.call("POST", "/v1/thing", { key, raw: body });
    assert.deepEqual([answer.status, answer.body.errors?.[0]?.rule], [status, rule], String(body).slice(0, 40));
  }
  assert.equal((await server.sql("select count(*)::int as n from kernel.told"))[0].n, before);
  const marked = await server.call("POST", "/v1/thing", { key, raw: '\ufeff{"name":"marked"}' });
  assert.equal(marked.status, 201, "a leading byte-order mark is skipped");
});

test("a body over the limit is 413, another media type or charset 415", async () => {
  const large = await server.call("POST", "/v1/thing", { key, raw: `{"name":"${"x".repeat(10 * 1_048_576)}"}` });
  assert.deepEqual([large.status, large.body.code], [413, "body_too_large"]);
  for (const type of [
    "text/plain",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/json; charset=iso-8859-1",
  ]) {
    const answer = await server.call("POST", "/v1/thing", {
      key,
      raw: '{"name":"a"}',
      headers: { "content-type": type },
    });
    assert.equal(answer.status, 415, type);
  }
  assert.equal((await server.get("/v1/ping", { key })).status, 200);
  const coded = await server.call("POST", "/v1/thing", {
    key,
    raw: '{"name":"a"}',
    headers: { "content-encoding": "gzip" },
  });
  assert.equal(coded.status, 415, "a content coding is not unpacked");
});

test("faults of the schema and faults by a rule beyond it are told in one reply", async () => {
  const wide = await server.key(customer, "tenant_administrator");
  const body = { name: "w", watchType: "Tunnel", deviceAddress: "1.2.3.4.5", accessInKbps: "1", accessOutKbps: 1 };
  const answer = await server.post("/v1/watch", body, { key: wide });
  assert.deepEqual([answer.status, answer.body.code], [400, "validation_failed"]);
  const faults = answer.body.errors.map((fault: any) => `${fault.pointer} ${fault.rule}`).sort();
  assert.deepEqual(faults, ["/accessInKbps type", "/deviceAddress format", "/watchType not_supported"]);
});

test("U+0000 in an address or a query is refused before it reaches the database", async () => {
  const wide = await server.key(customer, "tenant_administrator");
  assert.equal((await server.get("/v1/watch/wch_%00", { key: wide })).status, 404);
  const query = await server.get("/v1/folder?reference=a%00b", { key: wide });
  assert.deepEqual(
    [query.status, query.body.errors[0]],
    [400, { parameter: "reference", rule: "encoding", message: "U+0000 is not text." }],
  );
});

test("an instant that no calendar or clock has is refused", async () => {
  const wide = await server.key(customer, "tenant_administrator");
  for (const at of [
    "2026-02-30T00:00:00Z",
    "2026-01-01T23:59:60Z",
    "2026-13-01T00:00:00Z",
    "2026-01-01T25:00:00Z",
    "2026-01-01",
  ]) {
    const answer = await server.get(`/v1/watch?updatedSince=${at}`, { key: wide });
    assert.deepEqual([answer.status, answer.body.errors[0].rule], [400, "format"], at);
  }
  assert.equal((await server.get("/v1/watch?updatedSince=2026-02-28T23:59:59.999%2B01:00", { key: wide })).status, 200);
});

test("unknown and repeated query parameters are refused by name", async () => {
  const answer = await server.get("/v1/ping?a=1&b=2", { key });
  assert.deepEqual(
    answer.body.errors.map((fault: any) => fault.parameter),
    ["a", "b"],
  );
});

test("octets that are no request, header bombs and endless header blocks get an answer and the server lives on", async () => {
  assert.match(await raw("garbage\r\n\r\n"), /^HTTP\/1\.1 400 /);
  assert.match(
    await raw(`GET /v1/ping HTTP/1.1\r\nHost: x\r\nX-Bomb: ${"a".repeat(40_000)}\r\n\r\n`),
    /^HTTP\/1\.1 431 /,
  );
  const many = Array.from({ length: 3_000 }, (_, index) => `X-${index}: y`).join("\r\n");
  assert.match(await raw(`GET /v1/ping HTTP/1.1\r\nHost: x\r\n${many}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  assert.match(
    await raw("GET /v1/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    /^HTTP\/1\.1 400 /,
  );
  assert.match(await raw("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n"), /^HTTP\/1\.1 40[04] /);
  assert.equal((await server.get("/v1/ping", { key })).status, 200);
});

test("a body that does not arrive in its time ends with 408, and holds nobody else up", async () => {
  const slow = await startServer({ settings: { requestSeconds: 1 }, beside: server });
  const socket = connect(Number(new URL(slow.url).port), "127.0.0.1");
  socket.write(
    `POST /v1/thing HTTP/1.1\r\nHost: x\r\nx-api-key: ${key}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{`,
  );
  let heard = "";
  socket.on("data", (chunk) => (heard += chunk));
  assert.equal((await slow.get("/v1/principal/self", { key })).status, 200);
  await new Promise((resolve) => socket.once("close", resolve));
  assert.match(heard, /^HTTP\/1\.1 408 /);
});

test("X-Request-Id and Correlation-Id of the caller are kept when they are safe, and replaced or dropped otherwise", async () => {
  const kept = await server.get("/v1/ping", {
    key,
    headers: { "x-request-id": "abc.1-2_3", "correlation-id": "job-7" },
  });
  assert.deepEqual([kept.headers.get("x-request-id"), kept.headers.get("correlation-id")], ["abc.1-2_3", "job-7"]);
  const made = await server.get("/v1/ping", {
    key,
    headers: { "x-request-id": "a b", "correlation-id": "x".repeat(129) },
  });
  assert.match(made.headers.get("x-request-id")!, /^rid_/);
  assert.equal(made.headers.get("correlation-id"), null);
});

test("a preflight of a named origin is answered before any credential; others get no CORS header", async () => {
  const open = await startServer({ settings: { corsOrigins: ["https://app.example"] } });
  const ask = (origin: string, path = "/v1/ping") =>
    open.call("OPTIONS", path, { headers: { origin, "access-control-request-method": "GET" } });
  const known = await ask("https://app.example");
  assert.deepEqual([known.status, known.headers.get("access-control-allow-origin")], [204, "https://app.example"]);
  assert.equal((await ask("https://evil.example")).headers.get("access-control-allow-origin"), null);
  assert.equal((await ask("https://app.example", "/v1/pong")).status, 404);
});

test("11. Demarc-Tenant narrows the call to a tenant at or below one's own, by id or code; out of reach it is 404", async () => {
  const partner = await server.tenant(server.rootId, "partner", "Partner");
  const below = await server.tenant(partner, "customer", "Below");
  const own = await server.key(partner, ["export.run"]);
  const [{ code }] = await server.sql("select code from access.tenant where id = $1", [below]);
  for (const named of [below, code]) {
    const made = await server.post("/v1/thing", { name: "there" }, { key: own, headers: { "demarc-tenant": named } });
    assert.equal(made.status, 201);
    const [row] = await server.sql("select tenant_id from kernel.told where subject = $1", [made.body.id]);
    assert.equal(row.tenant_id, below);
  }
  for (const named of [server.rootId, customer, "nonsense", ""]) {
    assert.equal(
      (await server.post("/v1/thing", { name: "x" }, { key: own, headers: { "demarc-tenant": named } })).status,
      404,
      named,
    );
  }
});
