import assert from "node:assert/strict";
import { test } from "node:test";
import type { Route } from "#kernel/contract";
import { startServer } from "../../../test/harness.ts";
import { buildHouse } from "../../../test/house.ts";
import { assignmentRoutes } from "./assignment/routes.ts";
import { planRoutes } from "./plan/routes.ts";
import { principalRoutes } from "./principal/routes.ts";
import { tenantRoutes } from "./tenant/routes.ts";

const server = await startServer();
const { q, a, b, aAdm, bAdm, qAdm, ...house } = await buildHouse(server);
const routes: Route[] = [...principalRoutes, ...tenantRoutes, ...planRoutes, ...assignmentRoutes];
const empty = await house.person(a, "empty", await house.role(a, []));
const plan = (await server.post("/v1/plan", { name: "Of Q" }, { key: qAdm.key })).body;

/** What a customer's administrator cannot see, by the noun of a route. */
const foreign: Record<string, string> = { tenant: b, plan: plan.id, assignment: bAdm.assignmentId! };
const ask = (route: Route, key: string | undefined, body?: unknown) => {
  const path = `/v1${route.path.replace("{id}", foreign[route.path.split("/")[1]!]!)}`;
  return server.call(route.method, path, { key, body });
};

test("17. no operation answers without a credential, or to an empty role: the permission is named", async () => {
  for (const route of routes) {
    const nobody = await ask(route, undefined);
    assert.deepEqual([nobody.status, nobody.body.code], [401, "unauthenticated"], route.id);
    if (route.permission === "any") continue;
    const lacking = await ask(route, empty.key);
    assert.deepEqual([lacking.status, lacking.body.permission], [403, route.permission], route.id);
  }
});

test("17. what belongs to another tenant is 404, as if it were not there, and stays as it is", async () => {
  const before = await server.sql("select version, status, name from access.tenant where id = any($1)", [[b, q]]);
  for (const route of routes.filter(({ path }) => path.includes("{id}"))) {
    const body = route.body ? {} : undefined;
    const answer = await ask(route, aAdm.key, body);
    assert.deepEqual([answer.status, answer.body.code], [404, "not_found"], route.id);
    assert.equal(answer.body.detail, answer.body.title, route.id);
  }
  assert.deepEqual(
    await server.sql("select version, status, name from access.tenant where id = any($1)", [[b, q]]),
    before,
  );
  assert.equal((await server.get(`/v1/assignment/${bAdm.assignmentId}`, { key: bAdm.key })).status, 200);
  assert.equal((await server.get(`/v1/plan/${plan.id}`, { key: qAdm.key })).status, 200);
});
