/** Sessions and grants as their owners, and those who look after them, see and end them (access, section 11). */
import { type RawBuilder, type SelectQueryBuilder, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { query, tables } from "#kernel/db";
import { requireMatch } from "#kernel/match";
import { readPage } from "#kernel/page";
import { holdsIn, lacking, scopeCovers } from "#kernel/principal";
import { invalid, notFound, refuse, scopeMissing } from "#kernel/problem";
import { filterFaults } from "#kernel/reference";
import { inReach } from "#kernel/wall";
import { withdrawConsent } from "../oauth/consent.ts";
import { endGrant, type GrantRow, shownGrant } from "../oauth/grant.ts";
import { Grant } from "../oauth/schema.ts";
import { visibleTenants } from "../tenant/rows.ts";
import { sessionEnded } from "./events.ts";
import { Session } from "./schema.ts";
import { endSessionRow, isLive, type SessionRow } from "./store.ts";

type Tables = {
  "access.session": SessionRow & { ended_at: Date | null };
  "access.grant": GrantRow & { session_id: string | null };
  "access.tenant": { id: string; auth_policy: unknown };
};
const own = tables<Tables>();
type ListInput = { limit?: number; cursor?: string; sort?: string[]; count?: boolean };
type Filters = { userId?: string[]; tenantId?: string[] };

/** What is one's own needs no permission, but a scope: a program that was let in to read watches logs nobody out. */
function requireScope({ who }: Context, permission: "session.read" | "session.end"): void {
  if (scopeCovers(who.scopes, permission)) return;
  throw refuse(scopeMissing, {
    detail: `The credential's scope does not cover ${permission}.`,
    members: { permission },
    headers: { "www-authenticate": `Bearer error="insufficient_scope", scope="${permission}"` },
  });
}

/** One's own, and those in reach of `session.read`. */
function mineOrInReach(ctx: Context, userColumn: string, tenantColumn: string): RawBuilder<boolean> {
  const { actor } = ctx.who;
  const mine = actor.kind === "user" ? sql<boolean>`${sql.ref(userColumn)} = ${actor.id}` : sql<boolean>`false`;
  return sql<boolean>`(${mine} or ${inReach(ctx.who, "session.read", sql.ref(tenantColumn))})`;
}

type SessionShown = SessionRow & { expires_at: Date };
function visibleSessions(ctx: Context) {
  return own
    .selectFrom("access.session as s")
    .innerJoin("access.tenant as t", "t.id", "s.tenant_id")
    .where("s.stage", "=", "full")
    .where(isLive(ctx.now))
    .where(mineOrInReach(ctx, "s.user_id", "s.tenant_id"))
    .selectAll("s")
    .select(
      sql<Date>`s.created_at + make_interval(hours => (t.auth_policy->>'sessionMaxHours')::int)`.as("expires_at"),
    ) as unknown as SelectQueryBuilder<Tables & { s: SessionRow }, "s", SessionShown>;
}

export async function listSessions(ctx: Context, input: ListInput & Filters) {
  requireScope(ctx, "session.read");
  await requireTenants(ctx, input.tenantId);
  let rows = visibleSessions(ctx);
  if (input.userId) rows = rows.where("s.user_id", "in", input.userId);
  if (input.tenantId) rows = rows.where("s.tenant_id", "in", input.tenantId);
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("s.created_at"), lastUsedAt: sql.ref("s.last_used_at") },
    by: "createdAt",
    id: sql.ref("s.id"),
    item: shownSession,
  });
}

/** Ends a session; of somebody else it needs `session.end` where that one is. */
export async function endSession(ctx: Context, id: string): Promise<void> {
  requireScope(ctx, "session.end");
  const row = await ctx.db.first(visibleSessions(ctx).where("s.id", "=", id));
  if (!row) throw refuse(notFound);
  await requireMayEnd(ctx, row);
  requireMatch(ctx, Session, shownSession(row));
  await endSessionWithGrants(ctx, id, "ended");
}

/** Ends a session, and the grants that live by it: those that have no refresh token to go on with. */
export async function endSessionWithGrants(ctx: Context, id: string, why: "ended" | "logged_out"): Promise<void> {
  const row = await ctx.db.first(visibleSessionsOf(ctx, id));
  if (!row || !(await endSessionRow(ctx.db, id, ctx.now, why))) return;
  const grants = await ctx.db.rows(
    query<{ id: string }>(sql`select g.id from access."grant" g where g.session_id = ${id} and g.ended_at is null
      and not exists (select from access.refresh_token r where r.grant_id = g.id)`),
  );
  for (const grant of grants) await endGrant(ctx, grant.id, "revoked");
  const session = shownSession(row);
  ctx.emit(sessionEnded, {
    tenantId: row.tenant_id,
    subject: id,
    path: `/session/${id}`,
    resource: session,
    previous: null,
    changed: [],
    ownerId: row.user_id,
  });
  ctx.audit({
    tenantId: row.tenant_id,
    type: "session",
    action: why,
    item: { kind: "session", id, name: row.address },
    changes: [{ field: "userId", old: row.user_id, new: row.user_id }],
  });
  ctx.forget();
}

const visibleSessionsOf = (ctx: Context, id: string) =>
  query<SessionShown>(sql`select s.*, s.created_at + make_interval(hours => (t.auth_policy->>'sessionMaxHours')::int) as expires_at
    from access.session s join access.tenant t on t.id = s.tenant_id where s.id = ${id} and ${isLive(ctx.now)}`);

function visibleGrants(ctx: Context) {
  return own
    .selectFrom("access.grant as g")
    .where("g.ended_at", "is", null)
    .where("g.expires_at", ">", ctx.now)
    .where(mineOrInReach(ctx, "g.user_id", "g.tenant_id"))
    .selectAll("g");
}

export async function listGrants(ctx: Context, input: ListInput & Filters & { clientId?: string[] }) {
  requireScope(ctx, "session.read");
  await requireTenants(ctx, input.tenantId);
  let rows = visibleGrants(ctx);
  if (input.userId) rows = rows.where("g.user_id", "in", input.userId);
  if (input.tenantId) rows = rows.where("g.tenant_id", "in", input.tenantId);
  if (input.clientId) rows = rows.where("g.client_id", "in", input.clientId);
  return readPage(ctx, input, {
    from: rows,
    sorts: { createdAt: sql.ref("g.created_at"), lastUsedAt: sql.ref("g.last_used_at") },
    by: "createdAt",
    id: sql.ref("g.id"),
    item: shownGrant,
  });
}

/** Ends a grant with all its tokens; its application is not let in again without being asked for. */
export async function revokeGrant(ctx: Context, id: string): Promise<void> {
  requireScope(ctx, "session.end");
  const row = await ctx.db.first(visibleGrants(ctx).where("g.id", "=", id));
  if (!row) throw refuse(notFound);
  await requireMayEnd(ctx, row);
  requireMatch(ctx, Grant, shownGrant(row));
  await withdrawConsent(ctx, row.user_id, row.client_id);
  await endGrant(ctx, id, "revoked");
}

async function requireMayEnd(ctx: Context, row: { tenant_id: string; user_id: string }): Promise<void> {
  const { who } = ctx;
  if (who.actor.kind === "user" && who.actor.id === row.user_id) return;
  const lineage = await ctx.db.rows(
    query<{ ancestor_id: string }>(
      sql`select ancestor_id from access.tenant_ancestor where tenant_id = ${row.tenant_id}`,
    ),
  );
  if (!holdsIn(who, "session.end", { lineage: lineage.map(({ ancestor_id: id }) => id) })) throw lacking("session.end");
}

async function requireTenants(ctx: Context, ids: string[] | undefined): Promise<void> {
  const faults = await filterFaults("tenantId", "tnt", ids, (wanted) =>
    ctx.db.rows(visibleTenants(ctx, "session.read").where("t.id", "in", wanted)),
  );
  if (faults.length > 0) throw invalid(faults);
}

function shownSession(row: SessionShown): Session {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    userId: row.user_id,
    mfa: row.mfa,
    address: row.address,
    userAgent: row.user_agent,
    createdAt: row.created_at.toISOString(),
    lastUsedAt: row.last_used_at.toISOString(),
    expiresAt: row.expires_at.toISOString(),
  };
}
