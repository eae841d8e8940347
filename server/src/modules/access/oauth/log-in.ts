/** Log-in by name and password: the guard before the hash, one refusal for every reason, a record of each try. */
import type { FastifyRequest } from "fastify";
import { type Selectable, sql } from "kysely";
import { countingKey } from "#kernel/address";
import { inTransaction } from "#kernel/context";
import { type Db, query } from "#kernel/db";
import type { Kernel } from "#kernel/kernel";
import type { Principal } from "#kernel/principal";
import { findLogin, fold, type LoginUser, userStanding } from "#modules/directory";
import type { GuessGuard, SuccessStore, Try } from "../guess-guard.ts";
import { hashPassword, needsRehash, verifyPassword } from "../password.ts";
import { access, type LoginRow } from "../tables.ts";
import { loginLocked } from "../user/events.ts";
import { asActor, callerOf } from "./caller.ts";

type Login = Selectable<LoginRow>;
/** What a log-in works with; `aside` takes work that no reply waits for. */
type Parts = { kernel: Kernel; guard: GuessGuard; aside(work: Promise<unknown>): void };

type LoginName = { tenantCode: string | null; name: string };

/** Reads `tenant/username`; a tenant named beside it must be the same one. Null: they differ, so nobody is meant. */
export function readLoginName(typed: string, tenant: string | undefined): LoginName | null {
  const mark = typed.indexOf("/");
  const code = mark < 0 ? null : typed.slice(0, mark);
  if (code !== null && tenant !== undefined && code !== tenant) return null;
  return { tenantCode: code ?? tenant ?? null, name: mark < 0 ? typed : typed.slice(mark + 1) };
}

/** The password was right; whoever goes on with it settles the try. */
export type Proved = { kind: "proved"; user: LoginUser; login: Login; attempt: Try };
type Proof = Proved | { kind: "wrong" } | { kind: "busy" } | { kind: "throttled"; retryAfterSeconds: number };

/**
 * Checks a password. `proved`: it is right and its user may log in; the caller settles `attempt` once it knows whether
 * the log-in succeeds. Every other case costs one hash as well, so that time tells nothing either.
 */
export async function proveByPassword(
  server: Parts,
  request: FastifyRequest,
  typed: LoginName | null,
  password: string,
  clientId: string,
): Promise<Proof> {
  const { kernel, guard } = server;
  const { address } = request.visit;
  const attempt = await guard.enter(guardedName(typed), countingKey(address));
  if (!attempt.admitted) return { kind: "throttled", retryAfterSeconds: attempt.retryAfterSeconds };
  let settled = false;
  try {
    const user = typed && (await userOf(kernel, typed));
    const login = user ? await loginOf(kernel.system.in(""), user.id) : undefined;
    const verdict = await verifyPassword(login?.password ?? null, password);
    if (verdict === "busy") return { kind: "busy" };
    settled = true;
    if (verdict === "right" && user?.live && login && login.blocked_at === null)
      return { kind: "proved", user, login, attempt };
    const { nameLockedUntilMs } = await attempt.fail();
    // Aside, because only users that exist have a record: its time would tell them from those that do not.
    const reason = verdict === "right" ? "not_current" : "password";
    if (user) server.aside(recordFailure(server, request, user, clientId, reason, nameLockedUntilMs));
    return { kind: "wrong" };
  } finally {
    if (!settled) await attempt.cancel();
  }
}

/**
 * Whether what was proved still counts: hashing takes its time, and meanwhile the password may have been changed, the user
 * blocked or ended, its tenant suspended. Asked once the token or session of the log-in has been made, which does not leave
 * before: this look waits for such a change that is under way, and a later one finds what was made and ends it.
 */
export async function stillProves(server: Parts, { user, login }: Proved, password: string): Promise<boolean> {
  const { kernel } = server;
  const db = kernel.system.in("");
  const same = await db.first(
    query<{ user_id: string }>(sql`select user_id from access.login
      where user_id = ${user.id} and password = ${login.password} and mfa_enabled = ${login.mfa_enabled}
        and blocked_at is null for share`),
  );
  if (!same) return false;
  // After the lock, which every such change holds: what is read now is not older than it.
  const standing = await userStanding(db, user.id, kernel.now());
  const tenant = await kernel.gate.tenant(user.tenantId);
  if (!standing?.live || !tenant || tenant.suspended) return false;
  if (needsRehash(login.password!)) server.aside(rehash(kernel, login, password));
  return true;
}

/** Records a good log-in, and clears the counts of its name. */
export async function recordSuccess(
  server: Parts,
  request: FastifyRequest,
  who: Principal,
  { user, attempt }: Proved,
): Promise<void> {
  await attempt.succeed();
  await record(server, request, who, user, "succeeded", who.via.clientId ?? "", null);
}

/** An entry for a log-in that nobody has proved to be the user's own. */
export async function recordFailure(
  server: Parts,
  request: FastifyRequest,
  user: Pick<LoginUser, "id" | "tenantId" | "fullname">,
  clientId: string,
  reason: string,
  lockedUntilMs: number | null,
): Promise<void> {
  const tenant = await server.kernel.gate.tenant(user.tenantId);
  if (!tenant) return;
  // Nobody has proved to be this user: the entry is about it, not by it.
  const stranger = asActor(tenant, { kind: "system", id: "log-in", name: "log-in" }, clientId);
  await record(server, request, stranger, user, "failed", clientId, reason, lockedUntilMs);
}

/**
 * An entry of type `login` in the audit trail. `reason`: why it failed, for who may read the trail. `lockedUntilMs`:
 * it closed the name, which is told.
 */
export async function record(
  { kernel }: Pick<Parts, "kernel">,
  request: FastifyRequest,
  who: Principal,
  user: Pick<LoginUser, "id" | "tenantId" | "fullname">,
  action: "succeeded" | "failed",
  clientId: string,
  reason: string | null,
  lockedUntilMs: number | null = null,
): Promise<void> {
  await inTransaction(kernel, callerOf(kernel, request, who), async (ctx) => {
    if (lockedUntilMs !== null) {
      const resource = { userId: user.id, tenantId: user.tenantId, lockedUntil: new Date(lockedUntilMs).toISOString() };
      ctx.emit(loginLocked, {
        tenantId: user.tenantId,
        subject: user.id,
        path: `/user/${user.id}`,
        resource,
        previous: null,
        changed: [],
        ownerId: user.id,
      });
    }
    ctx.audit({
      tenantId: user.tenantId,
      type: "login",
      action,
      item: { kind: "user", id: user.id, name: user.fullname },
      changes: [
        { field: "address", old: null, new: request.visit.address },
        { field: "clientId", old: null, new: clientId },
        ...(reason ? [{ field: "reason", old: null, new: reason }] : []),
      ],
    });
  });
}

async function userOf(kernel: Kernel, { tenantCode, name }: LoginName): Promise<LoginUser | null> {
  const at = kernel.now();
  if (tenantCode === null) return findLogin(kernel.system.in(""), null, name, at);
  const tenant = await kernel.gate.tenant(tenantCode);
  return tenant?.code === tenantCode ? findLogin(kernel.system.in(""), tenant.id, name, at) : null;
}

export function loginOf(db: Db, userId: string): Promise<Login | undefined> {
  return db.first(access.selectFrom("access.login").selectAll().where("user_id", "=", userId));
}

async function rehash(kernel: Kernel, login: Login, password: string): Promise<void> {
  const made = await hashPassword(password);
  if (made === "busy") return;
  await kernel.system
    .in("")
    .run(
      query(
        sql`update access.login set password = ${made.phc} where user_id = ${login.user_id} and password = ${login.password}`,
      ),
    );
}

/** What the guard counts by: the name as `directory` compares names, with its tenant where one is given. */
export function guardedName(typed: LoginName | null): string {
  const text = typed ? (typed.tenantCode === null ? typed.name : `${typed.tenantCode}/${typed.name}`) : "/";
  return fold(text);
}

const trustedMs = 30 * 86_400_000;

/** From where a user has logged in stands with its log-in, for the guard of every process. */
export function loginSuccesses(kernel: Kernel): SuccessStore {
  const meant = (name: string) => userOf(kernel, readLoginName(name, undefined)!);
  return {
    async hasSucceeded(name, address, sinceMs) {
      const user = await meant(name);
      const login = user && (await loginOf(kernel.system.in(""), user.id));
      const at = login?.known_addresses[address];
      return at !== undefined && Date.parse(at) >= sinceMs;
    },
    async recordSuccess(name, address, atMs) {
      const user = await meant(name);
      if (!user) return;
      await kernel.system.in("").run(
        query(sql`update access.login set known_addresses =
            (select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each_text(known_addresses)
              where value::timestamptz > ${new Date(atMs - trustedMs)})
            || jsonb_build_object(${address}::text, ${new Date(atMs).toISOString()}::text)
          where user_id = ${user.id}`),
      );
    },
  };
}
