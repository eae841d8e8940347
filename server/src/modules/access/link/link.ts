/**
 * Links that work once: invitations, password resets, the set-up of an empty installation. A link holds 256 random bits,
 * of which only a digest is kept. Whoever shows the right bits may know why they no longer work; others learn nothing.
 */
import { hash, randomBytes } from "node:crypto";
import { type Selectable, sql } from "kysely";
import type { Context } from "#kernel/contract";
import { type Db, query } from "#kernel/db";
import { newId } from "#kernel/ids";
import { problem, refuse } from "#kernel/problem";
import { access, type LinkRow } from "../tables.ts";

export const linkExpired = problem("link_expired", 400, "This link was used, or is too old.");
export const linkInvalid = problem("link_invalid", 400, "This link is not known.");

export type Link = Selectable<LinkRow>;
type Kind = Link["kind"];

const hourMs = 3_600_000;
/** Days and hours of access, sections 1 and 5.1. */
const lifeMs: Record<Kind, number> = { invitation: 45 * 24 * hourMs, reset: hourMs, setup: hourMs };
const pages: Record<Kind, string> = { invitation: "invitation", reset: "reset", setup: "setup" };

/** Makes a link; its address is returned here and can never be made out again. */
export async function makeLink(
  ctx: Pick<Context, "db" | "now" | "settings" | "who">,
  kind: Kind,
  place: { tenantId: string; userId: string | null; takesUser?: boolean },
): Promise<{ link: Link; url: string }> {
  const token = randomBytes(32).toString("base64url");
  const link = await ctx.db.first(
    access
      .insertInto("access.link")
      .values({
        tenant_id: place.tenantId,
        id: newId("inv", ctx.now.getTime()),
        kind,
        user_id: place.userId,
        digest: digestOf(token),
        takes_user: place.takesUser ?? false,
        created_by: ctx.who.actor.id,
        created_at: ctx.now,
        expires_at: new Date(ctx.now.getTime() + lifeMs[kind]),
        ended_at: null,
        used_at: null,
      })
      .returningAll(),
  );
  return { link: link!, url: `${ctx.settings.publicUrl}/oauth/${pages[kind]}?token=${token}` };
}

/** The link of a token, if it still works; else the refusal. Nothing is used up. `db` must see all tenants. */
export async function readLink(db: Db, kind: Kind, token: string, now: Date): Promise<Link> {
  const link = await db.first(
    access.selectFrom("access.link").selectAll().where("digest", "=", digestOf(token)).where("kind", "=", kind),
  );
  if (!link) throw refuse(linkInvalid);
  if (link.ended_at !== null || now >= link.expires_at) throw refuse(linkExpired);
  return link;
}

/** Uses a link up, in the transaction of what it opens: of two who bring it at once, one is late. */
export async function takeLink(ctx: Context, link: Link): Promise<void> {
  const taken = await ctx.db.run(
    access
      .updateTable("access.link")
      .set({ used_at: ctx.now, ended_at: ctx.now })
      .where("id", "=", link.id)
      .where("ended_at", "is", null)
      .where("expires_at", ">", ctx.now),
  );
  if (taken === 0) throw refuse(linkExpired);
}

/** Puts a user's links out of use: what they would open has been opened, or shall not be. */
export async function endLinks(ctx: Pick<Context, "db" | "now">, userId: string): Promise<void> {
  await ctx.db.run(
    query(sql`update access.link set ended_at = ${ctx.now} where user_id = ${userId} and ended_at is null`),
  );
}

function digestOf(token: string): Buffer {
  return hash("sha256", `demarc-link-v1\0${token}`, "buffer");
}
