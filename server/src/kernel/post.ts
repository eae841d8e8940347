/**
 * Sends the mails that transactions have queued. At least once: a crash between the mail server's word and ours repeats
 * a mail, under the same Message-ID.
 */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sql } from "kysely";
import { inTransaction, systemCaller } from "./context.ts";
import type { Stop } from "./contract.ts";
import { query } from "./db.ts";
import type { Kernel, Settings } from "./kernel.ts";
import { type Letter, type MailContent, mailPlace } from "./mail.ts";

type Row = {
  tenant_id: string;
  id: string;
  kind: string;
  about: Letter["about"];
  content_sealed: string;
  tries: number;
  created_at: Date;
  expires_at: Date;
};

const minuteMs = 60_000;
/** Until the next try, after each failed one; after the last of them it is given up. */
const pausesMinutes = [1, 5, 15, 60, 180, 360, 720];
/** So long a try may take; a process that dies within it leaves the mail to the next one. */
const leaseMs = 5 * minuteMs;
const keptMs = 30 * 24 * 60 * minuteMs;

export type Post = {
  /** Mails were queued. */
  wake(): void;
  /** Sends what is due; also by a job, for mails that are tried again and those of processes that died. */
  sendDue(): Promise<void>;
  stop: Stop;
};

export function createPost(kernel: Kernel): Post {
  const carrier = createCarrier(kernel.settings);
  let working: Promise<void> | null = null;
  let again = false;
  let stopped = false;

  async function work(): Promise<void> {
    do {
      again = false;
      for (let row = await claim(); row && !stopped; row = await claim()) await send(row);
    } while (again && !stopped);
  }

  function sendDue(): Promise<void> {
    again = true;
    working ??= work().finally(() => {
      working = null;
    });
    return working;
  }

  /** One mail at a time, so that several processes share the work and none is sent by two. */
  async function claim(): Promise<Row | undefined> {
    const now = kernel.now();
    return kernel.system.in("").first(
      query<Row>(sql`update kernel.mail set tries = tries + 1, due_at = ${new Date(now.getTime() + leaseMs)}
        where id = (select id from kernel.mail where status = 'queued' and due_at <= ${now} order by due_at limit 1 for update skip locked)
        returning tenant_id, id, kind, about, content_sealed, tries, created_at, expires_at`),
    );
  }

  async function send(row: Row): Promise<void> {
    if (kernel.now() >= row.expires_at) return giveUp(row, "It was of no use any more.");
    try {
      const sealed = await kernel.secrets.open(row.tenant_id, mailPlace(row.id), row.content_sealed);
      const where = await carrier.carry(row, JSON.parse(sealed.toString()) as MailContent);
      await finish(row, "sent", null);
      const told = { mailId: row.id, kind: row.kind, tenantId: row.tenant_id };
      if (where) kernel.log.warn({ ...told, file: where }, "no DEMARC_SMTP_URL is set: a mail was written to a file");
      else kernel.log.info(told, "mail sent");
    } catch (error) {
      const reason = (error as Error).message.slice(0, 200);
      const pause = pausesMinutes[row.tries - 1];
      if (pause === undefined || isFinal(error)) return giveUp(row, reason);
      kernel.log.warn({ mailId: row.id, kind: row.kind, tries: row.tries, reason }, "a mail could not be sent yet");
      const dueAt = new Date(kernel.now().getTime() + pause * minuteMs);
      await kernel.system
        .in("")
        .run(query(sql`update kernel.mail set due_at = ${dueAt}, last_error = ${reason} where id = ${row.id}`));
    }
  }

  /** The end without a mail stands in the log, and in the audit trail of the tenant, whose administrator can act. */
  async function giveUp(row: Row, reason: string): Promise<void> {
    kernel.log.error({ mailId: row.id, kind: row.kind, tenantId: row.tenant_id, reason }, "a mail was given up");
    await finish(row, "failed", reason);
    const tenant = await kernel.gate.tenant(row.tenant_id);
    if (!tenant) return;
    await inTransaction(kernel, systemCaller(kernel, tenant, "mail"), async (ctx) => {
      ctx.audit({
        tenantId: row.tenant_id,
        type: "user",
        action: "mail_failed",
        item: row.about,
        changes: [
          { field: "mail", old: null, new: row.kind },
          { field: "reason", old: null, new: reason },
        ],
      });
    });
  }

  async function finish(row: Row, status: "sent" | "failed", reason: string | null): Promise<void> {
    await kernel.system.in("").run(
      query(sql`update kernel.mail set status = ${status}, content_sealed = null, last_error = ${reason}, finished_at = ${kernel.now()}
        where id = ${row.id}`),
    );
  }

  return {
    wake() {
      if (!stopped) sendDue().catch((error) => kernel.log.warn({ err: error }, "mails wait for the database"));
    },
    sendDue,
    async stop() {
      stopped = true;
      await working?.catch(() => {});
      carrier.close();
    },
  };
}

/** Forgets mails a month after their end. */
export async function sweepMail({ system, now }: Pick<Kernel, "system" | "now">): Promise<void> {
  await system
    .in("")
    .run(query(sql`delete from kernel.mail where finished_at <= ${new Date(now().getTime() - keptMs)}`));
}

/** The mail server's own No: the address does not exist, the mail is not wanted. What is wrong with the log-in may be mended. */
function isFinal(error: unknown): boolean {
  const { code, responseCode } = error as { code?: string; responseCode?: number };
  return code !== "EAUTH" && responseCode !== undefined && responseCode >= 500;
}

type Transport = { sendMail(mail: object): Promise<{ message?: unknown }>; close(): void };

/** Speaks SMTP; without a mail server it writes files, so that a developer can follow a link. Returns the file. */
function createCarrier({ mail, dataDir, publicUrl }: Settings) {
  let opened: Promise<Transport> | null = null;
  const folder = join(dataDir, "mail");

  async function open(): Promise<Transport> {
    // Most processes never send a mail, and its parts take longer to load than all the rest of the kernel.
    const { createTransport } = await import("nodemailer");
    if (mail.smtpUrl === null)
      return createTransport({ streamTransport: true, buffer: true, newline: "unix" }) as never;
    const limits = { connectionTimeout: 10_000, greetingTimeout: 10_000, socketTimeout: 30_000 };
    return createTransport({ url: mail.smtpUrl, disableFileAccess: true, disableUrlAccess: true, ...limits }) as never;
  }

  return {
    async carry({ id, created_at: date }: Row, { to, subject, text, html }: MailContent): Promise<string | null> {
      opened ??= open();
      const transport = await opened;
      const { message } = await transport.sendMail({
        from: mail.from,
        to: { name: oneLine(to.name), address: to.address },
        subject: oneLine(subject),
        text,
        html,
        date,
        messageId: `<${id}@${new URL(publicUrl).hostname}>`,
        headers: { "auto-submitted": "auto-generated" },
      });
      if (mail.smtpUrl !== null) return null;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      // A mail's own encoding breaks long lines, links among them: beside it stands what a terminal can show.
      const words = `To: ${oneLine(to.name)} <${to.address}>\nSubject: ${oneLine(subject)}\n\n${text}`;
      await writeWhole(join(folder, `${id}.txt`), words);
      const file = join(folder, `${id}.eml`);
      await writeWhole(file, message as Buffer);
      return file;
    },
    close() {
      opened?.then((transport) => transport.close()).catch(() => {});
    },
  };
}

async function writeWhole(file: string, content: string | Buffer): Promise<void> {
  await writeFile(`${file}.part`, content, { mode: 0o600 });
  await rename(`${file}.part`, file);
}

/** A header is one line, whatever a name was made of. */
function oneLine(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ");
}
