import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeJwt } from "jose";
import { type Answer, eventually, startServer } from "../../../../test/harness.ts";
import { makeClient, makeUser, userTokens } from "../../../../test/tokens.ts";

const server = await startServer();
const tenant = await server.tenant(server.rootId, "customer", "A");
const day = 86_400_000;

const refresh = (token: string, more: Record<string, string> = {}) =>
  server.call("POST", "/oauth/token", {
    raw: new URLSearchParams({
      grant_type: "refresh_token",
      client_id: "demarc-cli",
      refresh_token: token,
      ...more,
    }).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
function refused(answer: Answer, error = "invalid_grant", code = error): void {
  assert.deepEqual([answer.status, answer.body?.error, answer.body?.code], [400, error, code], answer.text);
}
let count = 0;
const person = () => makeUser(server, tenant, `person-${++count}`, "read_only");
/** Whether a credential is good; what it may do is another matter. */
const isGood = async (token: string) => (await server.get("/v1/signing-key", { token })).status !== 401;

test("41. a refresh token gives new tokens once; used again, it ends the grant with every token of it", async () => {
  const user = await person();
  const first = await userTokens(server, tenant, user.id);
  const second = await refresh(first.refresh_token!);
  assert.equal(second.status, 200, second.text);
  assert.equal(second.body.expires_in, 600);
  assert.notEqual(second.body.refresh_token, first.refresh_token);
  assert.equal(decodeJwt(second.body.token).gid, decodeJwt(first.token).gid);
  assert.equal(decodeJwt(second.body.token).auth_time, decodeJwt(first.token).auth_time);
  assert.deepEqual([await isGood(first.token), await isGood(second.body.token)], [true, true]);

  refused(await refresh(first.refresh_token!));
  assert.deepEqual([await isGood(first.token), await isGood(second.body.token)], [false, false]);
  refused(await refresh(second.body.refresh_token));

  const { gid } = decodeJwt(first.token) as { gid: string };
  const [news] = await server.sql("select type, data from kernel.told where subject = $1", [gid]);
  assert.equal(news.type, "demarc.access.grant.reused");
  assert.equal(news.data.resource.userId, user.id);
  const entries = await server.sql("select action from access.audit where item_id = $1", [gid]);
  assert.deepEqual(entries, [{ action: "reused" }]);
  assert.ok(!JSON.stringify(news).includes(first.refresh_token!));
});

test("41. of 50 uses of one refresh token at one moment one wins, and the others end its grant", async () => {
  const client = await makeClient(server, tenant, [], { kind: "application", public: true });
  const user = await person();
  const { refresh_token: token, token: access } = await userTokens(server, tenant, user.id, { clientId: client.id });
  // The bucket of a user's token calls is not what is tested here.
  const { throttle } = server.kernel;
  const charge = throttle.chargeApart;
  throttle.chargeApart = () => null;
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => refresh(token!, { client_id: client.id })),
  ).finally(() => {
    throttle.chargeApart = charge;
  });
  const winners = answers.filter(({ status }) => status === 200);
  assert.equal(winners.length, 1);
  for (const answer of answers) if (answer !== winners[0]) refused(answer);
  assert.deepEqual([await isGood(access), await isGood(winners[0]!.body.token)], [false, false]);
  refused(await refresh(winners[0]!.body.refresh_token, { client_id: client.id }));
  const { gid } = decodeJwt(access) as { gid: string };
  assert.equal((await server.sql("select 1 from kernel.told where subject = $1", [gid])).length, 1);
});

test("a refresh token of another client, an unknown one and none are refused, and nothing ends", async () => {
  const user = await person();
  const tokens = await userTokens(server, tenant, user.id);
  const other = await makeClient(server, tenant, [], { kind: "application" });
  refused(await refresh(tokens.refresh_token!, { client_id: other.id, client_secret: other.secret }));
  refused(await refresh("dmr_unknown"));
  refused(await refresh(""), "invalid_request");
  refused(await refresh(tokens.refresh_token!, { client_id: "demarc-console" }), "unauthorized_client");
  assert.equal((await refresh(tokens.refresh_token!)).status, 200);
});

test("scope may shrink for one access token and never grow; a refused scope uses nothing up", async () => {
  const user = await person();
  const tokens = await userTokens(server, tenant, user.id, { scopes: ["monitoring"] });
  refused(await refresh(tokens.refresh_token!, { scope: "monitoring desk" }), "invalid_scope");
  refused(await refresh(tokens.refresh_token!, { scope: "*" }), "invalid_scope");
  const smaller = await refresh(tokens.refresh_token!, { scope: "watch.read" });
  assert.equal(smaller.body.scope, "watch.read");
  const again = await refresh(smaller.body.refresh_token);
  assert.equal(again.body.scope, "monitoring");
});

test("a refresh token lives 30 days unused, and its grant 90 days from the log-in at most", async () => {
  const user = await person();
  const idle = await userTokens(server, tenant, user.id);
  const start = server.clock.now().getTime();
  let current = (await userTokens(server, tenant, user.id)).refresh_token!;
  for (const days of [29, 58, 87]) {
    server.clock.set(new Date(start + days * day));
    const next = await refresh(current);
    assert.equal(next.status, 200, `after ${days} days: ${next.text}`);
    current = next.body.refresh_token;
    if (days === 29) {
      server.clock.set(new Date(start + 30 * day));
      refused(await refresh(idle.refresh_token!));
    }
  }
  server.clock.set(new Date(start + 90 * day));
  refused(await refresh(current));
  assert.equal(
    (await server.sql(`select 1 from access."grant" where ended_at is not null and user_id = $1`, [user.id])).length,
    0,
  );
});

test("a user who may not act any more gets no new tokens; a tenant that is suspended is named", async () => {
  const user = await person();
  const tokens = await userTokens(server, tenant, user.id);
  await server.sql(`update directory."user" set is_current = false where id = $1`, [user.id]);
  refused(await refresh(tokens.refresh_token!));
  await server.sql(`update directory."user" set is_current = true where id = $1`, [user.id]);
  await server.sql("update access.login set blocked_at = now() where user_id = $1", [user.id]);
  refused(await refresh(tokens.refresh_token!));
  await server.sql("update access.login set blocked_at = null where user_id = $1", [user.id]);
  await server.sql("update access.tenant set status = 'suspended' where id = $1", [tenant]);
  await server.kernel.forget();
  refused(await refresh(tokens.refresh_token!), "unauthorized_client", "tenant_suspended");
  await server.sql("update access.tenant set status = 'active' where id = $1", [tenant]);
  await server.kernel.forget();
  assert.equal((await refresh(tokens.refresh_token!)).status, 200);
});

test("no refresh token stands in the database, in the log or in the audit trail", async () => {
  const user = await person();
  const tokens = await userTokens(server, tenant, user.id);
  const answer = await refresh(tokens.refresh_token!);
  await eventually(async () => {
    const id = answer.headers.get("x-request-id");
    return (await server.sql("select 1 from access.activity where request_id = $1", [id])).length === 1;
  });
  const tables = await server.sql(
    "select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables where table_schema in ('access', 'kernel')",
  );
  for (const { name } of tables) {
    const found = await server.sql(`select 1 from ${name} t where position($1 in t::text) > 0`, [
      answer.body.refresh_token,
    ]);
    assert.equal(found.length, 0, name);
  }
});
