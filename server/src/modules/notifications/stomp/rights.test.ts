import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { connectClient, type StompClient, subscribe } from "../../../../test/stomp-client.ts";
import { clientToken, makeClient, makeUser, userTokens } from "../../../../test/tokens.ts";

const server = await startServer();
const { url } = server;
/** Sessions live here, changes are made there. */
const other = await startServer({ beside: server });
const provider = await server.key(server.rootId, "provider_administrator");
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const administrator = await server.key(tenant, "tenant_administrator");
const person = await makeUser(server, tenant, "ann");

let names = 0;
/** Tells of a change of a user, and waits until somebody who may hear has heard. */
async function changeUser(hearer: StompClient): Promise<void> {
  const before = hearer.messages().length;
  const body = { fullname: `Ann ${++names}` };
  assert.equal((await other.patch(`/v1/user/${person.id}`, body, { key: administrator })).status, 200);
  await eventually(() => hearer.messages().length > before);
}
async function endsWithin2s(client: StompClient, take: () => Promise<unknown>): Promise<string> {
  const beganAt = performance.now();
  await take();
  const fault = await client.fault();
  assert.ok(performance.now() - beganAt < 2_000, `${fault} after ${performance.now() - beganAt} ms`);
  return fault;
}

test("ST-15. with user.read taken away a change of a user is no MESSAGE on the topic of all events, and ends the one on users", async () => {
  const hearer = await connectClient(url, administrator);
  await subscribe(hearer, "a", "/topic/event", "types:demarc.directory.*\n");
  const granted = ["notification.subscribe", "user.read", "role.read"] as const;
  const key = await server.key(tenant, granted);
  const [wide, narrow, single] = [
    await connectClient(url, key),
    await connectClient(url, key),
    await connectClient(url, key),
  ];
  await subscribe(wide, "a");
  await subscribe(narrow, "a", "/topic/event/directory.user");
  await subscribe(single, "a", `/topic/event/directory.user/${person.id}`);
  await changeUser(hearer);
  for (const client of [wide, narrow, single]) await client.next("MESSAGE");

  const [{ role_id: roleId }] = await server.sql(
    `select a.role_id from access.assignment a join access.key_secret s on s.key_id = a.principal_id where s.hint = $1`,
    [key.slice(0, 14)],
  );
  const allow = async (...granted: string[]) => {
    const permissions = Object.fromEntries(granted.map((name) => [name, "allow"]));
    const body = { externalId: roleId, name: roleId, permissions };
    const answer = await other.post("/v1/role", body, { key: administrator });
    assert.equal(answer.status, 200, answer.text);
  };
  await allow("notification.subscribe", "role.read");
  await changeUser(hearer);
  for (const client of [narrow, single]) {
    assert.equal(await client.fault(), "destination_not_available 1008");
    assert.equal(client.messages().length, 1);
  }
  // What it may hear still comes, so it would have heard the other before.
  await allow("notification.subscribe", "role.read", "plan.read");
  await eventually(() => wide.messages().length > 1);
  const types = wide.messages().map(({ headers }) => headers["event-type"]);
  assert.equal(types.filter((type) => type === "demarc.directory.user.updated").length, 1, types.join());
  wide.send("SUBSCRIBE\nid:b\ndestination:/topic/event/directory.user\n\n\0");
  assert.equal(await wide.fault(), "destination_not_available 1008");
  hearer.cut();
});

test("ST-15. a key that is revoked, rotated away or disabled at another server ends its sessions within two seconds, without any traffic", async () => {
  const issued = async () => {
    const { body } = await server.post("/v1/key", { title: `k-${++names}` }, { key: administrator });
    const given = { principal: { kind: "key", id: body.id }, roleId: "read_only" };
    assert.equal((await server.post("/v1/assignment", given, { key: administrator })).status, 201);
    return { id: body.id as string, client: await connectClient(url, body.secret) };
  };
  const takings: [taken: string, take: (id: string) => Promise<{ status: number }>][] = [
    ["session_ended 1008", (id) => other.delete(`/v1/key/${id}`, { key: administrator })],
    ["session_ended 1008", (id) => other.patch(`/v1/key/${id}`, { enabled: false }, { key: administrator })],
    // Its secret has expired at this moment.
    ["token_expired 1008", (id) => other.post(`/v1/key/${id}/rotate`, { overlapMinutes: 0 }, { key: administrator })],
  ];
  for (const [expected, take] of takings) {
    const { id, client } = await issued();
    const fault = await endsWithin2s(client, async () => assert.ok((await take(id)).status < 300));
    assert.equal(fault, expected);
  }
});

test("ST-15. a blocked user, a suspended tenant, the API or notifications switched off, an end by REST: session_ended within two seconds", async () => {
  const user = await makeUser(server, tenant, "bob", ["notification.subscribe"]);
  const bob = await connectClient(url, (await userTokens(server, tenant, user.id)).token);
  const block = () => other.post(`/v1/user/${user.id}/block`, undefined, { key: administrator });
  assert.equal(await endsWithin2s(bob, block), "session_ended 1008");

  const inTenant = async () => {
    const id = await server.tenant(server.rootId, "customer", `T ${++names}`);
    const key = await server.key(id, ["notification.subscribe", "user.read"]);
    const client = await connectClient(url, key);
    await subscribe(client, "a");
    return { id, key, client };
  };
  const switches = {
    suspended: (id: string) => other.post(`/v1/tenant/${id}/suspend`, { reason: "x" }, { key: provider }),
    api: (id: string) => other.patch(`/v1/tenant/${id}`, { features: { api: false } }, { key: provider }),
    notifications: (id: string) =>
      other.patch(`/v1/tenant/${id}`, { features: { notifications: false } }, { key: provider }),
  };
  for (const [name, take] of Object.entries(switches)) {
    const { id, client } = await inTenant();
    const fault = await endsWithin2s(client, async () => assert.ok((await take(id)).status < 300, name));
    assert.equal(fault, "session_ended 1008", name);
  }
  const { key, client } = await inTenant();
  const [session] = (await other.get("/v1/stomp-session", { key })).body.items;
  const end = () => other.delete(`/v1/stomp-session/${session.id}`, { key });
  assert.equal(await endsWithin2s(client, end), "session_ended 1008");
  const own = await inTenant();
  await subscribe(own.client, "b", "/topic/event/directory");
  const off = () => other.patch(`/v1/tenant/${own.id}`, { features: { directory: false } }, { key: provider });
  assert.equal(await endsWithin2s(own.client, off), "destination_not_available 1008");
});

test("ST-15. an idle session whose token has three seconds left ends between three and four seconds, and was told before", async () => {
  const service = await makeClient(server, tenant, ["notification.subscribe"], { accessTokenSeconds: 60 });
  const token = await clientToken(server, service);
  server.clock.advance(57_000);
  const beganAt = performance.now();
  const client = await connectClient(url, token);
  await subscribe(client, "s", "/user/queue/session");
  const notice = await client.next("MESSAGE");
  assert.equal(notice.headers["event-type"], "token.expiring");
  assert.equal(await client.fault(), "token_expired 1008");
  const tookMs = performance.now() - beganAt;
  assert.ok(tookMs >= 3_000 && tookMs < 4_000, `${tookMs} ms`);
  assert.equal(client.messages().length, 1);
});

test("a notice of expiry comes 60 s ahead to who subscribed before", async () => {
  const service = await makeClient(server, tenant, ["notification.subscribe"], { accessTokenSeconds: 61 });
  const client = await connectClient(url, await clientToken(server, service));
  await subscribe(client, "s", "/user/queue/session");
  assert.equal(client.messages().length, 0);
  assert.equal((await client.next("MESSAGE")).headers["event-type"], "token.expiring");
  client.cut();
});
