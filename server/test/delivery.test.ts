import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { type RawBuilder, sql } from "kysely";
import { modules } from "../src/app.ts";
import type { Module } from "../src/kernel/contract.ts";
import { query } from "../src/kernel/db.ts";
import type { DeliveryKind, Outgoing, TargetSettings } from "../src/kernel/delivery/contract.ts";
import { addTarget, enqueue, itemsOf } from "../src/kernel/delivery/store.ts";
import { eventually, startServer } from "./harness.ts";
import { type Received, startReceiver } from "./receiver.ts";

/** What the planted kind says, and what it was told. */
let dead: string[] = [];
let ownersOff = new Set<string>();
const receiver = await startReceiver();
const outgoing = (body: string): Outgoing => ({
  address: { url: receiver.url, headers: {}, keys: { v1: [], v1a: [] } },
  contentType: "text/plain",
  body,
});
const kind: DeliveryKind = {
  kind: "planted",
  keptDays: () => 30,
  outgoing: async (_, rows) =>
    new Map(rows.map((row) => [row.id, ownersOff.has(row.target_id) ? "owner_off" : outgoing(row.message_id)])),
  mayGoOn: async (_, ids) => ids.filter((id) => !ownersOff.has(id)),
  dead: async (_, { message_id }) => void dead.push(message_id),
  warned: async () => {},
  disabled: async () => {},
};
const planted: Module = { name: "export", about: "A planted service.", deliveries: [kind] };

// Two workers, as two servers have them: what holds, holds over both.
const server = await startServer({ modules: [...modules, planted] });
const beside = await startServer({ modules: [...modules, planted], beside: server });
const tenantId = await server.tenant(server.rootId, "customer", "Ours");

function advance(ms: number): void {
  for (const { clock } of [server, beside]) clock.advance(ms);
}

let count = 0;
async function makeTarget(settings: Partial<TargetSettings> = {}): Promise<string> {
  const id = `tgt_${++count}`;
  const whole = { strict: false, maxInFlight: 8, ratePerSecond: null, retrySeconds: [1, 1], disableAfterHours: 0 };
  await server.as(tenantId, (ctx) => addTarget(ctx.db, "planted", { tenantId, id }, { ...whole, ...settings }, true));
  return id;
}

const messagesOf = (targetId: string, names: readonly string[]) =>
  names.map((messageId, ordinal) => ({ targetId, messageId, about: "planted", ordinal }));
const send = (targetId: string, names: readonly string[]) =>
  server.as(tenantId, (ctx) => enqueue(ctx.db, messagesOf(targetId, names), ctx.now));
const names = (prefix: string, total: number) => Array.from({ length: total }, (_, n) => `${prefix}${n}`);

type Row = { message_id: string; status: string; attempts: number; tries: number; lease_holder: string | null };
const rowsOf = (targetId: string): Promise<Row[]> =>
  server.sql(
    "select message_id, status, attempts, tries, lease_holder from kernel.delivery where target_id = $1 order by ordinal",
    [targetId],
  );
const settled = async (targetId: string, messageId: string, attempts: number) => {
  const row = (await rowsOf(targetId)).find((one) => one.message_id === messageId)!;
  return row.attempts === attempts && row.lease_holder === null && row;
};
const seen = () => receiver.received.map(({ body }) => body);

/** Answers after a turn of the event loop, so that calls at once are seen to be so. */
let mostAtOnce = 0;
function answerBy(statusOf: (received: Received) => number): void {
  let atOnce = 0;
  receiver.answer = (received, response) => {
    mostAtOnce = Math.max(mostAtOnce, ++atOnce);
    setTimeout(() => {
      atOnce--;
      response.writeHead(statusOf(received)).end();
    }, 5);
  };
}

beforeEach(() => {
  receiver.received.length = 0;
  dead = [];
  ownersOff = new Set();
  mostAtOnce = 0;
  answerBy(() => 204);
});

test("strict: one at a time in order of acceptance; a failing delivery blocks those behind it until it is dead", async () => {
  const target = await makeTarget({ strict: true });
  answerBy(({ body }) => (body === "s1" ? 500 : 204));
  await send(target, names("s", 4));
  for (const attempts of [1, 2]) {
    await eventually(() => settled(target, "s1", attempts));
    assert.deepEqual(seen(), ["s0", ...Array(attempts).fill("s1")]);
    // Not due yet, and nobody overtakes it.
    const behind = (await rowsOf(target)).slice(2);
    assert.deepEqual(
      behind.map(({ status, attempts }) => [status, attempts]),
      Array(2).fill(["pending", 0]),
    );
    advance(1_300);
  }
  await eventually(() => receiver.received.length === 6);
  assert.deepEqual(seen(), ["s0", "s1", "s1", "s1", "s2", "s3"]);
  assert.deepEqual([dead, mostAtOnce], [["s1"], 1]);
});

test("strict: a failing delivery blocks those behind it until it is delivered", async () => {
  const target = await makeTarget({ strict: true });
  answerBy(() => (receiver.received.length === 1 ? 500 : 204));
  await send(target, names("d", 3));
  await eventually(() => settled(target, "d0", 1));
  assert.deepEqual(seen(), ["d0"]);
  advance(1_300);
  await eventually(() => receiver.received.length === 4);
  assert.deepEqual(seen(), ["d0", "d0", "d1", "d2"]);
  assert.equal(mostAtOnce, 1);
});

test("of many waiting each is sent once, and never more at once than the target takes, over all workers", async () => {
  const target = await makeTarget({ maxInFlight: 3 });
  await send(target, names("m", 150));
  await send(target, names("n", 50));
  await eventually(async () => (await rowsOf(target)).every(({ status }) => status === "delivered"));
  assert.deepEqual([receiver.received.length, new Set(seen()).size, mostAtOnce], [200, 200, 3]);
});

test("after 20 failures in a row one delivery probes a minute later, the others use up no tries; its success frees all", async () => {
  const target = await makeTarget({ retrySeconds: Array(5).fill(1) });
  answerBy(() => 500);
  await send(target, names("p", 30));
  const failed = () => server.sql("select failures, paused_until from kernel.delivery_target where id = $1", [target]);
  const triesNow = async () => (await rowsOf(target)).reduce((sum, row) => sum + row.tries, 0);
  // What is on its way when it fails ends too.
  await eventually(async () => {
    const isIdle = (await rowsOf(target)).every((row) => row.lease_holder === null);
    if (isIdle && (await failed())[0].failures >= 20) return true;
    if (isIdle) advance(1_300);
    return false;
  });
  for (let probe = 1; probe <= 2; probe++) {
    const [before, calls] = [await triesNow(), receiver.received.length];
    advance(61_300);
    await eventually(async () => (await triesNow()) === before + 1);
    const [{ paused_until }] = await failed();
    assert.ok(paused_until.getTime() - server.clock.now().getTime() > 55_000);
    assert.equal(receiver.received.length, calls + 1);
  }
  answerBy(() => 204);
  const left = (await rowsOf(target)).filter(({ status }) => status === "pending" || status === "retrying").length;
  assert.ok(left > 8, String(left));
  advance(61_300);
  await eventually(async () => (await rowsOf(target)).every(({ status }) => /delivered|dead/.test(status)));
  assert.equal((await failed())[0].failures, 0);
});

test("while the owner is off all of its target is held without a try; then it goes on", async () => {
  const [target, other] = [await makeTarget(), await makeTarget()];
  ownersOff.add(target);
  await send(target, ["o0", "o1"]);
  await send(other, ["x"]);
  const statuses = async () => (await rowsOf(target)).map(({ status, attempts }) => `${status} ${attempts}`);
  await eventually(async () => (await statuses()).every((one) => one === "held 0"));
  await send(target, ["o2"]);
  assert.deepEqual(await statuses(), ["held 0", "held 0", "held 0"].sort());
  await eventually(() => receiver.received.length === 1);
  assert.deepEqual(seen(), ["x"]);
  ownersOff.clear();
  await eventually(async () => (await statuses()).every((one) => one === "delivered 1"));
  assert.deepEqual(seen().sort(), ["o0", "o1", "o2", "x"]);
});

/** What enqueuing gives to a worker; `change` of the target comes first, in the same transaction. */
const gives = (
  targetId: string,
  named: readonly string[],
  worker: string,
  room: number,
  change?: RawBuilder<unknown>,
) =>
  server.as(tenantId, async (ctx) => {
    if (change) await ctx.db.run(query(sql`update kernel.delivery_target set ${change} where id = ${targetId}`));
    const items = itemsOf(messagesOf(targetId, named), ctx.now);
    return ctx.db.rows(
      query<{ message_id: string }>(
        sql`select message_id from kernel.enqueue_deliveries(${items}::jsonb, ${ctx.now}, ${worker}, ${room})`,
      ),
    );
  });

/** Enters a process whose last heartbeat was so long ago, or will be. */
const beats = (id: string, since: string) =>
  server.sql(
    `insert into kernel.process (id, release, started_at, heartbeat_at, generation, master_kids)
     values ($1, 'x', now(), clock_timestamp() + $2::interval, 1000000, '{}')`,
    [id, since],
  );

test("what a process that is no more was given is sent without waiting for its lease", async () => {
  const [target, other] = [await makeTarget(), await makeTarget()];
  await beats("dead", "-16 seconds");
  await beats("silent", "-5 seconds");
  assert.equal((await gives(target, ["k0", "k1"], "dead", 2)).length, 2);
  assert.equal((await gives(other, ["k2"], "silent", 2)).length, 1);
  await server.sql("select kernel.leave_for_dead($1)", [server.clock.now()]);
  assert.deepEqual(
    (await rowsOf(other)).map((row) => row.lease_holder),
    ["silent"],
  );
  await eventually(() => receiver.received.length === 2);
  assert.deepEqual(seen().sort(), ["k0", "k1"]);
  await server.sql("delete from kernel.delivery where target_id = $1", [other]);
});

test("what a worker was given and does not send is sent by another when its lease of a minute is over, once", async () => {
  const target = await makeTarget();
  await beats("ghost", "1 day");
  const given = await gives(target, ["l0", "l1", "l2"], "ghost", 2);
  assert.deepEqual(
    given.map(({ message_id }) => message_id),
    ["l0", "l1"],
  );
  // As long as somebody else is at the target, nobody comes beside it.
  advance(59_000);
  const claim = "select message_id from kernel.claim_deliveries('third', $1, 100, 100)";
  assert.deepEqual(await server.sql(claim, [server.clock.now()]), []);
  advance(1_001);
  await eventually(() => receiver.received.length === 3);
  await eventually(async () => (await rowsOf(target)).every(({ status }) => status === "delivered"));
  assert.deepEqual(seen().sort(), ["l0", "l1", "l2"]);
});

test("new deliveries are given at once only where nothing stands against it; the others wait for their turn", async () => {
  for (const [what, settings, change] of [
    ["strict", { strict: true }, undefined],
    ["paced", { ratePerSecond: 100 }, undefined],
    ["failing", {}, sql`failures = 1`],
    ["pausing", {}, sql`paused_until = 'infinity'`],
    ["off", {}, sql`is_on = false`],
    ["suspended", {}, sql`suspended = true`],
    ["its owner off", {}, sql`owner_off = true`],
  ] as const)
    assert.deepEqual(await gives(await makeTarget(settings), ["g"], "me", 10, change), [], what);
  const full = await makeTarget({ maxInFlight: 1 });
  assert.equal((await gives(full, names("f", 20), "me", 100)).length, 16, "as many as a worker may have");
  assert.equal((await gives(full, ["late"], "me", 100)).length, 0, "something waits already");
  const taken = await makeTarget();
  assert.equal((await gives(taken, ["t0"], "me", 10)).length, 1);
  assert.equal((await gives(taken, ["t1"], "you", 10)).length, 0, "another worker is at it");
  assert.equal((await gives(await makeTarget(), ["r"], "me", 0)).length, 0, "no room");
});
