import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../../../test/harness.ts";

const server = await startServer();
const key = await server.key(server.rootId, "read_only");

test("A1. a good key gets the ping's message, as x-api-key in any case and as Bearer", async () => {
  for (const headers of [{ "x-api-key": key }, { "X-API-KEY": key }, { authorization: `Bearer ${key}` }] as Record<
    string,
    string
  >[]) {
    const answer = await server.get("/v1/ping", { headers });
    assert.equal(answer.status, 200);
    assert.match(answer.body.message, /^Ping successful/);
    assert.equal(answer.headers.get("api-version"), "v1");
  }
});
