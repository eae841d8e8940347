/**
 * The one way to the database. Two kinds of connection, because round trips are what a request costs: a few shared,
 * pipelined ones carry single prepared statements of many callers at once; an ordinary pool carries transactions and
 * everything that may take long, so that nobody waits behind it. Every call states the tenant it acts in: the row
 * policies read it from the setting `demarc.tenant`, which travels in the same round trip as the statement.
 */
import type { Writable } from "node:stream";
import {
  type Compilable,
  type CompiledQuery,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
} from "kysely";
import pg from "pg";
import { PreparedQuery } from "./prepared-query.ts";
import { type Problem, refuse, unavailable } from "./problem.ts";

type Statement = { sql: string; parameters: readonly unknown[]; name?: string };
/** What `hot` makes: a statement compiled once and prepared on each connection that meets it. */
export type HotQuery<T> = Statement & { name: string; row?: T };
export type Query<T> = Compilable<T> | CompiledQuery<T> | HotQuery<T>;

export type Db = {
  rows<T>(query: Query<T>): Promise<T[]>;
  first<T>(query: Query<T>): Promise<T | undefined>;
  /** Runs a change and returns the number of rows it touched. */
  run(query: Query<unknown>): Promise<number>;
};

/**
 * A transaction. `fire` sends a change whose outcome is judged at commit, so that it costs no round trip of its own; the
 * rows it gives come together with the commit's outcome, and may be ignored.
 */
export type Transaction = Db & {
  fire<T>(query: Query<T>): Promise<T[]>;
  /** Undoes what `part` did when it throws, and throws on. */
  savepoint<T>(part: () => Promise<T>): Promise<T>;
};

export type Database = {
  /** Single statements that act in a tenant; hot ones share pipelined connections. */
  in(tenantId: string): Db;
  /** Begins, runs, commits; again on serialization failures and deadlocks, five times at most, so `part` must bear repetition. */
  transaction<T>(tenantId: string, part: (tx: Transaction) => Promise<T>): Promise<T>;
  close(): Promise<void>;
};

pg.types.setTypeParser(pg.types.builtins.INT8, Number);

const textArray = 1009;
const readTextArray = pg.types.getTypeParser(textArray as never) as (text: string) => string[];
// Ids and plain words, which nearly all arrays hold, stand without quotes; the general reader goes letter by letter.
pg.types.setTypeParser(textArray as never, (text) =>
  /^\{[\w,-]+\}$/.test(text) && !/NULL/i.test(text) ? text.slice(1, -1).split(",") : readTextArray(text),
);

/** Kysely over a module's own tables, for building and typing only: execution is this file's. */
export function tables<T>(): Kysely<T> {
  return new Kysely<T>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  });
}

const compiler = tables<Record<never, never>>();

/** A query written by hand with Kysely's `sql` tag. */
export function query<T>(raw: RawBuilder<T>): CompiledQuery<T> {
  return raw.compile(compiler) as CompiledQuery<T>;
}

class Marker {
  readonly key: string;
  constructor(key: string) {
    this.key = key;
  }
}

/**
 * Compiles a query once, for statements on the hot path: `build` gets stand-ins for its parameters, the returned
 * function fills them in. `name` names the prepared statement and must be unique in the installation.
 */
export function hot<P extends object, T>(name: string, build: (parameters: P) => Compilable<T> | CompiledQuery<T>) {
  let compiled: { sql: string; markers: readonly unknown[] } | undefined;
  return (values: P): HotQuery<T> => {
    if (!compiled) {
      const stand = new Proxy({}, { get: (_, key) => new Marker(String(key)) }) as P;
      const { sql, parameters } = compile(build(stand));
      compiled = { sql, markers: parameters };
    }
    const parameters = compiled.markers.map((marker) =>
      marker instanceof Marker ? (values as Record<string, unknown>)[marker.key] : marker,
    );
    return { name, sql: compiled.sql, parameters };
  };
}

function compile(source: Query<unknown>): Statement {
  return "sql" in source ? source : source.compile();
}

function send(client: pg.ClientBase, { sql, name, parameters }: Statement): Promise<pg.QueryResult> {
  if (!name) return client.query(parameters.length > 0 ? { text: sql, values: parameters as unknown[] } : sql);
  return new Promise((resolve, reject) => {
    const query = new PreparedQuery(sql, name, parameters, (error, result) => {
      if (error) reject(Object.assign(error, { statement: name }));
      else resolve(result);
    });
    client.query(query as unknown as pg.Submittable);
  });
}

/** What is sent until `release` is called leaves in one write: under load, system calls are what a read costs. */
function gather(client: pg.ClientBase, until: (release: () => void) => void): void {
  const { stream } = (client as unknown as { connection: { stream: Writable } }).connection;
  if (stream.writableCorked > 0) return;
  stream.cork();
  until(() => stream.uncork());
}

/** Whether an error is the database's refusal of a row by this unique index or constraint. */
export function violates(error: unknown, constraint: string): boolean {
  return error instanceof pg.DatabaseError && error.constraint === constraint;
}

const lostConnection = /^(08|57P0|53[13])/;

/** The 503 for an error that says the database is away or overloaded; undefined for every other error. */
export function databaseAway(error: unknown): Problem | undefined {
  const code = (error as { code?: string }).code ?? "";
  const away =
    error instanceof pg.DatabaseError
      ? lostConnection.test(code)
      : /^(ECONN|ENOENT|ENOTFOUND|EPIPE|ETIMEDOUT|EAI_)/.test(code) ||
        /Connection terminated|connection is not usable|not queryable|timeout exceeded when trying to connect|Client was closed/i.test(
          (error as Error).message ?? "",
        );
  if (!away) return undefined;
  return refuse(unavailable, {
    detail: "The database is away. Nothing was changed; try again.",
    headers: { "retry-after": "5" },
  });
}

async function guarded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw databaseAway(error) ?? error;
  }
}

const mostTries = 5;
const crowded = "Other calls change the same things at this moment. Nothing was changed; try again.";

type Settings = { url: string; role: string; shared: number; pool: number; onLost(error: Error): void };

/** Opens the database as one of our two roles: `demarc_server`, bound by the row policies, or `demarc_system`. */
export function openDatabase(settings: Settings): Database {
  const connection: pg.ClientConfig = {
    connectionString: settings.url,
    options: `-c role=${settings.role}`,
    statement_timeout: 30_000,
    idle_in_transaction_session_timeout: 60_000,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    pipeline: true,
  };
  const pool = new pg.Pool({ ...connection, max: settings.pool, idleTimeoutMillis: 60_000 });
  pool.on("error", settings.onLost);
  // A connection that breaks while it is in use tells its statements; without a listener it would end the process too.
  pool.on("connect", (client) => client.on("error", () => {}));
  // Only named statements run there: each is planned once, whatever its first values were.
  const options = `${connection.options} -c plan_cache_mode=force_generic_plan`;
  const shared = openShared({ ...connection, options }, settings.shared, settings.onLost);

  async function single(tenantId: string, source: Query<unknown>): Promise<pg.QueryResult> {
    const statement = compile(source);
    if (statement.name && settings.shared > 0) return guarded(shared.query(tenantId, statement));
    const client = await guarded(pool.connect());
    let failed = true;
    try {
      // Within one statement block: the setting is the session's until the next user of the connection sets its own.
      gather(client, process.nextTick);
      const set = send(client, setTenant(tenantId));
      const result = send(client, statement);
      const [first, second] = await Promise.allSettled([set, result]);
      failed = first.status === "rejected";
      if (first.status === "rejected") throw first.reason;
      if (second.status === "rejected") throw second.reason;
      return second.value;
    } catch (error) {
      throw databaseAway(error) ?? error;
    } finally {
      client.release(failed);
    }
  }

  async function attempt<T>(tenantId: string, part: (tx: Transaction) => Promise<T>): Promise<T> {
    const client = await guarded(pool.connect());
    const fired: Promise<unknown>[] = [];
    let broken = false;
    function put(statement: Statement): Promise<pg.QueryResult> {
      gather(client, process.nextTick);
      const sent = send(client, statement);
      sent.catch(() => {});
      return sent;
    }
    function fire(statement: Statement): Promise<pg.QueryResult> {
      const sent = put(statement);
      fired.push(sent);
      return sent;
    }
    let savepoints = 0;
    const tx: Transaction = {
      ...reading((source) => put(compile(source))),
      fire(source) {
        const rows = fire(compile(source)).then((result) => result.rows);
        rows.catch(() => {});
        return rows;
      },
      async savepoint(part) {
        const name = `part_${++savepoints}`;
        fire(plain(`savepoint ${name}`));
        try {
          const value = await part();
          fire(plain(`release savepoint ${name}`));
          return value;
        } catch (error) {
          await put(plain(`rollback to savepoint ${name}`));
          throw error;
        }
      },
    };
    try {
      fire(plain("begin"));
      fire(setTenant(tenantId, true));
      const value = await part(tx);
      const commit = put(plain("commit"));
      // A failed statement turns COMMIT into ROLLBACK without an error of its own: the statements are the judges.
      const outcomes = await Promise.allSettled([...fired, commit]);
      for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
      if ((await commit).command !== "COMMIT") throw new Error("The transaction was rolled back by the database.");
      return value;
    } catch (error) {
      await put(plain("rollback")).catch(() => {
        broken = true;
      });
      throw databaseAway(error) ?? error;
    } finally {
      client.release(broken);
    }
  }

  return {
    in: (tenantId) => reading((source) => single(tenantId, source)),
    async transaction(tenantId, part) {
      for (let tries = 1; ; tries++) {
        try {
          return await attempt(tenantId, part);
        } catch (error) {
          const code = (error as { code?: string }).code;
          if (code !== "40001" && code !== "40P01") throw error;
          if (tries === mostTries) throw refuse(unavailable, { detail: crowded, headers: { "retry-after": "1" } });
          // Apart by chance, so that those who ran into each other do not meet again.
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 50 * tries));
        }
      }
    },
    async close() {
      await Promise.all([pool.end(), shared.close()]);
    },
  };
}

function reading(execute: (source: Query<unknown>) => Promise<pg.QueryResult>): Db {
  return {
    rows: async (source) => (await execute(source)).rows,
    first: async (source) => (await execute(source)).rows[0],
    run: async (source) => (await execute(source)).rowCount ?? 0,
  };
}

function plain(sql: string): Statement {
  return { sql, parameters: [] };
}

const setTenantOf = (name: string, local: boolean) => ({
  name,
  sql: `select set_config('demarc.tenant', $1, ${local})`,
});
const [setLocally, setForSession] = [setTenantOf("set_tenant_local", true), setTenantOf("set_tenant", false)];

function setTenant(tenantId: string, local = false): Statement {
  return { ...(local ? setLocally : setForSession), parameters: [tenantId] };
}

/** The shared pipelined connections. A connection that fails is dropped and opened anew by the next caller. */
function openShared(connection: pg.ClientConfig, size: number, onLost: (error: Error) => void) {
  type Line = { client: pg.Client; ready: Promise<unknown>; tenantId: string | null; waiting: number };
  const lines: (Line | undefined)[] = new Array(size).fill(undefined);
  let closed = false;

  function open(index: number): Line {
    const client = new pg.Client(connection);
    const line: Line = { client, ready: client.connect(), tenantId: null, waiting: 0 };
    lines[index] = line;
    function drop(error?: Error): void {
      if (lines[index] === line) lines[index] = undefined;
      if (error && !closed) onLost(error);
    }
    client.on("error", drop);
    client.on("end", () => drop());
    line.ready.catch(drop);
    return line;
  }

  function pick(tenantId: string): Line {
    let best: Line | undefined;
    let lowest = Infinity;
    for (let index = 0; index < size; index++) {
      const line = lines[index] ?? open(index);
      if (line.waiting === 0 && line.tenantId === tenantId) return line;
      const cost = line.waiting * 2 + (line.tenantId === tenantId ? 0 : 1);
      if (cost < lowest) [best, lowest] = [line, cost];
    }
    return best!;
  }

  return {
    async query(tenantId: string, statement: Statement): Promise<pg.QueryResult> {
      if (closed) throw new Error("Client was closed");
      const line = pick(tenantId);
      line.waiting++;
      try {
        if (line.tenantId === null) await line.ready;
        gather(line.client, setImmediate);
        if (line.tenantId === tenantId) return await send(line.client, statement);
        line.tenantId = tenantId;
        const set = send(line.client, setTenant(tenantId));
        const result = send(line.client, statement);
        result.catch(() => {});
        // Statements behind a setting that failed would run in the wrong tenant: such a connection is not used again.
        await set.catch((error) => {
          void line.client.end();
          throw error;
        });
        return await result;
      } finally {
        line.waiting--;
      }
    },
    async close() {
      closed = true;
      await Promise.allSettled(lines.map((line) => line?.client.end()));
    },
  };
}
