import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { eventually, startServer } from "../../../../test/harness.ts";
import { readMail } from "../../../../test/mailbox.ts";
import { fillIfEmpty } from "../../../first-start.ts";

const server = await startServer();
const root = (await server.kernel.gate.tenant(server.rootId))!;
const provider = await server.key(server.rootId, "provider_administrator");
const good = "correct horse battery 17";

const show = (link: string) => server.get(link.slice(server.url.length));
const send = (page: string, members: Record<string, string>) =>
  server.call("POST", `/oauth/${page}`, {
    raw: new URLSearchParams(members).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
const tokenIn = (link: string) => new URL(link).searchParams.get("token")!;
async function invited(username: string, fullname = username): Promise<string> {
  const user = { username, fullname, email: `${username}@p.example`, defaultOrgUnitExternalId: "ROOT" };
  const { id } = (await server.post("/v1/user", user, { key: provider })).body;
  return (await server.post("/v1/invitation", { userId: id, sendInvitation: false }, { key: provider })).body.url;
}
/** The password page's field with its fault, as a screen reader ties them. */
const faultAt = (html: string, name: string) => {
  const field = new RegExp(`<input id="${name}"[^>]*>`).exec(html)![0];
  const [, ids = ""] = /aria-describedby="([^"]*)"/.exec(field) ?? [];
  if (!field.includes('aria-invalid="true"')) return null;
  assert.ok(ids.split(" ").includes(`${name}-fault`));
  return new RegExp(`id="${name}-fault">([^<]*)<`).exec(html)?.[1] ?? null;
};

test("an invitation's page shows whose it is, takes the password twice, and works without script, in no frame, from no cache", async () => {
  const link = await invited("page.guest");
  const page = await show(link);
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-type")!, /^text\/html/);
  assert.match(page.headers.get("content-security-policy")!, /default-src 'none'.*frame-ancestors 'none'/);
  assert.deepEqual(
    ["cache-control", "referrer-policy"].map((name) => page.headers.get(name)),
    ["no-store", "no-referrer"],
  );
  assert.doesNotMatch(page.text, /<script/);
  assert.match(page.text, /autocomplete="username"[^>]*value="page\.guest"[^>]*readonly/s);
  assert.equal((await show(link)).status, 200, "looking uses nothing up");
  const token = tokenIn(link);
  const differ = await send("invitation", { token, new: good, again: "something else 12" });
  assert.deepEqual([differ.status, faultAt(differ.text, "again")], [400, "The two passwords are not the same."]);
  assert.equal(faultAt(differ.text, "new"), null);
  const short = await send("invitation", { token, new: "short", again: "short" });
  assert.deepEqual([short.status, faultAt(short.text, "new")], [400, "A password has at least 12 characters."]);
  const none = await send("invitation", { token });
  assert.deepEqual([none.status, faultAt(none.text, "new")], [400, "A password is needed."]);
  for (const answer of [differ, short, none]) assert.ok(!answer.text.includes(good), "no password comes back");
  const done = await send("invitation", { token, new: good, again: good });
  assert.equal(done.status, 200, done.text);
  const twice = await send("invitation", { token, new: good, again: good });
  assert.deepEqual([twice.status, /was used, or is too old/.test(twice.text)], [400, true]);
  assert.equal((await show(link)).status, 400);
  const unknown = await show(link.replace(/.{4}$/, "AAAA"));
  assert.deepEqual([unknown.status, /is not known/.test(unknown.text)], [400, true]);
});

test("what somebody typed or is called is no markup", async () => {
  const typed = '"><script>alert(1)</script>';
  const page = await send("setup", { token: typed, username: typed });
  assert.equal(page.status, 400);
  assert.doesNotMatch(page.text, /<script/);
  const forgot = await send("forgot", { login: typed });
  assert.doesNotMatch(forgot.text, /<script/);
});

test("a page refuses as a page: another media type, a body too large, a broken form", async () => {
  const wrong = [
    server.call("POST", "/oauth/forgot", { body: { login: "x" } }),
    send("forgot", { login: "x".repeat(20_000) }),
    server.call("POST", "/oauth/forgot", {
      raw: "%zz=1",
      headers: { "content-type": "application/x-www-form-urlencoded" },
    }),
    send("forgot", {}),
  ];
  for (const answer of await Promise.all(wrong)) {
    assert.ok(answer.status >= 400 && answer.status < 500, String(answer.status));
    assert.match(answer.headers.get("content-type")!, /^text\/html/);
  }
});

test("without a mail server a mail becomes a file that its owner alone may read, and the page answers alike for everybody", async () => {
  await send("invitation", {
    token: tokenIn(await invited("page.forgets", 'O\'Neil "the" <b>')),
    new: good,
    again: good,
  });
  assert.equal((await server.get("/oauth/forgot")).status, 200);
  const [known, unknown] = [
    await send("forgot", { login: "provider/page.forgets" }),
    await send("forgot", { login: "nobody" }),
  ];
  assert.deepEqual([known.status, known.text], [202, unknown.text]);
  assert.equal(unknown.status, 202);
  const folder = join(server.dataDir, "mail");
  const name = await eventually(() => existsSync(folder) && readdirSync(folder).find((one) => one.endsWith(".eml")));
  assert.deepEqual([statSync(folder).mode & 0o777, statSync(join(folder, name)).mode & 0o777], [0o700, 0o600]);
  const mail = readMail("", [], readFileSync(join(folder, name), "utf8"));
  assert.match(mail.headers.get("to")!, /<page\.forgets@p\.example>$/);
  assert.match(mail.link, /\/oauth\/reset\?token=/);
  assert.equal((await show(mail.link)).status, 200);
  const token = tokenIn(mail.link);
  assert.equal(
    (await send("invitation", { token, new: good, again: good })).status,
    400,
    "a reset link invites nobody",
  );
  const next = "an entirely new secret 9";
  assert.equal((await send("reset", { token, new: next, again: next })).status, 200);
});

test("an empty installation is set up by a link, once; until then each start makes another one that works as well", async () => {
  const start = async () => {
    const first = await fillIfEmpty(server.app, server.databaseUrl, false);
    return first && "setupUrl" in first ? first.setupUrl : first;
  };
  const [one, two] = [(await start()) as string, (await start()) as string];
  assert.notEqual(one, two);
  server.clock.advance(3_600_000);
  const late = await show(one);
  assert.deepEqual([late.status, /Start the server again/.test(late.text)], [400, true]);
  const [three, four] = [(await start()) as string, (await start()) as string];
  assert.equal((await show(three)).status, 200);
  const person = { fullname: "Ada Lovelace", email: "ada@p.example", username: "ada" };
  const form = { token: tokenIn(three), ...person, new: good, again: good };
  const wrong = await send("setup", { ...form, email: "nonsense", username: "" });
  assert.deepEqual([wrong.status, faultAt(wrong.text, "username")], [400, "This is needed."]);
  const email = await send("setup", { ...form, email: "nonsense" });
  assert.match(faultAt(email.text, "email")!, /^Must be an e-mail address/);
  assert.match(email.text, /value="Ada Lovelace"/);
  const equal = await send("setup", { ...form, new: "ada@p.example", again: "ada@p.example" });
  assert.match(faultAt(equal.text, "new")!, /e-mail address/);
  const done = await send("setup", { ...form, key: "yes" });
  assert.equal(done.status, 200, done.text);
  assert.match(done.text, /Log in as <code>provider\/ada<\/code>/);
  const [key] = /dmk_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}/.exec(done.text)!;
  const self = (await server.get("/v1/principal/self", { key })).body;
  assert.deepEqual([self.tenant.kind, self.onBehalfOf.name], ["provider", "Ada Lovelace"]);
  assert.ok(self.permissions.some(({ name, everywhere }: any) => name === "signingKey.manage" && everywhere));
  await server.sql("update access.tenant set features = features || '{\"passwordGrant\": true}'");
  await server.kernel.forget();
  const token = await server.call("POST", "/oauth/token", { body: { userName: "provider/ada", password: good } });
  assert.equal(token.status, 200, token.text);
  assert.equal((await show(three)).status, 400);
  assert.equal((await show(four)).status, 400, "one was used, so no other is good any more");
  assert.equal(await start(), null, "a used one is never followed by another");
  const [entry] = await server.sql(
    "select actor, via from access.audit where type = 'user' and action = 'created' and item_name = 'Ada Lovelace'",
  );
  assert.deepEqual([entry.actor.name, entry.via.kind], ["set-up", "link"]);
});

test("of two who set up at the same time one does, and without the tick no key is made", async () => {
  const other = await startServer();
  const first = await fillIfEmpty(other.app, other.databaseUrl, false);
  assert.ok(first && "setupUrl" in first);
  const token = tokenIn(first.setupUrl);
  const answers = await Promise.all(
    ["ada", "eve"].map((username) =>
      other.call("POST", "/oauth/setup", {
        raw: new URLSearchParams({
          token,
          username,
          fullname: username,
          email: `${username}@p.example`,
          new: good,
          again: good,
        }).toString(),
        headers: { "content-type": "application/x-www-form-urlencoded" },
      }),
    ),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
  assert.deepEqual(await other.sql('select count(*)::int as n from directory."user"'), [{ n: 1 }]);
  assert.deepEqual(await other.sql("select count(*)::int as n from access.key"), [{ n: 0 }]);
});

test("in production without a mail server, what needs a mail is refused for everybody alike, and the link can be had instead", async () => {
  const strict = await startServer({ settings: { production: true } });
  const key = await strict.key(strict.rootId, "provider_administrator");
  const administrator = { username: "boss", email: "boss@c.example", fullname: "Boss" };
  const make = (more: object) =>
    strict.post("/v1/tenant", { name: "C", kind: "customer", administrator: { ...administrator, ...more } }, { key });
  const refused = await make({});
  assert.deepEqual([refused.status, refused.body.code], [409, "mail_not_configured"]);
  assert.match(refused.body.detail, /sendInvitation: false/);
  const made = await make({ sendInvitation: false });
  assert.equal(made.status, 201, "nothing of the refused one is left");
  const userId = made.body.administratorId;
  const invite = await strict.post("/v1/invitation", { userId }, { key });
  assert.deepEqual([invite.status, invite.body.code], [409, "mail_not_configured"]);
  for (const login of ["boss@c.example", "nobody"]) {
    const answer = await strict.post("/v1/password/reset-request", { login });
    assert.deepEqual([answer.status, answer.body.code], [409, "mail_not_configured"]);
  }
});

test("the welcome page and the mail name the tenant and its code, so that the first log-in succeeds", async () => {
  const user = { username: "named", fullname: "Named", email: "named@p.example", defaultOrgUnitExternalId: "ROOT" };
  const { id } = (await server.post("/v1/user", user, { key: provider })).body;
  const before = new Set(readdirSync(join(server.dataDir, "mail")));
  assert.equal((await server.post("/v1/invitation", { userId: id }, { key: provider })).status, 201);
  const name = await eventually(() =>
    readdirSync(join(server.dataDir, "mail")).find((one) => !before.has(one) && one.endsWith(".eml")),
  );
  const mail = readMail("", [], readFileSync(join(server.dataDir, "mail", name), "utf8"));
  assert.ok(mail.raw.includes(`${root.code}/named`));
});
