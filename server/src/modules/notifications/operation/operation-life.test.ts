/** Operations over time: what waits or runs too long, what its server leaves behind, what is told while it runs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { brewery, gates, held, starts } from "../../../../test/brewery.ts";
import { eventually, startServer, type TestServer } from "../../../../test/harness.ts";
import { startReceiver } from "../../../../test/receiver.ts";
import { modules } from "../../../app.ts";

const planted = { modules: [...modules, brewery] };
const hourMs = 3_600_000;
const begunTimes = (name: string, times: number) =>
  eventually(() => starts.filter((one) => one === name).length === times);
const ended = (server: TestServer, location: string, key: string) =>
  eventually(async () => {
    const { body } = await server.get(location, { key });
    return body.finishedAt && body;
  });
const told = async (server: TestServer, id: string): Promise<string[]> =>
  (await server.sql("select type from kernel.told where subject = $1 order by id", [id])).map(({ type }) =>
    type.split(".").pop(),
  );

/** A server, its key, and work that was accepted there. */
async function brewOn(server: TestServer, name: string, ends: string, more: object = {}) {
  const key = await server.key(server.rootId, "tenant_administrator");
  const answer = await server.post("/v1/brew", { name, ends, ...more }, { key });
  assert.equal(answer.status, 202, answer.text);
  return { key, id: answer.body.id as string, location: answer.headers.get("location")! };
}

const main = await startServer(planted);

test("what is queued for 24 hours expires and never runs; where it has a notBefore they count from there", async () => {
  for (const name of ["queued", "later"]) held.add(name);
  const at = main.clock.now().getTime();
  const queued = await brewOn(main, "queued", "at once");
  const later = await brewOn(main, "later", "at once", { notBefore: new Date(at + 10 * hourMs).toISOString() });
  main.clock.advance(24 * hourMs);
  main.kernel.operations.wake();
  const probe = await brewOn(main, "probe", "at once");
  await ended(main, probe.location, probe.key);
  assert.equal((await main.get(queued.location, { key: queued.key })).body.status, "queued", "24 hours are not over");
  main.clock.advance(1);
  assert.equal((await ended(main, queued.location, queued.key)).status, "expired");
  assert.equal((await main.get(later.location, { key: later.key })).body.status, "queued");
  main.clock.set(new Date(at + 34 * hourMs + 1));
  assert.equal((await ended(main, later.location, later.key)).status, "expired");
  for (const name of ["queued", "later"]) assert.ok(!starts.includes(name));
  assert.deepEqual(await told(main, queued.id), ["queued", "expired"]);
});

test("however much of one tenant waits its turn, the work of others begins", async () => {
  held.add("crowd");
  const crowded = await main.tenant(main.rootId, "customer", "Crowded");
  await main.sql(
    `insert into kernel.operation (tenant_id, id, kind, status, owner_id, owner, exclusive, input, created_at, updated_at)
     select $1, 'opn_crowd' || n, 'export.brew', 'queued', 'x', '{"kind":"system","id":"x","name":"x","scopes":["*"]}', false,
       '{"name":"crowd","ends":"at once"}', $2, $2 from generate_series(1, 600) n`,
    [crowded, new Date(main.clock.now().getTime() - 1_000)],
  );
  const work = await brewOn(main, "alone", "at once");
  assert.equal((await ended(main, work.location, work.key)).status, "succeeded");
  await main.sql("delete from kernel.operation where tenant_id = $1", [crowded]);
});

test("what has a notBefore begins then", async () => {
  const notBefore = new Date(main.clock.now().getTime() + hourMs).toISOString();
  const work = await brewOn(main, "aged", "at once", { notBefore });
  const probe = await brewOn(main, "young", "at once");
  await ended(main, probe.location, probe.key);
  const waiting = (await main.get(work.location, { key: work.key })).body;
  assert.deepEqual([waiting.status, waiting.notBefore], ["queued", notBefore]);
  main.clock.advance(hourMs);
  assert.equal((await ended(main, work.location, work.key)).status, "succeeded");
});

test("what runs past its minutes is told to stop and expires", async () => {
  const work = await brewOn(main, "endless", "when told");
  await begunTimes("endless", 1);
  main.clock.advance(10 * 60_000 + 1);
  const operation = await ended(main, work.location, work.key);
  assert.deepEqual([operation.status, operation.result], ["expired", null]);
  assert.deepEqual(await told(main, work.id), ["queued", "started", "expired"]);
});

test("progress is told at most every five seconds, to webhooks only where it is named in full, and the monitor has the newest", async () => {
  const [some, full] = [await startReceiver(), await startReceiver()];
  const owner = await main.key(main.rootId, "tenant_administrator");
  for (const [url, type] of [
    [some.url, "demarc.notifications.operation.*"],
    [full.url, "demarc.notifications.operation.progressed"],
  ])
    assert.equal((await main.post("/v1/webhook", { url, types: [type] }, { key: owner })).status, 201);
  const { id, key, location } = await brewOn(main, "steps", "in steps");
  const step = (done: number) =>
    eventually(async () => {
      const { progress } = (await main.get(location, { key })).body;
      return progress.done === done && progress;
    });
  await step(1);
  main.clock.advance(4_999);
  (await eventually(() => gates.get("steps")))();
  assert.deepEqual(await step(2), { done: 2, total: 3, note: "step 2" });
  main.clock.advance(1);
  gates.get("steps")!();
  await step(3);
  gates.get("steps")!();
  await ended(main, location, key);
  const events = await main.sql("select type, data from kernel.told where subject = $1 order by id", [id]);
  assert.deepEqual(
    events.map(({ type, data }) => [type.split(".").pop(), data.resource.progress.done]),
    [
      ["queued", 0],
      ["started", 0],
      ["progressed", 1],
      ["progressed", 3],
      ["succeeded", 3],
    ],
  );
  const verbs = ({ received }: typeof some) =>
    received
      .map(({ body }) => JSON.parse(body))
      .filter(({ subject }) => subject === id)
      .map(({ type }) => type.split(".").pop())
      .sort();
  await eventually(() => verbs(some).length === 3 && verbs(full).length === 2);
  assert.deepEqual(verbs(some), ["queued", "started", "succeeded"]);
  assert.deepEqual(verbs(full), ["progressed", "progressed"]);
});

test("OP-5. work whose server stopped midway begins again on the next one and ends once", async () => {
  const first = await startServer(planted);
  const { key, id, location } = await brewOn(first, "gose", "when told");
  await begunTimes("gose", 1);
  await first.close();
  const second = await startServer({ ...planted, beside: first });
  await begunTimes("gose", 2);
  gates.get("gose")!();
  assert.equal((await ended(second, location, key)).status, "succeeded");
  assert.deepEqual(await told(second, id), ["queued", "started", "succeeded"]);
});

test("OP-5. work whose lease ran out goes over to another server three times, then it has failed as interrupted; where it ran before it has no effect", async () => {
  const first = await startServer(planted);
  const { key, id, location } = await brewOn(first, "bock", "when told");
  const broken = await brewOn(first, "glass", "when told", { fragile: true });
  const taken = await brewOn(first, "taken", "when told");
  for (const name of ["bock", "glass", "taken"]) await begunTimes(name, 1);
  const stale = gates.get("taken")!;
  // The first one's clock stands still for a minute, as that of a process that sleeps.
  const second = await startServer({ ...planted, beside: first });
  second.clock.advance(61_000);
  for (const name of ["bock", "taken"]) await begunTimes(name, 2);
  stale();
  const { status, error } = await ended(second, broken.location, key);
  assert.deepEqual([status, error.code, error.status], ["failed", "interrupted", 500], "it may not begin twice");
  assert.equal(
    (await second.get(taken.location, { key })).body.status,
    "running",
    "the first one's end counts for nothing",
  );
  gates.get("taken")!();
  assert.equal((await ended(second, taken.location, key)).status, "succeeded");
  assert.deepEqual(await told(second, taken.id), ["queued", "started", "succeeded"]);
  const third = await startServer({ ...planted, beside: first });
  third.clock.advance(122_000);
  await begunTimes("bock", 3);
  const fourth = await startServer({ ...planted, beside: first });
  fourth.clock.advance(183_000);
  const last = await ended(fourth, location, key);
  assert.deepEqual([last.status, last.error.code, last.result], ["failed", "interrupted", null]);
  gates.get("bock")!();
  for (const one of [third, fourth]) await one.close();
  assert.deepEqual(await told(first, id), ["queued", "started", "failed"]);
  assert.equal(starts.filter((name) => name === "bock").length, 3);
  assert.equal((await first.get(location, { key })).body.status, "failed");
});
