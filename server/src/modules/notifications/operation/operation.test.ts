import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { type Module, route } from "#kernel/contract";
import { accepted } from "#kernel/operation-store";
import { Operation, type OperationKind, operationEvents, operationRunning } from "#kernel/operations";
import { refuse, validationFailed } from "#kernel/problem";
import { nullable, object } from "#kernel/schema";
import { eventually, startServer } from "../../../../test/harness.ts";
import { modules } from "../../../app.ts";

/** Work that ends when the test says so, or as its input says at once. */
const gates = new Map<string, () => void>();
const starts: string[] = [];
type Input = { name: string; ends: "at once" | "badly" | "when told" };
const brewing: OperationKind<Input> = {
  kind: "export.brew",
  summary: "Brew",
  result: object({ name: Type.String() }),
  restart: "again",
  exclusive: true,
  maxMinutes: 10,
  cancellable: true,
  async run(work, input) {
    starts.push(input.name);
    if (input.ends === "badly") throw refuse(validationFailed, { detail: "It boiled over." });
    if (input.ends === "when told") {
      await new Promise<void>((resolve, reject) => {
        gates.set(input.name, resolve);
        work.signal.addEventListener("abort", () => reject(new Error("aborted")));
      });
    }
    await work.progress(1, 1);
    return { url: `/brew/${input.name}`, data: { name: input.name } };
  },
};
const brewery: Module = {
  name: "export",
  about: "A planted service.",
  operations: [brewing],
  routes: [
    route({
      method: "POST",
      path: "/brew",
      versions: "v1+",
      id: "brew",
      summary: "Brew",
      permission: "export.run",
      async: true,
      body: object({ name: Type.String(), ends: Type.String(), subject: Type.Optional(nullable(Type.String())) }),
      replies: { 202: Operation, 200: object({ name: Type.String() }) },
      problems: [operationRunning],
      emits: [operationEvents.queued],
      run: async (ctx, { body }) => {
        const started = await ctx.startOperation(brewing, {
          tenantId: ctx.who.acting.id,
          subject: body.subject ?? body.name,
          input: { name: body.name, ends: body.ends as Input["ends"] },
        });
        if (!started.started) throw refuse(operationRunning, { members: { operation: `/v1/operation/${started.id}` } });
        return accepted(ctx, started.id);
      },
    }),
  ],
};

const planted = { modules: [...modules, brewery] };
const server = await startServer(planted);
const customer = await server.tenant(server.rootId, "customer", "Brewers");
const key = await server.key(customer, ["export.run"]);
const other = await server.key(customer, ["export.run"]);
const overseer = await server.key(customer, ["operation.cancel"]);

const brew = (name: string, ends: Input["ends"], headers: Record<string, string> = {}) =>
  server.post("/v1/brew", { name, ends }, { key, headers });
const read = async (location: string) => (await server.get(location, { key })).body;
const final = (location: string) =>
  eventually(async () => {
    const operation = await read(location);
    return operation.finishedAt && operation;
  });

test("OP-1. accepted work answers 202 with its address, and polling alone sees it end", async () => {
  const answer = await server.post("/latest/brew", { name: "ale", ends: "at once" }, { key });
  assert.equal(answer.status, 202);
  assert.match(answer.headers.get("location")!, /^\/latest\/operation\/opn_/);
  assert.equal(answer.headers.get("retry-after"), "1");
  assert.equal(answer.body.status, "queued");
  const operation = await final(answer.headers.get("location")!);
  assert.equal(operation.status, "succeeded");
  assert.deepEqual(operation.result, { url: "/latest/brew/ale", data: { name: "ale" } });
  const events = await server.sql("select type, data from kernel.told where subject = $1 order by id", [operation.id]);
  assert.deepEqual(
    events.map(({ type }) => type.split(".").pop()),
    ["queued", "started", "progressed", "succeeded"],
  );
  assert.equal(events.at(-1).data.resource.status, "succeeded");
});

test("OP-2. Prefer: wait gives the finished work's own reply, respond-async a 202 even for fast work", async () => {
  const waited = await brew("stout", "at once", { prefer: "wait=10" });
  assert.equal(waited.status, 200);
  assert.equal(waited.headers.get("preference-applied"), "wait=10");
  assert.equal(waited.headers.get("location"), "/v1/brew/stout");
  assert.deepEqual(waited.body, { name: "stout" });
  const asked = await brew("porter", "at once", { prefer: "respond-async" });
  assert.equal(asked.status, 202);
  assert.equal(asked.headers.get("preference-applied"), "respond-async");
  const unknown = await brew("mild", "at once", { prefer: "wait=soon, teapot" });
  assert.equal(unknown.status, 202);
  assert.equal(unknown.headers.get("preference-applied"), null);
});

test("OP-3. a fault in the input makes no operation; work that fails later is a failed operation with its problem", async () => {
  const before = (await server.sql("select count(*)::int as n from kernel.operation"))[0].n;
  assert.equal((await server.post("/v1/brew", { name: "x" }, { key })).status, 400);
  assert.equal((await server.sql("select count(*)::int as n from kernel.operation"))[0].n, before);
  const answer = await brew("sour", "badly");
  const operation = await final(answer.headers.get("location")!);
  assert.equal(operation.status, "failed");
  assert.equal(operation.error.detail, "It boiled over.");
  const waited = await brew("sour", "badly", { prefer: "wait=10" });
  assert.equal(waited.status, 400);
  assert.equal(waited.body.detail, "It boiled over.");
});

test("OP-6. a queued operation cancels at once, a running one stops, a final one refuses", async () => {
  const answer = await brew("lager", "when told");
  const location = answer.headers.get("location")!;
  await eventually(() => gates.has("lager"));
  const asked = await server.post(`${location}/cancel`, undefined, { key });
  assert.equal(asked.status, 202);
  assert.equal((await final(location)).status, "cancelled");
  const again = await server.post(`${location}/cancel`, undefined, { key });
  assert.equal(again.body.code, "operation_not_cancellable");
});

test("OP-6. a second start of an exclusive kind on one subject is refused, naming the first", async () => {
  const first = await brew("wheat", "when told");
  const second = await brew("wheat", "when told");
  assert.equal(second.status, 409);
  assert.equal(second.body.operation, `/v1/operation/${first.body.id}`);
  gates.get("wheat") ?? (await eventually(() => gates.has("wheat")));
  gates.get("wheat")!();
  assert.equal((await final(first.headers.get("location")!)).status, "succeeded");
});

test("others' operations are 404 without operation.read, and visible and cancellable with the permission", async () => {
  const answer = await brew("bitter", "when told");
  const location = answer.headers.get("location")!;
  assert.equal((await server.get(location, { key: other })).status, 404);
  assert.equal((await server.get("/v1/operation", { key: other })).body.items.length, 0);
  assert.equal((await server.get(location, { key: overseer })).status, 200);
  const list = await server.get("/v1/operation?status=queued,running&count=true", { key: overseer });
  assert.deepEqual([list.body.total, list.body.items[0].id], [1, answer.body.id]);
  await server.post(`${location}/cancel`, undefined, { key: overseer });
  assert.equal((await final(location)).status, "cancelled");
});

test("waiting on GET answers as soon as the work ends", async () => {
  const answer = await brew("kolsch", "when told");
  await eventually(() => gates.has("kolsch"));
  const waiting = server.get(answer.headers.get("location")!, { key, headers: { prefer: "wait=20" } });
  gates.get("kolsch")!();
  const ended = await waiting;
  assert.equal(ended.body.status, "succeeded");
  assert.equal(ended.headers.get("preference-applied"), "wait=20");
  assert.equal(ended.headers.get("retry-after"), null);
});

test("OP-5. work whose server stopped midway begins again on the next one and ends once", async () => {
  const first = await startServer(planted);
  const own = await first.key(first.rootId, ["export.run"]);
  const answer = await first.post("/v1/brew", { name: "gose", ends: "when told" }, { key: own });
  await eventually(() => starts.filter((name) => name === "gose").length === 1);
  await first.close();
  const second = await startServer({ ...planted, beside: first });
  await eventually(() => starts.filter((name) => name === "gose").length === 2);
  gates.get("gose")!();
  const ended = await eventually(async () => {
    const { body } = await second.get(answer.headers.get("location")!, { key: own });
    return body.finishedAt && body;
  });
  assert.equal(ended.status, "succeeded");
  const told = await second.sql(
    "select count(*)::int as n from kernel.told where subject = $1 and type like '%succeeded'",
    [ended.id],
  );
  assert.equal(told[0].n, 1);
});

test("OP-5. work whose lease ran out goes over to the other server, and where it ran before it ends without effect", async () => {
  const first = await startServer(planted);
  const own = await first.key(first.rootId, ["export.run"]);
  const answer = await first.post("/v1/brew", { name: "bock", ends: "when told" }, { key: own });
  await eventually(() => starts.filter((name) => name === "bock").length === 1);
  const second = await startServer({ ...planted, beside: first });
  // The first one's clock stands still for a minute, as that of a process that sleeps.
  second.clock.advance(61_000);
  await eventually(() => starts.filter((name) => name === "bock").length === 2);
  gates.get("bock")!();
  const ended = await eventually(async () => {
    const { body } = await first.get(answer.headers.get("location")!, { key: own });
    return body.finishedAt && body;
  });
  assert.equal(ended.status, "succeeded");
  const told = await first.sql(
    "select count(*)::int as n from kernel.told where subject = $1 and type like '%succeeded'",
    [ended.id],
  );
  assert.equal(told[0].n, 1);
});
