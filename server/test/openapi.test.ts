/**
 * Every operation of the published OpenAPI documents is called here, well and badly, and its replies are held against
 * the documents as a client gets them: not against what the routes declare, from which they are made (monitoring, 47).
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { decodeJwt } from "jose";
import { Secret, TOTP } from "otpauth";
import { documentChecker, type Published } from "./check-document.ts";
import { type Answer, eventually } from "./harness.ts";
import { readMail } from "./mailbox.ts";
import { startReceiver } from "./receiver.ts";
import { connectClient, openClient, refusedHandshake, subscribe } from "./stomp-client.ts";
import { makeUser, userTokens } from "./tokens.ts";
import { createVisitor, logIn } from "./visitor.ts";
import { startDevice, startWatchLab } from "./watch-lab.ts";

const server = await startWatchLab();
const { A, L } = server;
const owner = await server.key(A, "tenant_administrator");
const nobody = await server.key(A, []);
const provider = await server.key(server.rootId, "provider_administrator");

const documents: Record<string, Published> = {};
const shown = new Set<string>();
let check: ReturnType<typeof documentChecker>;

type Ask = Parameters<typeof server.call>[2];
/** Calls, and holds the reply against the documents; `status` as expected. */
async function ask(status: number, method: string, path: string, more: Ask = { key: owner }): Promise<Answer> {
  const answer = await server.call(method, path, more);
  assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
  const operationId = check(method, path, answer);
  if (status < 300) shown.add(operationId);
  return answer;
}
const post = async (status: number, path: string, body: object | undefined, key = owner, headers = {}) =>
  (await ask(status, "POST", path, { key, body, headers })).body;
const patch = (path: string, body: object, key = owner) => ask(200, "PATCH", path, { key, body });
const operations = () =>
  Object.values(documents).flatMap(({ paths }) =>
    Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
    ),
  );

before(async () => {
  const { body } = await server.get("/v1/version");
  const { documents: addresses } = body.items.find(({ label }: { label: string }) => label === "v1");
  for (const address of addresses.filter((one: string) => one.includes("/openapi/"))) {
    const answer = await server.get(address);
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("content-type")!, /^application\/openapi\+json/);
    documents[address] = JSON.parse(answer.text);
  }
  check = documentChecker(documents);
});

test("the check bites: a status, a media type and a member that are not declared are found", async () => {
  const answer = await server.get("/v1/ping", { key: owner });
  check("GET", "/v1/ping", answer);
  const as = (more: Partial<Answer>) => () => check("GET", "/v1/ping", { ...answer, ...more });
  assert.throws(as({ status: 207 }), /status is not declared/);
  assert.throws(as({ headers: new Headers({ "content-type": "text/html" }) }), /text\/html is not declared/);
  assert.throws(as({ text: '{"message":7}' }), /must be string/);
  assert.throws(as({ text: '{"message":"x","more":1}' }), /must NOT have additional properties/);
  const { headers } = answer;
  assert.throws(as({ headers: new Headers([...headers, ["x-planted", "1"]]) }), /header x-planted is not declared/);
  assert.throws(() => check("GET", "/v1/pong", answer), /stands in no document/);
});

test("47. what a tenant's people, keys, clients and plans answer is what the documents say", async () => {
  const partner = (await post(201, "/v1/tenant", { name: "Partner", kind: "partner" }, provider)).id;
  const administrator = { username: "boss", email: "boss@x.example", fullname: "Boss", sendInvitation: true };
  const tenant = await post(201, "/v1/tenant", { name: "New", kind: "customer", administrator }, provider);
  await patch(`/v1/tenant/${tenant.id}`, { reference: "N-1" }, provider);
  await patch(`/v1/tenant/${tenant.id}/auth-policy`, { sessionIdleMinutes: 10 }, provider);
  for (const part of ["", "/usage", "/auth-policy"]) await ask(200, "GET", `/v1/tenant/${A}${part}`);
  for (const verb of ["suspend", "resume"]) await post(200, `/v1/tenant/${tenant.id}/${verb}`, {}, provider);
  await post(409, "/v1/tenant", { name: "New", kind: "customer" }, provider);
  await ask(412, "PATCH", `/v1/tenant/${A}`, { key: owner, body: { name: "X" }, headers: { "if-match": '"x"' } });

  await patch(`/v1/tenant/${tenant.id}`, { parentId: partner }, provider);
  await ask(409, "PATCH", `/v1/tenant/${partner}`, { key: provider, body: { parentId: tenant.id } });
  await ask(409, "DELETE", `/v1/tenant/${tenant.id}?confirm=${tenant.code}`, { key: provider });
  await post(200, `/v1/tenant/${tenant.id}/suspend`, {}, provider);
  await ask(400, "DELETE", `/v1/tenant/${tenant.id}?confirm=wrong`, { key: provider });
  const end = await ask(202, "DELETE", `/v1/tenant/${tenant.id}?confirm=${tenant.code}`, { key: provider });
  await ask(200, "POST", `/v1/operation/${end.body.id}/cancel`, { key: provider });

  const plan = await post(201, "/v1/plan", { name: "Small" }, provider);
  await patch(`/v1/plan/${plan.id}`, { name: "Smaller" }, provider);
  await ask(200, "GET", `/v1/plan/${plan.id}`, { key: provider });
  await patch(`/v1/tenant/${partner}`, { planId: plan.id }, provider);
  await ask(409, "DELETE", `/v1/plan/${plan.id}`, { key: provider });
  await patch(`/v1/tenant/${partner}`, { planId: null }, provider);
  await ask(204, "DELETE", `/v1/plan/${plan.id}`, { key: provider });

  const person = { username: "sam", fullname: "Sam", email: "sam@a.example", defaultOrgUnitExternalId: "ROOT" };
  const user = await post(200, "/v1/user", person);
  await ask(200, "GET", `/v1/user/${user.id}`);
  await patch(`/v1/user/${user.id}`, { fullname: "Sam Doe" });
  for (const verb of ["block", "unblock"]) await post(204, `/v1/user/${user.id}/${verb}`, undefined);
  const given = { principal: { kind: "user", id: user.id }, roleId: "read_only" };
  const assignment = await post(201, "/v1/assignment", given);
  await ask(200, "GET", `/v1/assignment/${assignment.id}`);
  await ask(204, "DELETE", `/v1/assignment/${assignment.id}`);
  for (const verb of ["deactivate", "reactivate"]) await post(200, `/v1/user/${user.id}/${verb}`, {});
  await ask(204, "DELETE", `/v1/user/${user.id}`);
  const ann = await makeUser(server, A, "ann", "read_only");
  const tokenOf = async () => (await userTokens(server, A, ann.id)).token;
  const token = await tokenOf();
  await ask(200, "GET", "/v1/user/me", { token });
  const visitor = createVisitor(server.url);
  await logIn(visitor, "/oauth/login", ann);
  const [{ id: session }] = (await ask(200, "GET", "/v1/session", { token })).body.items;
  await ask(204, "DELETE", `/v1/session/${session}`, { token });
  await ask(404, "DELETE", `/v1/session/${session}`, { token });
  const { gid } = decodeJwt((await userTokens(server, A, ann.id)).token);
  assert.equal((await ask(200, "GET", "/v1/grant?count=true", { token })).body.total, 2);
  await ask(204, "DELETE", `/v1/grant/${gid}`, { token });
  await ask(204, "POST", "/v1/password/change", {
    token,
    body: { current: ann.password, new: "quite another horse 9" },
  });

  const { secret } = (await ask(200, "POST", "/v1/mfa/totp", { token: await tokenOf() })).body;
  const steps = (count: number) =>
    TOTP.generate({ secret: Secret.fromBase32(secret), timestamp: server.clock.now().getTime() + count * 30_000 });
  await ask(400, "POST", "/v1/mfa/totp/confirm", { token: await tokenOf(), body: { code: "x" } });
  await ask(200, "POST", "/v1/mfa/totp/confirm", { token: await tokenOf(), body: { code: steps(0) } });
  await ask(409, "POST", "/v1/mfa/totp", { token: await tokenOf() });
  await ask(204, "DELETE", "/v1/mfa/totp", { token: await tokenOf(), body: { code: steps(1) } });
  await ask(204, "DELETE", `/v1/user/${ann.id}/mfa`);
  await ask(202, "POST", "/v1/password/reset-request", { body: { login: ann.email } });
  const folder = join(server.dataDir, "mail");
  const mailed = () =>
    readdirSync(folder).map((name) => readMail("", [], readFileSync(join(folder, name), "utf8")).link);
  const link = await eventually(() => mailed().find((one) => one.includes("/reset")));
  const body = { token: new URL(link).searchParams.get("token"), new: "yet another horse 9" };
  await ask(204, "POST", "/v1/password/reset", { body });
  await ask(400, "POST", "/v1/password/reset", { body });
  const guest = await post(200, "/v1/user", { ...person, username: "guest", email: "guest@a.example" });
  const invitation = await post(201, "/v1/invitation", { userId: guest.id, sendInvitation: false });
  const accepted = { token: new URL(invitation.url).searchParams.get("token"), new: "yet another horse 9" };
  await ask(204, "POST", "/v1/invitation/accept", { body: accepted });
  await post(409, "/v1/invitation", { userId: guest.id });

  const headers = { "idempotency-key": "once" };
  const key = await post(201, "/v1/key", { title: "sync" }, owner, headers);
  assert.equal((await post(201, "/v1/key", { title: "sync" }, owner, headers)).id, key.id);
  await post(422, "/v1/key", { title: "other" }, owner, headers);
  await post(409, "/v1/key", { title: "SYNC" });
  await ask(200, "GET", `/v1/key/${key.id}`);
  await patch(`/v1/key/${key.id}`, { description: "x", allowedAddresses: ["192.0.2.0/24"] });
  await post(200, `/v1/key/${key.id}/rotate`, { overlapMinutes: 5 });
  await post(200, `/v1/key/${key.id}/reassign`, { responsibleUserId: ann.id, comment: "Hers now" });
  await ask(204, "DELETE", `/v1/key/${key.id}`);
  const imported = { title: "old", value: "0123456789-0123456789-0123456789" };
  await post(201, "/v1/key", imported, provider, { "demarc-tenant": A });
  await post(400, "/v1/key", { ...imported, title: "twin" }, provider, { "demarc-tenant": A });
  await ask(204, "DELETE", "/v1/key/self", { key: (await post(201, "/v1/key", { title: "mine" })).secret });
  const client = await post(201, "/v1/client", { kind: "service", name: "sync" });
  await ask(200, "GET", `/v1/client/${client.id}`);
  await patch(`/v1/client/${client.id}`, { name: "sync 2" });
  await post(200, `/v1/client/${client.id}/rotate`, {});
  await ask(204, "DELETE", `/v1/client/${client.id}`);
  await post(200, "/v1/signing-key/rotate", {}, provider);
  await ask(200, "GET", "/v1/signing-key", { key: provider });
});

test("47. what custom roles, privileges and the catalogue answer is what the documents say", async () => {
  const site = { externalId: "SITE", name: "Site", permissions: { "watch.write": "allow", "person.read": "deny" } };
  const made = await post(200, "/v1/role", site);
  for (const key of ["SITE", made.id]) await ask(200, "GET", `/v1/role/${key}`);
  await post(400, "/v1/role", { externalId: "OTHER", name: "site" });
  await post(200, "/v1/supervisor-privilege", { name: "Help desk", letters: "WCSU", shared: true });
  await ask(200, "GET", "/v1/supervisor-privilege/help desk");
  await ask(200, "GET", "/v1/supervisor-privilege/Administrator");
  await ask(400, "DELETE", "/v1/supervisor-privilege/Administrator");
  await ask(200, "GET", "/v1/supervisor-privilege?count=true");
  await ask(200, "GET", "/v1/permission?class=record");
  await ask(204, "DELETE", "/v1/role/SITE");
  await ask(204, "DELETE", "/v1/supervisor-privilege/Help desk");
});

test("47. what folders, locations, watches and reconciliation answer is what the documents say", async () => {
  const folder = await post(201, "/v1/folder", { name: "North" });
  const location = await post(201, "/v1/location", { name: "Depot", folderId: folder.id });
  await post(200, "/v1/folder/import", {
    mode: "each",
    items: [{ path: ["North"], location: { name: "New" } }, { path: [""] }],
  });
  for (const path of [`folder/${folder.id}`, `location/${location.id}`]) {
    await ask(200, "GET", `/v1/${path}`);
    await patch(`/v1/${path}`, { description: "x" });
  }
  await ask(409, "DELETE", `/v1/folder/${folder.id}`);
  await ask(204, "DELETE", `/v1/location/${location.id}`);

  const bearer = (name: string, more: object = {}) => ({
    name,
    locationId: L.id,
    watchType: "Bearer",
    accessInKbps: 80_000,
    accessOutKbps: 20_000,
    ...more,
  });
  const made = await post(201, "/v1/watch", bearer("w", { snmp: { version: "v2c", community: "public" } }));
  await post(409, "/v1/watch", bearer("W"));
  await post(400, "/v1/watch", { ...bearer("x"), watchType: "Tunnel", colour: 1 });
  await patch(`/v1/watch/${made.id}`, { reference: "R" });
  await post(409, `/v1/watch/${made.id}/activate`, {});
  await post(409, `/v1/watch/${made.id}/test`, {});
  await post(200, "/v1/watch/bulk", {
    mode: "each",
    items: [
      { op: "create", watch: bearer("bulk") },
      { op: "create", watch: bearer("bad", { accessInKbps: 0 }) },
    ],
  });
  await ask(200, "GET", `/v1/watch/${made.id}/test`);

  const device = await startDevice();
  const watch = await server.watchOf(device);
  const started = await post(202, `/v1/watch/${watch.id}/test`, { probes: ["snmp"] });
  const end = (id: string) =>
    eventually(async () => (await ask(200, "GET", `/v1/operation/${id}`)).body.finishedAt as string | null);
  await end(started.id);
  for (const part of ["", "/test", "/interface"]) await ask(200, "GET", `/v1/watch/${watch.id}${part}`);
  for (const verb of ["activate", "disable", "enable"]) await post(200, `/v1/watch/${watch.id}/${verb}`, {});
  await ask(409, "DELETE", `/v1/watch/${watch.id}`);
  await end((await post(202, "/v1/watch/test", { ids: [made.id], probes: ["snmp"] })).id);
  await end((await post(202, "/v1/watch/activate", { ids: [made.id, watch.id] })).id);
  const waited = await post(200, "/v1/watch/activate", { ids: [made.id] }, owner, { prefer: "wait=10" });
  assert.ok(waited.summary);
  const silent = await server.watchOf(await startDevice({ silent: true }));
  const running = await post(202, `/v1/watch/${silent.id}/test`, { probes: ["snmp"] });
  // 200 before it has begun, 202 afterwards: both are declared.
  const cancelled = await server.call("POST", `/v1/operation/${running.id}/cancel`, { key: owner });
  assert.ok(cancelled.status < 300, cancelled.text);
  shown.add(check("POST", `/v1/operation/${running.id}/cancel`, cancelled));
  await end(running.id);
  await ask(409, "POST", `/v1/operation/${running.id}/cancel`);

  const estate = [
    { key: "1", watch: { name: "w", accessInKbps: 1, snmp: { version: "v2c", port: 1161 } } },
    { key: "2", watch: bearer("missing") },
    { key: "3", watch: { accessInKbps: 0 } },
    { key: "4", watch: { id: watch.id, accessInKbps: 7 } },
    { key: "5", watch: { name: "bulk" } },
  ];
  const apply = { create: true, update: true };
  const report = await post(200, "/v1/watch/reconcile", { items: estate, apply });
  await ask(200, "GET", `/v1/reconcile/${report.id}`);
  await ask(200, "GET", `/v1/reconcile/${report.id}/item?limit=200`);
  await end((await post(202, "/v1/watch/reconcile", { items: estate }, owner, { prefer: "respond-async" })).id);
  await ask(204, "DELETE", `/v1/watch/${made.id}`);
  await ask(200, "GET", "/v1/watch?includeDeleted=true&count=true");
  const empty = await post(201, "/v1/folder", { name: "Empty" });
  await ask(204, "DELETE", `/v1/folder/${empty.id}`);
});

test("47. what webhooks and their deliveries answer is what the documents say", async () => {
  const receiver = await startReceiver();
  const types = ["demarc.monitoring.folder.*"];
  const hook = await post(201, "/v1/webhook", {
    url: receiver.url,
    types,
    signatures: ["v1", "v1a"],
    headers: { "X-A": "b" },
  });
  await post(400, "/v1/webhook", { url: "https://169.254.169.254/", types });
  const path = `/v1/webhook/${hook.id}`;
  await ask(200, "GET", path);
  await patch(path, { description: "x" });
  await post(200, `${path}/rotate`, {});
  await post(409, `${path}/rotate`, {});
  await post(200, `${path}/test`, {});
  await post(201, "/v1/folder", { name: "Told" });
  const sent = await eventually(
    async () => (await ask(200, "GET", `/v1/webhook-delivery?webhookId=${hook.id}&status=delivered`)).body.items[0],
  );
  await ask(200, "GET", `/v1/webhook-delivery/${sent.id}`);
  await post(202, `/v1/webhook-delivery/${sent.id}/retry`, undefined);
  await post(200, `${path}/replay`, { scope: "all", dryRun: true });
  await post(202, `${path}/replay`, { scope: "missed" });
  await patch(path, { status: "disabled" });
  await post(409, `/v1/webhook-delivery/${sent.id}/retry`, undefined);
  await ask(204, "DELETE", path);
});

test("47. a WebSocket handshake is answered, and refused, as the documents say", async () => {
  const headers = { "x-api-key": owner };
  const { upgrade } = await openClient(server.url, { headers });
  const told = new Headers(Object.entries(upgrade).map(([name, value]): [string, string] => [name, String(value)]));
  shown.add(check("GET", "/v1/stomp", { status: 101, headers: told, text: "", body: null }));
  for (const [options, status] of [
    [{ headers: { "x-api-key": "wrong" } }, 401],
    [{ headers, origin: "https://evil.example" }, 403],
    [{ headers, protocols: ["mqtt"] }, 400],
  ] as const) {
    const refused = await refusedHandshake(server.url, options as Parameters<typeof refusedHandshake>[1]);
    assert.equal(refused.status, status);
    const got = new Headers(
      Object.entries(refused.headers).map(([name, value]): [string, string] => [name, `${value}`]),
    );
    check("GET", "/v1/stomp", { status, headers: got, text: JSON.stringify(refused.body), body: refused.body });
  }
});

test("47. what is kept of STOMP answers as the documents say", async () => {
  const session = await connectClient(server.url, owner);
  await subscribe(session, "d", "/topic/event", "ack:client\ndurable:sample\n");
  const [durable] = (await ask(200, "GET", "/v1/stomp-durable")).body.items;
  await ask(200, "GET", `/v1/stomp-durable/${durable.id}`);
  await ask(200, "GET", `/v1/stomp-durable/${durable.id}/parked`);
  await ask(409, "DELETE", `/v1/stomp-durable/${durable.id}`);
  await post(409, `/v1/stomp-durable/${durable.id}/unpark`, { all: true });
  const [{ id }] = (await ask(200, "GET", "/v1/stomp-session")).body.items;
  await ask(204, "DELETE", `/v1/stomp-session/${id}`);
  await eventually(
    async () => (await server.get(`/v1/stomp-durable/${durable.id}`, { key: owner })).body.sessionId === null,
  );
  await post(200, `/v1/stomp-durable/${durable.id}/unpark`, { all: true });
  await ask(204, "DELETE", `/v1/stomp-durable/${durable.id}`);
  const queue = await post(201, "/v1/stomp-queue", { name: "sample", types: ["demarc.monitoring.*"] });
  await post(409, "/v1/stomp-queue", { name: "sample", types: ["*"] });
  await ask(200, "GET", `/v1/stomp-queue/${queue.id}`);
  await patch(`/v1/stomp-queue/${queue.id}`, { includeBelow: true });
  await ask(200, "GET", `/v1/stomp-queue/${queue.id}/parked`);
  await post(200, `/v1/stomp-queue/${queue.id}/unpark`, { all: true });
  await ask(204, "DELETE", `/v1/stomp-queue/${queue.id}`);
});

test("47. lists, single reads and what is open to all answer as the documents say, also when nothing has changed", async () => {
  await server.kernel.activity.flush();
  for (const { path, method } of operations()) {
    if (method !== "GET" || path.includes("{")) continue;
    const key = path === "/v1/signing-key" ? provider : owner;
    // A stream ends where it is told to.
    const address = path === "/v1/event-stream" ? `${path}?until=2000-01-01T00:00:00Z` : path;
    // What is no upgrade is refused; the handshake has a case of its own.
    if (path === "/v1/stomp") await ask(426, "GET", path);
    else if (path !== "/v1/user/me") await ask(200, "GET", address, { key });
  }
  const [event] = (await ask(200, "GET", "/v1/event-log?sort=-sequence&types=demarc.monitoring.*")).body.items;
  await ask(200, "GET", `/v1/event-log/${event.id}`);
  for (const part of ["", "/schema"]) await ask(200, "GET", `/v1/event-catalogue/${event.type}${part}`);
  await ask(400, "GET", "/v1/event-log?cursor=x");
  for (const name of ["audit", "activity"]) {
    const { items } = (await ask(200, "GET", `/v1/${name}?count=true&limit=200`)).body;
    assert.ok(items.length > 10, name);
    await ask(200, "GET", `/v1/${name}/${items[0].id}`);
  }
  for (const path of [`/v1/tenant/${A}`, `/v1/tenant/${A}/auth-policy`, "/v1/openapi/monitoring.json"]) {
    const read = await ask(200, "GET", path);
    await ask(304, "GET", path, { key: owner, headers: { "if-none-match": read.headers.get("etag")! } });
  }
});

test("47. every operation refuses as the documents say: credential, permission, query, body, target", async () => {
  for (const { path, method, operation } of operations()) {
    const open = operation.security?.length === 0;
    const target = path.replaceAll(/\{\w+\}/g, "nothing");
    const key = open ? undefined : provider;
    const body = operation.requestBody ? {} : undefined;
    if (!open) {
      await ask(401, method, target, { body });
      const refused = await server.call(method, target, { key: nobody, body });
      check(method, target, refused);
      await ask(404, method, target, { key: owner, body, headers: { "demarc-tenant": "nowhere" } });
    }
    await ask(400, method, `${target}?yyy=1`, { key, body });
    if (body) {
      await ask(400, method, target, { key, raw: "{" });
      await ask(415, method, target, { key, raw: "{}", headers: { "content-type": "text/plain" } });
    }
    if (target !== path) check(method, target, await server.call(method, target, { key, body }));
  }
});

test("47. every operation of the documents was seen to succeed", () => {
  const all = operations().map(({ operation }) => operation.operationId);
  assert.ok(all.length > 80);
  assert.deepEqual(
    all.filter((id) => !shown.has(id)),
    [],
  );
});
