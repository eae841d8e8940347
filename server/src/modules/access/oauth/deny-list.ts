/**
 * Access tokens that end before their time. Whoever writes here calls `ctx.forget()` in the same operation: the gate
 * keeps verified tokens, and asks again only for those it has forgotten.
 */
import { sql } from "kysely";
import type { Db } from "#kernel/db";
import { query } from "#kernel/db";

export type Denial = {
  /** The tenant that the token, grant, user or client belongs to. */
  tenantId: string;
  /** `jti` one token, `gid` all of a grant; of a user, a client or a tenant (and all below it) those made until now. */
  kind: "jti" | "gid" | "user" | "client" | "tenant";
  value: string;
};

/** No access token lives longer. */
const longestTokenMs = 3_600_000;

/** Ends access tokens; `at` is the time of the call. */
export async function denyTokens(db: Db, at: Date, denials: readonly Denial[]): Promise<void> {
  if (denials.length === 0) return;
  const madeUntil = new Date();
  const rows = denials.map(({ tenantId, kind, value }) => ({
    tenant_id: tenantId,
    kind,
    value,
    issued_before: kind === "jti" || kind === "gid" ? null : madeUntil,
    until: new Date(at.getTime() + longestTokenMs),
  }));
  await db.run(
    query(sql`insert into access.token_denial as d (tenant_id, kind, value, issued_before, until)
      select tenant_id, kind, value, issued_before, until from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        as r(tenant_id text, kind text, value text, issued_before timestamptz, until timestamptz)
      on conflict (kind, value) do update
        set issued_before = greatest(d.issued_before, excluded.issued_before), until = greatest(d.until, excluded.until)`),
  );
}
