/** Log-ins that are under way while what they prove is taken away (access, sections 1, 2 and 5.1). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeJwt } from "jose";
import pg from "pg";
import { eventually, startServer } from "../../../../test/harness.ts";
import { makeUser, type TestUser, userTokens } from "../../../../test/tokens.ts";
import { authorizeAddress, createVisitor, logIn, verifier } from "../../../../test/visitor.ts";
import { createSigner } from "../signing-key/signer.ts";
import { issueTokens } from "./issue.ts";

const server = await startServer();
const { rootId } = server;
await server.sql("update access.tenant set features = features || '{\"passwordGrant\": true}'");
await server.kernel.forget();
const acme = await server.tenant(rootId, "customer", "Acme", { passwordGrant: true });
const admin = await server.key(rootId, "provider_administrator");

/** How many statements of the server wait for a lock. */
async function waiting(): Promise<number> {
  const [row] = await server.sql(
    "select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  return row.n;
}

/**
 * Runs `logIn` while `change` is under way: the change has ended the user's sessions and stands still before its grants,
 * until the log-in waits for it, or is over.
 */
async function during<T>(
  user: TestUser,
  change: () => Promise<{ status: number }>,
  part: () => Promise<T>,
  tenantId = acme,
): Promise<T> {
  await userTokens(server, tenantId, user.id);
  const holder = new pg.Client({ connectionString: server.databaseUrl });
  await holder.connect();
  await holder.query("begin");
  await holder.query('select from access."grant" where user_id = $1 for update', [user.id]);
  const changing = change();
  await eventually(async () => (await waiting()) === 1);
  let over = false;
  const running = part().finally(() => {
    over = true;
  });
  await eventually(async () => over || (await waiting()) === 2);
  await holder.query("commit");
  await holder.end();
  const result = await running;
  const { status } = await changing;
  assert.ok(status >= 200 && status < 300, String(status));
  return result;
}

const next = "quite another horse 9";
type Change = (user: TestUser) => Promise<() => Promise<{ status: number }>>;
const changes: Record<string, Change> = {
  "its password is changed": async (user) => {
    const { token } = await userTokens(server, acme, user.id);
    return () => server.post("/v1/password/change", { current: user.password, new: next }, { token });
  },
  "its user is blocked":
    async ({ id }) =>
    () =>
      server.call("POST", `/v1/user/${id}/block`, { key: admin }),
  "its user is deactivated":
    async ({ id }) =>
    () =>
      server.post(`/v1/user/${id}/deactivate`, {}, { key: admin }),
};

let people = 0;
for (const [name, prepare] of Object.entries(changes)) {
  test(`a log-in by password that is under way while ${name} gives no token`, async () => {
    const user = await makeUser(server, acme, `token.${++people}`, "read_only");
    const change = await prepare(user);
    const answer = await during(user, change, () =>
      server.post("/oauth/token", { userName: user.email, password: user.password }),
    );
    assert.deepEqual([answer.status, answer.body.error, answer.body.code], [400, "invalid_grant", "invalid_grant"]);
  });

  test(`a log-in at the page that is under way while ${name} gives no session`, async () => {
    const user = await makeUser(server, acme, `page.${++people}`, "read_only");
    const visitor = createVisitor(server.url);
    const change = await prepare(user);
    const page = await during(user, change, () => logIn(visitor, "/oauth/login", user));
    assert.deepEqual([page.status, page.title], [400, "Log in"]);
    const living = await server.sql("select 1 from access.session where user_id = $1 and ended_at is null", [user.id]);
    assert.deepEqual(living, []);
  });
}

const redirectUri = `${server.url}/console`;
/** Logs a user in for the console; gives the redemption of the code, and the grants of the user that live. */
async function withCode(user: TestUser) {
  const asked = authorizeAddress({ client_id: "demarc-console", redirect_uri: redirectUri });
  const { url } = await logIn(createVisitor(server.url), asked, user);
  return {
    redeem: () =>
      server.post("/oauth/token", {
        grant_type: "authorization_code",
        client_id: "demarc-console",
        redirect_uri: redirectUri,
        code_verifier: verifier,
        code: url.searchParams.get("code")!,
      }),
    grants: () => server.sql('select 1 from access."grant" where user_id = $1 and ended_at is null', [user.id]),
  };
}

test("a code that is redeemed while its log-in is being ended gives no tokens, and no grant outlives it", async () => {
  const user = await makeUser(server, acme, "redeemer", "read_only");
  const { redeem, grants } = await withCode(user);
  const answer = await during(user, await changes["its password is changed"]!(user), redeem);
  assert.deepEqual([answer.status, answer.body.error], [400, "invalid_grant"]);
  assert.deepEqual(await grants(), []);
});

test("a code that is redeemed while its tenant is being suspended gives no tokens, and resuming brings none back", async () => {
  const bolt = await server.tenant(rootId, "customer", "Bolt");
  const user = await makeUser(server, bolt, "bolt.user", "read_only");
  const { redeem, grants } = await withCode(user);
  const suspend = () => server.post(`/v1/tenant/${bolt}/suspend`, {}, { key: admin });
  const answer = await during(user, suspend, redeem, bolt);
  assert.deepEqual([answer.status, answer.body.error], [400, "invalid_grant"]);
  await server.post(`/v1/tenant/${bolt}/resume`, {}, { key: admin });
  assert.deepEqual(await grants(), []);
  assert.equal((await redeem()).body.error, "invalid_grant");
});

test("an access token of a grant that has ended is none, whenever it was made", async () => {
  const user = await makeUser(server, acme, "late", "read_only");
  const { token } = await userTokens(server, acme, user.id);
  const grant = { kind: "existing", id: decodeJwt(token).gid as string, refreshToken: null } as const;
  const signer = createSigner(server.kernel);
  const make = async () => {
    const { kernel } = server;
    const issue = { tenantId: acme, clientId: "demarc-cli", scopes: ["*"], lifetimeSeconds: 600, grant };
    return (await issueTokens({ kernel, signer }, { ...issue, actor: { kind: "user", id: user.id } })).token;
  };
  const good = async (one: string) => (await server.get("/v1/principal/self", { token: one })).status === 200;
  assert.ok(await good(await make()));
  const body = { current: user.password, new: next };
  assert.equal((await server.post("/v1/password/change", body, { token })).status, 204);
  const denied = Date.now();
  await eventually(() => Date.now() > denied);
  assert.ok(!(await good(await make())));
});
