/**
 * (g) client-credential grants, beside a bare Fastify that reads the client and signs the same token. Many clients,
 * since each has a bucket of five a second.
 */
import { fork } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, timingSafeEqual } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Fastify from "fastify";
import { SignJWT } from "jose";
import pg from "pg";
import { credentialDigest, mintCredential } from "../server/src/kernel/credential.ts";
import { newId } from "../server/src/kernel/ids.ts";
import { type Demarc, startDemarc } from "./demarc.ts";
import { compare, type Score } from "./figures.ts";
import { type Loaded, requestText, runLoad } from "./load.ts";

const clients = 1_000;
const connections = 32;

/** Clients of the provider, made by SQL; the requests that each of them proves itself with. */
async function makeRequests(databaseUrl: string): Promise<string[]> {
  const made = Array.from({ length: clients }, () => ({ id: newId("cli"), ...mintCredential("dms") }));
  const db = new pg.Client({ connectionString: databaseUrl });
  await db.connect();
  const { rows } = await db.query("select id from access.tenant where parent_id is null");
  const tenantId = rows[0].id;
  await db.query(
    `insert into access.client (tenant_id, id, kind, name, scopes, redirect_uris, public, access_token_seconds, created_by, created_at, updated_at)
     select $1, id, 'service', id, '{*}', '{}', false, 3600, 'bench', now(), now() from unnest($2::text[]) as id`,
    [tenantId, made.map(({ id }) => id)],
  );
  await db.query(
    `insert into access.client_secret (tenant_id, client_id, digest, hint, created_at)
     select $1, id, digest, 'bench', now() from unnest($2::text[], $3::bytea[]) as s (id, digest)`,
    [tenantId, made.map(({ id }) => id), made.map(({ secret }) => credentialDigest(secret))],
  );
  await db.end();
  const body = "grant_type=client_credentials";
  return made.map(({ id, secret }) =>
    requestText("POST", "/oauth/token", {
      authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`,
      "content-type": "application/x-www-form-urlencoded",
      "content-length": String(body.length),
    }).concat(body),
  );
}

function loadOf(port: number, requests: readonly string[]): (seconds: number) => Promise<Loaded> {
  let place = 0;
  const next = () => {
    place = (place + 1) % requests.length;
    return requests[place]!;
  };
  return (seconds) => runLoad({ port, clients: connections, seconds, next, expected: 200 });
}

export async function measureGrants(demarc: Demarc, rounds: number, seconds: number): Promise<Score[]> {
  const dataDir = mkdtempSync(join(tmpdir(), "demarc-bench-es256-"));
  const other = await startDemarc(dataDir, "off", [], { DEMARC_OAUTH_ALG: "ES256" });
  const requests = await makeRequests(demarc.databaseUrl);
  const bare = await startSigner(demarc.databaseUrl);
  try {
    return await compare(
      [
        {
          name: "bare Fastify, RS256",
          pids: { server: bare.pid, database: demarc.databasePid },
          load: loadOf(bare.port, requests),
        },
        {
          name: "Demarc, RS256",
          pids: { server: demarc.pid, database: demarc.databasePid },
          load: loadOf(demarc.port, requests),
        },
        {
          name: "Demarc, ES256",
          pids: { server: other.pid, database: other.databasePid },
          load: loadOf(other.port, await makeRequests(other.databaseUrl)),
        },
      ],
      rounds,
      seconds,
    );
  } finally {
    bare.stop();
    await other.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function startSigner(databaseUrl: string): Promise<{ port: number; pid: number; stop(): void }> {
  const child = fork(new URL(import.meta.url).pathname, [databaseUrl]);
  process.once("exit", () => child.kill());
  const port = await new Promise<number>((resolve, reject) => {
    child.once("message", (message) => resolve(message as number));
    child.once("exit", () => reject(new Error("The bare signer did not start.")));
  });
  return { port, pid: child.pid!, stop: () => child.kill() };
}

async function serve(databaseUrl: string): Promise<number> {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  const key = createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" }));
  const db = new pg.Client({ connectionString: databaseUrl, pipeline: true });
  await db.connect();
  const app = Fastify({ logger: false });
  app.addContentTypeParser("application/x-www-form-urlencoded", { parseAs: "string" }, (_request, body, done) =>
    done(null, new URLSearchParams(body as string)),
  );
  app.post("/oauth/token", async (request) => {
    const [id = "", secret = ""] = Buffer.from(request.headers.authorization!.slice(6), "base64").toString().split(":");
    const { rows } = await db.query({
      name: "client",
      text: "select c.scopes, s.digest from access.client c join access.client_secret s on s.client_id = c.id where c.id = $1",
      values: [id],
    });
    if (!timingSafeEqual(rows[0].digest, credentialDigest(secret))) throw new Error("wrong");
    const claims = { sub: id, client_id: id, scope: rows[0].scopes.join(" "), jti: newId("evt"), tenant: id };
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: "RS256", typ: "at+jwt", kid: "k" })
      .setIssuer("http://localhost")
      .setAudience("http://localhost")
      .setIssuedAt()
      .setExpirationTime("1h")
      .sign(key);
    return { access_token: token, token_type: "Bearer", expires_in: 3_600, scope: claims.scope };
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  return (app.server.address() as AddressInfo).port;
}

if (import.meta.main) {
  process.once("SIGTERM", () => process.exit(0));
  process.send!(await serve(process.argv[2]!));
}
