import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";

const server = await startServer();

test("the place of webhooks follows the log also where nobody has one", async () => {
  const key = await server.key(server.rootId, "tenant_administrator");
  const made = await server.post("/v1/tenant", { name: "Ours", code: "ours", kind: "partner" }, { key });
  assert.equal(made.status, 201, made.text);
  assert.deepEqual(await server.sql("select id from kernel.delivery_target"), []);
  await eventually(async () => {
    const found = await server.sql(
      "select 1 from notifications.webhook_place p, kernel.log_state s where p.position = s.head_position and s.head_position > 0 and not exists (select from kernel.outbox)",
    );
    return found.length === 1;
  });
});
