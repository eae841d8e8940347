/** The same server seen by a client library that was not written for it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as oauth from "oauth4webapi";
import { startServer } from "../../../../test/harness.ts";
import { makeClient, makeUser, userTokens } from "../../../../test/tokens.ts";

const plain = { [oauth.allowInsecureRequests]: true };

for (const algorithm of ["RS256", "ES256"] as const) {
  test(`34. oauth4webapi discovers the server, gets, checks, introspects and revokes tokens signed by ${algorithm}`, async () => {
    // Its checks of time are by its own clock.
    const server = await startServer({ settings: { oauthAlgorithm: algorithm }, startsAt: new Date().toISOString() });
    const issuer = new URL(server.url);
    const found = await oauth.discoveryRequest(issuer, { ...plain, algorithm: "oauth2" });
    assert.equal(found.headers.get("cache-control"), "public, max-age=300");
    // Its URL has a trailing slash where the issuer has none.
    const metadata = (await found.clone().json()) as oauth.AuthorizationServer;
    assert.equal(metadata.issuer, server.url);
    const as = metadata;

    const { id, secret } = await makeClient(server, server.rootId, ["token.introspect", "tenant.read"]);
    const client = { client_id: id };
    for (const proof of [oauth.ClientSecretBasic(secret), oauth.ClientSecretPost(secret)]) {
      const asked = await oauth.clientCredentialsGrantRequest(as, client, proof, { scope: "access" }, plain);
      const tokens = await oauth.processClientCredentialsResponse(as, client, asked);
      assert.deepEqual([tokens.scope, tokens.expires_in, tokens.refresh_token], ["access", 3_600, undefined]);

      const call = new Request(`${server.url}/v1/ping`, {
        headers: { authorization: `Bearer ${tokens.access_token}` },
      });
      const claims = await oauth.validateJwtAccessToken(as, call, server.url, {
        ...plain,
        signingAlgorithms: [algorithm],
      });
      assert.deepEqual([claims.sub, claims.client_id, claims.scope], [id, id, "access"]);

      const told = await oauth.introspectionRequest(as, client, proof, tokens.access_token, plain);
      const about = await oauth.processIntrospectionResponse(as, client, told);
      assert.deepEqual([about.active, about.sub, about.scope], [true, id, "access"]);

      const gone = await oauth.revocationRequest(as, client, proof, tokens.access_token, plain);
      await oauth.processRevocationResponse(gone);
      const after = await oauth.introspectionRequest(as, client, proof, tokens.access_token, plain);
      assert.equal((await oauth.processIntrospectionResponse(as, client, after)).active, false);
    }

    const user = await makeUser(server, server.rootId, "someone", "read_only");
    const held = await userTokens(server, server.rootId, user.id);
    const cli = { client_id: "demarc-cli" };
    const renewed = await oauth.refreshTokenGrantRequest(as, cli, oauth.None(), held.refresh_token!, plain);
    const next = await oauth.processRefreshTokenResponse(as, cli, renewed);
    assert.ok(next.refresh_token && next.refresh_token !== held.refresh_token);
    const again = await oauth.refreshTokenGrantRequest(as, cli, oauth.None(), held.refresh_token!, plain);
    await assert.rejects(oauth.processRefreshTokenResponse(as, cli, again), { error: "invalid_grant", status: 400 });

    const wrong = await oauth.clientCredentialsGrantRequest(as, client, oauth.ClientSecretBasic("no"), {}, plain);
    await assert.rejects(
      oauth.processClientCredentialsResponse(as, client, wrong),
      oauth.WWWAuthenticateChallengeError,
    );
  });
}

test("the metadata of an issuer with a path stands behind the well-known part, and nowhere else", async () => {
  const server = await startServer();
  server.kernel.settings.publicUrl = `${server.url}/customer/api`;
  const at = (path: string) => server.get(`/.well-known/oauth-authorization-server${path}`);
  const { status, body } = await at("/customer/api");
  assert.equal(status, 200);
  assert.equal(body.token_endpoint, `${server.url}/customer/api/oauth/token`);
  assert.equal((await at("")).status, 200);
  assert.equal((await at("/other")).status, 404);
});
