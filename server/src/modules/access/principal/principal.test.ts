import assert from "node:assert/strict";
import { test } from "node:test";
import { newId } from "#kernel/ids";
import { startServer } from "../../../../test/harness.ts";
import { buildHouse } from "../../../../test/house.ts";

const server = await startServer();
const { q, a, qAdm, aRead } = await buildHouse(server);

const self = async (key: string, headers: Record<string, string> = {}) => {
  const { status, body } = await server.get("/v1/principal/self", { key, headers });
  assert.equal(status, 200);
  return body;
};
const held = (body: any, name: string) => body.permissions.find((one: any) => one.name === name);

test("any valid credential reads who it is, for whom it acts and what it may do", async () => {
  const body = await self(aRead.key);
  assert.deepEqual(body.actor, { kind: "user", id: aRead.id, name: "aRead" });
  assert.deepEqual([body.tenant.id, body.actingTenant.id], [a, a]);
  assert.deepEqual([body.via.kind, body.scopes, body.readOnly, body.authTime], ["key", ["*"], false, null]);
  assert.deepEqual(held(body, "tenant.read"), { name: "tenant.read", everywhere: true, within: [] });
  assert.equal(held(body, "tenant.manage"), undefined);
  assert.equal(body.effectiveFeatures.desk, true);
  const nobody = await server.key(a, []);
  assert.deepEqual([(await self(nobody)).permissions, (await self(nobody)).letters], [[], "H"]);
});

test("scopes narrow what is shown, and places show where something is held", async () => {
  const scoped = await self(await server.key(a, "tenant_administrator", { scopes: ["monitoring:read"] }));
  assert.deepEqual(
    scoped.permissions.map((one: any) => one.name),
    ["watch.read", "pending.read", "folder.read", "report.read"],
  );
  const folder = { kind: "folder", id: newId("fld") };
  const homed = await self(await server.key(a, "provisioner", { within: folder }));
  assert.deepEqual(held(homed, "watch.write"), { name: "watch.write", everywhere: false, within: [folder] });
});

test("the letters are those of the permissions held", async () => {
  assert.equal((await self(qAdm.key)).letters, "ACEFGMRSUWX");
  assert.equal((await self(await server.key(a, ["watch.write", "folder.write"]))).letters, "CSW");
  assert.equal((await self(await server.key(a, ["watch.read"]))).letters, "");
});

test("Demarc-Tenant shows as the acting tenant", async () => {
  const body = await self(qAdm.key, { "demarc-tenant": a });
  assert.deepEqual([body.tenant.id, body.actingTenant.id], [q, a]);
});
