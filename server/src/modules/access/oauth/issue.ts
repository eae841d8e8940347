import type { Kernel } from "#kernel/kernel";
import type { Signer } from "../signing-key/signer.ts";
import { type AccessTokenClaims, newTokenId } from "./access-token.ts";
import { openGrant } from "./grant.ts";

/** The reply of every grant: RFC 6749's members, and those that clients of other customer APIs look for. */
export type TokenReply = {
  access_token: string;
  token_type: "Bearer";
  expires_in: number;
  scope: string;
  refresh_token?: string;
  token: string;
  expiresIn: number;
  /** Unix seconds, as the token's `exp`. */
  expiresAt: number;
};

export type Issue = {
  /** The tenant of the user or client that the token stands for. */
  tenantId: string;
  actor: { kind: "user" | "client"; id: string };
  clientId: string;
  scopes: readonly string[];
  lifetimeSeconds: number;
  /** Users: when the person last proved who they are. */
  authTime?: Date;
  /**
   * `new`: records what the user allowed the client, and ties the token to it; `refreshable` adds a refresh token.
   * A grant that exists is named, with its new refresh token, where it has one. None: a token by itself.
   */
  grant?: { kind: "new"; refreshable: boolean } | { kind: "existing"; id: string; refreshToken: string | null };
};

/** Makes an access token, and a grant with its refresh token where asked for. Whether it may be made is the caller's. */
export async function issueTokens(
  { kernel, signer }: { kernel: Pick<Kernel, "db" | "settings" | "now">; signer: Signer },
  issue: Issue,
): Promise<TokenReply> {
  const { tenantId, actor, clientId, scopes, lifetimeSeconds, authTime, grant } = issue;
  const at = kernel.now();
  let grantId: string | undefined;
  let refreshToken: string | null = null;
  if (grant?.kind === "new") {
    const opened = await openGrant(
      kernel.db.in(tenantId),
      at,
      { tenantId, userId: actor.id, clientId, scopes, authTime: authTime ?? at },
      grant.refreshable,
    );
    grantId = opened.grantId;
    refreshToken = opened.refreshToken;
  } else if (grant) {
    grantId = grant.id;
    refreshToken = grant.refreshToken;
  }
  const iat = Math.floor(at.getTime() / 1_000);
  const issuer = kernel.settings.publicUrl;
  const claims: AccessTokenClaims = {
    iss: issuer,
    aud: issuer,
    sub: actor.id,
    client_id: clientId,
    iat,
    exp: iat + lifetimeSeconds,
    jti: newTokenId(),
    scope: scopes.join(" "),
    tenant: tenantId,
    ...(grantId ? { gid: grantId } : {}),
    ...(authTime ? { auth_time: Math.floor(authTime.getTime() / 1_000) } : {}),
  };
  const token = await signer.sign(claims);
  return {
    access_token: token,
    token_type: "Bearer",
    expires_in: lifetimeSeconds,
    scope: claims.scope,
    ...(refreshToken ? { refresh_token: refreshToken } : {}),
    token,
    expiresIn: lifetimeSeconds,
    expiresAt: claims.exp,
  };
}
