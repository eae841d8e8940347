import assert from "node:assert/strict";
import { test } from "node:test";
import { makeUser } from "#modules/directory";
import { startServer } from "../../../../test/harness.ts";

const server = await startServer();
const tenantId = await server.tenant(server.rootId, "customer", "Evotix");
const key = await server.key(tenantId, "tenant_administrator");

let count = 0;
function body(more: Record<string, unknown> = {}): Record<string, unknown> {
  const name = `person${++count}`;
  return {
    username: name,
    fullname: `P ${name}`,
    email: `${name}@evotix.example`,
    defaultOrgUnitExternalId: "ROOT",
    ...more,
  };
}
const upsert = (user: unknown, headers?: Record<string, string>) => server.post("/v1/user", user, { key, headers });
const outcomeOf = (answer: { headers: Headers }) => answer.headers.get("demarc-outcome");
async function newsOf(id: string): Promise<any[]> {
  return server.sql("select type, data from kernel.told where subject = $1 order by id", [id]);
}

test("A10. deleting twice is 204 twice with one event, frees name and address, and the next is a new user", async () => {
  const user = body();
  const made = await upsert(user);
  const first = await server.delete(`/v1/user/${user.username}`, { key });
  const second = await server.delete(`/v1/user/${user.username}`, { key });
  assert.deepEqual([first.status, outcomeOf(first), second.status, outcomeOf(second)], [204, "deleted", 204, "absent"]);
  const types = (await newsOf(made.body.id)).map((news) => news.type);
  assert.deepEqual(types, ["demarc.directory.user.created", "demarc.directory.user.deleted"]);
  assert.equal((await server.get(`/v1/user/${made.body.id}`, { key })).status, 404);
  const next = await upsert(user);
  assert.equal(outcomeOf(next), "created");
  assert.notEqual(next.body.id, made.body.id);
  const [row] = await server.sql(`select username, fullname, email from directory."user" where id = $1`, [
    made.body.id,
  ]);
  assert.deepEqual(row, { username: "", fullname: "Deleted user", email: "" });
});

test("A11. a deactivated user stays readable and off, also after a nightly load; again changes nothing", async () => {
  const user = body();
  const made = await upsert(user);
  const path = `/v1/user/${made.body.id}`;
  const off = await server.post(`${path}/deactivate`, { note: "left the house" }, { key });
  assert.equal(off.status, 200);
  assert.deepEqual([off.body.isCurrent, off.body.notCurrentReason], [false, "deactivated"]);
  assert.equal(outcomeOf(await upsert(user)), "unchanged");
  assert.equal((await server.get(path, { key })).body.isCurrent, false);
  const again = await server.call("POST", `${path}/deactivate`, { key });
  assert.equal(again.headers.get("etag"), off.headers.get("etag"));
  const back = await server.call("POST", `${path}/reactivate`, { key });
  assert.deepEqual([back.body.isCurrent, back.body.notCurrentReason], [true, null]);
  const types = (await newsOf(made.body.id)).map((news) => news.type.split(".").pop());
  assert.deepEqual(types, ["created", "deactivated", "reactivated"]);
  const [entry] = await server.sql("select comment from access.audit where item_id = $1 and action = 'deactivated'", [
    made.body.id,
  ]);
  assert.equal(entry.comment, "left the house");
});

test("A11. deactivation ends the user's personal keys at the next call, and coming back revives none", async () => {
  const { id } = await server.as(tenantId, (ctx) =>
    makeUser(ctx, { username: "keyholder", fullname: "Key Holder", email: "keyholder@evotix.example" }),
  );
  await server.sql(
    `insert into access.assignment (tenant_id, id, principal_kind, principal_id, role_id, within_kind, within_id, created_at, created_by)
     values ($1, 'asg_keyholder', 'user', $2, 'read_only', 'tenant', $1, now(), 'test')`,
    [tenantId, id],
  );
  const secret = await server.key(tenantId, []);
  const me = await server.get("/v1/ping", { key: secret });
  assert.equal(me.status, 200);
  await server.sql(
    "update access.key set kind = 'personal', user_id = $1 where id = (select max(id) from access.key where kind = 'standard')",
    [id],
  );
  await server.kernel.forget();
  const own = await server.get("/v1/user/me", { key: secret });
  assert.equal(own.body.id, id);
  assert.ok(own.body.permissions.includes("user.read") && !own.body.permissions.includes("user.write"));
  assert.equal((await server.call("POST", `/v1/user/${id}/deactivate`, { key })).status, 200);
  assert.equal((await server.get("/v1/ping", { key: secret })).status, 401);
  assert.equal((await server.call("POST", `/v1/user/${id}/reactivate`, { key })).status, 200);
  assert.equal((await server.get("/v1/ping", { key: secret })).status, 401);
});

test("rule 10. a user past its expiry is refused at that instant, and comes back only with a future one", async () => {
  const at = new Date(server.clock.now().getTime() + 60_000).toISOString();
  const made = await upsert(body({ expiresAt: at }));
  assert.equal(made.body.expiresAt, at);
  const path = `/v1/user/${made.body.id}`;
  await server.call("POST", `${path}/deactivate`, { key });
  server.clock.advance(60_000);
  const refused = await server.call("POST", `${path}/reactivate`, { key });
  assert.deepEqual([refused.status, refused.body.code], [400, "expiry_in_past"]);
  const cleared = await server.patch(path, { expiresAt: null, isCurrent: true }, { key });
  assert.deepEqual([cleared.status, cleared.body.isCurrent], [200, true]);
});

test("A14. the only administrator cannot be deactivated, deleted, given an expiry or taken its log-in", async () => {
  const small = await server.tenant(server.rootId, "customer", "Small");
  const inside = await server.key(small, "tenant_administrator");
  const make = (name: string) =>
    server.as(small, (ctx) => makeUser(ctx, { username: name, fullname: name, email: `${name}@small.example` }));
  const entitle = (userId: string) =>
    server.sql(
      `with login as (insert into access.login (tenant_id, user_id, password) values ($1, $2, 'phc'))
       insert into access.assignment (tenant_id, id, principal_kind, principal_id, role_id, within_kind, within_id, created_at, created_by)
       values ($1, 'asg_' || $2, 'user', $2, 'tenant_administrator', 'tenant', $1, now(), 'test')`,
      [small, userId],
    );
  const { id } = await make("boss");
  await entitle(id);
  const path = `/v1/user/${id}`;
  const tries = [
    await server.call("POST", `${path}/deactivate`, { key: inside }),
    await server.patch(path, { expiresAt: "2027-06-01T00:00:00Z" }, { key: inside }),
    await server.patch(path, { logInMethod: "none" }, { key: inside }),
    await server.delete(path, { key: inside }),
  ];
  for (const answer of tries) assert.deepEqual([answer.status, answer.body.code], [400, "last_administrator"]);
  assert.equal((await server.patch(path, { fullname: "The Boss" }, { key: inside })).status, 200);

  const second = await make("second");
  await entitle(second.id);
  const [one, two] = await Promise.all([
    server.call("POST", `${path}/deactivate`, { key: inside }),
    server.call("POST", `/v1/user/${second.id}/deactivate`, { key: inside }),
  ]);
  assert.deepEqual([one!.status, two!.status].sort(), [200, 400], "of two who go at once, one stays");
  const above = await server.key(server.rootId, "provider_administrator");
  const stays = one!.status === 400 ? id : second.id;
  const fromAbove = await server.call("POST", `/v1/user/${stays}/deactivate`, { key: above });
  assert.equal(fromAbove.status, 200, "from above a tenant may be left without");
});
