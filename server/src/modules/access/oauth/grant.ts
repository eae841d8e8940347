/**
 * Grants and their refresh tokens. A refresh token is used once: whoever comes second with it, also by a hair's breadth,
 * ends the grant for both, because nobody can tell which of the two is the thief (RFC 9700, section 4.14.2).
 */
import { randomBytes } from "node:crypto";
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { credentialDigest } from "#kernel/credential";
import { type Database, type Db, hot, query } from "#kernel/db";
import { newId } from "#kernel/ids";
import { lockTree } from "../tenant/tree.ts";
import { denyTokens } from "./deny-list.ts";
import { grantReused, grantRevoked } from "./events.ts";

const dayMs = 86_400_000;
const idleMs = 30 * dayMs;
const longestMs = 90 * dayMs;

export type GrantRow = {
  tenant_id: string;
  id: string;
  user_id: string;
  client_id: string;
  scopes: string[];
  auth_time: Date;
  created_at: Date;
  last_used_at: Date;
  expires_at: Date;
  ended_at: Date | null;
};
/** A refresh token with its grant, whatever their state. */
export type RefreshToken = GrantRow & { token_expires_at: Date; consumed_at: Date | null };

type NewGrant = {
  tenantId: string;
  userId: string;
  clientId: string;
  scopes: readonly string[];
  authTime: Date;
  /** The session of the pages that it was opened in; a grant without refresh tokens ends with it. */
  sessionId?: string;
};

function mintRefreshToken(): { value: string; digest: Buffer } {
  const value = `dmr_${randomBytes(32).toString("base64url")}`;
  return { value, digest: credentialDigest(value) };
}

/** Records what a person allowed a client; with a refresh token where `refreshable`. `db` acts in the user's tenant. */
export async function openGrant(
  db: Db,
  at: Date,
  grant: NewGrant,
  refreshable: boolean,
): Promise<{ grantId: string; refreshToken: string | null }> {
  const grantId = newId("grt", at.getTime());
  const { tenantId, userId, clientId, scopes, authTime, sessionId = null } = grant;
  const ends = new Date(authTime.getTime() + longestMs);
  const token = refreshable ? mintRefreshToken() : null;
  await db.run(
    query(sql`with made as (
        insert into access."grant" (tenant_id, id, user_id, client_id, scopes, auth_time, created_at, last_used_at, expires_at, session_id)
        values (${tenantId}, ${grantId}, ${userId}, ${clientId}, ${[...scopes]}, ${authTime}, ${at}, ${at}, ${ends}, ${sessionId})
        returning tenant_id, id, expires_at)
      insert into access.refresh_token (tenant_id, digest, grant_id, created_at, expires_at)
      select tenant_id, ${token?.digest ?? null}, id, ${at}, least(${new Date(at.getTime() + idleMs)}, expires_at) from made
      where ${token !== null}::boolean`),
  );
  return { grantId, refreshToken: token?.value ?? null };
}

/**
 * Whether a client serves people of a tenant: its own, and those below. A code may have been given before the tenant was
 * moved away; until the end of the transaction none is.
 */
export async function isServed(tx: Db, client: { tenantId: string | null }, tenantId: string): Promise<boolean> {
  if (client.tenantId === null) return true;
  await lockTree({ db: tx }, false);
  const above = sql`select from access.tenant_ancestor where tenant_id = ${tenantId} and ancestor_id = ${client.tenantId}`;
  return (await tx.first(query(above))) !== undefined;
}

const findRefresh = hot<{ digest: Buffer }, RefreshToken>("find_refresh_token", ({ digest }) =>
  query(sql`select g.*, t.expires_at as token_expires_at, t.consumed_at
    from access.refresh_token t join access."grant" g on g.id = t.grant_id where t.digest = ${digest}`),
);

/** Finds a refresh token in the whole installation. */
export function findRefreshToken(system: Database, token: string): Promise<RefreshToken | undefined> {
  return system.in("").first(findRefresh({ digest: credentialDigest(token) }));
}

const consume = hot<{ digest: Buffer; next: Buffer; at: Date; idleUntil: Date }, { id: string }>(
  "consume_refresh_token",
  ({ digest, next, at, idleUntil }) =>
    query(sql`with consumed as (
        update access.refresh_token t set consumed_at = ${at} from access."grant" g
        where t.digest = ${digest} and t.consumed_at is null and g.id = t.grant_id and g.ended_at is null
        returning g.tenant_id, g.id, g.expires_at),
      used as (update access."grant" g set last_used_at = ${at} from consumed where g.id = consumed.id),
      made as (insert into access.refresh_token (tenant_id, digest, grant_id, created_at, expires_at)
        select tenant_id, ${next}, id, ${at}, least(${idleUntil}::timestamptz, expires_at) from consumed)
      select id from consumed`),
);

/** Uses a refresh token up and gives the next one; null: somebody else was first. One statement, so one winner. */
export async function consumeRefreshToken(db: Db, token: string, at: Date): Promise<string | null> {
  const next = mintRefreshToken();
  const won = await db.first(
    consume({
      digest: credentialDigest(token),
      next: next.digest,
      at,
      idleUntil: new Date(at.getTime() + idleMs),
    }),
  );
  return won ? next.value : null;
}

/**
 * Ends a grant: its refresh tokens are dead with it, its access tokens by the deny-list. Ended already: nothing happens,
 * and false is returned.
 */
export async function endGrant(ctx: Context, grantId: string, why: "revoked" | "reused"): Promise<boolean> {
  const grant = await ctx.db.first(
    query<GrantRow>(sql`update access."grant" set ended_at = ${ctx.now}, ended_reason = ${why}
      where id = ${grantId} and ended_at is null returning *`),
  );
  if (!grant) return false;
  await denyTokens(ctx.db, ctx.now, [{ tenantId: grant.tenant_id, kind: "gid", value: grant.id }]);
  ctx.emit(why === "reused" ? grantReused : grantRevoked, {
    tenantId: grant.tenant_id,
    subject: grant.id,
    path: `/grant/${grant.id}`,
    resource: shownGrant(grant),
    previous: { endedAt: null },
    changed: ["endedAt"],
    ownerId: grant.user_id,
  });
  ctx.audit({
    tenantId: grant.tenant_id,
    type: "authentication",
    action: why,
    item: { kind: "grant", id: grant.id, name: grant.client_id },
    changes: [{ field: "endedAt", old: null, new: ctx.now.toISOString() }],
  });
  ctx.forget();
  return true;
}

export function shownGrant(grant: GrantRow) {
  return {
    id: grant.id,
    tenantId: grant.tenant_id,
    userId: grant.user_id,
    clientId: grant.client_id,
    scopes: grant.scopes,
    createdAt: grant.created_at.toISOString(),
    lastUsedAt: grant.last_used_at.toISOString(),
    expiresAt: grant.expires_at.toISOString(),
    endedAt: grant.ended_at?.toISOString() ?? null,
  };
}
