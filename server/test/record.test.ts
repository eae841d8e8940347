/** What the record must never hold, whatever a module puts into its addresses; and that all of its news is declared. */
import assert from "node:assert/strict";
import { test } from "node:test";
import pino from "pino";
import { modules } from "../src/app.ts";
import { type Module, route } from "../src/kernel/contract.ts";
import { mintCredential } from "../src/kernel/credential.ts";
import { declaredEvents } from "../src/kernel/events.ts";
import { object, text } from "../src/kernel/schema.ts";
import { startServer } from "./harness.ts";

const steering = { fails: false };
/** Like the exchange's intake: whoever sends has nothing but an address, and the key stands in it. */
const intake: Module = {
  name: "exchange",
  about: "A planted service.",
  routes: (["GET", "POST"] as const).map((method) => {
    const about = {
      path: "/eventfiles/{key}",
      versions: "v1+",
      id: method === "GET" ? "getIntake" : "createIntake",
      summary: "Planted",
      permission: "any",
      replies: { 200: object({ seen: text(100) }) },
      run: () => {
        if (steering.fails) throw new Error("planted failure");
        return { seen: "ok" };
      },
    } as const;
    return method === "GET"
      ? route({ ...about, method })
      : route({ ...about, method, emits: { none: "planted" }, body: object({ name: text(10) }) });
  }),
};

const output: string[] = [];
const log = pino({ level: "trace" }, { write: (line: string) => void output.push(line) });
const server = await startServer({ modules: [...modules, intake], log });

test("74. a key in a path is nowhere in log or database, whether the call succeeds, is refused, is repeated or fails", async () => {
  const customer = await server.tenant(server.rootId, "customer", "Acme");
  const key = await server.key(customer, []);
  const { secret } = mintCredential("dmk");
  const address = `/v1/eventfiles/${secret}`;
  const headers = { "idempotency-key": "one" };
  assert.equal((await server.get(address, { key })).status, 200);
  assert.equal((await server.call("POST", address, { key, headers, body: { name: "x" } })).status, 200);
  assert.equal((await server.call("POST", address, { key, headers, body: { name: "x" } })).status, 200);
  assert.equal((await server.call("POST", address, { key, body: {} })).status, 400);
  assert.equal((await server.get(address)).status, 401);
  assert.equal((await server.get(address, { key: secret })).status, 401);
  assert.equal((await server.get(`${address}/more`, { key })).status, 404);
  assert.equal((await server.get(`/${secret}/event`, { key })).status, 404);
  assert.equal((await server.get(`${address}?api_key=${secret}`)).status, 401);
  steering.fails = true;
  const failed = await fetch(server.url + address, { headers: { "x-api-key": key } });
  assert.deepEqual([failed.status, ((await failed.json()) as { code: string }).code], [500, "internal_error"]);
  await server.kernel.activity.flush();
  const lines = await server.sql("select route, status from access.activity where operation_id = 'getIntake'");
  assert.ok(lines.length >= 4);
  assert.ok(lines.every((one) => one.route === "/{label}/eventfiles/{key}"));

  assert.match(output.join(""), /planted failure/);
  const parts = [secret, secret.slice(4, 14), secret.slice(15)];
  for (const part of parts) assert.ok(!output.join("").includes(part), "the key is in the log");
  const tables = await server.sql(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')`,
  );
  for (const { name } of tables) {
    const rows = JSON.stringify(await server.sql(`select to_jsonb(t) as row from ${name} t`));
    for (const part of parts) assert.ok(!rows.includes(part), `the key is in ${name}`);
  }
});

test("every event that code declares stands in its module's list, and so in the catalogue", () => {
  const listed = new Set(modules.flatMap((module) => module.events ?? []).map(({ type }) => type));
  const services = new Set<string>(modules.map(({ name }) => name));
  const missing = declaredEvents().filter(({ type, service }) => services.has(service) && !listed.has(type));
  assert.deepEqual(
    missing.map(({ type }) => type),
    [],
  );
});
