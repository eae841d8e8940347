import assert from "node:assert/strict";
import { test } from "node:test";
import { type Permission, permissions, serviceOf, withImplied } from "#kernel/permissions";
import { allowedBy, builtInRoles, heldWithin } from "./roles.ts";

const role = (name: string) => builtInRoles.get(name)!;
const missing = (name: string) => permissions.filter((permission) => !role(name).has(permission));

test("administrators hold everything, the provider's alone what is the provider's", () => {
  assert.deepEqual(missing("provider_administrator"), []);
  assert.deepEqual(missing("tenant_administrator"), ["signingKey.manage"]);
});

test("the read-only role reads the services and changes nothing", () => {
  const changing = [...role("read_only")].filter((name) => !/\.read$/.test(name));
  assert.deepEqual(changing, ["notification.subscribe"]);
  for (const name of ["person.readSensitive", "person.readConfidential", "key.read", "audit.read", "activity.read"])
    assert.equal(role("read_only").has(name as Permission), false, name);
  for (const name of permissions.filter((one) => one.endsWith(".read") && serviceOf(one) !== "access"))
    assert.equal(role("read_only").has(name), true, name);
});

test("the desk's roles are those of its table", () => {
  assert.deepEqual([...role("requester")].sort(), ["lookup.read", "request.self"]);
  assert.deepEqual(
    [...role("support_rep")].sort(),
    [
      ...["assign", "close", "create", "read", "self", "update"].map((verb) => `request.${verb}`),
      ...["attachment.write", "note.write", "reply.send", "resolution.write", "worklog.write"],
      ...["contact.read", "lookup.read", "record.read", "record.write"],
    ].sort(),
  );
  for (const name of permissions.filter((one) => serviceOf(one) === "desk"))
    assert.equal(role("desk_administrator").has(name), true, name);
});

test("the integrator has all services but what is kept from integrations", () => {
  const kept = missing("integrator").filter((name) => serviceOf(name) !== "access");
  assert.deepEqual(kept.sort(), [
    "desk.admin",
    "exchange.application.approve",
    "person.readConfidential",
    "person.readSensitive",
    "person.writeSensitive",
  ]);
  const ofAccess = [...role("integrator")].filter((name) => serviceOf(name) === "access").sort();
  assert.deepEqual(ofAccess, ["audit.readAccess", "tenant.read", "usage.read"]);
});

test("every built-in role is closed under implication, and writing brings reading", () => {
  for (const [name, held] of builtInRoles) assert.deepEqual(withImplied(held), held, name);
  assert.deepEqual([...withImplied(["role.assign"])].sort(), ["role.assign", "role.read", "user.read"]);
  assert.deepEqual([...withImplied(["exchange.application.publish"])].sort(), [
    "exchange.application.publish",
    "exchange.application.read",
  ]);
});

test("only allow grants, and a name of another release grants nothing", () => {
  const switches = { "watch.read": "allow", "user.read": "deny", "plan.read": "inherit", "later.read": "allow" };
  assert.deepEqual([...allowedBy(switches)].sort(), ["folder.read", "watch.read"]);
});

test("within a node only the services that know its kind count", () => {
  const administrator = role("tenant_administrator");
  assert.equal(heldWithin(administrator, "tenant"), administrator);
  const services = (kind: Parameters<typeof heldWithin>[1]) => [
    ...new Set([...heldWithin(administrator, kind)].map((name) => serviceOf(name))),
  ];
  assert.deepEqual(services("folder"), ["monitoring"]);
  assert.deepEqual(services("own"), ["desk"]);
  assert.ok([...heldWithin(administrator, "orgunit")].every((name) => name.startsWith("person.")));
});
