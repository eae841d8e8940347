/**
 * What Demarc is measured by: Fastify that runs the same statement, or stores the same rows, and nothing else. No
 * credential, limit, log, schema or row policy. A process of its own, started by `startBare`.
 */
import { fork } from "node:child_process";
import { randomInt } from "node:crypto";
import type { AddressInfo } from "node:net";
import Fastify from "fastify";
import pg from "pg";
import { newId } from "../server/src/kernel/ids.ts";
import type { Principal } from "../server/src/kernel/principal.ts";
import { findWatch } from "../server/src/modules/monitoring/watch/rows.ts";

/** Rows of a create as it left them, column by column as text, in the order in which they are inserted. */
export type StoredRow = { table: string; values: Record<string, string | null> };
type Setup = { databaseUrl: string; statement: Statement; rows: StoredRow[] };
type Statement = { sql: string; parameters: unknown[] };

export type Bare = { port: number; pid: number; stop(): Promise<void> };

/** As many connections as the server has, and of the same kinds. */
const sharedConnections = 4;
const poolConnections = 10;
const idStandIn = "wch_00000000000000000000000000";

/** The statement of GET /v1/watch/{id}, overheard from the module. */
async function statementOfGet(customerId: string): Promise<Statement> {
  const everything = { has: () => true } as unknown as ReadonlySet<never>;
  const who = {
    scopes: ["*"],
    acting: { id: customerId, kind: "customer", lineage: [customerId] },
    grants: [{ permissions: everything, within: { kind: "tenant", id: customerId } }],
  } as unknown as Principal;
  let heard: Statement | undefined;
  const db = {
    first(query: Statement) {
      heard = query;
      return Promise.resolve(undefined);
    },
  };
  await findWatch({ who, db } as unknown as Parameters<typeof findWatch>[0], idStandIn);
  return { sql: heard!.sql, parameters: heard!.parameters };
}

/** Stands in for the outbox: what stood in that would be numbered and moved by Demarc, at the bare server's cost. */
const outbox = "kernel.bench_outbox";
const tables = ["monitoring.numeric_id", "monitoring.watch", outbox, "access.audit", "kernel.idempotency"];
/** News that have left the outbox, as they stood in it. */
const fromLog = `(select tenant_id, type, subject, occurred_at, data, owner_id, null::text as request_id,
  null::text as correlation_id, id as event_id from kernel.event)`;

/** All rows that a create of this watch has written. */
async function rowsOf(databaseUrl: string, watchId: string): Promise<StoredRow[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(`create table ${outbox} (like kernel.outbox including all)`);
  const rows: StoredRow[] = [];
  for (const table of tables) {
    const { rows: columns } = await client.query(
      `select attname from pg_attribute where attrelid = '${table}'::regclass and attnum > 0 and not attisdropped
         and attgenerated = '' and attidentity = ''`,
    );
    const list = columns.map(({ attname }) => `${attname}::text`).join(", ");
    const source = table === outbox ? fromLog : table;
    const { rows: found } = await client.query(`select ${list} from ${source} t where strpos(t::text, $1) > 0`, [
      watchId,
    ]);
    if (found.length !== 1)
      throw new Error(`The create left ${found.length} rows in ${table}, where one was expected.`);
    rows.push({ table, values: found[0] });
  }
  await client.end();
  return rows;
}

/** Starts the bare server; `watchId` is of a watch that was made by a call with an Idempotency-Key. */
export async function startBare(databaseUrl: string, customerId: string, watchId: string): Promise<Bare> {
  const setup: Setup = {
    databaseUrl,
    statement: await statementOfGet(customerId),
    rows: await rowsOf(databaseUrl, watchId),
  };
  const child = fork(new URL(import.meta.url).pathname, [JSON.stringify(setup)]);
  process.once("exit", () => child.kill());
  const port = await new Promise<number>((resolve, reject) => {
    child.once("message", (message) => resolve(message as number));
    child.once("exit", () => reject(new Error("The bare server did not start.")));
  });
  return {
    port,
    pid: child.pid!,
    async stop() {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await gone;
    },
  };
}

async function serve({ databaseUrl, statement, rows }: Setup): Promise<number> {
  const app = Fastify({ logger: false });
  const connection: pg.ClientConfig = { connectionString: databaseUrl, pipeline: true };
  const shared = Array.from({ length: sharedConnections }, () => ({ client: new pg.Client(connection), waiting: 0 }));
  for (const { client } of shared) await client.connect();
  const pool = new pg.Pool({ ...connection, max: poolConnections });

  app.get<{ Params: { id: string } }>("/watch/:id", async (request, reply) => {
    let line = shared[0]!;
    for (const other of shared) if (other.waiting < line.waiting) line = other;
    line.waiting++;
    const values = statement.parameters.map((value) => (value === idStandIn ? request.params.id : value));
    const { rows: found } = await line.client.query({ name: "watch", text: statement.sql, values });
    line.waiting--;
    if (!found[0]) reply.code(404);
    return found[0] ?? {};
  });

  const inserts = rows.map(({ table, values }) => {
    const names = Object.keys(values);
    const text = `insert into ${table} (${names.join(", ")}) values (${names.map((_, index) => `$${index + 1}`).join(", ")})`;
    return { name: table, text, names, values };
  });
  app.post<{ Body: { name: string; locationId: string } }>("/watch", async (request, reply) => {
    const { name, locationId } = request.body;
    const id = newId("wch");
    const fresh: Record<string, Record<string, unknown>> = {
      "monitoring.watch": { id, name, location_id: locationId },
      "access.audit": { id: newId("aud") },
      "kernel.idempotency": { record_key: Buffer.from(id.padEnd(32)) },
    };
    const numeric_id = randomInt(1, 2 ** 31);
    fresh["monitoring.watch"]!.numeric_id = numeric_id;
    fresh["monitoring.numeric_id"] = { numeric_id, id };
    const client = await pool.connect();
    const sent: Promise<unknown>[] = [client.query("begin")];
    for (const insert of inserts) {
      const row: Record<string, unknown> = { ...insert.values, ...fresh[insert.name] };
      const values = insert.names.map((column) => row[column]);
      sent.push(client.query({ name: insert.name, text: insert.text, values }));
    }
    sent.push(client.query("commit"));
    const outcomes = await Promise.allSettled(sent);
    client.release();
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    reply.code(201);
    return { ...inserts[1]!.values, id, name };
  });

  await app.listen({ port: 0, host: "127.0.0.1" });
  return (app.server.address() as AddressInfo).port;
}

if (import.meta.main) {
  process.once("SIGTERM", () => process.exit(0));
  process.send!(await serve(JSON.parse(process.argv[2]!)));
}
