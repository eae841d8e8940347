/**
 * Mails to people. A mail is a row of the transaction that calls for it: it goes out after the commit, never without
 * it, and no outage of a mail server fails a call. Its content holds a link, so it is sealed while it waits and dropped
 * when it is sent or given up (post.ts).
 */
import { sql } from "kysely";
import type { Context } from "./contract.ts";
import { query } from "./db.ts";
import { newId } from "./ids.ts";
import type { Settings } from "./kernel.ts";
import { problem, refuse } from "./problem.ts";

export const mailNotConfigured = problem("mail_not_configured", 409, "This installation sends no mail.");

/** A mail to a person. `kind` is one word for logs; past `expiresAt` nobody has any use for it. */
export type Letter = {
  tenantId: string;
  kind: string;
  about: { kind: "user"; id: string; name: string };
  to: { name: string; address: string };
  subject: string;
  text: string;
  html: string;
  expiresAt: Date;
};

export type MailContent = Pick<Letter, "to" | "subject" | "text" | "html">;

/** Where a mail's content stands, sealed. */
export const mailPlace = (id: string) => ({ table: "kernel.mail", column: "content_sealed", rowId: id });

/** Refuses what would need a mail where none can be sent; `instead` says what else the caller can do. */
export function requireMail({ production, mail }: Pick<Settings, "production" | "mail">, instead: string): void {
  if (production && mail.smtpUrl === null)
    throw refuse(mailNotConfigured, { detail: `No mail can be sent. ${instead}` });
}

/** Puts a mail on its way, in the transaction of the call. */
export async function queueMail(ctx: Pick<Context, "db" | "secrets" | "now">, letter: Letter): Promise<void> {
  const { tenantId, kind, about, to, subject, text, html, expiresAt } = letter;
  const id = newId("mail", ctx.now.getTime());
  const content: MailContent = { to, subject, text, html };
  const sealed = await ctx.secrets.seal(tenantId, mailPlace(id), JSON.stringify(content));
  await ctx.db.run(
    query(sql`insert into kernel.mail (tenant_id, id, kind, about, content_sealed, due_at, created_at, expires_at)
      values (${tenantId}, ${id}, ${kind}, ${JSON.stringify(about)}::jsonb, ${sealed}, ${ctx.now}, ${ctx.now}, ${expiresAt})`),
  );
}
