/** In a process of its own: ids never step back in time, whatever clock an earlier file had. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { newId } from "#kernel/ids";
import { checkCloudEvent } from "../../../../test/cloud-event.ts";
import { eventually, startServer } from "../../../../test/harness.ts";
import { planted, steering } from "../../../../test/planted.ts";
import { modules } from "../../../app.ts";

const server = await startServer({ modules: [...modules, planted] });
const partner = await server.tenant(server.rootId, "partner", "Partner");
const ours = await server.tenant(partner, "customer", "Ours");
const theirs = await server.tenant(partner, "customer", "Theirs");
const writer = await server.key(ours, "tenant_administrator");
const reader = await server.key(ours, ["notification.subscribe", "user.read", "export.run", "folder.read"]);
const above = await server.key(partner, "tenant_administrator");
const foreign = await server.key(theirs, "tenant_administrator");

type Page = { items: any[]; nextCursor: string; nextLink: string; atEnd: boolean; headCursor: string };
async function page(query: string, key = reader, headers: Record<string, string> = {}): Promise<Page> {
  const answer = await server.get(`/v1/event-log${query}`, { key, headers });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
/** Everything from a cursor on, page by page. */
async function all(query: string, key = reader): Promise<any[]> {
  const items: any[] = [];
  for (let at = await page(query, key); ; at = await page(`?cursor=${at.nextCursor}&limit=200`, key)) {
    items.push(...at.items);
    if (at.atEnd) return items;
  }
}
/** The end of the log, when all that was told so far is in it. */
async function end(key = reader): Promise<string> {
  await eventually(async () => (await server.sql("select 1 from kernel.outbox limit 1")).length === 0);
  return (await page("?from=now", key)).nextCursor;
}
/** What comes after a cursor, once there are as many. */
const after = (cursor: string, count: number, key = reader, more = "") =>
  eventually(async () => {
    const { items } = await page(`?cursor=${cursor}&limit=200${more}`, key);
    return items.length >= count && items;
  });
let names = 0;
async function makeUser(key = writer): Promise<{ id: string; username: string }> {
  const name = `u${++names}`;
  const body = { username: name, fullname: "Ann Doe", email: `${name}@x.example`, defaultOrgUnitExternalId: "ROOT" };
  const answer = await server.post("/v1/user", body, { key });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
const makeThing = (name: string, key = writer) => server.post("/v1/thing", { name }, { key });

test("EV-1. a change is the feed's last item, a strict CloudEvent with the next sequence and the old values of what changed", async () => {
  const user = await makeUser();
  const cursor = await end();
  const before = (await page(`?sort=-sequence&limit=1`)).items[0];
  const change = { key: writer, headers: { "correlation-id": "c-1" } };
  assert.equal((await server.patch(`/v1/user/${user.id}`, { language: "de-DE" }, change)).status, 200);
  const [event] = await after(cursor, 1);
  checkCloudEvent(event);
  assert.equal(event.type, "demarc.directory.user.updated");
  assert.equal(event.subject, user.id);
  assert.equal(Number(event.sequence), Number(before.sequence) + 1);
  assert.equal(event.source, `${server.url}/directory`);
  assert.equal(event.tenantid, ours);
  assert.deepEqual(Object.keys(event.data.previous), ["language"]);
  assert.deepEqual(event.data.changed, ["language"]);
  assert.equal(event.data.correlationId, "c-1");
  assert.match(event.data.url, /^\/v1\/user\//);
  const { updatedAt: _, ...resource } = event.data.resource;
  const { updatedAt: __, ...now } = (await server.get(`/v1/user/${user.id}`, { key: writer })).body;
  for (const [name, value] of Object.entries(resource)) assert.deepEqual(value, now[name], name);
  const later = await end();
  assert.equal((await server.patch(`/v1/user/${user.id}`, {}, { key: writer })).status, 200);
  const marker = await makeUser();
  const [next] = await after(later, 1);
  assert.equal(next.subject, marker.id);
  assert.equal(Number(next.sequence), Number(event.sequence) + 1);
});

test("a single event is read by its id, with a tag, in the same octets", async () => {
  const [event] = (await page("?sort=-sequence&limit=1")).items;
  const answer = await server.get(`/v1/event-log/${event.id}`, { key: reader });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type")!, /^application\/cloudevents\+json/);
  assert.deepEqual(JSON.parse(answer.text), event);
  const etag = answer.headers.get("etag")!;
  const again = await server.get(`/v1/event-log/${event.id}`, { key: reader, headers: { "if-none-match": etag } });
  assert.equal(again.status, 304);
  for (const [id, key] of [
    [event.id, foreign],
    [newId("evt"), reader],
  ] as const) {
    const refused = await server.get(`/v1/event-log/${id}`, { key });
    assert.equal(refused.status, 404);
  }
  assert.equal((await server.get(`/v1/event-log/${event.id}`, { key: above })).status, 200);
});

test("EV-2. a request that fails after it told something leaves no event and no hole", async () => {
  await makeThing("before");
  const cursor = await end();
  steering.fails = 1;
  await fetch(`${server.url}/v1/thing`, {
    method: "POST",
    headers: { "x-api-key": writer, "content-type": "application/json" },
    body: '{"name":"failing"}',
  });
  const [last] = (await page("?sort=-sequence&limit=1")).items;
  const made = await makeThing("after");
  const events = await after(cursor, 1);
  assert.deepEqual(
    events.map(({ subject }) => subject),
    [made.body.id],
  );
  assert.equal(Number(events[0].sequence), Number(last.sequence) + 1);
});

test("EV-4. a cursor read twice gives the same two items while events are added, and a walk to the end shows each once", async () => {
  const start = await end();
  for (let n = 0; n < 5; n++) await makeThing(`walk ${n}`);
  await after(start, 5);
  const first = await page(`?cursor=${start}&limit=2`);
  await makeThing("in between");
  const second = await page(`?cursor=${start}&limit=2`);
  assert.equal(first.items.length, 2);
  assert.deepEqual(first.items, second.items);
  assert.equal(first.nextCursor, second.nextCursor);
  assert.equal(first.atEnd, false);
  await after(start, 6);
  const ids: string[] = [];
  for (let at = first; ; at = (await server.get(at.nextLink, { key: reader })).body) {
    ids.push(...at.items.map(({ id }: { id: string }) => id));
    if (at.atEnd) break;
  }
  assert.equal(ids.length, 6);
  assert.equal(new Set(ids).size, 6);
});

test("EV-5. waiting on a quiet log ends with an empty page at the end of the wait, and at once when something happens", async () => {
  const cursor = await end();
  const began = performance.now();
  const quiet = await server.get(`/v1/event-log?cursor=${cursor}`, { key: reader, headers: { prefer: "wait=1" } });
  assert.ok(performance.now() - began >= 990, "it did not wait");
  assert.deepEqual([quiet.body.items, quiet.body.atEnd], [[], true]);
  assert.equal(quiet.headers.get("preference-applied"), "wait=1");
  assert.equal(quiet.headers.get("vary"), "Prefer");
  const ask = server.get(`/v1/event-log?cursor=${quiet.body.nextCursor}`, {
    key: reader,
    headers: { prefer: "wait=30" },
  });
  let answered = false;
  const waiting = ask.finally(() => {
    answered = true;
  });
  // Events that the reader may not see do not end the wait.
  await makeUser(foreign);
  await eventually(async () => (await page("?sort=-sequence&limit=1", foreign)).items.length > 0);
  assert.equal(answered, false);
  const made = await makeThing("awaited");
  const answer = await waiting;
  assert.deepEqual(
    answer.body.items.map((event: any) => event.subject),
    [made.body.id],
  );
});

test("waiting holds no connection: more calls wait than the server has connections, and others are answered", async () => {
  const cursor = await end();
  const waiting = Array.from({ length: 40 }, () =>
    server.get(`/v1/event-log?cursor=${cursor}`, { key: reader, headers: { prefer: "wait=30" } }),
  );
  const made = await makeThing("for all");
  for (const answer of await Promise.all(waiting)) assert.equal(answer.body.items[0]?.subject, made.body.id);
});

test("EV-6. without a type's permission its events do not show, but the cursor goes on", async () => {
  const blind = await server.key(ours, ["notification.subscribe", "export.run"]);
  const cursor = await end(blind);
  await makeUser();
  const made = await makeThing("seen");
  const events = await after(cursor, 1, blind);
  assert.deepEqual(
    events.map(({ subject }) => subject),
    [made.body.id],
  );
  await makeUser();
  const on = await eventually(async () => {
    const { items, nextCursor } = await page(`?cursor=${cursor}`, blind);
    return items.length === 1 && nextCursor !== cursor && nextCursor;
  });
  assert.deepEqual((await page(`?cursor=${on}`, blind)).items, []);
});

test("EV-6. a sibling sees nothing; the tenant above sees it with includeBelow alone, told apart by tenantid", async () => {
  const [oursEnd, theirsEnd, aboveEnd] = [await end(), await end(foreign), await end(above)];
  const [mine, other] = [await makeThing("ours"), await makeThing("theirs", foreign)];
  const subjects = (events: any[]) => events.map(({ subject }) => subject);
  assert.deepEqual(subjects(await after(oursEnd, 1)), [mine.body.id]);
  assert.deepEqual(subjects(await after(theirsEnd, 1, foreign)), [other.body.id]);
  assert.deepEqual((await page(`?cursor=${aboveEnd}`, above)).items, []);
  const below = await after(aboveEnd, 2, above, "&includeBelow=true");
  assert.deepEqual(
    below.map(({ tenantid, subject }) => [tenantid, subject]),
    [
      [ours, mine.body.id],
      [theirs, other.body.id],
    ],
  );
  const acting = await server.get("/v1/event-log?sort=-sequence&limit=1", {
    key: above,
    headers: { "demarc-tenant": ours },
  });
  assert.equal(acting.body.items[0].subject, mine.body.id);
  const sibling = await server.get("/v1/event-log", { key: foreign, headers: { "demarc-tenant": ours } });
  assert.equal(sibling.status, 404);
});

test("a right that is taken away counts for the next page, for all that happened before too", async () => {
  const key = await server.key(ours, ["notification.subscribe", "user.read"]);
  const cursor = await end(key);
  const user = await makeUser();
  await after(cursor, 1, key);
  await server.sql(
    'update access.role set permissions = \'{"notification.subscribe":"allow"}\' where id = (select role_id from access.assignment where principal_id = (select key_id from access.key_secret order by created_at desc, key_id desc limit 1))',
  );
  await server.kernel.forget();
  assert.deepEqual((await page(`?cursor=${cursor}`, key)).items, []);
  assert.equal((await page(`?cursor=${cursor}&subject=${user.id}`)).items.length, 1);
});

test("filters: types by name and by pattern, subject, until; a pattern that names nothing is refused with the nearest", async () => {
  const cursor = await end();
  const user = await makeUser();
  const thing = await makeThing("filtered");
  await after(cursor, 2);
  const types = async (query: string) => (await page(`?cursor=${cursor}${query}`)).items.map(({ subject }) => subject);
  assert.deepEqual(await types("&types=demarc.directory.*"), [user.id]);
  assert.deepEqual(await types("&types=demarc.export.thing.created"), [thing.body.id]);
  assert.deepEqual(await types("&types=demarc.export.thing.created,demarc.directory.user.*"), [user.id, thing.body.id]);
  assert.deepEqual(await types("&types=*"), [user.id, thing.body.id]);
  assert.deepEqual(await types(`&subject=${thing.body.id}`), [thing.body.id]);
  assert.deepEqual(await types("&until=2026-11-22T09:00:00Z"), []);
  for (const [wrong, hint] of [
    ["demarc.directory.usr.*", "demarc.directory.user.*"],
    ["demarc.directory.user.update", "demarc.directory.user.updated"],
  ]) {
    const { status, body } = await server.get(`/v1/event-log?types=${wrong}`, { key: reader });
    assert.equal(status, 400);
    assert.deepEqual([body.errors[0].parameter, body.errors[0].hint], ["types", hint]);
  }
  assert.equal((await server.get("/v1/event-log?types=demarc.*.user.created", { key: reader })).status, 400);
});

test("places to begin at: the start, the end, an instant, an event; newest first with a way back", async () => {
  const everything = await all("?from=start");
  assert.deepEqual(await all(""), everything);
  const third = everything[2];
  assert.deepEqual(
    (await all(`?from=${third.id}`)).map(({ id }) => id),
    everything.slice(3).map(({ id }) => id),
  );
  server.clock.advance(60_000);
  const since = server.clock.now().toISOString();
  const made = await makeThing("since");
  const found = await eventually(async () => {
    const items = await all(`?from=${since}`);
    return items.length > 0 && items;
  });
  assert.deepEqual(
    found.map(({ subject }) => subject),
    [made.body.id],
  );
  const back: string[] = [];
  for (
    let at = await page("?sort=-sequence&limit=4");
    ;
    at = await page(`?sort=-sequence&limit=4&cursor=${at.nextCursor}`)
  ) {
    back.push(...at.items.map(({ id }) => id));
    if (at.atEnd) break;
  }
  const forth = (await all("")).map(({ id }) => id);
  assert.deepEqual(back.reverse(), forth);
  for (const query of [
    `from=now&cursor=${await end()}`,
    "from=yesterday",
    "from=2026-02-30T00:00:00Z",
    "from=now&sort=-sequence",
    "sort=type",
    "limit=0",
  ])
    assert.equal((await server.get(`/v1/event-log?${query}`, { key: reader })).status, 400, query);
});

test("EV-7. a cursor with a character changed, of another tenant, or of no log is unknown: 400, in one wording", async () => {
  const cursor = await end();
  assert.match(cursor, /^[A-Za-z0-9_-]{1,64}$/);
  const details = new Set<string>();
  const refused = async (wrong: string, key = reader) => {
    const { status, body } = await server.get(`/v1/event-log?cursor=${wrong}`, { key });
    assert.deepEqual([status, body.code], [400, "cursor_unknown"], wrong);
    details.add(body.detail);
  };
  for (let place = 0; place < cursor.length; place++)
    await refused(`${cursor.slice(0, place)}${cursor[place] === "A" ? "B" : "A"}${cursor.slice(place + 1)}`);
  await refused(cursor, foreign);
  await refused(cursor, above);
  await refused("x");
  await refused(newId("evt"));
  assert.equal(details.size, 1);
  const unknown = await server.get(`/v1/event-log?from=${newId("evt")}`, { key: reader });
  assert.deepEqual([unknown.status, unknown.body.code], [400, "cursor_unknown"]);
});

test("a tenant's features switched off hide what a GET would refuse", async () => {
  const tenant = await server.tenant(partner, "customer", "Featured");
  const key = await server.key(tenant, "tenant_administrator");
  await makeUser(key);
  await eventually(async () => (await page("?types=demarc.directory.*", key)).items.length === 1);
  await server.sql("update access.tenant set features = features || '{\"directory\":false}' where id = $1", [tenant]);
  await server.kernel.forget();
  assert.deepEqual((await page("?types=demarc.directory.*", key)).items, []);
});

test("without notification.subscribe, and with the service off, the log is closed", async () => {
  const plain = await server.key(ours, ["user.read"]);
  assert.equal((await server.get("/v1/event-log", { key: plain })).body.permission, "notification.subscribe");
  const off = await server.tenant(partner, "customer", "Off", { notifications: false });
  const { body } = await server.get("/v1/event-log", { key: await server.key(off, "tenant_administrator") });
  assert.equal(body.code, "service_not_enabled");
});

test("EV-9. erasing a user takes the data out of all that was told of it, and leaves the numbers", async () => {
  const cursor = await end();
  const user = await makeUser();
  await server.patch(`/v1/user/${user.id}`, { fullname: "Ann Other" }, { key: writer });
  const told = await after(cursor, 2);
  assert.equal((await server.delete(`/v1/user/${user.id}`, { key: writer })).status, 204);
  const events = await after(cursor, 3);
  assert.deepEqual(
    events.map(({ type, subject, data }) => [type.split(".").pop(), subject, data]),
    ["created", "updated", "deleted"].map((verb) => [verb, user.id, { redacted: true }]),
  );
  assert.deepEqual(
    events.map(({ sequence }) => Number(sequence)),
    [0, 1, 2].map((n) => Number(told[0].sequence) + n),
  );
  const single = await server.get(`/v1/event-log/${told[0].id}`, { key: reader });
  assert.deepEqual(JSON.parse(single.text).data, { redacted: true });
  assert.equal(
    JSON.stringify(await server.sql("select data from kernel.told where subject = $1", [user.id])).includes("Ann"),
    false,
  );
});

test("EV-7. a cursor older than the log is 410 and says from where one can go on; whole days are dropped", async () => {
  const old = await end();
  const early = (await page("?limit=2")).nextCursor;
  const before = server.clock.now().toISOString();
  server.clock.advance(31 * 86_400_000);
  const turn = () =>
    server.sql("select kernel.turn_events($1::date, 30)", [server.clock.now().toISOString().slice(0, 10)]);
  await turn();
  for (const query of [`cursor=${early}`, `from=${before}`, `sort=-sequence&cursor=${early}`]) {
    const { status, body } = await server.get(`/v1/event-log?${query}`, { key: reader });
    assert.deepEqual([status, body.code], [410, "position_expired"], query);
    assert.deepEqual((await page(`?cursor=${body.oldestCursor}`)).items, []);
  }
  // Nothing lies between this one and the oldest event that is kept.
  assert.deepEqual((await page(`?cursor=${old}`)).items, []);
  const made = await makeThing("a month later");
  const [event] = await after(old, 1);
  assert.equal(event.subject, made.body.id);
  assert.deepEqual(
    (await all("")).map(({ id }) => id),
    [event.id],
  );
});

test("EV-7. after a restore the log has a new epoch, and every cursor of the old one is 410", async () => {
  const cursor = await end();
  await server.sql("update kernel.log_state set identity = 'another database'");
  const restored = await startServer({ modules: [...modules, planted], beside: server });
  const { status, body } = await restored.get(`/v1/event-log?cursor=${cursor}`, { key: reader });
  assert.deepEqual([status, body.code], [410, "position_expired"]);
  const on = await restored.get(`/v1/event-log?cursor=${body.oldestCursor}`, { key: reader });
  assert.equal(on.status, 200);
  await restored.close();
  const again = await startServer({ modules: [...modules, planted], beside: server });
  assert.equal((await again.get(`/v1/event-log?cursor=${on.body.nextCursor}`, { key: reader })).status, 200);
});
