/** What an attack from outside once found: each test is one hole that was open. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import pg from "pg";
import { eventually, startServer } from "./harness.ts";

const server = await startServer();
const customer = await server.tenant(server.rootId, "customer", "Target");
const administrator = await server.key(customer, "tenant_administrator");
const manager = await server.key(customer, "api_manager");

test("a role that counts among groups is another than the same role in the whole tenant: who may not give it cannot widen to it", async () => {
  const narrow = (title: string) => ({
    ...{ title, scopes: ["request.read"] },
    roles: [{ roleId: "tenant_administrator", within: { kind: "groups" } }],
  });
  const wide = {
    roles: [{ roleId: "tenant_administrator", within: { kind: "tenant", id: customer } }],
    scopes: ["request.read", "access"],
  };
  const { title: name, ...client } = narrow("c");
  const made = [
    ["/v1/key", narrow("k")],
    ["/v1/client", { ...client, name, kind: "service" }],
  ] as const;
  for (const [path, body] of made) {
    const { id } = (await server.post(path, body, { key: manager })).body;
    const widened = await server.patch(`${path}/${id}`, wide, { key: manager });
    assert.deepEqual([widened.status, widened.body.code], [403, "grant_exceeds_own"], path);
    assert.equal((await server.patch(`${path}/${id}`, wide, { key: administrator })).status, 200, path);
  }
});

test("U+0000 in a client's name or secret, or in a form, is refused and no fault of ours", async () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
  const ask = (raw: string, headers: Record<string, string> = {}) =>
    server.call("POST", "/oauth/token", {
      raw,
      headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
    });
  for (const id of ["%00", "cli_%00", "a\0b"]) {
    const answer = await ask("grant_type=client_credentials", { authorization: basic(`${id}:x`) });
    assert.deepEqual([answer.status, answer.body.error], [401, "invalid_client"], id);
  }
  const forms = ["client_id=%00", "client_id=demarc-password&username=a%00&password=x", "client_id=x&%00=x"];
  for (const form of forms) {
    const answer = await ask(`grant_type=password&${form}`);
    assert.deepEqual([answer.status, answer.body.error], [400, "invalid_request"], form);
  }
});

test("a caller that does not wait for the reply to its write stands in the activity log, once", async () => {
  const requestId = "unheard";
  const body = '{"name":"Unheard"}';
  const lines = [
    ...["POST /v1/folder HTTP/1.1", "Host: x", `X-Api-Key: ${administrator}`, `X-Request-Id: ${requestId}`],
    ...["Content-Type: application/json", `Content-Length: ${body.length}`],
  ];
  const holder = new pg.Client({ connectionString: server.databaseUrl });
  await holder.connect();
  await holder.query("begin; lock table monitoring.folder in access exclusive mode");
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  socket.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
  await eventually(async () => (await server.sql("select from pg_locks where not granted")).length > 0);
  socket.destroy();
  // A call behind it: the server has heard of the end when this one is answered.
  await server.get("/v1/version");
  await holder.query("commit");
  await holder.end();
  const statuses = await eventually(async () => {
    const { items } = (await server.get(`/v1/activity?requestId=${requestId}`, { key: administrator })).body;
    return items.length > 0 && items.map(({ status }: { status: number }) => status);
  });
  assert.deepEqual(statuses, [201]);
});
