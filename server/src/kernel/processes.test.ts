import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startServer } from "../../test/harness.ts";
import { openListener } from "./listener.ts";

const server = await startServer();
const { processes, listener, log } = server.kernel;
const cutListeners = () =>
  server.sql(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'demarc listener'",
  );
const pretend = (id: string, heartbeat: string) =>
  server.sql(
    `insert into kernel.process (id, release, started_at, heartbeat_at, generation, master_kids)
      values ($1, 'test', now(), now() + $2::interval, 0, '{}')`,
    [id, heartbeat],
  );
const warnings: unknown[] = [];
log.warn = ((...line: unknown[]) => void warnings.push(line)) as typeof log.warn;
const leave = (id: string) => server.sql("delete from kernel.process where id = $1", [id]);

test("a process that joins or leaves is counted by the others, who are told", async () => {
  const told: number[] = [];
  processes.onChange((live) => told.push(live));
  assert.equal(processes.live(), 1);
  const second = await startServer({ beside: server });
  await eventually(() => processes.live() === 2 && second.kernel.processes.live() === 2);
  assert.notEqual(second.kernel.processes.id, processes.id);
  await second.close();
  await eventually(() => processes.live() === 1);
  assert.deepEqual(told, [2, 1]);
});

test("the registry holds release and master keys of each process; who has not been heard of for a minute is removed", async () => {
  await pretend("gone", "-61 seconds");
  await pretend("silent", "-10 seconds");
  await eventually(async () => {
    const rows = await server.sql("select id from kernel.process order by id");
    return !rows.some(({ id }) => id === "gone");
  });
  const rows = await server.sql("select id, release, master_kids from kernel.process order by id = 'silent'");
  const { release } = server.kernel.settings;
  assert.deepEqual(rows[0], { id: processes.id, release, master_kids: [...server.masterKeys.keys.keys()] });
  assert.equal(rows[1].id, "silent");
  assert.equal(processes.live(), 1);
  await leave("silent");
});

test("who takes something away waits until the other live processes have acknowledged it", async () => {
  await pretend("other", "1 hour");
  const [before] = await server.sql("select value from kernel.generation");
  let replied = false;
  const reply = server.kernel.forget().then(() => {
    replied = true;
  });
  const generation = await eventually(async () => {
    const [own] = await server.sql("select generation from kernel.process where id = $1", [processes.id]);
    const [row] = await server.sql("select value from kernel.generation");
    return row.value > before.value && own.generation === row.value && (row.value as number);
  });
  assert.equal(replied, false);
  await server.sql("update kernel.process set generation = $1 where id = 'other'", [generation]);
  await server.sql("select pg_notify('demarc_acknowledged', '')");
  await reply;
  assert.deepEqual(warnings, [], "acknowledged in time");
  await leave("other");
});

test("a process that does not acknowledge holds a reply up, but not for ever", async () => {
  await pretend("stuck", "1 hour");
  await server.kernel.forget();
  assert.equal(warnings.length, 1);
  await leave("stuck");
});

test("a process without its connection keeps nothing, and drops what it kept when it has one again", async () => {
  assert.equal(processes.isCurrent(), true);
  let drops = 0;
  processes.onForget(() => drops++);
  await cutListeners();
  await eventually(() => !listener.isUp());
  assert.equal(processes.isCurrent(), false);
  await eventually(() => processes.isCurrent());
  assert.ok(drops > 0);
});

test("what another process raised while the connection was away is known when it is back", async () => {
  const key = await server.key(server.rootId, "read_only");
  assert.equal((await server.get("/v1/principal/self", { key })).status, 200);
  await cutListeners();
  await eventually(() => !listener.isUp());
  await server.sql("update access.key set enabled = false");
  await server.sql("update kernel.generation set value = value + 1");
  assert.equal((await server.get("/v1/principal/self", { key })).status, 401, "not from memory while it is away");
  await eventually(() => processes.isCurrent());
  assert.equal((await server.get("/v1/principal/self", { key })).status, 401);
});

test("a raised generation of which no word came is known with the next heartbeat", async () => {
  const key = await server.key(server.rootId, "read_only");
  assert.equal((await server.get("/v1/principal/self", { key })).status, 200);
  await server.sql("update access.key set enabled = false");
  await server.sql("update kernel.generation set value = value + 1");
  await eventually(async () => (await server.get("/v1/principal/self", { key })).status === 401);
});

test("a listener hears its channels, and is told when its connection is new", async () => {
  const own = await openListener({ url: server.databaseUrl, log });
  const heard: (string | null)[] = [];
  await own.listen("test_news", (payload) => heard.push(payload));
  await own.listen("test_news", (payload) => heard.push(payload));
  await server.sql("select pg_notify('test_news', 'one'), pg_notify('test_other', 'none'), pg_notify('test_news', '')");
  await eventually(() => heard.length === 4);
  assert.deepEqual(heard, ["one", "one", "", ""]);
  own.renew();
  assert.equal(own.isUp(), false);
  await assert.rejects(own.ask("select 1"));
  await eventually(() => own.isUp());
  assert.deepEqual(heard.slice(4), [null, null]);
  await server.sql("select pg_notify('test_news', 'two')");
  await eventually(() => heard.length === 8);
  await own.stop();
  assert.equal(own.isUp(), false);
});
