import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer } from "../../../../test/harness.ts";

const server = await startServer();
const customer = await server.tenant(server.rootId, "customer", "Contact");
const key = await server.key(customer, "tenant_administrator");

test("removing a user takes it from the folders whose contact it is, and the audit trail of the folder shows it", async () => {
  const person = {
    username: "con",
    fullname: "Con Tact",
    email: "con@contact.example",
    defaultOrgUnitExternalId: "ROOT",
  };
  const { body: user } = await server.post("/v1/user", person, { key });
  const role = { principal: { kind: "user", id: user.id }, roleId: "read_only" };
  assert.equal((await server.post("/v1/assignment", role, { key })).status, 201);
  const folder = await server.post("/v1/folder", { name: "Site", contactUserId: user.id }, { key });
  assert.equal(folder.body.contactUserId, user.id, folder.text);
  assert.equal((await server.delete("/v1/user/con", { key })).status, 204);
  assert.equal((await server.get(`/v1/folder/${folder.body.id}`, { key })).body.contactUserId, null);
  const { body } = await server.get(`/v1/audit?itemId=${folder.body.id}&limit=1`, { key });
  assert.deepEqual(body.items[0].changes, [{ field: "contactUserId", old: user.id, new: null }]);
});
