/** Asking for a new password. What is answered, and when, tells nothing about who exists. */
import { sql } from "kysely";
import { countingKey } from "#kernel/address";
import type { Context, OpenDoor } from "#kernel/contract";
import { query } from "#kernel/db";
import { requireMail } from "#kernel/mail";
import { rateLimited, refuse } from "#kernel/problem";
import { findLogin, type LoginUser } from "#modules/directory";
import { readLoginName } from "../oauth/log-in.ts";
import { access } from "../tables.ts";
import { readLogIn } from "../user/log-in-row.ts";
import { makeLink } from "./link.ts";
import { resetMail } from "./mail-text.ts";
import type { ResetRequest } from "./schema.ts";

export const resetRequested =
  "If this is somebody's log-in, a mail with a link is on its way to the address that we know.";

const rate = { ratePerSecond: 1, burst: 5 };
const mostPerHour = 3;

export async function requestPasswordReset(ctx: Context, { login, tenant }: ResetRequest): Promise<void> {
  const door = ctx.open!;
  const wait = await door.charge(`reset ${countingKey(ctx.call.address)}`, rate);
  if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
  requireMail(ctx.settings, "Ask an administrator for help.");
  // After the reply: only who exists has a mail to be written, and that takes time.
  door.aside(mailReset(ctx, door, login, tenant));
}

async function mailReset(ctx: Context, door: OpenDoor, login: string, tenant: string | undefined): Promise<void> {
  const user = await userMeant(ctx, door, login, tenant);
  if (!user?.live || (await readLogIn(door.system, user.id))?.blocked_at) return;
  const actor = { kind: "system", id: "log-in", name: "log-in" } as const;
  const via = { kind: "job", id: "password_reset", hint: null, clientId: null, grantId: null } as const;
  await door.as(user.tenantId, { actor, via, grants: [] }, async (tx) => {
    if (await hasHadEnough(tx, user.id)) return;
    const { link, url } = await makeLink(tx, "reset", { tenantId: user.tenantId, userId: user.id });
    await tx.mail(await resetMail(tx, user, link, url));
    tx.audit({
      tenantId: user.tenantId,
      type: "login",
      action: "reset_requested",
      item: { kind: "user", id: user.id, name: user.fullname },
      changes: [{ field: "address", old: null, new: ctx.call.address }],
    });
  });
}

async function userMeant(
  ctx: Context,
  { system }: OpenDoor,
  login: string,
  tenant: string | undefined,
): Promise<LoginUser | null> {
  const typed = readLoginName(login.trim(), tenant);
  if (!typed) return null;
  if (typed.tenantCode === null) return findLogin(system, null, typed.name, ctx.now);
  const found = await system.first(
    access.selectFrom("access.tenant").select("id").where("code", "=", typed.tenantCode),
  );
  return found ? findLogin(system, found.id, typed.name, ctx.now) : null;
}

/** Nobody's mailbox is filled by strangers. One at a time per user, so that two calls do not both take the last place. */
async function hasHadEnough(ctx: Context, userId: string): Promise<boolean> {
  await ctx.db.run(query(sql`select pg_advisory_xact_lock(hashtextextended(${`reset ${userId}`}, 0))`));
  const row = await ctx.db.first(
    query<{ count: number }>(sql`select count(*)::int as count from access.link
      where user_id = ${userId} and kind = 'reset' and created_at > ${new Date(ctx.now.getTime() - 3_600_000)}`),
  );
  return row!.count >= mostPerHour;
}
