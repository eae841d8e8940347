/**
 * Sessions of the log-in pages (access, section 5.2). They are read from the database at every use, so what ends one
 * ends it everywhere at once.
 */
import { type RawBuilder, sql } from "kysely";
import { credentialDigest } from "#kernel/credential";
import { type Database, type Db, hot, query } from "#kernel/db";
import { newId } from "#kernel/ids";
import type { AuthPolicy } from "../tables.ts";
import { newCookieValue } from "./cookie.ts";

export type SessionStage = "password" | "factor" | "full";
export type SessionRow = {
  tenant_id: string;
  id: string;
  user_id: string;
  stage: SessionStage;
  mfa: boolean;
  address: string;
  user_agent: string | null;
  auth_time: Date;
  created_at: Date;
  last_used_at: Date;
  wrong_codes: Date[];
};
export type SessionFound = SessionRow & { policy: AuthPolicy };

/** An unfinished log-in waits this long for its next step. */
const stepMinutes = 10;

/** Whether a session counts at an instant, by the policy of its tenant as it is now. `s` and `t` are the tables' aliases. */
export function isLive(at: Date | RawBuilder<unknown>): RawBuilder<boolean> {
  return sql<boolean>`(s.ended_at is null
    and s.last_used_at + make_interval(mins => case when s.stage = 'full' then (t.auth_policy->>'sessionIdleMinutes')::int else ${sql.lit(stepMinutes)} end) > ${at}::timestamptz
    and s.created_at + make_interval(hours => (t.auth_policy->>'sessionMaxHours')::int) > ${at}::timestamptz)`;
}

const find = hot<{ digest: Buffer; at: Date }, SessionFound>("find_session", ({ digest, at }) =>
  query(sql`select s.tenant_id, s.id, s.user_id, s.stage, s.mfa, s.address, s.user_agent, s.auth_time, s.created_at,
      s.last_used_at, s.wrong_codes, t.auth_policy as policy
    from access.session s join access.tenant t on t.id = s.tenant_id
    where s.digest = ${digest} and ${isLive(at as never)}`),
);

const useStepMs = 60_000;

/** The session of a cookie's value, which counts as used by this. Whether its user may still act is asked elsewhere. */
export async function findSession(system: Database, cookie: string, at: Date): Promise<SessionFound | null> {
  const found = await system.in("").first(find({ digest: credentialDigest(cookie), at }));
  if (!found) return null;
  if (at.getTime() - found.last_used_at.getTime() >= useStepMs) {
    await system
      .in("")
      .run(query(sql`update access.session set last_used_at = ${at} where id = ${found.id} and last_used_at < ${at}`));
  }
  return found;
}

type NewSession = Pick<SessionRow, "stage" | "mfa" | "address" | "user_agent"> & {
  tenantId: string;
  userId: string;
  /** The session that the same browser had before: it ends here. */
  replaces: string | null;
};

/** Begins a session, or an unfinished log-in, and gives the cookie's value. `db` acts in the user's tenant. */
export async function startSession(db: Db, at: Date, session: NewSession): Promise<{ id: string; cookie: string }> {
  const id = newId("ssn", at.getTime());
  const cookie = newCookieValue();
  if (session.replaces !== null) await endSessionRow(db, session.replaces, at, "replaced");
  await db.run(
    query(sql`insert into access.session
        (tenant_id, id, digest, user_id, stage, mfa, address, user_agent, auth_time, created_at, last_used_at)
      values (${session.tenantId}, ${id}, ${credentialDigest(cookie)}, ${session.userId}, ${session.stage}, ${session.mfa},
        ${session.address}, ${session.user_agent}, ${at}, ${at}, ${at})`),
  );
  return { id, cookie };
}

/** Raises the trust of an unfinished log-in, under a new value; null: another request did so first. */
export async function raiseSession(
  db: Db,
  at: Date,
  session: Pick<SessionRow, "id" | "stage">,
  to: { stage: SessionStage; mfa: boolean },
): Promise<string | null> {
  const cookie = newCookieValue();
  const raised = await db.run(
    query(sql`update access.session set digest = ${credentialDigest(cookie)}, stage = ${to.stage}, mfa = ${to.mfa},
        auth_time = ${at}, last_used_at = ${at}
      where id = ${session.id} and stage = ${session.stage} and ended_at is null`),
  );
  return raised > 0 ? cookie : null;
}

/**
 * Whether a session lives, and nothing ends it before the caller's transaction is over: whoever does so then finds what
 * was made in it.
 */
export async function holdSession(tx: Db, id: string): Promise<boolean> {
  const held = await tx.first(
    query<{ id: string }>(sql`select id from access.session where id = ${id} and ended_at is null for share`),
  );
  return held !== undefined;
}

/** Ends one; the grants of its user are the caller's. */
export async function endSessionRow(db: Db, id: string, at: Date, why: string): Promise<boolean> {
  const ended = await db.run(
    query(sql`update access.session set ended_at = ${at}, ended_reason = ${why} where id = ${id} and ended_at is null`),
  );
  return ended > 0;
}

/** Ends all sessions of a user but the one named, where somebody else is doing so in the same transaction. */
export async function endSessionsOf(db: Db, userId: string, at: Date, why: string, but: string | null): Promise<void> {
  await db.run(
    query(sql`update access.session set ended_at = ${at}, ended_reason = ${why}
      where user_id = ${userId} and ended_at is null and id is distinct from ${but}`),
  );
}
