/** What the token endpoint keeps of clients and of whose turn it is to sign, at two servers of one installation. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeProtectedHeader } from "jose";
import { startServer, type TestServer } from "../../../../test/harness.ts";
import { makeClient, type TestClient } from "../../../../test/tokens.ts";

const settings = { publicUrl: "http://localhost" };
const server = await startServer({ settings });
const other = await startServer({ beside: server, settings });
const tenant = await server.tenant(server.rootId, "customer", "A");
const key = await server.key(tenant, "tenant_administrator");
const ask = (at: TestServer, { id, secret }: TestClient) =>
  at.call("POST", "/oauth/token", {
    body: { grant_type: "client_credentials", client_id: id, client_secret: secret },
  });
const statuses = async (client: TestClient) =>
  Promise.all([server, other].map(async (at) => (await ask(at, client)).status));
/** A client that both servers have met. */
async function known(): Promise<TestClient> {
  const client = await makeClient(server, tenant, "read_only");
  assert.deepEqual(await statuses(client), [200, 200]);
  return client;
}

test("a secret that was ended, a client that was disabled or deleted, proves nothing at any server after the reply", async () => {
  const client = await known();
  const rotated = await server.post(`/v1/client/${client.id}/rotate`, { overlapMinutes: 0 }, { key });
  assert.deepEqual(await statuses(client), [401, 401]);
  const next = { id: client.id, secret: rotated.body.secret as string };
  assert.deepEqual(await statuses(next), [200, 200]);
  const enable = (enabled: boolean) => server.patch(`/v1/client/${client.id}`, { enabled }, { key });
  await enable(false);
  assert.deepEqual(await statuses(next), [401, 401]);
  await enable(true);
  assert.deepEqual(await statuses(next), [200, 200]);
  await server.delete(`/v1/client/${client.id}`, { key });
  assert.deepEqual(await statuses(next), [401, 401]);
});

test("a new secret works at once at every server, and the old one until its overlap ends to the instant", async () => {
  const client = await known();
  const { body } = await server.post(`/v1/client/${client.id}/rotate`, { overlapMinutes: 1 }, { key });
  const next = { id: client.id, secret: body.secret as string };
  for (const one of [client, next]) assert.deepEqual(await statuses(one), [200, 200]);
  const advance = (ms: number) => {
    for (const at of [server, other]) at.clock.advance(ms);
  };
  advance(59_999);
  assert.deepEqual(await statuses(client), [200, 200]);
  advance(1);
  assert.deepEqual(await statuses(client), [401, 401]);
  assert.deepEqual(await statuses(next), [200, 200]);
});

test("narrowed scopes and a shorter life of tokens count for the next token at every server", async () => {
  const client = await known();
  const change = { scopes: ["monitoring:read"], accessTokenSeconds: 60 };
  assert.equal((await server.patch(`/v1/client/${client.id}`, change, { key })).status, 200);
  for (const at of [server, other]) {
    const { body } = await ask(at, client);
    assert.deepEqual([body.scope, body.expires_in], ["monitoring:read", 60]);
  }
});

test("52. after any rotation every server signs with the key whose turn it is, and after an emergency what it signs is good", async () => {
  const client = await known();
  const root = await server.key(server.rootId, "provider_administrator");
  const rotate = async (body: object) => {
    const answer = await server.post("/v1/signing-key/rotate", body, { key: root });
    assert.equal(answer.status, 200, answer.text);
    return answer.body.items.find(({ state }: { state: string }) => state === "active").kid as string;
  };
  for (const at of [server, other]) at.clock.advance(16 * 60_000);
  for (const body of [{}, { emergency: true }]) {
    const kid = await rotate(body);
    for (const at of [server, other]) {
      const { token } = (await ask(at, client)).body;
      assert.equal(decodeProtectedHeader(token).kid, kid);
      for (const reader of [server, other])
        assert.equal((await reader.get("/v1/principal/self", { token })).status, 200);
    }
  }
});
