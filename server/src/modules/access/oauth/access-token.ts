/**
 * Access tokens (RFC 9068): what they say, and whether one is good. The gate keeps what is found here until the token
 * expires, and forgets it the moment something is taken away; so the deny-list and the client's standing are asked of
 * the database with every token that the gate does not know, and of nothing else.
 */
import { randomBytes } from "node:crypto";
import { compactVerify, decodeProtectedHeader } from "jose";
import { sql } from "kysely";
import { type Database, hot, query } from "#kernel/db";
import type { RefusalReason, Settings } from "#kernel/kernel";
import type { TokenCheck, TokenFound } from "../gate.ts";
import { verificationKeys } from "../signing-key/signer.ts";
import { builtInClients } from "./client.ts";
import { commonScopes } from "./scope.ts";

export type AccessTokenClaims = {
  iss: string;
  aud: string;
  /** A user or a client. */
  sub: string;
  client_id: string;
  iat: number;
  exp: number;
  jti: string;
  scope: string;
  tenant: string;
  gid?: string;
  auth_time?: number;
};
type ReadToken = { claims: AccessTokenClaims; found: TokenFound };
export type TokenReader = (token: string, now: Date) => Promise<ReadToken | RefusalReason>;

/** Our own clock makes both sides: a token may not come from further ahead than this. */
const mostAheadSeconds = 60;

/**
 * A token's own id, which also tells to the millisecond when it was made: `iat` counts whole seconds, and a deny-list
 * entry must tell the tokens before a change from those after it. It is an order of events, not a time to show: the
 * process's clock, so that it goes on while a transaction holds its time.
 */
export function newTokenId(): string {
  return `${Date.now().toString(36)}-${randomBytes(16).toString("base64url")}`;
}
function madeAt(jti: string): Date {
  return new Date(Number.parseInt(jti.split("-", 1)[0]!, 36) || 0);
}

type Parts = { system: Database; settings: Pick<Settings, "publicUrl"> };

/** Reads an access token and tells whether it is good: claims and all, or the reason for the owner's log. */
export function createTokenReader({ system, settings }: Parts): TokenReader {
  const keys = verificationKeys(system);

  return async (token, now) => {
    const header = readHeader(token);
    if (!header) return "malformed";
    const verifier = await keys.find(header.kid);
    if (!verifier) return "unknown";
    if (header.alg !== verifier.algorithm) return "malformed";
    let payload: unknown;
    try {
      const verified = await compactVerify(token, verifier.key, { algorithms: [verifier.algorithm] });
      payload = JSON.parse(Buffer.from(verified.payload).toString());
    } catch {
      return "unknown";
    }
    const seconds = now.getTime() / 1_000;
    const claims = payload as AccessTokenClaims & { nbf?: number };
    if (claims.iss !== settings.publicUrl || claims.aud !== settings.publicUrl) return "unknown";
    if (!(claims.exp > seconds)) return "expired";
    if (!(claims.iat <= seconds + mostAheadSeconds)) return "unknown";
    if (claims.nbf !== undefined && !(claims.nbf <= seconds + mostAheadSeconds)) return "unknown";
    const standing = await system.in("").first(
      tokenStanding({
        kid: header.kid,
        jti: claims.jti,
        gid: claims.gid ?? "",
        sub: claims.sub,
        clientId: claims.client_id,
        tenantId: claims.tenant,
        madeAt: madeAt(claims.jti),
        at: now,
      }),
    );
    if (!standing?.keyLives || standing.denied) return "revoked";
    const own = builtInClients.get(claims.client_id);
    const client = own ? { scopes: own.scopes } : standing.client;
    if (!client) return "disabled";
    return { claims, found: foundIn(claims, client.scopes) };
  };
}

/** The gate's question: the form, signature, claims and standing of an access token. */
export function createTokenCheck(parts: Parts): TokenCheck {
  const read = createTokenReader(parts);
  return async (token, now) => {
    const result = await read(token, now);
    return typeof result === "string" ? result : result.found;
  };
}

function foundIn(claims: AccessTokenClaims, clientScopes: readonly string[]): TokenFound {
  return {
    tenantId: claims.tenant,
    actor: { kind: claims.sub === claims.client_id ? "client" : "user", id: claims.sub },
    clientId: claims.client_id,
    tokenId: claims.jti,
    grantId: claims.gid ?? null,
    scopes: commonScopes(claims.scope.split(" "), clientScopes),
    authTime: claims.auth_time === undefined ? null : new Date(claims.auth_time * 1_000),
    expiresAt: new Date(claims.exp * 1_000),
  };
}

function readHeader(token: string): { kid: string; alg: string } | null {
  if (token.split(".").length !== 3) return null;
  try {
    const { typ, kid, alg } = decodeProtectedHeader(token);
    return /^(application\/)?at\+jwt$/i.test(typ ?? "") && kid && alg ? { kid, alg } : null;
  } catch {
    return null;
  }
}

type Asked = {
  kid: string;
  jti: string;
  gid: string;
  sub: string;
  clientId: string;
  tenantId: string;
  madeAt: Date;
  at: Date;
};
type Standing = { keyLives: boolean; denied: boolean; client: { scopes: string[] } | null };
const tokenStanding = hot<Asked, Standing>(
  "token_standing",
  ({ kid, jti, gid, sub, clientId, tenantId, madeAt: made, at }) =>
    query(sql`select
      exists (select from access.signing_key k where k.kid = ${kid} and (k.gone_at is null or k.gone_at > ${at})) as "keyLives",
      exists (
        select from (
          values ('jti', ${jti}), ('gid', ${gid}), ('user', ${sub}), ('client', ${clientId})
          union all select 'tenant', a.ancestor_id from access.tenant_ancestor a where a.tenant_id = ${tenantId}
        ) as of_token (kind, value)
        join access.token_denial d on d.kind = of_token.kind and d.value = of_token.value
        where (d.issued_before is null or d.issued_before >= ${made}) and d.until > ${at}
      ) or exists (
        -- Also one that was just being made of a grant while that was ended.
        select from access."grant" g where g.id = ${gid} and g.ended_at is not null
      ) as denied,
      (select jsonb_build_object('scopes', c.scopes) from access.client c
        where c.id = ${clientId} and c.enabled and c.deleted_at is null) as client`),
);
