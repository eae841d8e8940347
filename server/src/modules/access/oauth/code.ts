/** Authorization codes: stored hashed, 60 seconds, one use (access, section 5.3). */
import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import { sql } from "kysely";
import { credentialDigest } from "#kernel/credential";
import { type Database, type Db, hot, query } from "#kernel/db";

const lifetimeMs = 60_000;

export type CodeRow = {
  tenant_id: string;
  client_id: string;
  user_id: string;
  session_id: string;
  redirect_uri: string;
  code_challenge: string;
  scopes: string[];
  auth_time: Date;
  expires_at: Date;
  consumed_at: Date | null;
  grant_id: string | null;
};
type NewCode = {
  tenantId: string;
  clientId: string;
  userId: string;
  sessionId: string;
  redirectUri: string;
  codeChallenge: string;
  scopes: readonly string[];
  authTime: Date;
};

/** Makes a code. `db` acts in the user's tenant. */
export async function makeCode(db: Db, at: Date, code: NewCode): Promise<string> {
  const value = `dma_${randomBytes(32).toString("base64url")}`;
  await db.run(
    query(sql`insert into access.authorization_code
        (tenant_id, digest, client_id, user_id, session_id, redirect_uri, code_challenge, scopes, auth_time, expires_at)
      values (${code.tenantId}, ${credentialDigest(value)}, ${code.clientId}, ${code.userId}, ${code.sessionId},
        ${code.redirectUri}, ${code.codeChallenge}, ${[...code.scopes]}, ${code.authTime},
        ${new Date(at.getTime() + lifetimeMs)})`),
  );
  return value;
}

/** `sessionLives`: nothing has ended the log-in since. */
export type CodeFound = CodeRow & { sessionLives: boolean };
const find = hot<{ digest: Buffer }, CodeFound>("find_code", ({ digest }) =>
  query(sql`select c.*, exists (select from access.session s where s.id = c.session_id and s.ended_at is null) as "sessionLives"
    from access.authorization_code c where c.digest = ${digest}`),
);

/** Finds a code in the whole installation, used or not. */
export function findCode(system: Database, code: string): Promise<CodeFound | undefined> {
  return system.in("").first(find({ digest: credentialDigest(code) }));
}

/** Uses a code up. One statement, whose row lock makes a second user wait until the first one's grant is known. */
export async function consumeCode(db: Db, code: string, at: Date): Promise<boolean> {
  const consumed = await db.run(
    query(sql`update access.authorization_code set consumed_at = ${at}
      where digest = ${credentialDigest(code)} and consumed_at is null`),
  );
  return consumed > 0;
}

/** Notes what a code became, in the transaction that used it up. */
export async function noteGrant(db: Db, code: string, grantId: string): Promise<void> {
  await db.run(
    query(sql`update access.authorization_code set grant_id = ${grantId} where digest = ${credentialDigest(code)}`),
  );
}

/** The form of a challenge by S256, the only method (RFC 7636, section 4.2). */
export const challengeForm = /^[A-Za-z0-9_-]{43}$/;

export function verifierFits(verifier: string, challenge: string): boolean {
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) return false;
  const [right, given] = [Buffer.from(challenge), Buffer.from(hash("sha256", verifier, "base64url"))];
  return right.length === given.length && timingSafeEqual(right, given);
}
