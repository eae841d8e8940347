/** What a person has let an application have: asked once per scope set (access, section 5.3). */
import { sql } from "kysely";
import type { Context } from "#kernel/contract";
import { type Database, query } from "#kernel/db";
import type { OAuthClient } from "./client.ts";
import { isLoopback } from "./redirect.ts";
import { scopeWithin } from "./scope.ts";

type Asked = { client: OAuthClient; scopes: readonly string[] };

/**
 * Whether nobody need be asked. The console and the documentation are pages of this server. A program without a secret
 * that listens on the person's machine is asked for each time: any other there can call itself so (RFC 8252, section 8.6).
 */
export async function isConsented(
  system: Database,
  userId: string,
  { client, scopes, redirectUri }: Asked & { redirectUri: string },
): Promise<boolean> {
  if (client.id === "demarc-console" || client.id === "demarc-docs") return true;
  if (client.public && isLoopback(redirectUri)) return false;
  const given = await system
    .in("")
    .first(
      query<{ scopes: string[] }>(
        sql`select scopes from access.consent where user_id = ${userId} and client_id = ${client.id}`,
      ),
    );
  return given !== undefined && scopes.every((scope) => scopeWithin(scope, given.scopes));
}

/** Remembers what was allowed, beside what was before; `ctx` acts for the person. */
export async function giveConsent(ctx: Context, { client, scopes }: Asked): Promise<void> {
  const { tenant, actor } = ctx.who;
  if (client.tenantId !== null) {
    await ctx.db.run(
      query(sql`insert into access.consent as c (tenant_id, user_id, client_id, scopes, given_at)
        values (${tenant.id}, ${actor.id}, ${client.id}, ${[...scopes]}, ${ctx.now})
        on conflict (tenant_id, user_id, client_id) do update
          set scopes = array(select distinct unnest(c.scopes || excluded.scopes)), given_at = excluded.given_at`),
    );
  }
  ctx.audit({
    tenantId: tenant.id,
    type: "authentication",
    action: "consented",
    item: { kind: "client", id: client.id, name: client.name },
    changes: [{ field: "scopes", old: null, new: [...scopes] }],
  });
}

/** Who ends an application's grant is asked again when the application comes back. */
export async function withdrawConsent(ctx: Context, userId: string, clientId: string): Promise<void> {
  await ctx.db.run(query(sql`delete from access.consent where user_id = ${userId} and client_id = ${clientId}`));
}
