import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../test/harness.ts";
import { startMailbox } from "../../test/mailbox.ts";
import type { Letter } from "./mail.ts";

const refusals = new Map<string, number>();
const mailbox = await startMailbox((address) => refusals.get(address) ?? null);
const server = await startServer({ settings: { mail: { smtpUrl: mailbox.url, from: "demarc@demarc.example" } } });
const minute = 60_000;

const letterTo = (address: string, more: Partial<Letter> = {}): Letter => ({
  tenantId: server.rootId,
  kind: "test",
  about: { kind: "user", id: "usr_test", name: "Somebody" },
  to: { name: "Somebody", address },
  subject: "Subject",
  text: "the secret text",
  html: "<p>the secret text</p>",
  expiresAt: new Date(server.clock.now().getTime() + 7 * 86_400_000),
  ...more,
});
const queue = (letter: Letter) => server.as(server.rootId, (ctx) => ctx.mail(letter));
const rowOf = async (kind: string) =>
  (await server.sql("select status, tries, content_sealed, last_error from kernel.mail where kind = $1", [kind]))[0];

test("a mail goes out once its transaction has committed, and not when it is undone", async () => {
  await assert.rejects(
    server.as(server.rootId, async (ctx) => {
      await ctx.mail(letterTo("undone@x.example", { kind: "undone" }));
      throw new Error("undone");
    }),
    /undone/,
  );
  await queue(letterTo("done@x.example"));
  await eventually(() => mailbox.to("done@x.example")[0]);
  assert.equal(await rowOf("undone"), undefined);
  assert.equal(mailbox.to("undone@x.example").length, 0);
});

test("while it waits a mail is sealed, and once sent only the fact is kept", async () => {
  refusals.set("waits@x.example", 451);
  await queue(letterTo("waits@x.example", { kind: "waits" }));
  const waiting = await eventually(async () => {
    const row = await rowOf("waits");
    return row.last_error && row;
  });
  assert.match(waiting.content_sealed, /^v1\./);
  assert.ok(!JSON.stringify(await server.sql("select m::text from kernel.mail m")).includes("secret text"));
  refusals.delete("waits@x.example");
  server.clock.advance(minute);
  await server.kernel.mail.sendDue();
  assert.equal(mailbox.to("waits@x.example").length, 1);
  const sent = await rowOf("waits");
  assert.deepEqual([sent.status, sent.tries, sent.content_sealed], ["sent", 2, null]);
});

test("a mail that cannot be sent is tried again at growing intervals, and given up after the eighth time, which the trail tells", async () => {
  refusals.set("never@x.example", 451);
  await queue(letterTo("never@x.example", { kind: "never" }));
  await eventually(async () => (await rowOf("never")).last_error);
  for (const [index, pause] of [1, 5, 15, 60, 180, 360, 720].entries()) {
    server.clock.advance(pause * minute - 1);
    await server.kernel.mail.sendDue();
    assert.equal((await rowOf("never")).tries, index + 1, "not before its time");
    server.clock.advance(1);
    await server.kernel.mail.sendDue();
    assert.equal((await rowOf("never")).tries, index + 2);
  }
  const row = await rowOf("never");
  assert.deepEqual([row.status, row.tries, row.content_sealed], ["failed", 8, null]);
  const [entry] = await server.sql("select changes, item_id from access.audit where action = 'mail_failed'");
  assert.deepEqual([entry.item_id, entry.changes[0].new], ["usr_test", "never"]);
  server.clock.advance(86_400_000);
  await server.kernel.mail.sendDue();
  assert.equal((await rowOf("never")).tries, 8);
});

test("an address that the mail server does not know is given up at once, and so is a mail that nobody needs any more", async () => {
  refusals.set("unknown@x.example", 550);
  await queue(letterTo("unknown@x.example", { kind: "unknown" }));
  await eventually(async () => (await rowOf("unknown")).status === "failed");
  assert.equal((await rowOf("unknown")).tries, 1);
  refusals.set("late@x.example", 451);
  await queue(letterTo("late@x.example", { kind: "late", expiresAt: new Date(server.clock.now().getTime() + minute) }));
  await eventually(async () => (await rowOf("late")).last_error);
  refusals.delete("late@x.example");
  server.clock.advance(minute);
  await server.kernel.mail.sendDue();
  assert.deepEqual([(await rowOf("late")).status, mailbox.to("late@x.example").length], ["failed", 0]);
});

test("no name and no subject adds a header or an addressee", async () => {
  const nasty = "A\r\nBcc: eve@x.example\r\n\r\nBody";
  await queue(
    letterTo("nasty@x.example", {
      subject: nasty,
      to: { name: `${nasty}, Eve <eve@x.example>`, address: "nasty@x.example" },
    }),
  );
  const mail = await eventually(() => mailbox.to("nasty@x.example")[0]);
  assert.deepEqual(mail.to, ["nasty@x.example"]);
  assert.ok(!mail.headers.has("bcc"));
  assert.match(mail.headers.get("subject")!, /^A Bcc: eve@x\.example Body$/);
});

test("two servers share the work: every mail is sent, and none twice", async () => {
  const other = await startServer({
    beside: server,
    startsAt: server.clock.now().toISOString(),
    settings: { mail: { smtpUrl: mailbox.url, from: "demarc@demarc.example" } },
  });
  await server.as(server.rootId, async (ctx) => {
    for (let index = 0; index < 20; index++) await ctx.mail(letterTo(`many-${index}@x.example`, { kind: "many" }));
  });
  await Promise.all([server.kernel.mail.sendDue(), other.kernel.mail.sendDue()]);
  for (let index = 0; index < 20; index++) assert.equal(mailbox.to(`many-${index}@x.example`).length, 1);
  await other.close();
});

test("a mail that a server died over is sent by the next one when five minutes have passed, under its own Message-ID", async () => {
  refusals.set("dies@x.example", 451);
  await queue(letterTo("dies@x.example", { kind: "dies" }));
  await eventually(async () => (await rowOf("dies")).last_error);
  refusals.delete("dies@x.example");
  // As the row stands while a server has it in hand.
  const inHand = new Date(server.clock.now().getTime() + 5 * minute);
  await server.sql("update kernel.mail set due_at = $1, last_error = null where kind = 'dies'", [inHand]);
  await server.kernel.mail.sendDue();
  assert.equal(mailbox.to("dies@x.example").length, 0);
  server.clock.set(inHand);
  await server.kernel.mail.sendDue();
  const [mail] = mailbox.to("dies@x.example");
  const [{ id }] = await server.sql("select id from kernel.mail where kind = 'dies'");
  assert.equal(mail!.headers.get("message-id"), `<${id}@localhost>`);
});
