import assert from "node:assert/strict";
import { test } from "node:test";
import { event } from "#kernel/events";
import { object } from "#kernel/schema";
import { eventually, startServer } from "../../../../test/harness.ts";
import {
  a,
  aAdm,
  accept,
  administrator,
  bAdm,
  codeOf,
  days,
  good,
  invite,
  logIn,
  mailbox,
  minutes,
  newcomer,
  person,
  q,
  qAdm,
  reset,
  runJob,
  server,
  tokenIn,
  types,
} from "./link.fixture.ts";

test("1. a tenant made with its administrator: it sets a password by its link, logs in and administers; the trails say who", async () => {
  const body = {
    name: "Case one",
    kind: "customer",
    features: { passwordGrant: true },
    administrator: administrator("boss.one", false),
  };
  const answer = await server.post("/v1/tenant", body, { key: qAdm.key });
  assert.equal(answer.status, 201, answer.text);
  const c = answer.body;
  assert.equal(answer.headers.get("location"), `/v1/tenant/${c.id}`);
  assert.match(c.invitation.url, new RegExp(`^${server.url}/oauth/invitation\\?token=[\\w-]{43}$`));
  assert.equal(Date.parse(c.invitation.expiresAt), server.clock.now().getTime() + 45 * days);
  assert.equal((await logIn(c.code, "boss.one", good)).status, 400);
  assert.equal((await accept(c.invitation.url)).status, 204);
  const token = (await logIn(c.code, "boss.one", good)).body.access_token;
  const self = (await server.get("/v1/principal/self", { token })).body;
  assert.ok(self.permissions.some(({ name, everywhere }: any) => name === "tenant.manage" && everywhere));
  const made = await server.sql("select tenant_id, actor from access.audit where type = 'tenant' and item_id = $1", [
    c.id,
  ]);
  assert.deepEqual(made.map((row) => row.tenant_id).sort(), [c.id, q].sort());
  for (const { actor } of made) assert.equal(actor.id, qAdm.id);
  const trail = await server.sql(
    "select action, actor, via from access.audit where tenant_id = $1 and item_id = $2 order by position",
    [c.id, c.administratorId],
  );
  assert.deepEqual(
    trail
      .map(({ action, actor }) => [action, actor.id])
      .filter(([action]) => ["invited", "password_changed"].includes(action)),
    [
      ["invited", qAdm.id],
      ["password_changed", c.administratorId],
    ],
  );
  assert.equal(trail.find(({ action }) => action === "password_changed").via.kind, "link");
  assert.deepEqual(
    (await types(c.administratorId)).filter((type) => type.includes("invitation")),
    ["demarc.access.invitation.created", "demarc.access.invitation.accepted"],
  );
});

test("an administrator's invitation is mailed unless the caller wants the link, and the reply then holds none", async () => {
  const body = { name: "Mailed <b>&</b>", kind: "customer", administrator: administrator("boss.mailed") };
  const answer = await server.post("/v1/tenant", body, { key: qAdm.key });
  assert.deepEqual([answer.status, answer.body.invitation], [201, null], answer.text);
  const mail = await eventually(() => mailbox.to("boss.mailed@c.example")[0]);
  assert.equal(mail.from, "no-reply@demarc.example");
  assert.equal(mail.headers.get("from"), "Demarc <no-reply@demarc.example>");
  assert.equal(mail.headers.get("to"), "Cy Boss <boss.mailed@c.example>");
  assert.equal(mail.headers.get("subject"), "Your log-in at Mailed <b>&</b>");
  assert.equal(mail.headers.get("auto-submitted"), "auto-generated");
  assert.match(mail.raw, /Content-Type: text\/plain/);
  assert.match(mail.raw, /Content-Type: text\/html/);
  assert.match(mail.raw, /at Mailed &#60;b&#62;&#38;&#60;\/b&#62;/, "a name is no markup");
  assert.match(mail.raw, new RegExp(`${answer.body.code}/boss\\.mailed`));
  const [row] = await eventually(async () => {
    const rows = await server.sql("select status, content_sealed from kernel.mail where about->>'id' = $1", [
      answer.body.administratorId,
    ]);
    return rows[0]?.status === "sent" && rows;
  });
  assert.equal(row.content_sealed, null, "sent, its content is dropped");
  assert.equal((await accept(mail.link)).status, 204);
});

test("a link works once, until its very end; one that was used or is too old is told from one that never was", async () => {
  const { id } = await newcomer("links.once");
  const { url, expiresAt } = (await invite(id)).body;
  const start = server.clock.now();
  const unknown = await accept(url.replace(/.{4}$/, "AAAA"));
  assert.deepEqual([unknown.status, unknown.body.code], [400, "link_invalid"]);
  const other = await reset(url);
  assert.deepEqual([other.status, other.body.code], [400, "link_invalid"], "an invitation resets nothing");
  server.clock.set(expiresAt);
  const late = await accept(url);
  assert.deepEqual([late.status, late.body.code], [400, "link_expired"]);
  server.clock.set(new Date(Date.parse(expiresAt) - 1));
  assert.equal((await accept(url)).status, 204);
  const twice = await accept(url);
  assert.deepEqual([twice.status, twice.body.code], [400, "link_expired"]);
  server.clock.set(start);
});

test("of many who bring one link at the same time, one gets in", async () => {
  const { id } = await newcomer("links.race");
  const { url } = (await invite(id)).body;
  const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => accept(url, `${good} ${index}`)));
  assert.equal(answers.filter(({ status }) => status === 204).length, 1);
  for (const { status, body } of answers)
    if (status !== 204) assert.deepEqual([status, body.code], [400, "link_expired"]);
  const winner = answers.findIndex(({ status }) => status === 204);
  assert.equal((await logIn(await codeOf(a), "links.race", `${good} ${winner}`)).status, 200);
});

test("a password that breaks a rule is refused by the rule's name, and the link still works", async () => {
  const { id } = await newcomer("links.rules");
  const { url } = (await invite(id)).body;
  for (const [password, rule] of [
    ["short", "too_short"],
    ["password1234", "common"],
    ["links.rules@new.example", "equals_email"],
  ]) {
    const answer = await accept(url, password);
    assert.deepEqual([answer.status, answer.body.errors[0].pointer, answer.body.errors[0].rule], [400, "/new", rule]);
  }
  assert.equal((await accept(url)).status, 204);
});

test("an invitation: who may make one for whom, and what its making ends", async () => {
  const { id, email } = await newcomer("guest");
  assert.equal((await server.post("/v1/invitation", { userId: id })).status, 401);
  const lacking = await invite(id, {}, await server.key(a, ["user.read"]));
  assert.deepEqual([lacking.status, lacking.body.permission], [403, "user.write"]);
  for (const [userId, key] of [
    [id, bAdm.key],
    [`usr_${id.slice(4, -4)}0000`, aAdm.key],
  ] as const) {
    const foreign = await invite(userId, {}, key);
    assert.deepEqual(
      [foreign.status, foreign.body.errors[0].rule, foreign.body.errors[0].pointer],
      [400, "not_found", "/userId"],
    );
  }
  assert.equal((await invite(a)).body.errors[0].rule, "id_kind");

  const first = await invite(id, {});
  assert.deepEqual([first.status, first.body.url], [201, null], "mailed");
  const mailed = await eventually(() => mailbox.to(email)[0]?.link);
  const second = await invite(id);
  assert.equal(second.status, 201);
  assert.equal((await accept(mailed)).body.code, "link_expired", "a newer invitation ends the older");
  assert.equal((await accept(second.body.url)).status, 204);
  const has = await invite(id);
  assert.deepEqual([has.status, has.body.code], [409, "invitation_not_possible"]);

  const off = await newcomer("guest.off");
  await server.post(`/v1/user/${off.id}/deactivate`, {}, { key: aAdm.key });
  assert.equal((await invite(off.id)).body.code, "invitation_not_possible");
});

test("whoever gets somebody's invitation link must hold what that one holds; a mailed one goes to its owner", async () => {
  const { id, email } = await newcomer("chief", "tenant_administrator");
  const weak = await server.key(a, ["user.read", "user.write"]);
  const refused = await invite(id, { sendInvitation: false }, weak);
  assert.deepEqual([refused.status, refused.body.code], [403, "grant_exceeds_own"]);
  assert.equal((await invite(id, { sendInvitation: true }, weak)).status, 201);
  await eventually(() => mailbox.to(email)[0]);
});

test("a repeated call shows the same link for ten minutes and then none; neither database, news nor records hold one", async () => {
  const { id } = await newcomer("replayed");
  const headers = { "idempotency-key": "invite-1" };
  const first = (await invite(id, undefined, aAdm.key, headers)).body;
  assert.deepEqual((await invite(id, undefined, aAdm.key, headers)).body, first);
  const body = { name: "Replayed", kind: "customer", administrator: administrator("boss.replayed", false) };
  const make = () => server.post("/v1/tenant", body, { key: qAdm.key, headers });
  const made = (await make()).body;
  assert.deepEqual((await make()).body, made);
  const tables = ["access.link", "access.audit", "kernel.told", "kernel.idempotency", "kernel.mail", "access.activity"];
  await server.kernel.activity.flush();
  const dump = JSON.stringify(await Promise.all(tables.map((table) => server.sql(`select t::text from ${table} t`))));
  for (const { link } of [...mailbox.mails, { link: first.url }, { link: made.invitation.url }]) {
    assert.ok(!dump.includes(tokenIn(link)));
    assert.ok(!dump.includes(Buffer.from(tokenIn(link)).toString("hex")));
  }
  server.clock.advance(11 * minutes);
  assert.deepEqual((await invite(id, undefined, aAdm.key, headers)).body, { ...first, url: null });
  assert.deepEqual((await make()).body, { ...made, invitation: null });
});

test("an administrator who let the invitation pass is deleted with it; one with a password or a key is not", async () => {
  const make = async (name: string) => {
    const body = { name, kind: "customer", administrator: administrator(name, false) };
    return (await server.post("/v1/tenant", body, { key: qAdm.key })).body;
  };
  const [gone, used, keyed, again] = [await make("gone"), await make("used"), await make("keyed"), await make("again")];
  await accept(used.invitation.url);
  const key = { kind: "personal", title: "k", userId: keyed.administratorId };
  const issued = await server.post("/v1/key", key, { key: qAdm.key, headers: { "demarc-tenant": keyed.id } });
  assert.equal(issued.status, 201, issued.text);
  const start = server.clock.now();
  server.clock.advance(44 * days);
  const renewed = await server.post(
    "/v1/invitation",
    { userId: again.administratorId, sendInvitation: false },
    { key: qAdm.key },
  );
  assert.equal(renewed.status, 201, renewed.text);
  const isThere = async (one: any) =>
    (await server.get(`/v1/user/${one.administratorId}`, { key: qAdm.key, headers: { "demarc-tenant": one.id } }))
      .status === 200;
  await runJob();
  for (const one of [gone, used, keyed, again]) assert.ok(await isThere(one), one.name);
  server.clock.advance(days);
  await runJob();
  assert.ok(!(await isThere(gone)));
  for (const one of [used, keyed, again]) assert.ok(await isThere(one), one.name);
  assert.equal((await types(gone.administratorId)).at(-1), "demarc.directory.user.deleted");
  assert.equal((await accept(gone.invitation.url)).body.code, "link_expired");
  server.clock.advance(44 * days);
  await runJob();
  assert.ok(!(await isThere(again)), "the newer invitation has passed too");
  server.clock.set(start);
});

test("links that have long been over are forgotten", async () => {
  const { id } = await newcomer("long.ago");
  const made = await invite(id);
  assert.equal(made.status, 201, made.text);
  const { url } = made.body;
  const start = server.clock.now();
  server.clock.advance(136 * days);
  await runJob();
  assert.equal((await accept(url)).body.code, "link_invalid");
  server.clock.set(start);
});

test("whoever changes where somebody's mail goes must hold what that one holds; links on their way to the old address end", async () => {
  const chief = await newcomer("chief.moved", "tenant_administrator");
  const weak = await server.key(a, ["user.read", "user.write"]);
  const move = (id: string, email: string, key: string) => server.patch(`/v1/user/${id}`, { email }, { key });
  const refused = await move(chief.id, "eve@evil.example", weak);
  assert.deepEqual([refused.status, refused.body.code], [403, "grant_exceeds_own"]);
  const upserted = {
    username: "chief.moved",
    fullname: "x",
    email: "eve@evil.example",
    defaultOrgUnitExternalId: "ROOT",
  };
  assert.equal((await server.post("/v1/user", upserted, { key: weak })).body.code, "grant_exceeds_own");
  assert.equal((await server.patch(`/v1/user/${chief.id}`, { fullname: "Chief" }, { key: weak })).status, 200);
  const plain = await newcomer("plain.moved");
  const { url } = (await invite(plain.id)).body;
  assert.equal((await move(plain.id, "plain.moved@elsewhere.example", weak)).status, 200);
  assert.equal((await accept(url)).body.code, "link_expired");
  assert.equal((await move(chief.id, "chief@elsewhere.example", aAdm.key)).status, 200);
});

const asksForWelcome = event("directory", "user.welcome_requested", {
  permission: "user.read",
  summary: "A user is to be invited.",
  resource: object({}),
});
const askForWelcome = (id: string) =>
  server.as(a, async (ctx) =>
    ctx.emit(asksForWelcome, {
      tenantId: a,
      subject: id,
      path: `/user/${id}`,
      resource: null,
      previous: null,
      changed: [],
    }),
  );

test("whoever is to be welcomed is mailed an invitation once, by whichever server; who has a password or is gone gets none", async () => {
  const other = await startServer({
    beside: server,
    settings: { mail: { smtpUrl: mailbox.url, from: "Demarc <no-reply@demarc.example>" } },
  });
  const has = await person("welcomed.has");
  const gone = await newcomer("welcomed.gone");
  const left = await newcomer("welcomed.left");
  const { id, email } = await newcomer("welcomed");
  await server.delete(`/v1/user/${gone.id}`, { key: aAdm.key });
  await server.post(`/v1/user/${left.id}/deactivate`, {}, { key: aAdm.key });
  for (const user of [has.id, gone.id, left.id, id]) await askForWelcome(user);
  const { link } = await eventually(() => mailbox.to(email)[0]);
  const last = await newcomer("welcomed.last");
  await askForWelcome(last.id);
  await eventually(() => mailbox.to(last.email)[0]);
  assert.equal(mailbox.to(email).length, 1);
  const links = await server.sql("select user_id, created_by from access.link where user_id = any($1)", [
    [has.id, gone.id, left.id, id],
  ]);
  assert.deepEqual(links, [{ user_id: id, created_by: "system" }]);
  assert.equal((await accept(link)).status, 204);
  await other.close();
});
