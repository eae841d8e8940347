import assert from "node:assert/strict";
import { test } from "node:test";
import { sql } from "kysely";
import { modules } from "../src/app.ts";
import type { Context, Module } from "../src/kernel/contract.ts";
import { query } from "../src/kernel/db.ts";
import type { LoggedEvent } from "../src/kernel/event-reader.ts";
import { notFound, refuse } from "../src/kernel/problem.ts";
import { eventually, startServer } from "./harness.ts";
import { planted } from "./planted.ts";

/** How often each thing was begun to be answered; what is done to one, by its name. */
const begun = new Map<string, number>();
const steering = new Map<string, (ctx: Context) => Promise<void>>();
async function answer(ctx: Context, { subject, data }: LoggedEvent): Promise<void> {
  const name = data.redacted ? "" : String(data.resource?.name);
  begun.set(name, (begun.get(name) ?? 0) + 1);
  const item = { kind: "thing", id: subject, name };
  ctx.audit({ tenantId: ctx.who.acting.id, type: "operation", action: "answered", item, changes: [] });
  await steering.get(name)?.(ctx);
}
const listening: Module = {
  ...planted,
  listens: [{ name: "answer_things", types: ["demarc.export.thing.created"], answer }],
};
const options = { modules: [...modules, listening] };
const server = await startServer(options);
const tenantId = await server.tenant(server.rootId, "customer", "Acme");
const key = await server.key(tenantId, ["export.run"]);
const make = async (name: string) => {
  const made = await server.post("/v1/thing", { name }, { key });
  assert.equal(made.status, 201, made.text);
};
const answers = async (prefix: string): Promise<string[]> =>
  (
    await server.sql(
      "select item_name as name from access.audit where action = 'answered' and item_name like $1 order by position",
      [`${prefix}%`],
    )
  ).map(({ name }) => name);

test("each event is answered once and in order, in its tenant, as the system, however many servers listen", async () => {
  const other = await startServer({ ...options, beside: server });
  const names = Array.from({ length: 30 }, (_, index) => `order-${index}`);
  for (const name of names) await make(name);
  await make("order-last");
  await eventually(async () => (await answers("order-")).at(-1) === "order-last");
  assert.deepEqual(await answers("order-"), [...names, "order-last"]);
  const [entry] = await server.sql(
    "select tenant_id, actor from access.audit where action = 'answered' and item_name = 'order-0'",
  );
  assert.deepEqual([entry.tenant_id, entry.actor.kind, entry.actor.name], [tenantId, "system", "answer_things"]);
  await other.close();
});

test("an answer that is cut off before its end leaves nothing, and is given again", async () => {
  steering.set("cut", async ({ db }) => {
    if (begun.get("cut") !== 1) return;
    const row = await db.first(query<{ pid: number }>(sql`select pg_backend_pid() as pid`));
    await server.sql("select pg_terminate_backend($1)", [row!.pid]);
  });
  await make("cut");
  await make("after the cut");
  await eventually(async () => (await answers("after the cut")).length);
  assert.deepEqual([await answers("cut"), begun.get("cut")], [["cut"], 2]);
});

test("an event that cannot be answered is passed over: a Problem at once, another failure after five tries", async () => {
  steering.set("refused", async () => {
    throw refuse(notFound);
  });
  steering.set("broken", async () => {
    throw new Error("planted failure");
  });
  await make("refused");
  await make("broken");
  await make("next");
  await eventually(async () => (await answers("next")).length);
  assert.deepEqual([begun.get("refused"), begun.get("broken")], [1, 5]);
  assert.deepEqual([await answers("refused"), await answers("broken")], [[], []]);
});

test("what was told while nobody listened is answered at the next start, and nothing twice", async () => {
  const deaf = await startServer({ modules: [...modules, planted], beside: server });
  await server.close();
  const made = await deaf.post("/v1/thing", { name: "late" }, { key });
  assert.equal(made.status, 201);
  const before = begun.get("order-0");
  const again = await startServer({ ...options, beside: server });
  await eventually(() => begun.get("late"));
  assert.deepEqual([begun.get("late"), begun.get("order-0")], [1, before]);
  await again.close();
});
