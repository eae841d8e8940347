import assert from "node:assert/strict";
import { after, test } from "node:test";
import pg from "pg";
import { createTestDatabase } from "../../test/database.ts";
import { PreparedQuery } from "./prepared-query.ts";

const database = await createTestDatabase();
const client = new pg.Client({ connectionString: database.url, pipeline: true });
await client.connect();
after(async () => {
  await client.end();
  await database.drop();
});

let described = 0;
const { connection } = client as unknown as { connection: { on(event: string, listener: () => void): void } };
connection.on("rowDescription", () => described++);

function run(name: string, text: string, values: unknown[] = []): Promise<pg.QueryResult> {
  return new Promise((resolve, reject) => {
    const query = new PreparedQuery(text, name, values, (error, result) => (error ? reject(error) : resolve(result)));
    client.query(query as unknown as pg.Submittable);
  });
}

test("rows are the same whether they were described or not, also of executions that were under way together", async () => {
  const text =
    "select n, $1::text as word, null::text as nothing, '{\"a\":[1]}'::jsonb as body, array['x', 'y z'] as list, '2026-11-22 10:00:00+00'::timestamptz as at from generate_series(1, 3) n";
  const plain = await client.query(text, ["same"]);
  described = 0;
  const together = await Promise.all([run("typed", text, ["same"]), run("typed", text, ["same"])]);
  assert.equal(described, 2);
  const later = await Promise.all([run("typed", text, ["same"]), run("typed", text, ["same"])]);
  assert.equal(described, 2, "the layout is known by now");
  for (const { rows, rowCount } of [...together, ...later]) {
    assert.deepEqual(rows, plain.rows);
    assert.equal(rowCount, 3);
  }
});

test("statements without rows, and with none found, say so every time", async () => {
  await client.query("create temporary table thing (id integer)");
  for (let round = 1; round <= 3; round++) {
    assert.equal((await run("put", "insert into thing values ($1)", [round])).rowCount, 1);
    assert.deepEqual((await run("none", "select id from thing where id > 100")).rows, []);
  }
  assert.deepEqual((await run("all", "select id from thing order by id")).rows, [{ id: 1 }, { id: 2 }, { id: 3 }]);
});

test("a failed execution fails alone, and the next one has its rows", async () => {
  const quotient = (by: number) => run("quotient", "select 10 / $1::integer as result", [by]);
  await assert.rejects(quotient(0), { code: "22012" });
  assert.deepEqual((await quotient(5)).rows, [{ result: 2 }]);
  const outcomes = await Promise.allSettled([quotient(2), quotient(0), quotient(1)]);
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value.rows[0].result : outcome.reason.code)),
    [5, "22012", 10],
  );
});

test("a statement whose result has another shape by now is refused, never read by the old one", async () => {
  await client.query("create temporary table shaped (a integer)");
  await client.query("insert into shaped values (1)");
  assert.deepEqual((await run("shaped", "select * from shaped")).rows, [{ a: 1 }]);
  await client.query("alter table shaped add column b integer");
  await assert.rejects(run("shaped", "select * from shaped"), { code: "0A000" });
});
