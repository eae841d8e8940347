import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startServer } from "../../../../test/harness.ts";
import { clientToken, makeUser, userTokens } from "../../../../test/tokens.ts";
import { redirectFaults } from "./redirect-uri.ts";

const server = await startServer();
const partner = await server.tenant(server.rootId, "partner", "Q");
const minuteMs = 60_000;

let tenants = 0;
async function customer() {
  const id = await server.tenant(partner, "customer", `Customer ${++tenants}`);
  return { id, key: await server.key(id, "tenant_administrator") };
}
const register = (key: string, body: object = {}) =>
  server.post("/v1/client", { kind: "service", name: `c${++tenants}`, ...body }, { key });
const ask = (client: { id: string; secret: string }) =>
  server.post("/oauth/token", {
    grant_type: "client_credentials",
    client_id: client.id,
    client_secret: client.secret,
  });
const types = async (subject: string) =>
  (
    await server.sql(
      "select replace(type, 'demarc.access.', '') as type from kernel.told where subject = $1 order by id",
      [subject],
    )
  ).map(({ type }) => type);

describe("registering", () => {
  test("a service gets a secret of the form of client secrets, shown this once, and tokens that hold its roles", async () => {
    const a = await customer();
    const answer = await register(a.key, { roles: [{ roleId: "read_only" }], scopes: ["read"] });
    assert.equal(answer.status, 201, answer.text);
    const { secret, ...client } = answer.body;
    assert.equal(answer.headers.get("location"), `/v1/client/${client.id}`);
    assert.match(secret, /^dms_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}$/);
    assert.deepEqual([client.public, client.accessTokenSeconds, client.secrets.length], [false, 3_600, 1]);
    const read = await server.get(`/v1/client/${client.id}`, { key: a.key });
    assert.deepEqual({ ...read.body, secret }, answer.body);
    const list = await server.get("/v1/client?kind=service&enabled=true&q=C", { key: a.key });
    assert.equal(list.body.items.length, 1);
    assert.ok(!list.text.includes(secret));
    const token = await clientToken(server, { id: client.id, secret });
    const self = await server.get("/v1/operation", { token });
    assert.equal(self.status, 200);
    assert.equal((await server.get("/v1/key", { token })).body.permission, "key.read");
    assert.deepEqual(await types(client.id), ["client.created"]);
  });

  test("a public application has no secret, cannot be given one, and has the addresses it was registered with", async () => {
    const a = await customer();
    const redirectUris = ["https://app.example.com/cb", "http://127.0.0.1/cb"];
    const answer = await register(a.key, { kind: "application", public: true, redirectUris });
    assert.equal(answer.status, 201, answer.text);
    assert.deepEqual(
      [answer.body.secret, answer.body.secrets, answer.body.accessTokenSeconds, answer.body.redirectUris],
      [null, [], 600, redirectUris],
    );
    const rotated = await server.post(`/v1/client/${answer.body.id}/rotate`, {}, { key: a.key });
    assert.equal(rotated.body.code, "client_is_public");
  });

  test("what does not fit the kind of client is refused, all of it at once", async () => {
    const a = await customer();
    const faults = async (body: object) => {
      const answer = await register(a.key, body);
      assert.equal(answer.status, 400, answer.text);
      return answer.body.errors.map((fault: any) => `${fault.pointer} ${fault.rule}`).sort();
    };
    const service = { public: true, redirectUris: ["https://a.example"], scopes: ["watch.wriet"] };
    assert.deepEqual(await faults(service), ["/public not_supported", "/redirectUris not_supported", "/scopes/0 enum"]);
    const application = {
      kind: "application",
      roles: [{ roleId: "read_only" }],
      redirectUris: ["http://a.example/cb"],
    };
    assert.deepEqual(await faults(application), ["/redirectUris/0 format", "/roles not_supported"]);
    assert.deepEqual(await faults({ accessTokenSeconds: 59 }), ["/accessTokenSeconds minimum"]);
    assert.deepEqual(await faults({ accessTokenSeconds: 3_601 }), ["/accessTokenSeconds maximum"]);
    assert.deepEqual(await faults({ roles: [{ roleId: "endpoint" }] }), ["/roles/0/roleId not_found"]);
  });

  test("a redirect address is https or loopback, exact, without fragment, credentials or wildcard", () => {
    const good = [
      "https://a.example/cb?x=1",
      "http://localhost:8080/cb",
      "http://127.0.0.1/cb",
      "http://[::1]:1234/cb",
    ];
    assert.deepEqual(redirectFaults(good), []);
    const bad = [
      "http://a.example/cb",
      "http://127.0.0.1.evil.example/cb",
      "http://localhost.evil.example/cb",
      "https://a.example/cb#x",
      "https://u:p@a.example/cb",
      "https://*.example/cb",
      "https://a.example/ö",
      "https://a.example\\@evil.example/cb",
      "javascript:alert(1)",
      "com.example.app:/cb",
      "https://",
      "/cb",
    ];
    assert.equal(redirectFaults(bad).length, bad.length);
  });

  test("a tenant has 100 clients: of 20 parallel creates for one place exactly one succeeds", async () => {
    const a = await customer();
    await server.sql(
      `insert into access.client (tenant_id, id, kind, name, scopes, redirect_uris, public, access_token_seconds, created_by, created_at, updated_at)
       select $1, 'cli_' || n, 'service', 'n' || n, '{*}', '{}', false, 3600, 'test', now(), now() from generate_series(1, 99) n`,
      [a.id],
    );
    const answers = await Promise.all(Array.from({ length: 20 }, () => register(a.key)));
    const made = answers.filter(({ status }) => status === 201);
    assert.equal(made.length, 1);
    assert.ok(answers.every(({ status, body }) => status === 201 || body.code === "client_limit_reached"));
    await server.delete(`/v1/client/${made[0]!.body.id}`, { key: a.key });
    assert.equal((await register(a.key)).status, 201);
  });

  test("nobody registers, widens or renews a client that holds more than itself", async () => {
    const a = await customer();
    const manager = await server.key(a.id, "api_manager");
    assert.equal((await register(manager, { roles: [{ roleId: "integrator" }] })).status, 201);
    const roles = [{ roleId: "tenant_administrator" }];
    assert.equal((await register(manager, { roles })).body.code, "grant_exceeds_own");
    const { id } = (await register(a.key, { roles, scopes: ["watch.read"] })).body;
    const widened = await server.patch(`/v1/client/${id}`, { scopes: ["*"] }, { key: manager });
    assert.equal(widened.body.code, "grant_exceeds_own");
    await server.patch(`/v1/client/${id}`, { scopes: ["*"] }, { key: a.key });
    const renewed = await server.post(`/v1/client/${id}/rotate`, {}, { key: manager });
    assert.equal(renewed.body.code, "grant_exceeds_own");
    const reader = await server.key(a.id, ["client.read"]);
    const refused = await server.patch(`/v1/client/${id}`, { name: "x" }, { key: reader });
    assert.equal(refused.body.permission, "client.manage");
    const b = await customer();
    assert.equal((await server.patch(`/v1/client/${id}`, { name: "x" }, { key: b.key })).status, 404);
  });
});

describe("changing and ending", () => {
  test("both secrets of a rotated client work in the overlap, never more than two, and 0 ends the old ones", async () => {
    const a = await customer();
    const { id, secret: first } = (await register(a.key)).body;
    const rotate = async (overlapMinutes: number) => {
      const answer = await server.post(`/v1/client/${id}/rotate`, { overlapMinutes }, { key: a.key });
      assert.equal(answer.status, 200, answer.text);
      return answer.body.secret as string;
    };
    const works = async (...secrets: string[]) => {
      const statuses: number[] = [];
      for (const secret of secrets) statuses.push((await ask({ id, secret })).status);
      return statuses;
    };
    const second = await rotate(60);
    assert.deepEqual(await works(first, second), [200, 200]);
    const third = await rotate(60);
    assert.deepEqual(await works(first, second, third), [401, 200, 200]);
    server.clock.advance(60 * minuteMs);
    assert.deepEqual(await works(second, third), [401, 200]);
    const fourth = await rotate(0);
    assert.deepEqual(await works(third, fourth), [401, 200]);
  });

  test("a disabled, narrowed or deleted client's tokens feel it on the next call", async () => {
    const a = await customer();
    const client = (await register(a.key, { roles: [{ roleId: "tenant_administrator" }] })).body;
    const token = await clientToken(server, client);
    const call = async () => (await server.get("/v1/key", { token })).status;
    const change = (body: object) => server.patch(`/v1/client/${client.id}`, body, { key: a.key });
    assert.equal(await call(), 200);
    await change({ scopes: ["desk"] });
    assert.equal(await call(), 403);
    await change({ scopes: ["*"] });
    assert.equal(await call(), 200);
    await change({ roles: [{ roleId: "read_only" }] });
    assert.equal(await call(), 403);
    await change({ roles: [{ roleId: "api_manager" }] });
    assert.equal(await call(), 200);
    await change({ enabled: false });
    assert.equal(await call(), 401);
    await change({ enabled: true });
    assert.equal(await call(), 200);
    for (let n = 0; n < 2; n++)
      assert.equal((await server.delete(`/v1/client/${client.id}`, { key: a.key })).status, 204);
    assert.equal(await call(), 401);
    assert.equal((await ask(client)).status, 401);
    assert.equal((await server.get(`/v1/client/${client.id}`, { key: a.key })).status, 404);
    assert.deepEqual((await types(client.id)).at(-1), "client.deleted");
  });

  test("deleting an application ends its users' grants and tokens", async () => {
    const a = await customer();
    const { id } = (await register(a.key, { kind: "application", public: true })).body;
    const user = await makeUser(server, a.id, "user", "read_only");
    const tokens = await userTokens(server, a.id, user.id, { clientId: id });
    const call = async () => (await server.get("/v1/operation", { token: tokens.access_token })).status;
    assert.equal(await call(), 200);
    assert.equal((await server.delete(`/v1/client/${id}`, { key: a.key })).status, 204);
    assert.equal(await call(), 401);
    const [grant] = await server.sql(`select * from access."grant" where client_id = $1`, [id]);
    assert.ok(grant.ended_at);
    assert.deepEqual(await types(grant.id), ["grant.revoked"]);
  });

  test("an If-Match taken before an edit is stale, one taken before a token was made is not", async () => {
    const a = await customer();
    const client = (await register(a.key)).body;
    const etag = (await server.get(`/v1/client/${client.id}`, { key: a.key })).headers.get("etag")!;
    await clientToken(server, client);
    const edit = (name: string) =>
      server.patch(`/v1/client/${client.id}`, { name }, { key: a.key, headers: { "if-match": etag } });
    assert.equal((await edit("one")).status, 200);
    assert.equal((await edit("two")).status, 412);
    const same = await server.patch(`/v1/client/${client.id}`, { name: "one" }, { key: a.key });
    assert.equal(same.status, 200);
    assert.deepEqual(await types(client.id), ["client.created", "client.updated"]);
  });
});
