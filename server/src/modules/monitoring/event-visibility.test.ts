/** Who sees which events of the tree and its watches: as of a GET at this moment (notifications, part A). */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Permission } from "#kernel/permissions";
import { eventually } from "../../../test/harness.ts";
import { startWorld } from "./watch/watch.fixture.ts";

const world = await startWorld();
const { A, keys, server } = world;
const listener = (permissions: Permission[], within?: { kind: string; id: string }) =>
  server.key(A, ["notification.subscribe", ...permissions], { within: within ?? { kind: "tenant", id: A } });
const all = await listener(["watch.write", "folder.read"]);
const reader = await listener(["watch.read"]);

/** A principal that listens in the whole tenant and holds a permission within a node alone. */
async function scoped(permission: Permission, kind: string, id: string): Promise<string> {
  const key = await listener([]);
  const inner = await server.key(A, [permission], { within: { kind, id } });
  const idOf = async (secret: string) => (await server.get("/v1/principal/self", { key: secret })).body.actor?.id;
  const [outerId, innerId] = [await idOf(key), await idOf(inner)];
  await server.sql("update access.assignment set principal_id = $1 where principal_id = $2", [outerId, innerId]);
  await server.kernel.forget();
  return key;
}

async function page(key: string, query: string) {
  const answer = await server.get(`/v1/event-log?limit=200&${query}`, { key });
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}
const short = (events: any[]) =>
  events.map(({ type, subject }: any) => [type.replace("demarc.monitoring.", ""), subject]);
async function begin(): Promise<string> {
  await eventually(async () => (await server.sql("select 1 from kernel.outbox limit 1")).length === 0);
  return (await page(all, "from=now")).nextCursor;
}
/** What each of these sees since a cursor, once the one who sees all of it sees so many. */
async function since(cursor: string, count: number, ...seers: string[]) {
  await eventually(async () => (await page(all, `cursor=${cursor}`)).items.length >= count);
  return Promise.all(seers.map(async (key) => (await page(key, `cursor=${cursor}`)).items));
}

test("events of a pending watch show to readers of pending ones alone; from its activation on to every reader", async () => {
  const cursor = await begin();
  const watch = await world.created(world.full());
  await world.patch(`/v1/watch/${watch.id}`, { reference: "R" }, { key: keys.aW });
  const [whole, part] = await since(cursor, 2, all, reader);
  assert.deepEqual(short(whole!), [
    ["watch.created", watch.id],
    ["watch.updated", watch.id],
  ]);
  assert.deepEqual(part, []);
  await server.sql("update monitoring.watch set status = 'active' where id = $1", [watch.id]);
  const live = await begin();
  await world.patch(`/v1/watch/${watch.id}`, { reference: "S" }, { key: keys.aW });
  const [now] = await since(live, 1, reader);
  assert.deepEqual(short(now!), [["watch.updated", watch.id]]);
  assert.equal(now![0].data.resource.reference, "S");
  assert.deepEqual((await page(reader, `cursor=${cursor}`)).items.length, 1);
});

test("the removal of a pending watch is not told to who may not see pending ones", async () => {
  const cursor = await begin();
  const watch = await world.created(world.full());
  await world.delete(`/v1/watch/${watch.id}`, { key: keys.aW });
  const [whole, part] = await since(cursor, 2, all, reader);
  assert.equal(whole!.at(-1).type, "demarc.monitoring.watch.deleted");
  assert.equal(whole!.at(-1).data.resource, null);
  assert.equal(whole!.at(-1).data.previous.name, watch.name);
  assert.deepEqual(part, []);
});

test("who holds a right within a folder sees events of that folder and below, trimmed, and nothing of elsewhere", async () => {
  const north = await world.folder(world.rootOf(A), "North");
  const south = await world.folder(world.rootOf(A), "South");
  const [inNorth, inSouth] = [await world.location(north, "N1"), await world.location(south, "S1")];
  const key = await scoped("pending.read", "folder", north);
  const cursor = await begin();
  const mine = await world.created(world.full({ locationId: inNorth }));
  await world.created(world.full({ locationId: inSouth }));
  await world.patch(`/v1/location/${inSouth}`, { description: "x" }, { key: keys.pW });
  await world.patch(`/v1/folder/${north}`, { description: "x" }, { key: keys.pW });
  const [whole, part] = await since(cursor, 4, all, key);
  assert.equal(whole!.length, 4);
  assert.deepEqual(short(part!), [
    ["watch.created", mine.id],
    ["folder.updated", north],
  ]);
  // The whole resource names folders above those that this reader sees.
  for (const { data } of part!)
    assert.deepEqual([data.trimmed, "resource" in data, "previous" in data], [true, false, false]);
  assert.equal((await server.get(`/v1/event-log/${whole![1].id}`, { key })).status, 404);
  assert.equal((await server.get(`/v1/event-log/${part![0].id}`, { key })).status, 200);
});

test("a watch that moves out of a reader's folder takes its events with it", async () => {
  const [from, to] = [await world.folder(world.rootOf(A), "From"), await world.folder(world.rootOf(A), "To")];
  const [here, there] = [await world.location(from, "H"), await world.location(to, "T")];
  const key = await scoped("pending.read", "folder", from);
  const cursor = await begin();
  const watch = await world.created(world.full({ locationId: here }));
  const [before] = await since(cursor, 1, key);
  assert.deepEqual(short(before!), [["watch.created", watch.id]]);
  const moved = await world.patch(`/v1/watch/${watch.id}`, { locationId: there }, { key: keys.aW });
  assert.equal(moved.status, 200, moved.text);
  const [after] = await since(cursor, 2, key);
  assert.deepEqual(after, []);
});

test("a right within a location shows its watches' events, not those of its neighbour", async () => {
  const folder = await world.folder(world.rootOf(A), "Two");
  const [one, two] = [await world.location(folder, "One"), await world.location(folder, "Other")];
  const key = await scoped("pending.read", "location", one);
  const cursor = await begin();
  const watch = await world.created(world.full({ locationId: one }));
  await world.created(world.full({ locationId: two }));
  const [seen] = await since(cursor, 2, key);
  assert.deepEqual(short(seen!), [["watch.created", watch.id]]);
});

test("who started an operation hears of it without any permission on operations; others need it", async () => {
  const starter = await listener(["watch.activate"]);
  const other = await listener(["watch.activate"]);
  const overseer = await listener(["operation.read"]);
  const watch = await world.created(world.full());
  const cursor = await begin();
  const answer = await server.post("/v1/watch/activate", { ids: [watch.id] }, { key: starter });
  assert.equal(answer.status, 202, answer.text);
  const verbs = async (key: string) =>
    (await page(key, `cursor=${cursor}&types=demarc.notifications.operation.*`)).items.map(({ type }: any) =>
      type.split(".").pop(),
    );
  await eventually(async () => (await verbs(starter)).at(-1) === "succeeded");
  assert.deepEqual((await verbs(starter)).slice(0, 2), ["queued", "started"]);
  assert.deepEqual(await verbs(overseer), await verbs(starter));
  assert.deepEqual(await verbs(other), []);
});
