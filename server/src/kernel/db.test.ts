import assert from "node:assert/strict";
import { after, test } from "node:test";
import { sql } from "kysely";
import { createTestDatabase } from "../../test/database.ts";
import { hot, openDatabase, query } from "./db.ts";
import { Problem } from "./problem.ts";

const database = await createTestDatabase();
const lost: Error[] = [];
const db = openDatabase({
  url: database.url,
  role: "demarc_system",
  shared: 2,
  pool: 6,
  onLost: (error) => lost.push(error),
});
after(async () => {
  await db.close();
  await database.drop();
});
const system = db.in("");
const one = hot<{ n: number }, { n: number }>("test_one", ({ n }) => query(sql`select ${n}::int as n`));
const tenantNow = hot<Record<never, never>, { tenant: string }>("test_tenant", () =>
  query(sql`select current_setting('demarc.tenant', true) as tenant`),
);

test("statements of many callers on shared connections each get their own answer, in their own tenant", async () => {
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const answers = await Promise.all(numbers.map(async (n) => (await db.in(`t${n % 7}`).first(one({ n })))?.n));
  assert.deepEqual(answers, numbers);
  const tenants = await Promise.all(numbers.map(async (n) => (await db.in(`t${n % 7}`).first(tenantNow({})))?.tenant));
  assert.deepEqual(
    tenants,
    numbers.map((n) => `t${n % 7}`),
  );
  const pooled = await Promise.all(
    numbers
      .slice(0, 30)
      .map(
        async (n) =>
          (
            await db
              .in(`p${n % 3}`)
              .first(query<{ tenant: string }>(sql`select current_setting('demarc.tenant', true) as tenant`))
          )?.tenant,
      ),
  );
  assert.deepEqual(
    pooled,
    numbers.slice(0, 30).map((n) => `p${n % 3}`),
  );
});

test("a statement that fails on a shared connection harms nobody behind it", async () => {
  const bad = hot<Record<never, never>, never>("test_bad", () => query(sql`select 1 / 0 as n`));
  const outcomes = await Promise.allSettled([
    system.first(bad({})),
    ...Array.from({ length: 20 }, (_, n) => system.first(one({ n }))),
  ]);
  assert.equal(outcomes[0]!.status, "rejected");
  assert.ok(outcomes.slice(1).every(({ status }) => status === "fulfilled"));
});

test("a fired change that fails turns the commit into a refusal, and nothing of the transaction stays", async () => {
  await assert.rejects(
    db.transaction("", async (tx) => {
      tx.fire(query(sql`insert into kernel.master_key_check (kid, value) values ('fired', 'x')`));
      tx.fire(query(sql`insert into kernel.master_key_check (kid, value) values ('fired', 'y')`));
    }),
    /duplicate key/,
  );
  assert.equal(await system.first(query(sql`select from kernel.master_key_check where kid = 'fired'`)), undefined);
});

test("a savepoint undoes its own part alone", async () => {
  await db.transaction("", async (tx) => {
    tx.fire(query(sql`insert into kernel.master_key_check (kid, value) values ('kept', 'x')`));
    await assert.rejects(
      tx.savepoint(async () => {
        tx.fire(query(sql`insert into kernel.master_key_check (kid, value) values ('undone', 'x')`));
        throw new Error("planted");
      }),
      /planted/,
    );
  });
  const rows = await system.rows(
    query<{ kid: string }>(sql`select kid from kernel.master_key_check where kid in ('kept', 'undone')`),
  );
  assert.deepEqual(rows, [{ kid: "kept" }]);
});

test("a deadlock is tried again until both have done their work; a conflict without end is a 503 that says so", async () => {
  const lock = (key: number) => query(sql`select pg_advisory_xact_lock(${key}::bigint)`);
  let arrived = 0;
  let release = () => {};
  const both = new Promise<void>((resolve) => {
    release = resolve;
  });
  const cross = (first: number, second: number) =>
    db.transaction("", async (tx) => {
      await tx.run(lock(first));
      if (++arrived === 2) release();
      await both;
      await tx.run(lock(second));
    });
  await Promise.all([cross(1, 2), cross(2, 1)]);
  assert.ok(arrived > 2, "one of them was tried again");
  let tries = 0;
  await assert.rejects(
    db.transaction("", async (tx) => {
      tries++;
      await tx.run(query(sql`do $$ begin raise exception 'planted' using errcode = '40001'; end $$`));
    }),
    (error) => error instanceof Problem && error.kind.status === 503 && error.refusal.headers?.["retry-after"] === "1",
  );
  assert.equal(tries, 5);
});

test("connections that the database cuts are opened anew by the next caller, and nothing throws to nobody", async () => {
  await system.first(one({ n: 1 }));
  const cut = query(
    sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
  );
  const owner = openDatabase({ url: database.url, role: "demarc", shared: 0, pool: 1, onLost: () => {} });
  await owner.in("").run(cut);
  await owner.close();
  let answer: { n: number } | undefined;
  for (let tries = 0; tries < 100 && answer?.n !== 2; tries++) {
    answer = await system.first(one({ n: 2 })).catch((error: unknown) => {
      assert.ok(error instanceof Problem && error.kind.status === 503);
      return undefined;
    });
  }
  assert.equal(answer?.n, 2);
});
