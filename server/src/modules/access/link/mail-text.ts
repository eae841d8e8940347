/** What mails about links say: in plain text and as HTML, the same words. */
import type { Context } from "#kernel/contract";
import type { Letter } from "#kernel/mail";
import type { UserCard } from "#modules/directory";
import { html } from "../page/page.ts";
import { access } from "../tables.ts";
import type { Link } from "./link.ts";

/** The mail that carries an invitation. */
export async function invitationMail(ctx: Context, user: UserCard, link: Link, url: string): Promise<Letter> {
  const tenant = await tenantOf(ctx, user.tenantId);
  return letter(user, link, {
    subject: `Your log-in at ${tenant.name}`,
    intro: `You have been given a log-in at ${tenant.name}. Your user name is ${tenant.code}/${user.username}. Choose your password here:`,
    url,
    outro: `The link works once, until ${day(link.expires_at)}.`,
  });
}

/** The mail that carries a link to reset a password. */
export async function resetMail(ctx: Context, user: UserCard, link: Link, url: string): Promise<Letter> {
  const tenant = await tenantOf(ctx, user.tenantId);
  return letter(user, link, {
    subject: `A new password for your log-in at ${tenant.name}`,
    intro: `Somebody, probably you, asked for a new password for ${tenant.code}/${user.username}. Choose it here:`,
    url,
    outro: "The link works once, for an hour. If you did not ask for it, do nothing: your password stays as it is.",
  });
}

type Words = { subject: string; intro: string; url: string; outro: string };

function letter(user: UserCard, link: Link, { subject, intro, url, outro }: Words): Letter {
  const greeting = `Hello ${user.fullname},`;
  const page = html`<!doctype html>
<html lang="en"><body style="font:16px/1.5 sans-serif">
<p>${greeting}</p>
<p>${intro}</p>
<p><a href="${url}">${url}</a></p>
<p>${outro}</p>
</body></html>
`;
  return {
    tenantId: user.tenantId,
    kind: link.kind,
    about: { kind: "user", id: user.id, name: user.fullname },
    to: { name: user.fullname, address: user.email },
    subject,
    text: `${greeting}\n\n${intro}\n\n${url}\n\n${outro}\n`,
    html: page.html,
    expiresAt: link.expires_at,
  };
}

async function tenantOf(ctx: Context, tenantId: string): Promise<{ name: string; code: string }> {
  const tenant = await ctx.db.first(
    access.selectFrom("access.tenant").select(["name", "code"]).where("id", "=", tenantId),
  );
  return tenant!;
}

const day = (at: Date) =>
  at.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
