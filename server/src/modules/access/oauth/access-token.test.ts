import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { test } from "node:test";
import { decodeJwt, decodeProtectedHeader, importPKCS8, type JWTPayload, SignJWT } from "jose";
import { type Answer, startServer } from "../../../../test/harness.ts";
import { clientToken, makeClient, makeUser, userTokens } from "../../../../test/tokens.ts";
import { privatePlace } from "../signing-key/keys.ts";
import { denyTokens } from "./deny-list.ts";

const server = await startServer();
const q = await server.tenant(server.rootId, "partner", "Q");
const a = await server.tenant(q, "customer", "A");
const client = await makeClient(server, server.rootId, "provider_administrator");
const token = await clientToken(server, client);

async function activeKey() {
  const { kid } = decodeProtectedHeader(token) as { kid: string };
  const [row] = await server.sql("select * from access.signing_key where kid = $1", [kid]);
  const pem = await server.kernel.secrets.open(row.tenant_id, privatePlace(kid), row.private_sealed);
  return { kid, key: await importPKCS8(pem.toString(), "RS256") };
}
const { kid, key } = await activeKey();
const signed = (changes: JWTPayload, header: Record<string, unknown> = {}) =>
  new SignJWT({ ...decodeJwt(token), ...changes })
    .setProtectedHeader({ alg: "RS256", typ: "at+jwt", kid, ...header })
    .sign(key, { crit: { odd: true } });
/** Not the ping: it has a bucket of its own. */
const get = (credential: string) => server.get("/v1/signing-key", { token: credential });
function unauthenticated(answer: Answer, challenge: string, hint?: string): void {
  assert.equal(answer.status, 401);
  assert.deepEqual([answer.body.code, answer.body.hint], ["unauthenticated", hint]);
  assert.equal(answer.headers.get("www-authenticate"), challenge);
}
const invalid = 'Bearer realm="demarc", error="invalid_token"';

test("46. without a header the challenge names no error; faults of the header's form are hinted at", async () => {
  unauthenticated(await server.get("/v1/ping"), 'Bearer realm="demarc"');
  const hints = {
    [`Bearer: ${token}`]: "bearer_colon",
    [`Token ${token}`]: "unknown_scheme",
    [`Bearer Bearer ${token}`]: "bearer_twice",
  };
  for (const [authorization, hint] of Object.entries(hints)) {
    unauthenticated(await server.get("/v1/ping", { headers: { authorization } }), invalid, hint);
  }
  unauthenticated(await server.get(`/v1/ping?access_token=${token}`), invalid, "query_string");
  unauthenticated(await server.get("/v1/ping", { token, key: "x" }), invalid, "two_credentials");
});

test("47. a token that was signed with the right key and says the right things is good", async () => {
  assert.equal((await get(await signed({ jti: "another" }))).status, 200);
});

test("47. a tampered, unsigned, wrongly typed, expired, premature or foreign token is refused, and no reason is told", async () => {
  const [header, payload, signature] = token.split(".") as [string, string, string];
  const now = Math.floor(server.clock.now().getTime() / 1_000);
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const bad: Record<string, string> = {
    tampered: [header, encode({ ...decodeJwt(token), scope: "*", client_id: "demarc-console" }), signature].join("."),
    "alg none": [encode({ alg: "none", typ: "at+jwt", kid }), payload, ""].join("."),
    HS256: [encode({ alg: "HS256", typ: "at+jwt", kid }), payload, signature].join("."),
    "expired this second": await signed({ exp: now }),
    "iat in an hour": await signed({ iat: now + 3_600 }),
    "iat in 61 s": await signed({ iat: now + 61 }),
    "nbf in 61 s": await signed({ nbf: now + 61 }),
    "no exp": await signed({ exp: undefined }),
    "wrong aud": await signed({ aud: "https://example.com" }),
    "wrong iss": await signed({ iss: "https://example.com" }),
    "typ JWT": await signed({}, { typ: "JWT" }),
    "no typ": await signed({}, { typ: undefined }),
    "unknown kid": await signed({}, { kid: "nobody" }),
    "no kid": await signed({}, { kid: undefined }),
    "a critical header that nobody knows": await signed({}, { crit: ["odd"], odd: true }),
    "nothing but dots": "..",
  };
  for (const [name, presented] of Object.entries(bad)) {
    const answer = await get(presented);
    assert.equal(answer.status, 401, name);
    unauthenticated(answer, invalid);
  }
  for (const good of [
    await signed({ exp: now + 1 }),
    await signed({ iat: now + 60 }),
    await signed({ nbf: now + 60 }),
  ]) {
    assert.equal((await get(good)).status, 200);
  }
});

test("47. a token ends the second it says, also one that has just been let in", async () => {
  const short = await clientToken(
    server,
    await makeClient(server, server.rootId, "provider_administrator", { accessTokenSeconds: 60 }),
  );
  assert.equal((await get(short)).status, 200);
  server.clock.advance(60_000);
  unauthenticated(await get(short), invalid);
});

test("47. a token in the x-api-key header is longer than any key, and refused", async () => {
  unauthenticated(await server.get("/v1/ping", { key: token }), invalid);
});

test("two Authorization header lines are two credentials, even if they are equal", async () => {
  const body = await new Promise<string>((resolve, reject) => {
    const call = httpRequest(`${server.url}/v1/ping`, {
      headers: [
        "host",
        new URL(server.url).host,
        "authorization",
        `Bearer ${token}`,
        "authorization",
        `Bearer ${token}`,
      ],
    });
    call.on("response", async (response) => {
      let text = "";
      for await (const part of response) text += part;
      resolve(text);
    });
    call.on("error", reject);
    call.end();
  });
  assert.equal(JSON.parse(body).hint, "two_credentials");
});

test("48. a token whose scope does not cover a call is 403 scope_missing, naming the permission in body and header", async () => {
  const administrator = await makeClient(server, server.rootId, "provider_administrator");
  const narrow = await clientToken(server, administrator, "watch.read");
  const answer = await server.post("/v1/signing-key/rotate", {}, { token: narrow });
  assert.equal(answer.status, 403);
  assert.deepEqual([answer.body.code, answer.body.permission], ["scope_missing", "signingKey.manage"]);
  assert.equal(answer.headers.get("www-authenticate"), 'Bearer error="insufficient_scope", scope="signingKey.manage"');
  const lacking = await get(await clientToken(server, await makeClient(server, a, "read_only")));
  assert.deepEqual([lacking.status, lacking.body.code], [403, "permission_missing"]);
  assert.equal((await server.get("/v1/signing-key", { token: await clientToken(server, administrator) })).status, 200);
});

test("a client's scopes, switch and deletion count at the next call of every token it has", async () => {
  const administrator = await makeClient(server, server.rootId, "provider_administrator");
  const wide = await clientToken(server, administrator);
  const list = () => server.get("/v1/signing-key", { token: wide });
  assert.equal((await list()).status, 200);
  const change = async (sql: string) => {
    await server.sql(`update access.client set ${sql} where id = $1`, [administrator.id]);
    await server.kernel.forget();
  };
  await change("scopes = '{read}'");
  assert.equal((await list()).body.code, "scope_missing");
  await change("scopes = '{*}', enabled = false");
  unauthenticated(await list(), invalid);
  await change("enabled = true");
  assert.equal((await list()).status, 200);
  await change("deleted_at = now()");
  unauthenticated(await list(), invalid);
});

test("the deny-list ends tokens of a grant, a user, a client or a tenant with all below it, made until then and no later", async () => {
  const user = await makeUser(server, a, "denied", "read_only");
  const service = await makeClient(server, a, "read_only");
  for (const [kind, value] of [
    ["user", user.id],
    ["client", service.id],
    ["client", "demarc-cli"],
    ["tenant", a],
    ["tenant", q],
  ] as const) {
    const make = async () =>
      kind === "client" && value === service.id
        ? clientToken(server, service)
        : (await userTokens(server, a, user.id)).token;
    const before = await make();
    assert.notEqual((await get(before)).status, 401);
    await server.as(q, async (ctx) => {
      await denyTokens(ctx.db, ctx.now, [{ tenantId: q, kind, value }]);
      ctx.forget();
    });
    unauthenticated(await get(before), invalid);
    // The order of a denial and a token is told by the millisecond.
    const denied = Date.now();
    while (Date.now() === denied) await new Promise((resolve) => setImmediate(resolve));
    assert.notEqual((await get(await make())).status, 401, kind);
  }
  const { token: ofGrant } = await userTokens(server, a, user.id);
  const { gid } = decodeJwt(ofGrant) as { gid: string };
  await server.as(a, async (ctx) => {
    await denyTokens(ctx.db, ctx.now, [{ tenantId: a, kind: "gid", value: gid }]);
    ctx.forget();
  });
  unauthenticated(await get(ofGrant), invalid);
});

test("of two denials the later one counts, in whatever order they are written", async () => {
  const user = await makeUser(server, a, "denied.twice", "read_only");
  const deny = () =>
    server.as(a, async (ctx) => {
      await denyTokens(ctx.db, ctx.now, [{ tenantId: a, kind: "user", value: user.id }]);
      ctx.forget();
    });
  await deny();
  // As written by a process whose denial was the later one.
  await server.sql(
    "update access.token_denial set issued_before = issued_before + interval '1 minute' where value = $1",
    [user.id],
  );
  await deny();
  unauthenticated(await get((await userTokens(server, a, user.id)).token), invalid);
});

test("whoever names keys that do not exist makes the server read its own table and nothing else", async () => {
  const stranger = await signed({}, { kid: "http://127.0.0.1:1/jwks", jku: "http://127.0.0.1:1/jwks" });
  unauthenticated(await get(stranger), invalid);
  assert.equal((await get(token)).status, 200);
});
