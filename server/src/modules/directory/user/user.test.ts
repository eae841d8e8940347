import assert from "node:assert/strict";
import { test } from "node:test";
import { makeUser } from "#modules/directory";
import { startServer } from "../../../../test/harness.ts";

const server = await startServer();
const tenantId = await server.tenant(server.rootId, "customer", "Evotix");
const key = await server.key(tenantId, "tenant_administrator");

let count = 0;
function body(more: Record<string, unknown> = {}): Record<string, unknown> {
  const name = `person${++count}`;
  return {
    username: name,
    fullname: `P ${name}`,
    email: `${name}@evotix.example`,
    defaultOrgUnitExternalId: "ROOT",
    ...more,
  };
}
const upsert = (user: unknown, headers?: Record<string, string>) => server.post("/v1/user", user, { key, headers });
const outcomeOf = (answer: { headers: Headers }) => answer.headers.get("demarc-outcome");
async function newsOf(id: string): Promise<any[]> {
  return server.sql("select type, data from kernel.told where subject = $1 order by id", [id]);
}
const pointers = (answer: { body: any }) => answer.body.errors.map((fault: any) => fault.pointer);

test("A3. a user is made with the documented defaults, at the tenant's root unit, and one event tells of it", async () => {
  const answer = await upsert({
    username: "example.apiuser",
    fullname: "Example APIUser",
    email: "example.apiuser@evotix.example",
    defaultOrgUnitExternalId: "ROOT",
  });
  assert.equal(answer.status, 200);
  assert.equal(outcomeOf(answer), "created");
  const { id, number, createdAt, updatedAt, ...rest } = answer.body;
  assert.match(id, /^usr_/);
  assert.equal(number, 1);
  assert.equal(createdAt, updatedAt);
  assert.deepEqual(rest, {
    tenantId,
    username: "example.apiuser",
    fullname: "Example APIUser",
    email: "example.apiuser@evotix.example",
    defaultOrgUnitExternalId: "ROOT",
    userType: "full",
    isSupportRep: false,
    isCurrent: true,
    notCurrentReason: null,
    logInMethod: "password",
    isManager: false,
    timezone: "UTC",
    language: "en-GB",
    dateFormat: "DD/MM/YYYY",
    expiresAt: null,
    source: "native",
  });
  assert.deepEqual(
    (await newsOf(id)).map((news) => news.type),
    ["demarc.directory.user.created"],
  );
  const [entry] = await server.sql("select * from access.audit where item_id = $1", [id]);
  assert.equal(entry.action, "created");
  assert.equal(entry.tenant_id, tenantId);
});

test("A4. the same again changes and tells nothing; another full name is an update that names the field", async () => {
  const user = body();
  const first = await upsert(user);
  server.clock.advance(60_000);
  const second = await upsert(user);
  assert.equal(second.status, 200);
  assert.equal(outcomeOf(second), "unchanged");
  assert.deepEqual(second.body, first.body);
  assert.equal(second.headers.get("etag"), first.headers.get("etag"));
  assert.equal((await newsOf(first.body.id)).length, 1);

  const third = await upsert({ ...user, fullname: "Another Name" });
  assert.equal(outcomeOf(third), "updated");
  assert.ok(third.body.updatedAt > first.body.updatedAt);
  const [, updated] = await newsOf(first.body.id);
  assert.equal(updated.type, "demarc.directory.user.updated");
  assert.deepEqual(updated.data.changed, ["fullname"]);
  assert.deepEqual(updated.data.previous, { fullname: user.fullname });
});

test("rule 2. twenty equal calls at once make one user and one event; the others find it unchanged", async () => {
  const user = body();
  const answers = await Promise.all(Array.from({ length: 20 }, () => upsert(user)));
  assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([200]));
  assert.equal(new Set(answers.map((answer) => answer.body.id)).size, 1);
  assert.deepEqual(answers.map(outcomeOf).sort(), ["created", ...Array(19).fill("unchanged")]);
  assert.equal((await newsOf(answers[0]!.body.id)).length, 1);
});

test("A5. each mandatory field missing, null, empty or of a wrong type is named by its pointer", async () => {
  for (const field of ["username", "fullname", "email", "defaultOrgUnitExternalId"]) {
    for (const value of [undefined, null, "", 7, ["x"]]) {
      const answer = await upsert(body({ [field]: value }));
      assert.equal(answer.status, 400);
      assert.equal(answer.body.code, "validation_failed");
      assert.ok(pointers(answer).includes(`/${field}`), `${field} ${JSON.stringify(value)}`);
    }
  }
  const both = await upsert(body({ fullname: "", email: "no" }));
  assert.deepEqual(new Set(pointers(both)), new Set(["/fullname", "/email"]));
  const { fullname, ...rest } = body();
  const misspelt = await upsert({ ...rest, fullName: fullname });
  assert.equal(misspelt.status, 400);
  assert.ok(misspelt.body.errors.some((fault: any) => fault.pointer === "/fullName" && fault.hint === "fullname"));
});

test("A2. a member that the server sets is read-only, one of a later part is unknown", async () => {
  const answer = await upsert(body({ number: 7, roles: [] }));
  const rules = Object.fromEntries(answer.body.errors.map((fault: any) => [fault.pointer, fault.rule]));
  assert.deepEqual(rules, { "/number": "read_only", "/roles": "additionalProperties" });
});

test("A6. what is no e-mail address is refused; quotes and plus signs in one are not", async () => {
  const wrong = [
    "a@",
    "@b.c",
    "a b@c.d",
    `${"a".repeat(65)}@b.example`,
    "a@localhost",
    "a@1.2",
    "a@b..c",
    "a/b@c.example",
  ];
  for (const email of wrong) {
    const answer = await upsert(body({ email }));
    assert.equal(answer.status, 400, email);
    assert.deepEqual(new Set(pointers(answer)), new Set(["/email"]));
  }
  assert.equal((await upsert(body({ email: "o'brien+x@ex-ample.co.uk" }))).status, 200);
  assert.equal((await upsert(body({ email: "jörg@bücher.example".replace("ö", "o") }))).status, 200);
  const twin = await upsert(body({ email: "JORG@xn--bcher-kva.example" }));
  assert.equal(twin.body.code, "email_in_use");
});

test("A7. an unknown unit is a state failure; zone, language and date format are faults at their fields", async () => {
  const unit = await upsert(body({ defaultOrgUnitExternalId: "NOWHERE" }));
  assert.equal(unit.status, 400);
  assert.equal(unit.body.code, "org_unit_unknown");
  assert.equal(unit.body.errors[0].rule, "not_found");
  const fields = await upsert(body({ timezone: "Mars/Base", language: "xx-YY" }));
  assert.deepEqual(
    fields.body.errors.map(({ pointer, rule }: any) => [pointer, rule]),
    [
      ["/timezone", "enum"],
      ["/language", "enum"],
    ],
  );
  const format = await upsert(body({ dateFormat: "YY" }));
  assert.deepEqual([format.body.errors[0].pointer, format.body.errors[0].rule], ["/dateFormat", "enum"]);
  assert.equal((await upsert(body({ userType: "requester", isSupportRep: true }))).status, 400);
});

test("rule 5. all state faults are reported together, the first of A5 as the code", async () => {
  const taken = body();
  await upsert(taken);
  const answer = await upsert(
    body({ email: taken.email, defaultOrgUnitExternalId: "NOWHERE", expiresAt: "2020-01-01T00:00:00Z" }),
  );
  assert.equal(answer.body.code, "email_in_use");
  assert.deepEqual(pointers(answer), ["/email", "/defaultOrgUnitExternalId", "/expiresAt"]);
  assert.match(answer.body.errors[0].message, new RegExp(`'${taken.email}' is already used by another user`));
});

test("A8. user names are compared without case; PATCH changes the spelling, and no other user's name is taken", async () => {
  const user = body();
  const made = await upsert(user);
  const capital = `P${(user.username as string).slice(1).toUpperCase()}`;
  const again = await upsert({ ...user, username: capital });
  assert.equal(again.body.id, made.body.id);
  assert.equal(again.body.username, user.username);
  const spelled = await server.patch(`/v1/user/${user.username}`, { username: capital }, { key });
  assert.equal(spelled.body.username, capital);
  const other = await upsert(body());
  const clash = await server.patch(`/v1/user/${other.body.id}`, { username: user.username }, { key });
  assert.equal(clash.status, 400);
  assert.equal(clash.body.code, "username_in_use");
});

test("A8. the fold is locale-free: STRASSE and straße are one name, and so are the three sigmas", async () => {
  const made = await upsert(body({ username: "straße.σας" }));
  const found = await server.get(`/v1/user/${encodeURIComponent("STRASSE.ΣΑΣ")}`, { key });
  assert.equal(found.status, 200);
  assert.equal(found.body.id, made.body.id);
});

test("A2. a user name of dots, me, bulk, an id's shape or with a slash is refused", async () => {
  for (const username of ["..", "me", "BULK", "usr_01jd8w6r7qf0ztb5c2m9x4k3en", "a/b", "a b", "x\u0000"]) {
    const answer = await upsert(body({ username }));
    assert.equal(answer.status, 400, username);
    assert.equal(
      answer.body.errors[0].pointer,
      username.includes("\u0000") ? answer.body.errors[0].pointer : "/username",
    );
  }
});

test("A9. an omitted zone is kept, null returns it to the tenant's, and a null e-mail is refused", async () => {
  const user = body({ timezone: "Europe/London" });
  const made = await upsert(user);
  const { timezone: _, ...without } = user;
  assert.equal((await upsert(without)).body.timezone, "Europe/London");
  const path = `/v1/user/${made.body.id}`;
  assert.equal((await server.patch(path, { timezone: null }, { key })).body.timezone, "UTC");
  const refused = await server.patch(path, { email: null }, { key });
  assert.deepEqual([refused.status, refused.body.errors[0].pointer], [400, "/email"]);
});

test("A16. If-None-Match: * only makes, If-Match only changes what has that tag; otherwise 412 and nothing", async () => {
  const user = body();
  assert.equal((await upsert(user, { "if-match": "*" })).status, 412);
  const made = await upsert(user, { "if-none-match": "*" });
  assert.equal(outcomeOf(made), "created");
  assert.equal((await upsert({ ...user, fullname: "X" }, { "if-none-match": "*" })).status, 412);
  assert.equal((await upsert({ ...user, fullname: "X" }, { "if-match": '"old"' })).status, 412);
  const tag = made.headers.get("etag")!;
  assert.equal((await upsert({ ...user, fullname: "X" }, { "if-match": tag })).status, 200);
  const path = `/v1/user/${made.body.id}`;
  assert.equal((await server.patch(path, { fullname: "Y" }, { key, headers: { "if-match": tag } })).status, 412);
  assert.equal((await server.delete(path, { key, headers: { "if-match": tag } })).status, 412);
  assert.equal((await server.get(path, { key, headers: { "if-none-match": tag } })).status, 200);
});

test("A17. a body too large, of a wrong type or cut off is refused, and the next call is answered", async () => {
  const large = await server.call("POST", "/v1/user", { key, raw: `{"username":"${"a".repeat(20_000_000)}"}` });
  assert.equal(large.status, 413);
  const plain = await server.call("POST", "/v1/user", { key, raw: "x", headers: { "content-type": "text/plain" } });
  assert.equal(plain.status, 415);
  const cut = await server.call("POST", "/v1/user", { key, raw: '{"username":' });
  assert.equal(cut.status, 400);
  assert.equal(cut.body.errors[0].rule, "json");
  assert.equal((await server.get("/v1/user", { key })).status, 200);
});

test("the wall: another tenant's user is 404 by id and by name; a provider's key works in its customer by Demarc-Tenant", async () => {
  const other = await server.tenant(server.rootId, "customer", "Other");
  const stranger = await server.key(other, "tenant_administrator");
  const user = body();
  const made = await upsert(user);
  for (const name of [made.body.id, user.username]) {
    assert.equal((await server.get(`/v1/user/${name}`, { key: stranger })).status, 404);
    assert.equal((await server.patch(`/v1/user/${name}`, { fullname: "X" }, { key: stranger })).status, 404);
    assert.equal(outcomeOf(await server.delete(`/v1/user/${name}`, { key: stranger })), "absent");
  }
  const above = await server.key(server.rootId, "provider_administrator");
  const inside = await server.post("/v1/user", user, { key: above, headers: { "demarc-tenant": tenantId } });
  assert.equal(inside.body.id, made.body.id);
  assert.equal(
    (await server.get(`/v1/user/${user.username}`, { key: above })).status,
    404,
    "a key is looked up in the acting tenant",
  );
  assert.equal((await server.get(`/v1/user/${made.body.id}`, { key: above })).status, 200, "an id also below it");
});

test("a reader may not write: 403 naming the permission; a writer elsewhere may not write here", async () => {
  const reader = await server.key(tenantId, ["user.read"]);
  const user = body();
  const made = await upsert(user);
  const refused = await server.patch(`/v1/user/${made.body.id}`, { fullname: "X" }, { key: reader });
  assert.deepEqual([refused.status, refused.body.permission], [403, "user.write"]);
  const below = await server.key(server.rootId, ["user.write"], { within: { kind: "tenant", id: tenantId } });
  const atRoot = await server.post("/v1/user", body(), { key: below });
  assert.deepEqual([atRoot.status, atRoot.body.permission], [403, "user.write"]);
  assert.equal((await server.patch(`/v1/user/${made.body.id}`, { fullname: "X" }, { key: below })).status, 200);
});

test("lists filter by each field, search without case, sort, and page without loss", async () => {
  const own = await server.tenant(server.rootId, "customer", "Lists");
  const listKey = await server.key(own, "tenant_administrator");
  for (const name of ["anna", "Bert", "cora", "Zoë"]) {
    const email = `${name.normalize("NFD").replace(/\P{ASCII}/gu, "")}@lists.example`;
    await server.post("/v1/user", body({ username: name, fullname: name, email }), { key: listKey });
  }
  await server.call("POST", "/v1/user/cora/deactivate", { key: listKey });
  const names = async (query: string) => {
    const { body: page } = await server.get(`/v1/user?sort=username&${query}`, { key: listKey });
    return page.items.map((user: any) => user.username);
  };
  assert.deepEqual(await names(""), ["anna", "Bert", "cora", "Zoë"]);
  assert.deepEqual(await names("isCurrent=false"), ["cora"]);
  assert.deepEqual(await names("username=ANNA,bert"), ["anna", "Bert"]);
  assert.deepEqual(await names("email=ANNA@lists.example"), ["anna"]);
  assert.deepEqual(await names(`q=${encodeURIComponent("ZOË")}`), ["Zoë"]);
  assert.deepEqual(await names("q=%25"), []);
  assert.deepEqual(await names("orgUnitExternalId=ROOT&number=1,2"), ["anna", "Bert"]);
  assert.deepEqual(await names("userType=requester"), []);
  const paged: string[] = [];
  let next: string | null = "/v1/user?limit=1&sort=-username&count=true";
  while (next) {
    const { body: page }: any = await server.get(next, { key: listKey });
    assert.equal(page.total, 4);
    paged.push(...page.items.map((user: any) => user.username));
    next = page.nextLink;
  }
  assert.deepEqual(paged, ["Zoë", "cora", "Bert", "anna"]);
});

test("a key has no user of its own: /user/me is refused for it", async () => {
  const answer = await server.get("/v1/user/me", { key });
  assert.deepEqual([answer.status, answer.body.code], [403, "user_needed"]);
});

test("makeUser names what is wrong with a user that another module makes", async () => {
  const made = { username: "made.once", fullname: "Made Once", email: "made@evotix.example" };
  await server.as(tenantId, (ctx) => makeUser(ctx, made));
  await assert.rejects(
    server.as(tenantId, (ctx) => makeUser(ctx, { ...made, email: "else@evotix.example" })),
    (error: any) => error.kind.code === "username_in_use",
  );
  await assert.rejects(
    server.as(tenantId, (ctx) => makeUser(ctx, { ...made, username: "a b" })),
    (error: any) => error.refusal.errors[0].pointer === "/username",
  );
});

test("a filter by tenant names one in reach: another id is refused, in one wording, as unknown", async () => {
  const other = await server.tenant(server.rootId, "customer", "Unseen");
  const rules = async (value: string) =>
    (await server.get(`/v1/user?tenantId=${value}`, { key })).body.errors?.map((fault: any) => [
      fault.parameter,
      fault.rule,
    ]);
  assert.equal(await rules(tenantId), undefined);
  assert.deepEqual(await rules(other), [["tenantId", "not_found"]]);
  assert.deepEqual(await rules("tnt_01jd8w6r7qf0ztb5c2m9x4k3en"), [["tenantId", "not_found"]]);
  assert.deepEqual(await rules("usr_01jd8w6r7qf0ztb5c2m9x4k3en"), [["tenantId", "id_kind"]]);
});
