import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { after, test } from "node:test";
import { createClient } from "@redis/client";
import pino from "pino";
import { openRedisBuckets } from "../../src/kernel/bucket-redis.ts";
import { agreesWithCore } from "../../src/kernel/bucket-store.fixture.ts";
import { createMemoryBuckets } from "../../src/kernel/bucket-store.ts";
import { CALL } from "../../src/kernel/throttle-core.ts";
import { freePort } from "../faults/process.ts";
import { eventually, startServer, type TestServer } from "../harness.ts";

// Limits in a real Redis (Debian: package redis-server). For the optional suite: without it these tests fail, they are not
// skipped.

const folder = mkdtempSync(join(tmpdir(), "demarc-redis-"));
const port = await freePort();
const redisUrl = `redis://127.0.0.1:${port}`;
let redis: ChildProcess;

async function startRedis(): Promise<void> {
  redis = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder], {
    stdio: "ignore",
  });
  await eventually(async () => {
    const client = createClient({ url: redisUrl, socket: { reconnectStrategy: false } });
    client.on("error", () => {});
    try {
      await client.connect();
      return (await client.ping()) === "PONG";
    } catch {
      return false;
    } finally {
      if (client.isOpen) client.destroy();
    }
  });
}
async function endRedis(): Promise<void> {
  const gone = once(redis, "exit");
  redis.kill("SIGKILL");
  await gone;
}
await startRedis();
after(async () => {
  if (redis.exitCode === null && redis.signalCode === null) await endRedis();
  rmSync(folder, { recursive: true, force: true });
});

const lines: { level: number; msg: string }[] = [];
const log = pino(
  { level: "warn" },
  new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(chunk));
      done();
    },
  }),
);
const said = (pattern: RegExp) => lines.filter(({ msg }) => pattern.test(msg));

const first = await startServer({ redisUrl, log });
const second = await startServer({ beside: first, redisUrl, log });

async function customer(name: string, api: object): Promise<{ tenantId: string; key: string }> {
  const tenantId = await first.tenant(first.rootId, "customer", name);
  const planId = `pln_${tenantId.slice(4)}`;
  const lane = { ratePerSecond: 1, burst: 20, perDay: null };
  await first.sql(
    "insert into access.plan (tenant_id, id, name, lanes, created_at, updated_at) values ($1, $2, $3, $4, now(), now())",
    [first.rootId, planId, name, { api: { ...lane, ...api }, scim: lane, publish: lane }],
  );
  await first.sql("update access.tenant set plan_id = $1 where id = $2", [planId, tenantId]);
  await first.kernel.forget();
  return { tenantId, key: await first.key(tenantId, "read_only") };
}
const call = (server: TestServer, key: string) => server.get("/v1/principal/self", { key });

test("Redis agrees with the arithmetic to the thousandth, whatever the order of calls, waits and changed plans", async () => {
  let clockMs = () => 0;
  const store = openRedisBuckets(redisUrl, () => clockMs());
  const { open } = createMemoryBuckets(() => 0);
  await eventually(() => store.take([open("{ready}", { ratePerSecond: 1, burst: 1 })], false).catch(() => null));
  await agreesWithCore((clock) => {
    clockMs = clock;
    return store;
  }, 150);
  store.stop();
});

test("of 200 calls at one instant over two connections Redis grants 20, and from two buckets only what both hold", async () => {
  const stores = [1, 2].map(() => openRedisBuckets(redisUrl, () => 1_900_000_000_000));
  const { open } = createMemoryBuckets(() => 0);
  for (const store of stores)
    await eventually(() => store.take([open("{ready}", { ratePerSecond: 1, burst: 1 })], false).catch(() => null));
  const lane = open("{tnt_crowd}:api", { ratePerSecond: 10, burst: 20 });
  const own = open("{tnt_crowd}:own:ping", { ratePerSecond: 1, burst: 5 });
  const both = await Promise.all(Array.from({ length: 50 }, (_, n) => stores[n % 2]!.take([lane, own], true)));
  assert.equal(both.filter((levels) => levels.every((level) => level >= CALL)).length, 5);
  const rest = await Promise.all(Array.from({ length: 150 }, (_, n) => stores[n % 2]!.take([lane], true)));
  assert.equal(rest.filter(([level]) => level! >= CALL).length, 15, "what ping refused cost the lane nothing");
  for (const store of stores) store.stop();
});

test("both servers count in Redis by its clock, under keys that name the tenant and expire, and none in PostgreSQL", async () => {
  // A machine under load may keep Redis silent for 50 ms: that is told, and then it was not Redis that counted.
  const { tenantId, passed, most } = await eventually(async () => {
    lines.length = 0;
    const { tenantId, key } = await customer(`Shared ${performance.now()}`, {});
    const startedMs = performance.now();
    let passed = 0;
    for (let wave = 0; wave < 10; wave++) {
      const answers = await Promise.all([first, first, second, second].map((server) => call(server, key)));
      passed += answers.filter(({ status }) => status === 200).length;
    }
    const most = 20 + Math.ceil((performance.now() - startedMs) / 1_000);
    return said(/answer/).length === 0 && { tenantId, passed, most };
  });
  assert.ok(passed >= 20 && passed <= most, `${passed} of 20`);
  const client = await createClient({ url: redisUrl }).connect();
  const keys = await client.keys(`demarc:lim:{${tenantId}}:*`);
  assert.deepEqual(keys, [`demarc:lim:{${tenantId}}:api`]);
  const ttl = await client.pTTL(keys[0]!);
  assert.ok(ttl > 60_000 && ttl <= 80_000, String(ttl));
  client.destroy();
  assert.deepEqual(await first.sql("select name from kernel.bucket"), []);
});

test("a Redis that forgot its scripts is told again", async () => {
  const { key } = await customer("Flushed", {});
  const client = await createClient({ url: redisUrl }).connect();
  await eventually(async () => {
    lines.length = 0;
    await client.scriptFlush();
    assert.equal((await call(first, key)).status, 200);
    return said(/does not answer/).length === 0;
  });
  client.destroy();
});

test("62. Redis stopped under load: no 5xx, calls go on by shares of the plan, an alarm, and back when it answers", async () => {
  const { key } = await customer("Loaded", { ratePerSecond: 200, burst: 400 });
  const statuses: number[] = [];
  let over = false;
  const load = Promise.all(
    Array.from({ length: 8 }, async (_, n) => {
      while (!over) statuses.push((await call(n % 2 ? first : second, key)).status);
    }),
  );
  await eventually(() => statuses.length > 50);
  for (const silence of ["SIGSTOP", "SIGKILL"] as const) {
    lines.length = 0;
    redis.kill(silence);
    await eventually(() => said(/Redis does not answer/).length >= 2);
    const before = statuses.length;
    await eventually(() => statuses.slice(before).filter((status) => status === 200).length > 20);
    assert.ok(
      said(/does not answer/).every(({ level }) => level === 50),
      "an alarm is an error line",
    );
    if (silence === "SIGSTOP") redis.kill("SIGCONT");
    else await startRedis();
    await eventually(() => said(/Redis answers again/).length >= 2);
  }
  over = true;
  await load;
  assert.deepEqual(
    [...new Set(statuses)].filter((status) => status !== 200 && status !== 429),
    [],
  );
});

test("a server starts, and counts by its share, where Redis is not there at all", async () => {
  lines.length = 0;
  const { key } = await customer("Lonely", {});
  const third = await startServer({ beside: first, redisUrl: "redis://127.0.0.1:1", log });
  assert.equal((await call(third, key)).status, 200);
  assert.equal(said(/Redis does not answer/).length, 1);
  await third.close();
});
