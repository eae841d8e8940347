/** The same server seen by a client library that was not written for it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { startServer } from "../../../../test/harness.ts";
import { makeClient, makeUser, userTokens } from "../../../../test/tokens.ts";
import { createVisitor, logIn } from "../../../../test/visitor.ts";

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

test("oauth4webapi logs a person in by code with PKCE at the real pages, renews, and lets a device in", async () => {
  const server = await startServer({ startsAt: new Date().toISOString() });
  const found = await oauth.discoveryRequest(new URL(server.url), { ...plain, algorithm: "oauth2" });
  const as = (await found.json()) as oauth.AuthorizationServer;
  assert.deepEqual(as.code_challenge_methods_supported, ["S256"]);
  assert.deepEqual([as.response_types_supported, as.authorization_response_iss_parameter_supported], [["code"], true]);
  const user = await makeUser(server, server.rootId, "someone", "read_only");
  const redirectUri = "https://app.example/callback";
  const made = await makeClient(server, server.rootId, [], { kind: "application", redirectUris: [redirectUri] });
  const client = { client_id: made.id };
  const proof = oauth.ClientSecretPost(made.secret);
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const address = new URL(as.authorization_endpoint!);
  for (const [name, value] of Object.entries({
    client_id: made.id,
    redirect_uri: redirectUri,
    response_type: "code",
    scope: "access user.read",
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  }))
    address.searchParams.set(name, value);
  const visitor = createVisitor(server.url);
  const { url } = await visitor.submit(await logIn(visitor, address, user), {}, "allow");
  const answer = oauth.validateAuthResponse(as, client, url, state);
  const redeemed = await oauth.authorizationCodeGrantRequest(as, client, proof, answer, redirectUri, verifier, plain);
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, redeemed);
  assert.equal(tokens.scope, "access user.read");
  const renewal = await oauth.refreshTokenGrantRequest(as, client, proof, tokens.refresh_token!, plain);
  const renewed = await oauth.processRefreshTokenResponse(as, client, renewal);
  const call = new Request(`${server.url}/v1/ping`, { headers: { authorization: `Bearer ${renewed.access_token}` } });
  const claims = await oauth.validateJwtAccessToken(as, call, server.url, plain);
  assert.deepEqual([claims.sub, typeof claims.auth_time], [user.id, "number"]);

  const cli = { client_id: "demarc-cli" };
  const asked = await oauth.deviceAuthorizationRequest(as, cli, oauth.None(), { scope: "read" }, plain);
  const device = await oauth.processDeviceAuthorizationResponse(as, cli, asked);
  const early = await oauth.deviceCodeGrantRequest(as, cli, oauth.None(), device.device_code, plain);
  await assert.rejects(oauth.processDeviceCodeResponse(as, cli, early), { error: "authorization_pending" });
  const person = createVisitor(server.url);
  const confirm = await person.submit(await logIn(person, device.verification_uri_complete!, user), {});
  await person.submit(confirm, {}, "allow");
  const polled = await oauth.deviceCodeGrantRequest(as, cli, oauth.None(), device.device_code, plain);
  assert.equal((await oauth.processDeviceCodeResponse(as, cli, polled)).scope, "read");
});

test("openid-client does the same by its metadata: code, refresh, introspection, revocation, client credentials, device", async () => {
  const server = await startServer({ startsAt: new Date().toISOString() });
  const options = { algorithm: "oauth2" as const, execute: [openid.allowInsecureRequests] };
  const place = new URL(`${server.url}/.well-known/oauth-authorization-server`);
  const user = await makeUser(server, server.rootId, "someone", "read_only");
  const redirectUri = "https://app.example/callback";
  const made = await makeClient(server, server.rootId, [], { kind: "application", redirectUris: [redirectUri] });
  const config = await openid.discovery(place, made.id, made.secret, undefined, options);
  const verifier = openid.randomPKCECodeVerifier();
  const address = openid.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: "user.read",
    state: "here",
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  const visitor = createVisitor(server.url);
  const { url } = await visitor.submit(await logIn(visitor, address, user), {}, "allow");
  const checks = { pkceCodeVerifier: verifier, expectedState: "here" };
  const tokens = await openid.authorizationCodeGrant(config, url, checks);
  assert.equal(tokens.scope, "user.read");
  await assert.rejects(openid.authorizationCodeGrant(config, url, checks), { error: "invalid_grant" });
  const fresh = await openid.authorizationCodeGrant(config, (await visitor.get(address)).url, checks);
  const renewed = await openid.refreshTokenGrant(config, fresh.refresh_token!);
  await openid.tokenRevocation(config, renewed.refresh_token!);
  await assert.rejects(openid.refreshTokenGrant(config, renewed.refresh_token!), { error: "invalid_grant" });

  const service = await makeClient(server, server.rootId, ["token.introspect"]);
  const proof = openid.ClientSecretBasic(service.secret);
  const own = await openid.discovery(place, service.id, undefined, proof, options);
  const { access_token: token } = await openid.clientCredentialsGrant(own, { scope: "access" });
  assert.equal((await openid.tokenIntrospection(own, token)).scope, "access");
  await openid.tokenRevocation(own, token);
  assert.equal((await openid.tokenIntrospection(own, token)).active, false);

  const cli = await openid.discovery(place, "demarc-cli", undefined, openid.None(), options);
  const device = await openid.initiateDeviceAuthorization(cli, {});
  const person = createVisitor(server.url);
  const confirm = await person.submit(await logIn(person, device.verification_uri_complete!, user), {});
  await person.submit(confirm, {}, "allow");
  const polled = await openid.pollDeviceAuthorizationGrant(cli, { ...device, interval: 0.01 });
  assert.equal(polled.scope, "*");
});

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
