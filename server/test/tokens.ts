/** Clients, people and tokens for tests: made directly, so that a test of anything can call with a token. */
import { decodeJwt, decodeProtectedHeader, importPKCS8, type JWTPayload, SignJWT } from "jose";
import { credentialDigest, mintCredential } from "../src/kernel/credential.ts";
import { newId } from "../src/kernel/ids.ts";
import type { Permission } from "../src/kernel/permissions.ts";
import { issueTokens, type TokenReply } from "../src/modules/access/oauth/issue.ts";
import { hashPassword } from "../src/modules/access/password.ts";
import { privatePlace } from "../src/modules/access/signing-key/keys.ts";
import { createSigner, type Signer } from "../src/modules/access/signing-key/signer.ts";
import type { TestServer } from "./harness.ts";

export type TestClient = { id: string; secret: string };
type ClientOptions = {
  kind?: "service" | "application";
  scopes?: string[];
  public?: boolean;
  accessTokenSeconds?: number;
  redirectUris?: string[];
};

/** A client of a tenant that holds exactly these permissions (or a built-in role) in it. */
export async function makeClient(
  server: TestServer,
  tenantId: string,
  holds: readonly Permission[] | string,
  options: ClientOptions = {},
): Promise<TestClient> {
  const id = newId("cli");
  const { secret, hint } = mintCredential("dms");
  const at = server.clock.now();
  await server.sql(
    `insert into access.client (tenant_id, id, kind, name, scopes, redirect_uris, public, access_token_seconds, created_by, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $9, $6, $7, 'test', $8, $8)`,
    [
      tenantId,
      id,
      options.kind ?? "service",
      `c-${id.slice(-12)}`,
      options.scopes ?? ["*"],
      options.public ?? false,
      options.accessTokenSeconds ?? 3_600,
      at,
      options.redirectUris ?? [],
    ],
  );
  if (!options.public) await addSecret(server, tenantId, id, secret, hint);
  await assign(server, tenantId, { kind: "client", id }, holds);
  return { id, secret };
}

/** One more secret of a client. */
export async function addSecret(
  server: TestServer,
  tenantId: string,
  clientId: string,
  secret: string,
  hint: string,
  expiresAt: Date | null = null,
): Promise<void> {
  await server.sql(
    "insert into access.client_secret (tenant_id, client_id, digest, hint, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)",
    [tenantId, clientId, credentialDigest(secret), hint, server.clock.now(), expiresAt],
  );
}

export type TestUser = { id: string; username: string; email: string; password: string };

/** What looks behind the API and knows the time: a server of the tests, or an installation of whole processes. */
type Behind = Pick<TestServer, "sql"> & { clock: Pick<TestServer["clock"], "now"> };

/** A user of a tenant with a password, who holds exactly these permissions (or a built-in role) in it. */
export async function makeUser(
  server: Behind,
  tenantId: string,
  username: string,
  holds: readonly Permission[] | string = [],
): Promise<TestUser> {
  const id = newId("usr");
  const at = server.clock.now();
  const password = `correct horse ${id.slice(-8)}`;
  const email = `${id.slice(-10)}@example.com`;
  const hashed = await hashPassword(password);
  if (hashed === "busy") throw new Error("Too many passwords at once.");
  await server.sql(
    `insert into directory.orgunit (tenant_id, id, external_id, name, parent_id, created_at, updated_at)
     values ($1, $2, 'ROOT', 'Root', null, $3, $3) on conflict do nothing`,
    [tenantId, newId("oun"), at],
  );
  await server.sql(
    `with next as (insert into directory.user_number as n (tenant_id, last) values ($1, 1)
       on conflict (tenant_id) do update set last = n.last + 1 returning last)
     insert into directory."user" (tenant_id, id, number, username, username_key, fullname, email, email_key, default_orgunit_id, created_at, updated_at)
     select $1, $2, (select last from next), $3, lower($3), $3, $4, $4,
       (select id from directory.orgunit where tenant_id = $1 and parent_id is null), $5, $5`,
    [tenantId, id, username, email, at],
  );
  await server.sql(
    "insert into access.login (tenant_id, user_id, password, password_set_by, password_changed_at) values ($1, $2, $3, $2, $4)",
    [tenantId, id, hashed.phc, at],
  );
  await assign(server, tenantId, { kind: "user", id }, holds);
  return { id, username, email, password };
}

async function assign(
  server: Behind,
  tenantId: string,
  principal: { kind: "user" | "client"; id: string },
  holds: readonly Permission[] | string,
): Promise<void> {
  const at = server.clock.now();
  let roleId = holds as string;
  if (typeof holds !== "string") {
    if (holds.length === 0) return;
    roleId = newId("rol");
    await server.sql(
      "insert into access.role (tenant_id, id, external_id, name, permissions, created_at, updated_at) values ($1, $2, $2, $2, $3, $4, $4)",
      [tenantId, roleId, Object.fromEntries(holds.map((name) => [name, "allow"])), at],
    );
  }
  await server.sql(
    `insert into access.assignment (tenant_id, id, principal_kind, principal_id, role_id, within_kind, within_id, created_at, created_by)
     values ($1, $2, $3, $4, $5, 'tenant', $1, $6, 'test')`,
    [tenantId, newId("asg"), principal.kind, principal.id, roleId, at],
  );
}

/** An access token by client credentials, as a client gets it. */
export async function clientToken(server: TestServer, client: TestClient, scope?: string): Promise<string> {
  const answer = await server.call("POST", "/oauth/token", {
    body: {
      grant_type: "client_credentials",
      client_id: client.id,
      client_secret: client.secret,
      ...(scope === undefined ? {} : { scope }),
    },
  });
  if (answer.status !== 200) throw new Error(`No token: ${answer.text}`);
  return answer.body.access_token;
}

/** A token with other claims, signed with the key of the given one: what only somebody with that key can make. */
export async function tokenWith(server: TestServer, token: string, claims: JWTPayload): Promise<string> {
  const header = decodeProtectedHeader(token) as { kid: string; alg: string; typ: string };
  const [row] = await server.sql("select * from access.signing_key where kid = $1", [header.kid]);
  const pem = await server.kernel.secrets.open(row.tenant_id, privatePlace(header.kid), row.private_sealed);
  const key = await importPKCS8(pem.toString(), header.alg);
  return new SignJWT({ ...decodeJwt(token), ...claims }).setProtectedHeader(header).sign(key);
}

const signers = new WeakMap<TestServer, Signer>();
type UserTokenOptions = { clientId?: string; scopes?: string[]; authTime?: Date; refreshable?: boolean };

/** Tokens of a user under a new grant, as a log-in by page gives them; the client is the command line. */
export async function userTokens(
  server: TestServer,
  tenantId: string,
  userId: string,
  options: UserTokenOptions = {},
): Promise<TokenReply> {
  const { kernel } = server;
  const signer = signers.get(server) ?? createSigner(kernel);
  signers.set(server, signer);
  return issueTokens(
    { kernel, signer },
    {
      tenantId,
      actor: { kind: "user", id: userId },
      clientId: options.clientId ?? "demarc-cli",
      scopes: options.scopes ?? ["*"],
      lifetimeSeconds: 600,
      authTime: options.authTime ?? server.clock.now(),
      grant: { kind: "new", refreshable: options.refreshable ?? true },
    },
  );
}
