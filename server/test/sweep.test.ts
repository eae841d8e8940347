/** Walks every route there is, so that a new one is covered on arrival. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { decodeJwt } from "jose";
import type { TSchema } from "typebox";
import { routeTable } from "../src/kernel/http.ts";
import { newId } from "../src/kernel/ids.ts";
import { eventually, startServer } from "./harness.ts";
import { connectClient, subscribe } from "./stomp-client.ts";
import { makeUser, userTokens } from "./tokens.ts";
import { createVisitor, logIn } from "./visitor.ts";

const server = await startServer();
const entries = routeTable(server.kernel);
const partner = await server.tenant(server.rootId, "partner", "Partner");
const ours = await server.tenant(partner, "customer", "Ours");
const theirs = await server.tenant(partner, "customer", "Theirs");
const nobody = await server.key(ours, []);
const owner = await server.key(ours, "tenant_administrator");
const stranger = await server.key(theirs, "tenant_administrator");
const partnerKey = await server.key(partner, "tenant_administrator");
/** A thing of each kind in `ours`, by the first segment of its path. */
const samples = new Map<string, string>();

const named = /\{(\w+)\}/;
const filled = (path: string, id: string) => `/v1${path.replace(named, id)}`;
/** The least body that a route may take: null for what must be there and may be null. */
function least(body: TSchema | undefined): object | undefined {
  if (body === undefined) return undefined;
  const { required = [], properties = {} } = body as { required?: string[]; properties?: Record<string, any> };
  const nulls = required.filter((name) => properties[name]?.type?.includes?.("null"));
  return Object.fromEntries(nulls.map((name) => [name, null]));
}

async function made(path: string, body: unknown, key = owner): Promise<string> {
  const answer = await server.post(path, body, { key });
  assert.ok(answer.status < 300, `${path}: ${answer.text}`);
  return answer.body.id;
}

/** Whether its owner finds a sample: by its own address, or on the list where it has none. */
async function isThere(kind: string, id: string): Promise<boolean> {
  const key = kind === "plan" ? partnerKey : owner;
  const alone = entries.some(({ route }) => route.method === "GET" && route.path === `/${kind}/{id}`);
  if (alone) return (await server.get(`/v1/${kind}/${id}`, { key })).status === 200;
  const { body } = await server.get(`/v1/${kind}?limit=200`, { key });
  return body.items.some((item: { id: string }) => item.id === id);
}

before(async () => {
  samples.set("tenant", ours);
  const root = (await server.get("/v1/folder", { key: owner })).body.items[0].id;
  samples.set("folder", await made("/v1/folder", { name: "Site" }));
  samples.set("location", await made("/v1/location", { name: "Depot", folderId: root }));
  const bearer = {
    name: "w-1",
    locationId: samples.get("location"),
    watchType: "Bearer",
    accessInKbps: 1,
    accessOutKbps: 1,
  };
  samples.set("watch", await made("/v1/watch", bearer));
  samples.set("key", await made("/v1/key", { title: "sample" }));
  samples.set("client", await made("/v1/client", { kind: "service", name: "sample" }));
  samples.set("plan", await made("/v1/plan", { name: "sample" }, partnerKey));
  const person = { username: "sam", fullname: "Sam", email: "sam@ours.example", defaultOrgUnitExternalId: "ROOT" };
  samples.set("user", await made("/v1/user", person));
  const given = { principal: { kind: "user", id: samples.get("user") }, roleId: "read_only" };
  samples.set("assignment", await made("/v1/assignment", given));
  samples.set("role", await made("/v1/role", { externalId: "SAMPLE", name: "Sample" }));
  samples.set("supervisor-privilege", await made("/v1/supervisor-privilege", { name: "Sample" }));
  samples.set("operation", await made("/v1/watch/activate", { ids: [samples.get("watch")] }));
  const estate = { items: [{ key: "a", watch: { name: "w-1" } }] };
  const report = await server.post("/v1/watch/reconcile", estate, { key: owner });
  samples.set("reconcile", report.body.id);
  const ann = await makeUser(server, ours, "ann");
  const visitor = createVisitor(server.url);
  await logIn(visitor, "/oauth/login", ann);
  samples.set("session", (await server.get("/v1/session", { key: owner })).body.items[0].id);
  samples.set("grant", String(decodeJwt((await userTokens(server, ours, ann.id)).token).gid));
  samples.set("webhook", await made("/v1/webhook", { url: "http://127.0.0.1:1/", types: ["demarc.directory.*"] }));
  await server.patch(`/v1/user/${samples.get("user")}`, { language: "de-DE" }, { key: owner });
  const sent = () => server.get("/v1/webhook-delivery?limit=1", { key: owner });
  samples.set("webhook-delivery", await eventually(async () => (await sent()).body.items[0]?.id));
  const told = () => server.get("/v1/event-log?limit=1", { key: owner });
  samples.set("event-log", await eventually(async () => (await told()).body.items[0]?.id));
  samples.set("stomp-queue", await made("/v1/stomp-queue", { name: "sample", types: ["*"] }));
  const session = await connectClient(server.url, owner);
  samples.set("stomp-session", (await session.next("CONNECTED")).headers.session!);
  await subscribe(session, "d", "/topic/event", "ack:client\ndurable:sample\n");
  samples.set("stomp-durable", (await server.get("/v1/stomp-durable", { key: owner })).body.items[0].id);
  samples.set("audit", (await server.get("/v1/audit", { key: owner })).body.items[0].id);
  samples.set(
    "activity",
    await eventually(async () => (await server.get("/v1/activity", { key: owner })).body.items[0]?.id),
  );
});

test("17. without a credential every route is 401, but for those that are open to everybody", async () => {
  for (const { route } of entries) {
    const answer = await server.call(route.method, filled(route.path, "x"), { body: least(route.body) });
    if (route.permission === "open") assert.notEqual(answer.status, 401, route.id);
    else assert.deepEqual([route.id, answer.status, answer.body.code], [route.id, 401, "unauthenticated"]);
  }
});

test("17. without a right every route that asks for one is 403 and names it", async () => {
  for (const { route } of entries) {
    if (route.permission === "open" || route.permission === "any") continue;
    const answer = await server.call(route.method, filled(route.path, "x"), { key: nobody, body: least(route.body) });
    assert.deepEqual([route.id, answer.status, answer.body.permission], [route.id, 403, route.permission]);
  }
});

test("17. what belongs to another tenant is 404, in the same words as what does not exist", async () => {
  for (const { route } of entries) {
    if (!named.test(route.path) || route.permission === "open") continue;
    const kind = route.path.split("/")[1]!;
    const id = samples.get(kind);
    assert.ok(id, `the sweep has no sample for ${route.path}: make one in its set-up`);
    const ask = (target: string) =>
      server.call(route.method, filled(route.path, target), { key: stranger, body: least(route.body) });
    const [foreign, unknown] = [await ask(id), await ask(newId(id.slice(0, 3)))];
    if (route.method === "DELETE" && foreign.status === 204) {
      assert.equal(unknown.status, 204, `${route.id}: deleting nothing answers alike`);
    } else {
      assert.deepEqual([route.id, foreign.status], [route.id, 404]);
      const plain = (body: any) => ({ ...body, instance: "", requestId: "" });
      assert.deepEqual(plain(foreign.body), plain(unknown.body), route.id);
    }
    assert.ok(await isThere(kind, id), `${route.id}: the sample survived a stranger's ${route.method}`);
  }
});

test("a verb that an address does not know is 404 and names those it knows", async () => {
  for (const path of new Set(entries.map(({ route }) => route.path))) {
    const address = filled(path, samples.get(path.split("/")[1]!) ?? "x");
    const fits = (template: string) => new RegExp(`^/v1${template.replace(named, "[^/]+")}$`).test(address);
    const known = entries.filter(({ route }) => fits(route.path)).map(({ route }) => route.method);
    const wrong = ["GET", "POST", "PUT", "PATCH", "DELETE"].find((verb) => !known.includes(verb as "GET"))!;
    const answer = await server.call(wrong, address, { key: owner });
    assert.equal(answer.status, 404, `${wrong} ${path}`);
    for (const verb of known) assert.ok(answer.body.allow?.includes(verb), `${wrong} ${path} names ${verb}`);
  }
});

test("an unknown query parameter and an unknown member of a body are refused by name", async () => {
  const everything = await server.key(server.rootId, "provider_administrator");
  for (const { route } of entries) {
    const path = filled(route.path, samples.get(route.path.split("/")[1]!) ?? "x");
    const key = route.permission === "open" ? undefined : everything;
    const body = route.body ? { zzz: 1 } : undefined;
    const answer = await server.call(route.method, `${path}?yyy=1`, { key, body });
    assert.equal(answer.status, 400, route.id);
    const places = answer.body.errors.map((fault: any) => fault.parameter ?? fault.pointer);
    assert.ok(places.includes("yyy"), route.id);
    if (body) assert.ok(places.includes("/zzz"), `${route.id}: ${places}`);
  }
});

test("every single resource has an ETag, is 304 for who has it, and lists say how they go on", async () => {
  for (const { route } of entries) {
    if (route.method !== "GET" || route.permission === "open") continue;
    const kind = route.path.split("/")[1]!;
    const schema = (route.replies as Record<number, { properties?: object }>)[200]!;
    const key = kind === "plan" ? partnerKey : owner;
    if ("items" in (schema.properties ?? {}) && !named.test(route.path)) {
      const answer = await server.get(`/v1${route.path}`, { key });
      if (answer.status === 200 && "nextCursor" in (schema.properties ?? {}))
        assert.ok("nextCursor" in answer.body, route.id);
      continue;
    }
    if (!("id" in (schema.properties ?? {})) || !named.test(route.path)) continue;
    const path = filled(route.path, samples.get(kind)!);
    const answer = await server.get(path, { key });
    const etag = answer.headers.get("etag");
    assert.ok(etag && /^"[^"]+"$/.test(etag), `${route.id} has no strong ETag`);
    assert.equal((await server.get(path, { key, headers: { "if-none-match": etag } })).status, 304, route.id);
  }
});
